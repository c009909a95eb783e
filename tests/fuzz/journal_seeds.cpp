// Inputs for journal_records_fuzz to begin with, from journals of real nodes:
//   journal_seeds OUT DATA_DIR...
// What no such journal has is made here. Fails if a reader would begin with nothing.
#include "runtime/queue/queue_codec.hpp"
#include "runtime/topic/event_batch.hpp"
#include "storage/block.hpp"
#include "storage/keys.hpp"
#include "storage/projector.hpp"
#include "storage/stopped_store.hpp"

#include "tests/fuzz/journal_readers.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace callboard;
using tests::journal_readers;

/// Of one reader: enough to see every shape, and few enough to be read in a second.
constexpr std::size_t seeds_max = 100;
/// Larger ones say no more and are slow to change.
constexpr std::size_t seed_size_max = 16 << 10;

using names = std::initializer_list<std::string_view>;

class seed_folder {
public:
  explicit seed_folder(std::filesystem::path to) : to_{std::move(to)} {
    std::filesystem::create_directories(to_);
  }

  /// A seed of those of the readers that understand `bytes`. Of one size one is kept.
  void offer(std::string_view bytes, names to) {
    if (bytes.size() > seed_size_max) return;
    const auto readers = journal_readers();
    for (std::size_t i = 0; i < readers.size(); ++i) {
      if (std::ranges::find(to, readers[i].name) == to.end()) continue;
      auto& sizes = sizes_[i];
      if (sizes.size() == seeds_max || sizes.contains(bytes.size())) continue;
      if (!readers[i].read(bytes)) continue;
      sizes.insert(bytes.size());
      std::ofstream file{
          to_ / (std::string{readers[i].name} + '-' + std::to_string(bytes.size())),
          std::ios::binary};
      file << static_cast<char>(i) << bytes;
    }
  }

  /// Says how many each has; false if one has none.
  [[nodiscard]] bool is_complete() const {
    bool all = true;
    const auto readers = journal_readers();
    for (std::size_t i = 0; i < readers.size(); ++i) {
      const auto found = sizes_.find(i);
      const auto count = found == sizes_.end() ? 0 : found->second.size();
      if (count == 0) all = false;
      std::printf("%s %zu\n", std::string{readers[i].name}.c_str(), count);
    }
    return all;
  }

private:
  std::filesystem::path to_;
  std::map<std::size_t, std::set<std::size_t>> sizes_;
};

/// The same records, as a block that begins where read_block expects it.
std::string moved(const storage::block_bytes& bytes, lsn first) {
  storage::block_reader reader{bytes, first};
  storage::block_builder builder;
  builder.start(lsn{7});
  storage::record next;
  if (!reader.open()) return {};
  while (reader.next(next) == storage::block_step::record) {
    const auto payload = next.payload;
    next.lsn = builder.next();
    next.previous = lsn{};
    builder.add(next, payload.view());
  }
  return builder.finish();
}

void offer_record(const storage::record& one, seed_folder& seeds) {
  using enum storage::record_kind;
  const auto payload = one.payload.view();
  seeds.offer(payload, {"changed_block"});
  switch (one.kind) {
  case topic_created:
  case topic_configured:
    return seeds.offer(payload, {"topic_record"});
  case topic_deleted:
    return seeds.offer(payload, {"topic_deleted"});
  case event:
    // What follows the identity and the hash.
    return seeds.offer(payload.substr(runtime::event_prefix_size), {"run_event"});
  case trimmed:
    return seeds.offer(payload, {"trimmed", "queue_trimmed"});
  case group_progress:
    return seeds.offer(payload, {"group_progress"});
  case queue_created:
  case queue_configured:
    return seeds.offer(payload, {"queue_definition"});
  case queue_deleted:
  case queue_closed:
    return seeds.offer(payload, {"queue_deleted"});
  case task_enqueued:
  case task_restated:
    return seeds.offer(payload, {"stored_task"});
  case task_progress:
    return seeds.offer(payload, {"task_progress"});
  case task_audited:
    return seeds.offer(payload, {"task_audit"});
  case task_ends_told:
    return seeds.offer(payload, {"ends_told"});
  case workflow_progress:
    return seeds.offer(payload, {"workflow_progress"});
  default:
    return;
  }
}

