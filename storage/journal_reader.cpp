#include "storage/journal_reader.hpp"

#include "storage/keys.hpp"
#include "storage/projector.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>

namespace callboard::storage {

result<std::unique_ptr<shard_reader>> journal_reader::open(store& shards, shard_id shard) {
  auto db = shards.acquire();
  const auto damage = shards.node_damage();
  if (!db || (damage && damage->code == errc::overloaded)) {
    if (damage && damage->code == errc::corruption) return fail(errc::quarantined, damage->detail);
    return fail(errc::overloaded, "the store is being opened again", 100);
  }
  std::unique_ptr<journal_reader> reader{new journal_reader{shards, shard, std::move(db)}};
  auto& slot = shards.slot(shard);
  const std::lock_guard guard{slot.mutex};
  if (slot.damage) return std::unexpected{*slot.damage};
  reader->committed_ = slot.committed;
  reader->applied_ = slot.applied;
  reader->tail_ = slot.tail.above(slot.applied);
  return reader;
}

journal_reader::~journal_reader() {
  if (snapshot_ != nullptr) db_->raw().ReleaseSnapshot(snapshot_);
}

/// The tail was copied before, so together they have no gap; what both show is filtered by lsn. The
/// rows may tell of records that were committed since, which are then looked at, too.
void journal_reader::take_snapshot() const {
  if (snapshot_ != nullptr) return;
  snapshot_ = db_->raw().GetSnapshot();
  std::string value;
  auto exists = db_->get(
      family::meta, keys::meta_row(shard_.raw(), keys::meta_tag::applied), value, snapshot_);
  if (exists && *exists && value.size() == 9) {
    applied_ = std::max(applied_, lsn{load_little<std::uint64_t>(value.data())});
    committed_ = std::max(committed_, applied_);
    view_generation_ = static_cast<std::uint8_t>(value[8]);
  }
}

lsn journal_reader::applied() const {
  take_snapshot();
  return applied_;
}

std::unexpected<error> journal_reader::damaged(const error& why) const {
  if (why.code == errc::corruption) {
    shards_.quarantine(shard_, why);
    return fail(errc::quarantined, why.detail);
  }
  return std::unexpected{why};
}

result<void> journal_reader::visit_tail(const record_visitor& visit) {
  take_snapshot();
  for (const auto& block : tail_) {
    if (block->last() <= applied_) continue;
    block_reader reader{block->bytes, block->first};
    if (auto sound = reader.open(); !sound) return damaged(sound.error());
    record next;
    while (reader.next_trusted(next) == block_step::record) {
      if (next.lsn > applied_ && !visit(next)) return {};
    }
  }
  return {};
}

result<void> journal_reader::visit_tail_of(entity_id entity, const record_visitor& visit) {
  take_snapshot();
  for (const auto& block : tail_) {
    if (block->last() <= applied_) continue;
    if (std::ranges::find(block->entries, entity, &block_entry::entity) == block->entries.end()) {
      continue;
    }
    block_reader reader{block->bytes, block->first};
    if (auto sound = reader.open(); !sound) return damaged(sound.error());
    record next;
    while (reader.next_trusted(next) == block_step::record) {
      if (next.lsn > applied_ && next.entity == entity && !visit(next)) return {};
    }
  }
  return {};
}

result<entity_head> journal_reader::head_of(entity_id entity, const rocksdb::Snapshot* at) const {
  std::string row;
  auto exists = db_->get(family::index, keys::head_row(shard_, entity), row, at);
  if (!exists) return damaged(exists.error());
  if (!*exists) return entity_head{};
  const auto head = decode_head(row);
  if (!head) {
    return damaged(
        {errc::corruption,
         fmt::format("shard {}: head row of entity {}", shard_.raw(), entity.raw())});
  }
  return *head;
}

result<entity_head> journal_reader::current_head(entity_id entity) const {
  take_snapshot();
  auto head = head_of(entity, snapshot_);
  if (!head) return head;
  for (const auto& block : tail_) {
    if (block->last() <= applied_) continue;
    for (const auto& entry : block->entries) {
      if (entry.entity != entity) continue;
      if (!entry.is_sequenced) continue;
      head->last_seq = sequence{entry.first + entry.count - 1};
      head->dies_below_snapshot = entry.dies_below_snapshot;
    }
    for (const auto& change : block->changes) {
      if (change.entity != entity) continue;
      if (change.kind == record_kind::trimmed) head->floor = std::max(head->floor, change.up_to);
      if (change.kind == record_kind::snapshot) head->covered = change.up_to;
      if (ends_entity(change.kind)) {
        head->deleted_lsn = change.lsn;
      }
    }
  }
  return head;
}

result<std::optional<shard_reader::span>> journal_reader::entity_span(entity_id entity) {
  auto head = current_head(entity);
  if (!head) return std::unexpected{head.error()};
  if (head->last_seq.raw() == 0 || head->last_seq <= head->dead_floor()) return std::nullopt;
  return span{.first = head->dead_floor().next(), .last = head->last_seq};
}

result<std::optional<shard_reader::snapshot_row>> journal_reader::snapshot(entity_id entity) {
  take_snapshot();
  for (const auto& block : tail_ | std::views::reverse) {
    if (block->last() <= applied_) break;
    for (const auto& change : block->changes | std::views::reverse) {
      if (change.entity != entity) continue;
      if (ends_entity(change.kind)) return std::nullopt;
      if (change.kind != record_kind::snapshot) continue;
      block_reader reader{block->bytes, block->first};
      record found;
      auto sound = reader.open();
      if (!sound || reader.skip_to(change.lsn) != block_step::record
          || reader.next(found) != block_step::record) {
        return damaged(reader.problem());
      }
      return snapshot_row{.covered = change.up_to, .state = found.payload};
    }
  }
  std::string row;
  auto exists = db_->get(family::snapshot, keys::snapshot_row(shard_, entity), row, snapshot_);
  if (!exists) return damaged(exists.error());
  if (!*exists) return std::nullopt;
  auto value = decode_snapshot_value(row);
  if (!value) return damaged(value.error());
  const auto covered = value->covered;
  const auto offset = row.size() - value->state.size();
  return snapshot_row{.covered = covered, .state = shared_bytes{std::move(row)}.from(offset)};
}

result<std::optional<std::string>> journal_reader::get(view_id view, std::string_view key) {
  take_snapshot();
  std::string row;
  keys::view_row(row, shard_, view_generation_, view, key);
  std::string value;
  auto exists = db_->get(family::view, row, value, snapshot_);
  if (!exists) return damaged(exists.error());
  if (!*exists) return std::nullopt;
  return value;
}

result<void> journal_reader::scan(
    view_id view, std::string_view first, std::string_view last, const row_visitor& visit) {
  take_snapshot();
  std::string begin;
  std::string end;
  keys::view_row(begin, shard_, view_generation_, view, first);
  if (last.empty()) {
    const auto after = static_cast<view_id>(static_cast<std::uint8_t>(view) + 1);
    keys::view_row(end, shard_, view_generation_, after, {});
  } else {
    keys::view_row(end, shard_, view_generation_, view, last);
  }
  if (begin >= end) return {};
  const rocksdb::Slice lower{begin};
  const rocksdb::Slice upper{end};
  const auto rows = db_->iterate(family::view, &lower, &upper, snapshot_);
  for (rows->SeekToFirst(); rows->Valid(); rows->Next()) {
    const auto key = rows->key().ToStringView().substr(keys::view_prefix_size);
    if (!visit(key, rows->value().ToStringView())) return {};
  }
  if (auto sound = checked(rows->status(), "reading views"); !sound) return damaged(sound.error());
  return {};
}

}  // namespace callboard::storage
