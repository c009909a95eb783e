// A group core with everything around it played by hand: the topic, the journal, the clock.
#pragma once

#include "runtime/group/group_codec.hpp"
#include "runtime/group/group_core.hpp"

#include "tests/support/catch.hpp"

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace callboard::runtime {

using namespace std::chrono_literals;

/// Deliveries come back from `fetch`, records go to `records`; `crash` forgets all but those.
class group_bench {
public:
  group_settings settings;
  group_limits limits;
  std::vector<loaded_event> topic;
  std::vector<group_progress> records;
  group_time now{1h, time_ms{1'700'000'000'000ms}};
  std::unique_ptr<group_core> core;
  std::uint64_t reads = 0;
  sequence first_kept{1};

  void publish(std::uint64_t subject = 0, std::size_t bytes = 0) {
    loaded_event event;
    event.event.stored = shared_bytes{std::string(bytes, 'x')};
    event.event.seq = sequence{topic.size() + 1};
    event.event.time = now.shard;
    event.subject = subject;
    topic.push_back(event);
    if (core) core->topic_grew(event.event.seq);
  }

  void publish_many(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i)
      publish();
  }

  [[nodiscard]] sequence last() const { return sequence{topic.size()}; }

  /// A new activation from what was committed, through the bytes of the records.
  void activate() {
    group_ledger ledger;
    for (const auto& record : records) {
      const auto copy = decode_group_progress(encode_group_progress(record));
      REQUIRE(copy);
      ledger.apply(*copy);
    }
    ++activations_;
    in_flight_.reset();
    core = std::make_unique<group_core>(
        group_core::options{settings, limits, activations_, [this] { return ++random_; }},
        ledger,
        last(),
        now);
  }

  void advance(std::chrono::milliseconds by) {
    now.boot += by;
    now.shard += by;
    core->tick(now);
  }

  /// What a single fetch gets, reads included; the wait is not waited for.
  std::vector<held_delivery>
  fetch(const std::string& member, std::uint32_t max, std::uint64_t bytes_max = 0) {
    const auto key = ++keys_;
    REQUIRE(core->fetch({key, member, max, 0, bytes_max}, now));
    settle_reads();
    for (auto& answer : core->take_answers()) {
      if (answer.key == key) return std::move(answer.deliveries);
    }
    FAIL("a fetch without wait was not answered");
    return {};
  }

  /// Reads and hands out until nothing moves.
  void settle_reads() {
    while (true) {
      core->match(now);
      auto plan = core->plan_read(now);
      if (!plan) break;
      ++reads;
      core->loaded(read(*plan), now);
    }
    core->expire_waiters(now);
  }

  read_result read(const read_plan& plan) const {
    read_result result;
    result.gone_up_to = sequence{first_kept.raw() - 1};
    for (const auto seq : plan.single) {
      if (seq >= first_kept) result.single.push_back(topic.at(seq.raw() - 1));
    }
    if (plan.run_from == sequence{}) return result;
    for (auto seq = std::max(plan.run_from, first_kept);
         seq <= last() && result.run.size() < plan.run_events_max;
         seq = seq.next()) {
      result.run.push_back(topic.at(seq.raw() - 1));
    }
    return result;
  }

  /// Begins writing one record if the group wants one.
  bool begin_append(bool force = false) {
    if (in_flight_) return false;
    if (!core->wants_append(now) && !(force && core->has_changes())) return false;
    in_flight_ = core->take_progress();
    return true;
  }

  void commit_append() {
    if (!in_flight_) return;
    records.push_back(*in_flight_);
    core->committed(*in_flight_);
    in_flight_.reset();
  }

  /// Writes everything there is.
  void flush() {
    commit_append();
    while (begin_append(true)) {
      commit_append();
    }
  }

  std::vector<std::string> ack(const std::vector<held_delivery>& deliveries) {
    return core->ack(tokens(deliveries), std::nullopt, now);
  }

  static std::vector<std::string> tokens(const std::vector<held_delivery>& deliveries) {
    std::vector<std::string> all;
    for (const auto& one : deliveries) {
      all.push_back(format_token(one.token));
    }
    return all;
  }

  static std::vector<std::uint64_t> seqs(const std::vector<held_delivery>& deliveries) {
    std::vector<std::uint64_t> all;
    for (const auto& one : deliveries) {
      all.push_back(one.event.seq.raw());
    }
    return all;
  }

private:
  std::optional<group_progress> in_flight_;
  std::uint32_t activations_ = 0;
  std::uint64_t keys_ = 0;
  std::uint64_t random_ = 0;
};

}  // namespace callboard::runtime