void offer_records(storage::database& db, shard_id shard, seed_folder& seeds) {
  // Of one entity each, and of the whole shard.
  std::map<std::uint64_t, std::string> projected;
  storage::visit_readable_blocks(
      db,
      shard,
      [&](const storage::block_bytes& bytes, lsn first) {
        seeds.offer(moved(bytes, first), {"block"});
        storage::block_reader reader{bytes, first};
        if (!reader.open()) return true;
        storage::record next;
        while (reader.next(next) == storage::block_step::record) {
          offer_record(next, seeds);
          for (const auto entity : {next.entity.raw(), std::uint64_t{0}}) {
            if (projected[entity].size() + next.payload.size() > seed_size_max) continue;
            tests::add_projected(
                projected[entity], next, static_cast<std::uint8_t>(next.entity.raw()));
          }
        }
        return true;
      },
      [](const storage::damage_report&) {});
  for (const auto& [entity, records] : projected)
    seeds.offer(records, {"projected"});
}

void offer_view_row(std::string_view key, std::string_view value, seed_folder& seeds) {
  const auto name = key.substr(storage::keys::view_prefix_size);
  switch (static_cast<storage::view_id>(key[storage::keys::view_prefix_size - 1])) {
  case storage::view_id::catalogue: {
    std::string with_key(1, static_cast<char>(name.size()));
    with_key += name;
    with_key += value;
    seeds.offer(with_key, {"catalogue_row"});
    return seeds.offer(value, {"group_row", "queue_row"});
  }
  case storage::view_id::presence:
    return seeds.offer(value, {"presence_member", "presence_topic"});
  case storage::view_id::workflow:
    return seeds.offer(value, {"workflow_row"});
  case storage::view_id::queue_task:
    return seeds.offer(value, {"task_row"});
  case storage::view_id::queue_counters:
    return seeds.offer(value, {"queue_counters"});
  case storage::view_id::queue_audit:
    return seeds.offer(value, {"task_audit"});
  case storage::view_id::queue_ending:
    return seeds.offer(value, {"ending_row"});
  case storage::view_id::queue_gone:
    return seeds.offer(value, {"queue_deleted"});
  default:
    return;
  }
}

void offer_rows(storage::database& db, seed_folder& seeds) {
  const auto index = db.iterate(storage::family::index, nullptr, nullptr);
  for (index->SeekToFirst(); index->Valid(); index->Next()) {
    const auto kind = storage::keys::class_of_index_row(index->key().ToStringView());
    const bool is_head = kind == storage::keys::index_class::head;
    seeds.offer(index->value().ToStringView(), {is_head ? "head" : "index_row"});
  }
  const auto snapshots = db.iterate(storage::family::snapshot, nullptr, nullptr);
  for (snapshots->SeekToFirst(); snapshots->Valid(); snapshots->Next()) {
    const auto value = snapshots->value().ToStringView();
    seeds.offer(value, {"snapshot_value"});
    if (const auto read = storage::decode_snapshot_value(value)) {
      seeds.offer(read->state, {"group_snapshot"});
    }
  }
  const auto views = db.iterate(storage::family::view, nullptr, nullptr);
  for (views->SeekToFirst(); views->Valid(); views->Next())
    offer_view_row(views->key().ToStringView(), views->value().ToStringView(), seeds);
}

/// What the golden journals do not have.
void offer_rare(seed_folder& seeds) {
  runtime::ending_row ending;
  ending.ending = {runtime::task_id{3}, "w.1.2", runtime::task_end::completed, 2, R"({"n":1})"};
  ending.place = sequence{8};
  seeds.offer(runtime::encode_ending_row(ending), {"ending_row"});
}

std::string text_of(const std::filesystem::path& file) {
  std::ifstream in{file, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
}

bool offer_directory(const std::string& data_dir, seed_folder& seeds) {
  const auto opened = storage::open_stopped(data_dir, storage::open_mode::read_only);
  if (!opened) {
    std::fprintf(stderr, "%s: %s\n", data_dir.c_str(), opened.error().detail.c_str());
    return false;
  }
  seeds.offer(text_of(opened->paths.settings), {"settings"});
  seeds.offer(text_of(opened->paths.mark), {"mark"});
  for (std::uint32_t shard = 0; shard < opened->fixed.shard_count; ++shard)
    offer_records(*opened->db, shard_id{shard}, seeds);
  offer_rows(*opened->db, seeds);
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments{argv + 1, argv + argc};
  if (arguments.size() < 2) {
    std::fprintf(stderr, "usage: journal_seeds OUT DATA_DIR...\n");
    return 2;
  }
  seed_folder seeds{arguments[0]};
  bool is_done = true;
  for (const auto& data_dir : std::span{arguments}.subspan(1))
    is_done = offer_directory(data_dir, seeds) && is_done;
  offer_rare(seeds);
  return seeds.is_complete() && is_done ? 0 : 1;
}
