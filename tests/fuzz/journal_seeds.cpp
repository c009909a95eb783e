// Inputs for journal_records_fuzz to begin with, from journals of real nodes:
//   journal_seeds OUT DATA_DIR...
// What no such journal has is made here. Fails if a reader would begin with nothing.
#include "proto/journal.pb.h"
#include "runtime/group/group_codec.hpp"
#include "runtime/presence/presence_codec.hpp"
#include "runtime/queue/queue_codec.hpp"
#include "runtime/topic/topic_codec.hpp"
#include "storage/index_row.hpp"
#include "storage/keys.hpp"
#include "storage/projector.hpp"
#include "storage/stopped_store.hpp"

#include "tests/fuzz/journal_readers.hpp"

#include <algorithm>
#include <array>
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

storage::record as_record(storage::record_kind kind, std::string payload) {
  storage::record made;
  made.kind = kind;
  made.entity_seq = sequence{9};
  made.payload = shared_bytes{std::move(payload)};
  return made;
}

/// A topic's end, presence, a queue's end and its audit.
std::vector<storage::record> rare_records(const topic_ref& topic, const queue_ref& queue) {
  using enum storage::record_kind;
  std::vector<storage::record> made;
  made.push_back(as_record(trimmed, std::string{runtime::encode_trimmed(sequence{4}, 100).view()}));
  made.push_back(as_record(trimmed, runtime::encode_queue_trimmed(sequence{4})));
  runtime::presence_batch batch;
  batch.version = 3;
  batch.joined_or_updated = {{"ann", R"({"at":1})", 3, true}, {"bob", "{}", 2, true}};
  batch.left = {"carl"};
  made.push_back(as_record(presence_changed, runtime::encode_presence_changed(topic, batch)));
  made.push_back(as_record(presence_restated, runtime::encode_presence_changed(topic, batch)));
  const runtime::task_audit audit{
      "eve",
      "redrive",
      {runtime::task_id{3}, runtime::task_id{5}},
      time_ms{std::chrono::seconds{9}}};
  made.push_back(as_record(task_audited, runtime::encode_task_audit(audit)));
  made.push_back(as_record(queue_closed, runtime::encode_queue_deleted({queue, true})));
  runtime::ends_told told;
  told.tasks = {runtime::task_id{3}, runtime::task_id{5}};
  told.origins = {"w.1.2", "w.1.3"};
  told.all = true;
  made.push_back(as_record(task_ends_told, runtime::encode_ends_told(told)));
  made.push_back(as_record(queue_deleted, runtime::encode_queue_deleted({queue, false})));
  made.push_back(as_record(
      topic_deleted, std::string{runtime::encode_topic_deleted(topic, sequence{9}).view()}));
  return made;
}

/// What the golden journals do not have.
void offer_rare(seed_folder& seeds) {
  const auto tenant = tenant_name::parse("acme");
  const auto topic = topic_name::parse("orders");
  const auto queue = queue_name::parse("chores");
  if (!tenant || !topic || !queue) return;
  std::string projected;
  for (const auto& one : rare_records({*tenant, *topic}, {*tenant, *queue})) {
    offer_record(one, seeds);
    tests::add_projected(projected, one, 1);
  }
  seeds.offer(projected, {"projected"});

  journal::PresenceMember member;
  member.set_member("ann");
  member.set_state(R"({"at":1})");
  member.set_version(3);
  seeds.offer(member.SerializeAsString(), {"presence_member"});
  journal::PresenceTopic named;
  named.set_tenant("acme");
  named.set_topic("orders");
  seeds.offer(named.SerializeAsString(), {"presence_topic"});

  runtime::ending_row ending;
  ending.ending = {runtime::task_id{3}, "w.1.2", runtime::task_end::completed, 2, R"({"n":1})"};
  ending.place = sequence{8};
  seeds.offer(runtime::encode_ending_row(ending), {"ending_row"});

  runtime::group_progress progress;
  progress.nonce = 9;
  progress.delivered = {{sequence{1}, sequence{6}}};
  progress.acked = {{sequence{2}, sequence{2}}, {sequence{4}, sequence{5}}};
  progress.pending = {
      {sequence{3}, 2, time_ms{std::chrono::seconds{5}}, {{1, {}, "m", "nack", "why"}}, 0}};
  runtime::group_ledger ledger;
  ledger.apply(progress);
  const auto state = runtime::encode_group_snapshot(ledger, {});
  seeds.offer(state, {"group_snapshot"});
  std::string row;
  storage::encode_snapshot_value(row, sequence{6}, lsn{20}, state);
  seeds.offer(row, {"snapshot_value"});

  const storage::index_segment first{
      .number = 1, .block = lsn{5}, .span = 3, .count = 2, .runs = {"\0\2", 2}};
  auto second = first;
  second.number = 4;
  second.block = lsn{300};
  second.time = time_ms{std::chrono::seconds{9}};
  storage::encode_index_row(row, std::array{first, second});
  seeds.offer(row, {"index_row"});
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
