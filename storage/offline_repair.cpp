// Rebuilding what can still be read of a damaged data directory into a new one.
#include "base/hash.hpp"
#include "base/log.hpp"
#include "storage/head_table.hpp"
#include "storage/keys.hpp"
#include "storage/liveness.hpp"
#include "storage/mark.hpp"
#include "storage/offline.hpp"
#include "storage/projector.hpp"
#include "storage/recovery.hpp"
#include "storage/stopped_store.hpp"

#include <fmt/format.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <map>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace callboard::storage {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t batch_bytes = 4 << 20;
constexpr std::size_t heads_max = 1 << 20;

/// Copies the readable part of one shard and projects it anew.
class shard_repair {
public:
  shard_repair(
      database& from,
      database& to,
      shard_id shard,
      std::shared_ptr<const projection> views,
      repair_report& report)
      : from_{from},
        to_{to},
        shard_{shard},
        old_{from, shard},
        heads_{heads_max},
        views_{std::move(views)},
        projector_{views_, heads_},
        report_{report} {}

  /// `acknowledged`: the mark's lsn, if it is known. Returns the last lsn kept.
  result<lsn> run(std::optional<lsn> acknowledged) {
    acknowledged_ = acknowledged;
    result<void> outcome;
    visit_readable_blocks(
        from_,
        shard_,
        [&](const block_bytes& bytes, lsn first) {
          outcome = keep(bytes, first);
          return outcome.has_value() && !is_over_;
        },
        [&](damage_report damage) {
          is_lossy_ = true;
          report_.damage.push_back(std::move(damage));
        });
    if (!outcome) return std::unexpected{outcome.error()};
    const lsn last{expected_.raw() - 1};
    if (acknowledged && *acknowledged > last) lose(*acknowledged);
    if (auto done = finish(last); !done) return std::unexpected{done.error()};
    return last;
  }

private:
  struct gap {
    entity_id entity;
    std::uint64_t first;
    std::uint64_t last;
  };

  /// Everything up to `to` is gone.
  void lose(lsn to) {
    report_.damage.push_back(
        {.file = "db (log)",
         .shard = shard_.raw(),
         .lsn = expected_.raw(),
         .what = fmt::format("lsns {} to {} are missing", expected_.raw(), to.raw())});
    report_.records_lost += to.raw() + 1 - expected_.raw();
    lost_.emplace_back(expected_.raw(), to.raw());
    is_lossy_ = true;
    expected_ = to.next();
  }

  /// Of two blocks that have the same lsns nothing says which was acknowledged: the one before
  /// stays.
  void report_overlap(lsn first) {
    report_.damage.push_back(
        {.file = "db (log)",
         .shard = shard_.raw(),
         .lsn = first.raw(),
         .what = fmt::format(
             "the block that begins here is left out: the one before it goes up to lsn {}",
             expected_.raw() - 1)});
    is_lossy_ = true;
  }

  result<void> keep(const block_bytes& found, lsn first) {
    if (first < expected_) {
      report_overlap(first);
      return {};
    }
    while (first > expected_) {
      auto hole = hole_at(from_, shard_, expected_);
      if (hole && *hole) {
        put_hole(expected_, **hole);
        expected_ = (*hole)->next();
        continue;
      }
      // A power cut took it, and nobody was promised anything from here on.
      is_over_ = acknowledged_ && expected_ > *acknowledged_;
      if (is_over_) {
        // The mark may be a second old, so that whoever reads on has to hear of it.
        is_lossy_ = true;
        report_.damage.push_back(
            {.file = "db (log)",
             .shard = shard_.raw(),
             .lsn = expected_.raw(),
             .what = "is missing, and what is behind it was not acknowledged: left out"});
        return {};
      }
      put_hole(expected_, lsn{first.raw() - 1});
      lose(lsn{first.raw() - 1});
    }
    auto bytes = without_left_over(found, first);
    if (!bytes) return std::unexpected{bytes.error()};
    if (!*bytes) return {};
    auto block = projector_.reread(to_, shard_, *bytes, first);
    if (!block) return std::unexpected{block.error()};
    if (auto done = projector_.project(to_, **block, 0, batch_); !done) {
      if (done.error().code != errc::corruption) return done;
      // Kept, it would quarantine the shard again: it counts as missing.
      report_.damage.push_back(without_views(shard_, first, done.error()));
      return {};
    }
    note_gaps(*bytes, first);
    const auto key = keys::log_block(shard_, first);
    batch_.Put(to_.handle(family::log), std::string_view{key}, **bytes).PermitUncheckedError();
    expected_ = (*block)->last().next();
    return batch_.GetDataSize() < batch_bytes ? result<void>{} : flush();
  }

