// The process that storage_crash_test kills: appends without end and writes every ack to stdout.
// Lines: "topic <shard> <entity> <name>", "ack <shard> <entity> <last seq>".
#include "base/clock.hpp"
#include "base/metrics.hpp"

#include "tests/storage/journal_fixture.hpp"

#include <cstdio>
#include <map>
#include <random>
#include <string>
#include <unistd.h>

using namespace callboard;
using namespace callboard::storage;
using namespace callboard::storage::testing;

namespace {

/// One write call per line: what was written is not lost by the kill.
void tell(const std::string& line) {
  if (::write(STDOUT_FILENO, line.data(), line.size()) < 0) ::_exit(2);
}

struct topic_state {
  shard_id shard;
  entity_id entity;
  std::uint64_t last_seq = 0;
};

std::vector<topic_state> known_topics(storage::journal& store) {
  std::vector<topic_state> topics;
  for (std::uint32_t i = 0; i < store.shard_count(); ++i) {
    const auto reader = store.read(shard_id{i}).value();
    const auto add = [&](std::string_view, std::string_view entity) {
      topics.push_back({shard_id{i}, entity_id{std::stoull(std::string{entity})}});
      return true;
    };
    if (!reader->scan(view_id::catalogue, {}, {}, add)) ::_exit(3);
    for (auto& topic : topics) {
      if (topic.shard != shard_id{i}) continue;
      const auto span = reader->entity_span(topic.entity).value();
      if (span) topic.last_seq = span->last.raw();
    }
  }
  return topics;
}

}  // namespace

int main(int, char** arguments) {
  const callboard::system_clock time;
  metrics counters;
  auto settings = small_settings(arguments[1]);
  std::mt19937 random{static_cast<unsigned>(std::stoul(arguments[2]))};
  auto opened =
      storage::journal::open(settings, std::make_shared<counting_projection>(), time, counters);
  if (!opened) {
    std::fprintf(stderr, "%s\n", opened.error().detail.c_str());
    return 1;
  }
  auto& store = **opened;
  auto topics = known_topics(store);
  std::vector<activation_id> activations;
  for (std::uint32_t i = 0; i < store.shard_count(); ++i) {
    activations.push_back(store.begin_activation(shard_id{i}).value());
  }
  tell("ready\n");
  for (std::uint64_t n = 0;; ++n) {
    if (topics.empty() || std::bernoulli_distribution{0.02}(random)) {
      const shard_id shard{static_cast<std::uint32_t>(random() % store.shard_count())};
      const auto name = "topic-" + std::to_string(::getpid()) + "-" + std::to_string(n);
      pending_append made;
      auto taken = store.append(
          {.shard = shard,
           .activation = activations[shard.raw()],
           .records = {draft(record_kind::topic_created, entity_id{}, 0, name)},
           .listener = made.listener()});
      if (!taken) return 4;
      const entity_id entity{made.wait().value().first.raw()};
      tell(
          "topic " + std::to_string(shard.raw()) + " " + std::to_string(entity.raw()) + " " + name
          + "\n");
      topics.push_back({shard, entity});
      continue;
    }
    auto& topic = topics[random() % topics.size()];
    append_request request{.shard = topic.shard, .activation = activations[topic.shard.raw()]};
    for (auto count = 1 + random() % 20; count > 0; --count) {
      const auto seq = ++topic.last_seq;
      request.records.push_back(
          event(topic.entity, seq, std::to_string(topic.entity.raw()) + "/" + std::to_string(seq)));
    }
    request.listener = [shard = topic.shard, entity = topic.entity, last = topic.last_seq](
                           append_stage, const result<append_receipt>& receipt) {
      if (!receipt) ::_exit(5);
      tell(
          "ack " + std::to_string(shard.raw()) + " " + std::to_string(entity.raw()) + " "
          + std::to_string(last) + "\n");
    };
    if (auto taken = store.append(std::move(request)); !taken) return 6;
    if (random() % 8 == 0) ::usleep(static_cast<useconds_t>(random() % 2000));
  }
}
