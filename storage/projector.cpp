#include "storage/projector.hpp"

#include "storage/keys.hpp"

#include <algorithm>
#include <ranges>
#include <utility>

namespace callboard::storage {

namespace {

constexpr char snapshot_format = 1;

void put(
    rocksdb::WriteBatch& into,
    database& db,
    family which,
    std::string_view key,
    std::string_view value) {
  // A batch in memory takes anything; its only failure is a size beyond 4 GiB.
  into.Put(db.handle(which), key, value).PermitUncheckedError();
}

}  // namespace

void projector::note(entity_head& head, const record& written) {
  head.last = written.lsn;
  if (is_sequenced(written.kind)) {
    head.last_seq = written.entity_seq;
    head.dies_below_snapshot = written.kind == record_kind::group_progress;
  }
}

result<tail_block_ptr>
projector::reread(database& db, shard_id shard, const block_bytes& bytes, lsn first) {
  block_reader reader{bytes, first};
  if (auto sound = reader.open(); !sound) return std::unexpected{sound.error()};
  auto block = std::make_shared<tail_block>();
  block->shard = shard;
  block->first = first;
  block->span = reader.span();
  block->bytes = bytes;
  entry_collector entries;
  entries.start(first);
  record next;
  while (reader.next_trusted(next) == block_step::record) {
    auto head = heads_.get(db, shard, next.entity);
    if (!head) return std::unexpected{head.error()};
    auto added = entries.add(next, next.payload.view(), (*head)->slots);
    if (!added) return std::unexpected{added.error()};
    block->time = next.time;
  }
  block->entries = entries.take_entries();
  block->changes = entries.take_changes();
  return block;
}

result<void> projector::project(
    database& from,
    const tail_block& block,
    std::uint8_t view_generation,
    rocksdb::WriteBatch& into) {
  into.SetSavePoint();
  read_records(block);
  auto done = project_rows(from, block, into);
  if (done) done = apply_views(from, block.shard, records_, view_generation, into);
  records_.clear();
  const auto status = done ? into.PopSavePoint() : into.RollbackToSavePoint();
  if (!done) {
    for (const auto& [head, before] : heads_before_ | std::views::reverse)
      head->head = before;
    index_.drop_block();
    return done;
  }
  if (!status.ok()) return std::unexpected{error_of(status, "projecting")};
  index_.keep_block();
  for (const auto& one : block_heads_) {
    if (!std::exchange(one.head->is_changed, true)) heads_changed_.push_back(one);
  }
  return {};
}

void projector::finish_pass(database& to, rocksdb::WriteBatch& into) {
  for (const auto& one : std::exchange(heads_changed_, {})) {
    one.head->is_changed = false;
    encode(value_, one.head->head);
    put(into, to, family::index, keys::head_row(one.shard, one.entity), value_);
  }
  index_.write(to, into);
  pass_.write(to, into);
}

void projector::read_records(const tail_block& block) {
  records_.clear();
  block_reader reader{block.bytes, block.first};
  if (!reader.open()) return;
  record next;
  while (reader.next_trusted(next) == block_step::record)
    records_.push_back(std::move(next));
}

result<void> projector::note_records(database& from, shard_id shard) {
  heads_before_.clear();
  cached_head* head = nullptr;
  entity_id head_of{};
  for (const auto& one : records_) {
    if (head == nullptr || one.entity != head_of) {
      if (creates_entity(one.kind)) {
        head = &heads_.make(shard, one.entity);
      } else {
        auto found = heads_.get(from, shard, one.entity);
        if (!found) return std::unexpected{found.error()};
        head = *found;
      }
      heads_before_.emplace_back(head, head->head);
    }
    head_of = one.entity;
    note(head->head, one);
  }
  return {};
}

result<void>
projector::project_rows(database& from, const tail_block& block, rocksdb::WriteBatch& into) {
  block_heads_.clear();
  if (auto noted = note_records(from, block.shard); !noted) return noted;
  for (const auto& entry : block.entries) {
    index_.add(block, entry);
    auto head = heads_.get(from, block.shard, entry.entity);
    if (!head) return std::unexpected{head.error()};
    block_heads_.push_back({block.shard, entry.entity, *head});
  }
  for (const auto& change : block.changes) {
    auto head = heads_.get(from, block.shard, change.entity);
    if (!head) return std::unexpected{head.error()};
    apply_change(from, block, change, **head, into);
  }
  if (block.first == lsn{1}) {
    value_.clear();
    append_little(value_, block.first.raw());
    const auto term = records_.empty() ? term_id{1} : records_.front().term;
    put(into,
        from,
        family::meta,
        keys::meta_row(block.shard.raw(), keys::meta_tag::term, term.raw()),
        value_);
  }
  return {};
}

void projector::apply_change(
    database& from,
    const tail_block& block,
    const block_change& change,
    cached_head& cached,
    rocksdb::WriteBatch& into) {
  auto& head = cached.head;
  lsn replaced{};
  std::optional<lsn> looked_at;
  switch (change.kind) {
  case record_kind::trimmed:
    head.floor = std::max(head.floor, change.up_to);
    replaced = std::exchange(head.trim_lsn, change.lsn);
    break;
  case record_kind::snapshot:
    head.covered = change.up_to;
    replaced = std::exchange(head.snapshot_lsn, change.lsn);
    encode_snapshot_value(value_, change.up_to, change.lsn, payload_at(block, change.lsn));
    put(into, from, family::snapshot, keys::snapshot_row(block.shard, change.entity), value_);
    break;
  case record_kind::presence_restated: {
    const lsn floor{change.up_to.raw()};
    looked_at = std::exchange(head.presence_floor, std::max(head.presence_floor, floor));
    break;
  }
  default:
    head.deleted_lsn = change.lsn;
    into.Delete(
            from.handle(family::snapshot),
            std::string_view{keys::snapshot_row(block.shard, change.entity)})
        .PermitUncheckedError();
    break;
  }
  value_.clear();
  append_little(value_, replaced.raw());
  if (looked_at) append_little(value_, looked_at->raw());
  put(into, from, family::meta, keys::reclaim_row(block.shard, change.entity, change.lsn), value_);
}

std::string_view projector::payload_at(const tail_block&, lsn at) const {
  const auto found = std::ranges::lower_bound(records_, at, {}, &record::lsn);
  return found == records_.end() ? std::string_view{} : found->payload.view();
}

result<void> projector::apply_views(
    database& from,
    shard_id shard,
    std::span<const record> records,
    std::uint8_t view_generation,
    rocksdb::WriteBatch& into) {
  pass_.enter(from, into, shard, view_generation);
  views_->apply(records, pass_);
  if (auto failure = pass_.take_failure()) {
    pass_.drop_block();
    return std::unexpected{*failure};
  }
  pass_.keep_block();
  return {};
}

void projector::put_views_version(
    database& from, shard_id shard, std::uint32_t version, rocksdb::WriteBatch& into) {
  char value[4];
  store_little(value, version);
  put(into,
      from,
      family::meta,
      keys::meta_row(shard.raw(), keys::meta_tag::views),
      {value, sizeof(value)});
}

void projector::put_applied(
    database& from,
    shard_id shard,
    lsn applied,
    std::uint8_t view_generation,
    rocksdb::WriteBatch& into) {
  char value[9];
  store_little(value, applied.raw());
  value[8] = static_cast<char>(view_generation);
  put(into,
      from,
      family::meta,
      keys::meta_row(shard.raw(), keys::meta_tag::applied),
      {value, sizeof(value)});
}

void projector::end_pass() {
  for (const auto& one : std::exchange(heads_changed_, {}))
    one.head->is_changed = false;
  pass_.reset();
  index_.reset();
  records_.clear();
}

void encode_snapshot_value(std::string& out, sequence covered, lsn at, std::string_view state) {
  out.clear();
  out.push_back(snapshot_format);
  append_little(out, covered.raw());
  append_little(out, at.raw());
  out.append(state);
}

result<snapshot_value> decode_snapshot_value(std::string_view in) {
  if (in.size() < 17 || in[0] != snapshot_format) {
    return fail(errc::corruption, "a snapshot row does not parse");
  }
  return snapshot_value{
      .covered = sequence{load_little<std::uint64_t>(in.data() + 1)},
      .at = lsn{load_little<std::uint64_t>(in.data() + 9)},
      .state = in.substr(17)};
}

}  // namespace callboard::storage