  /// Without records of entities that were deleted, and without what is left behind: a block that
  /// lives for others may still have some, and projected again they would be back. Null: there is
  /// nothing else in it.
  result<block_bytes> without_left_over(const block_bytes& bytes, lsn first) {
    block_reader reader{bytes, first};
    if (auto sound = reader.open(); !sound) return std::unexpected{sound.error()};
    block_builder rest;
    rest.start(first);
    record next;
    while (reader.next_trusted(next) == block_step::record) {
      if (creates_entity(next.kind)) created_.insert(next.entity.raw());
      if (!is_left_over(next.entity) && !old_.is_left_behind(next).value_or(false)) {
        rest.add(next, next.payload.view());
      }
    }
    if (rest.count() == reader.count()) return bytes;
    if (rest.empty()) {
      put_hole(first, reader.last());
      expected_ = reader.last().next();
      return block_bytes{};
    }
    rest.extend_to(reader.last());
    return std::make_shared<const std::string>(rest.finish());
  }

  /// What made it is gone, not by damage, and the old store knows nothing of it any more.
  [[nodiscard]] bool is_left_over(entity_id entity) {
    if (created_.contains(entity.raw())) return false;
    const auto [known, is_new] = left_over_.try_emplace(entity.raw(), false);
    if (!is_new) return known->second;
    const bool is_lost = std::ranges::any_of(lost_, [&](const auto& range) {
      return range.first <= entity.raw() && entity.raw() <= range.second;
    });
    const auto head = old_.head_of(entity);
    known->second = !is_lost && head && !*head;
    return known->second;
  }

  void note_gaps(const block_bytes& bytes, lsn first) {
    block_reader reader{bytes, first};
    if (!reader.open()) return;
    record next;
    while (reader.next_trusted(next) == block_step::record) {
      ++report_.records_kept;
      if (!is_sequenced(next.kind)) continue;
      auto& last = last_seqs_[next.entity.raw()];
      const auto seq = next.entity_seq.raw();
      if (seq > last + 1) gaps_.push_back({next.entity, last + 1, seq - 1});
      last = seq;
    }
  }

  void put_hole(lsn first, lsn last) {
    char value[8];
    store_little(value, last.raw());
    const auto key = keys::meta_row(shard_.raw(), keys::meta_tag::hole, first.raw());
    batch_.Put(to_.handle(family::meta), std::string_view{key}, rocksdb::Slice{value, 8})
        .PermitUncheckedError();
  }

  result<void> flush() {
    projector_.finish_pass(to_, batch_);
    auto written =
        checked(to_.raw().Write(rocksdb::WriteOptions{}, &batch_), "writing the new store");
    batch_.Clear();
    projector_.end_pass();
    heads_.forget_old();
    return written;
  }

  /// Sequences that are gone and not trimmed are written down as lost, so that reads pass them.
  result<void> put_lost_rows() {
    for (const auto& [entity, first, last] : gaps_) {
      auto head = heads_.get(to_, shard_, entity);
      if (!head) return std::unexpected{head.error()};
      if (last <= (*head)->head.dead_floor().raw()) continue;
      char value[8];
      store_little(value, last);
      const auto key = keys::index_row(shard_, entity, keys::index_class::lost, first);
      batch_.Put(to_.handle(family::index), std::string_view{key}, rocksdb::Slice{value, 8})
          .PermitUncheckedError();
    }
    return {};
  }

  result<void> finish(lsn last) {
    if (auto done = flush(); !done) return done;
    if (auto done = put_lost_rows(); !done) return done;
    const auto position = locate_shard(from_, shard_);
    if (!position) is_lossy_ = true;
    put_incarnation(to_, shard_, is_lossy_ ? draw_incarnation() : position->incarnation, batch_);
    projector::put_views_version(to_, shard_, views_->version(), batch_);
    projector::put_applied(to_, shard_, last, 0, batch_);
    return flush();
  }

  database& from_;
  database& to_;
  shard_id shard_;
  /// By the heads of the old store.
  liveness old_;
  head_table heads_;
  std::shared_ptr<const projection> views_;
  projector projector_;
  repair_report& report_;
  rocksdb::WriteBatch batch_;
  lsn expected_{1};
  std::optional<lsn> acknowledged_;
  bool is_over_ = false;
  bool is_lossy_ = false;
  std::map<std::uint64_t, std::uint64_t> last_seqs_;
  std::vector<gap> gaps_;
  std::unordered_set<std::uint64_t> created_;
  std::unordered_map<std::uint64_t, bool> left_over_;
  /// By damage: from the first of these lsns to the second.
  std::vector<std::pair<std::uint64_t, std::uint64_t>> lost_;
};

