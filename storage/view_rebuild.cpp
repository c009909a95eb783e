#include "storage/view_rebuild.hpp"

#include "base/log.hpp"
#include "storage/journal_writer.hpp"
#include "storage/keys.hpp"
#include "storage/liveness.hpp"
#include "storage/recovery.hpp"

#include <utility>

namespace callboard::storage {

namespace {

/// Records applied per step, and left to the writer for the last one.
constexpr std::uint64_t step_records = 20'000;
constexpr std::uint64_t handover_records = 1'000;

}  // namespace

result<void> rebuild_views(
    database& db,
    projector& with,
    shard_id shard,
    std::uint8_t generation,
    lsn after,
    lsn last,
    presence_floors& floors,
    rocksdb::WriteBatch& changes) {
  liveness live{db, shard};
  std::vector<record> records;
  auto done = visit_blocks(
      db, shard, after, last, [&](const block_bytes& bytes, lsn first, lsn) -> result<bool> {
        block_reader reader{bytes, first};
        if (auto sound = reader.open(); !sound) return std::unexpected{sound.error()};
        records.clear();
        record next;
        while (reader.next_trusted(next) == block_step::record) {
          if (next.lsn <= after || next.lsn > last) continue;
          const auto head = live.head_of(next.entity);
          if (!head) return std::unexpected{head.error()};
          const bool exists = *head && !(*head)->is_deleted();
          // One that is dead may have set a timer or brought a member, and what undid that may be
          // gone.
          if (exists && is_of_presence(next.kind)) {
            const auto floor = floors.try_emplace(next.entity.raw(), (*head)->presence_floor).first;
            if (next.lsn < floor->second) continue;
          } else if (exists && next.kind == record_kind::workflow_progress) {
            auto counts = live.is_live(next);
            if (!counts) return std::unexpected{counts.error()};
            if (!*counts) continue;
          }
          // What is not applied yet has no head, but cannot have been deleted either.
          if (exists || ends_entity(next.kind)) {
            records.push_back(std::move(next));
          }
        }
        if (records.empty()) return true;
        auto applied = with.apply_views(db, shard, records, generation, changes);
        if (!applied) return std::unexpected{applied.error()};
        return true;
      });
  if (done) with.finish_pass(db, changes);
  return done;
}

view_rebuild::view_rebuild(store& shards, std::shared_ptr<const projection> views)
    : shards_{shards}, views_{std::move(views)}, heads_{2}, projector_{views_, heads_} {}

std::optional<shard_id> view_rebuild::next_outdated() const {
  for (std::uint32_t i = 0; i < shards_.shard_count(); ++i) {
    const auto& slot = shards_.slot(shard_id{i});
    const std::lock_guard guard{slot.mutex};
    if (!slot.damage && slot.view_version != views_->version()) return shard_id{i};
  }
  return std::nullopt;
}

bool view_rebuild::step(database& db, journal_writer& writer) {
  // What is newer than `progress_` is added there, once.
  if (is_handed_over_ && writer.is_switching_views()) return false;
  // Done, or lost with the database.
  if (std::exchange(is_handed_over_, false)) current_.reset();
  const auto wanted = next_outdated();
  if (!wanted) {
    current_.reset();
    return false;
  }
  result<void> done;
  if (current_ != wanted) {
    done = begin(db, *wanted);
    current_ = wanted;
  }
  lsn applied;
  {
    const auto& slot = shards_.slot(*wanted);
    const std::lock_guard guard{slot.mutex};
    applied = slot.applied;
  }
  if (done && applied.raw() > progress_.raw() + handover_records) {
    done = advance(db, std::min(applied, progress_.plus(step_records)));
  } else if (done) {
    is_handed_over_ = writer.switch_views(*wanted, generation_, progress_, floors_);
  }
  if (!done) {
    current_.reset();
    if (done.error().code == errc::corruption) shards_.quarantine(*wanted, done.error());
    return false;
  }
  return !is_handed_over_;
}

result<void> view_rebuild::begin(database& db, shard_id shard) {
  auto at = locate_shard(db, shard);
  if (!at) return std::unexpected{at.error()};
  log::channel("storage")->info("shard {}: rebuilding views", shard.raw());
  generation_ = static_cast<std::uint8_t>(at->view_generation + 1);
  progress_ = lsn{at->first.raw() - 1};
  floors_ = std::make_shared<presence_floors>();
  // Of a rebuild that did not come to its end.
  std::string begin;
  std::string end;
  keys::view_row(begin, shard, generation_, view_id{0}, {});
  keys::view_row(end, shard, generation_, view_id{255}, {});
  return checked(
      db.raw().DeleteRange(rocksdb::WriteOptions{}, db.handle(family::view), begin, end),
      "rebuilding views");
}

result<void> view_rebuild::advance(database& db, lsn up_to) {
  rocksdb::WriteBatch changes;
  auto done =
      rebuild_views(db, projector_, *current_, generation_, progress_, up_to, *floors_, changes);
  if (done) {
    done = checked(db.raw().Write(rocksdb::WriteOptions{}, &changes), "rebuilding views");
  }
  projector_.end_pass();
  if (done) progress_ = up_to;
  return done;
}

}  // namespace callboard::storage
