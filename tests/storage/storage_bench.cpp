// Measures the journal alone: records of 256 B, appends of 64, several topics and shards.
// Usage: storage_bench [folder] [records] [appends in flight] [records per append]
#include "base/clock.hpp"
#include "base/metrics.hpp"
#include "storage/journal.hpp"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <semaphore>

using namespace callboard;
using namespace callboard::storage;

namespace {

class no_views final : public projection {
public:
  [[nodiscard]] std::uint32_t version() const override { return 1; }

  void apply(std::span<const record> block, view_writer& out) const override {
    std::string ids;
    for (const auto& next : block)
      ids.append(next.payload.view().substr(0, 16));
    out.put(view_id::dedupe, std::to_string(block.front().lsn.raw()), ids);
  }
};

}  // namespace

int main(int count, char** arguments) {
  const std::string folder = count > 1 ? arguments[1] : "/tmp/callboard-storage-bench";
  const auto records = count > 2 ? std::strtoull(arguments[2], nullptr, 10) : 2'000'000ULL;
  const auto in_flight = count > 3 ? std::atoi(arguments[3]) : 32;
  const auto per_append = count > 4 ? std::strtoull(arguments[4], nullptr, 10) : 64ULL;
  std::filesystem::remove_all(folder);
  config::storage_section settings;
  settings.data_dir = folder;
  const callboard::system_clock time;
  metrics counters;
  const auto opening = std::chrono::steady_clock::now();
  auto opened = storage::journal::open(settings, std::make_shared<no_views>(), time, counters);
  const auto seconds_since = [](auto start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  if (!opened) {
    std::printf("%s\n", opened.error().detail.c_str());
    return 1;
  }
  std::printf("open %.1f ms\n", seconds_since(opening) * 1000);
  auto& journal = **opened;
  constexpr std::uint32_t topics = 16;
  std::vector<activation_id> activations;
  std::vector<entity_id> entities;
  std::vector<std::uint64_t> last(topics, 0);
  for (std::uint32_t i = 0; i < topics; ++i) {
    activations.push_back(journal.begin_activation(shard_id{i}).value());
    std::binary_semaphore done{0};
    append_request create{.shard = shard_id{i}, .activation = activations[i]};
    create.records.push_back({.kind = record_kind::topic_created, .payload = shared_bytes{"t"}});
    create.listener = [&](append_stage, const result<append_receipt>& receipt) {
      entities.push_back(entity_id{receipt.value().first.raw()});
      done.release();
    };
    static_cast<void>(journal.append(std::move(create)));
    done.acquire();
  }
  const shared_bytes payload{std::string(256, 'x')};
  std::counting_semaphore<> slots{in_flight};
  std::atomic<std::uint64_t> failed{0};
  const auto start = std::chrono::steady_clock::now();
  for (std::uint64_t sent = 0; sent < records; sent += per_append) {
    const auto topic = static_cast<std::uint32_t>((sent / per_append) % topics);
    slots.acquire();
    append_request request{.shard = shard_id{topic}, .activation = activations[topic]};
    request.records.reserve(per_append);
    for (std::uint64_t i = 0; i < per_append; ++i) {
      request.records.push_back(
          {.kind = record_kind::event,
           .entity = entities[topic],
           .entity_seq = sequence{++last[topic]},
           .payload = payload});
    }
    request.listener = [&](append_stage, const result<append_receipt>& receipt) {
      if (!receipt) ++failed;
      slots.release();
    };
    if (!journal.append(std::move(request))) ++failed;
  }
  for (int i = 0; i < in_flight; ++i)
    slots.acquire();
  const auto elapsed = seconds_since(start);
  std::printf(
      "append %.0f records/s, %llu failed\n",
      static_cast<double>(records) / elapsed,
      static_cast<unsigned long long>(failed.load()));
  for (int pass = 0; pass < 2; ++pass) {
    const auto reading = std::chrono::steady_clock::now();
    std::uint64_t seen = 0;
    for (std::uint32_t i = 0; i < topics; ++i) {
      auto reader = journal.read(shard_id{i});
      auto done = (*reader)->visit_entity(entities[i], sequence{1}, [&](const record&) {
        ++seen;
        return true;
      });
      if (!done) std::printf("%s\n", done.error().detail.c_str());
    }
    std::printf(
        "read %.0f records/s (%llu)\n",
        static_cast<double>(seen) / seconds_since(reading),
        static_cast<unsigned long long>(seen));
  }
  const auto closing = std::chrono::steady_clock::now();
  journal.close();
  std::printf("close %.1f ms\n", seconds_since(closing) * 1000);
  opened->reset();
  const auto again = std::chrono::steady_clock::now();
  auto reopened = storage::journal::open(settings, std::make_shared<no_views>(), time, counters);
  std::printf(
      "open again %.1f ms %s\n",
      seconds_since(again) * 1000,
      reopened ? "" : reopened.error().detail.c_str());
  std::filesystem::remove_all(folder);
  return 0;
}