/// The first of `<root>.<word>-1`, `-2`, … that does not exist.
fs::path free_name(const fs::path& root, std::string_view word) {
  for (int n = 1;; ++n) {
    const fs::path candidate{fmt::format("{}.{}-{}", root.string(), word, n)};
    std::error_code ignored;
    if (!fs::exists(candidate, ignored)) return candidate;
  }
}

result<void> copy_store(const directory_paths& paths, const fs::path& scratch) {
  std::error_code problem;
  fs::remove_all(scratch, problem);
  if (!problem) fs::copy(paths.db, scratch, fs::copy_options::recursive, problem);
  if (problem) return fail(errc::io_error, "copying the store: " + problem.message());
  return {};
}

/// Opens what there is, or else a copy of it; if not even that works, lets RocksDB rebuild its own
/// files there.
result<std::shared_ptr<database>>
open_damaged(const directory_paths& paths, const fs::path& scratch, repair_report& report) {
  auto opened = database::open(paths.db.string(), open_mode::salvage, {});
  if (opened) return opened;
  report.damage.push_back(
      {.file = paths.db.string(), .shard = 0, .lsn = 0, .what = opened.error().detail});
  if (auto copied = copy_store(paths, scratch); !copied) return std::unexpected{copied.error()};
  opened = database::open(scratch.string(), open_mode::salvage_copy, {});
  if (opened) return opened;
  if (auto copied = copy_store(paths, scratch); !copied) return std::unexpected{copied.error()};
  return database::rebuild(scratch.string());
}

result<std::uint32_t> shard_count_of(const directory_paths& paths, repair_report& report) {
  auto settings = read_settings(paths);
  if (settings && *settings) return (*settings)->shard_count;
  if (!settings && settings.error().code != errc::corruption) {
    return std::unexpected{settings.error()};
  }
  report.damage.push_back(
      {.file = paths.settings.string(), .shard = 0, .lsn = 0, .what = "missing or damaged"});
  // The mark knows the number, too.
  auto count = shard_count_of_mark(*rocksdb::FileSystem::Default(), paths.mark.string());
  if (count) return *count;
  return fail(
      errc::corruption,
      fmt::format(
          "neither {} nor {} says how many shards there are: make the settings file again by "
          "hand, see docs/formats.md \"settings\"",
          paths.settings.string(),
          paths.mark.string()));
}

result<void> put_in_place(const directory_paths& old, const fs::path& made) {
  std::error_code problem;
  fs::rename(old.root, free_name(old.root, "damaged"), problem);
  if (!problem) fs::rename(made, old.root, problem);
  if (problem) return fail(errc::io_error, "putting the new store in place: " + problem.message());
  return {};
}

}  // namespace

result<repair_report> repair_directory(
    const std::string& data_dir, std::shared_ptr<const projection> views, const progress& report) {
  const directory_paths old{fs::path{data_dir}.lexically_normal()};
  auto lock = lock_existing(old);
  if (!lock) return std::unexpected{lock.error()};
  repair_report found;
  auto shard_count = shard_count_of(old, found);
  if (!shard_count) return std::unexpected{shard_count.error()};
  auto& files = *rocksdb::FileSystem::Default();
  auto mark = read_mark(files, old.mark.string(), *shard_count);
  if (!mark) {
    found.damage.push_back(
        {.file = old.mark.string(), .shard = 0, .lsn = 0, .what = mark.error().detail});
  }
  const directory_paths made{free_name(old.root, "repaired")};
  std::error_code problem;
  fs::create_directories(made.db, problem);
  if (problem) return fail(errc::io_error, "creating " + made.db.string());
  const auto scratch = made.root / "salvage";
  auto from = open_damaged(old, scratch, found);
  if (!from) return std::unexpected{from.error()};
  auto to = database::open(made.db.string(), open_mode::create, {});
  if (!to) return std::unexpected{to.error()};
  std::vector<std::uint64_t> lsns;
  for (std::uint32_t i = 0; i < *shard_count; ++i) {
    shard_repair repair{**from, **to, shard_id{i}, views, found};
    auto last = repair.run(mark ? std::optional{lsn{mark->lsns[i]}} : std::nullopt);
    if (!last) return std::unexpected{last.error()};
    lsns.push_back(last->raw());
    if (report) report(i + 1, *shard_count);
  }
  if (auto synced = checked((*to)->raw().SyncWAL(), "syncing the new store"); !synced) {
    return std::unexpected{synced.error()};
  }
  from->reset();
  to->reset();
  fs::remove_all(scratch, problem);
  auto done = write_settings(
      made,
      {.format = directory_format,
       .shard_count = *shard_count,
       .hash_name = std::string{shard_hash_name}});
  if (done) done = create_mark(files, made.mark.string(), lsns);
  if (done) done = put_in_place(old, made.root);
  if (!done) return std::unexpected{done.error()};
  return found;
}

}  // namespace callboard::storage
