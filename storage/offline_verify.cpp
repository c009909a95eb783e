// Verifying and dumping the data directory of a stopped node.
#include "storage/entity_head.hpp"
#include "storage/head_table.hpp"
#include "storage/index_walk.hpp"
#include "storage/keys.hpp"
#include "storage/liveness.hpp"
#include "storage/offline.hpp"
#include "storage/projector.hpp"
#include "storage/recovery.hpp"
#include "storage/stopped_store.hpp"
#include "storage/wal_check.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

namespace callboard::storage {

namespace {

/// What the log says about one entity.
struct entity_trace {
  lsn last{};
  std::uint64_t last_seq = 0;
  /// Gaps in its sequence: first missing, last missing.
  std::vector<std::pair<std::uint64_t, std::uint64_t>> gaps;
  std::vector<std::uint64_t> applied_seqs;
};

/// Checks one shard: blocks, density, chains, sequences, views, index.
class shard_check {
public:
  shard_check(
      database& db, shard_id shard, std::shared_ptr<const projection> views, verify_report& report)
      : db_{db},
        shard_{shard},
        live_{db, shard},
        projector_{std::move(views), heads_},
        report_{report} {}

  void run(std::optional<lsn> acknowledged) {
    auto position = locate_shard(db_, shard_);
    if (position) {
      applied_ = position->applied;
      // A rebuild that did not come to its end may have left rows of the next one.
      no_rows_ = static_cast<std::uint8_t>(position->view_generation + 2);
    } else {
      damaged(lsn{}, position.error().detail);
    }
    visit_readable_blocks(
        db_,
        shard_,
        [this](const block_bytes& bytes, lsn first) {
          take_block(bytes, first);
          return true;
        },
        [this](damage_report damage) { report_.damage.push_back(std::move(damage)); });
    const lsn last{expected_.raw() - 1};
    if (acknowledged && last < *acknowledged) {
      damaged(
          last,
          fmt::format(
              "ends at lsn {}, but lsn {} was acknowledged", last.raw(), acknowledged->raw()));
    }
    if (applied_ > last) damaged(last, "views stand for more than the log has");
    check_entities();
  }

private:
  void damaged(lsn at, std::string what) {
    report_.damage.push_back(
        {.file = "db (log)", .shard = shard_.raw(), .lsn = at.raw(), .what = std::move(what)});
  }

  void take_block(const block_bytes& bytes, lsn first) {
    while (first > expected_) {
      const auto hole = hole_at(db_, shard_, expected_);
      if (hole && *hole) {
        expected_ = (*hole)->next();
        continue;
      }
      damaged(
          expected_, fmt::format("lsns {} to {} are missing", expected_.raw(), first.raw() - 1));
      expected_ = first;
    }
    if (first < expected_) {
      damaged(
          first,
          fmt::format(
              "the block that begins here has lsns of the one before, which goes up to lsn {}",
              expected_.raw() - 1));
    }
    block_reader reader{bytes, first};
    if (!reader.open()) return;
    report_.bytes += bytes->size();
    record next;
    viewed_.clear();
    while (reader.next_trusted(next) == block_step::record) {
      take_record(next);
      if (makes_rows(next)) viewed_.push_back(next);
    }
    take_views(first);
    blocks_.push_back(first.raw());
    expected_ = reader.last().next();
  }

  [[nodiscard]] bool makes_rows(const record& one) {
    if (one.lsn > applied_) return true;
    const auto head = live_.head_of(one.entity);
    const bool exists = head && *head && !(*head)->is_deleted();
    return ends_entity(one.kind) || (exists && !live_.is_left_behind(one).value_or(false));
  }

  /// The rows are kept in memory only, as if none had been made yet.
  void take_views(lsn first) {
    auto applied = projector_.apply_views(db_, shard_, viewed_, no_rows_, never_written_);
    never_written_.Clear();
    if (!applied) report_.damage.push_back(without_views(shard_, first, applied.error()));
  }

  void take_record(const record& next) {
    ++report_.records;
    auto& trace = entities_[next.entity.raw()];
    if (next.previous < trace.last || next.previous >= next.lsn) {
      damaged(
          next.lsn,
          fmt::format(
              "record names lsn {} as the one before it of entity {}, the log has {}",
              next.previous.raw(),
              next.entity.raw(),
              trace.last.raw()));
    }
    trace.last = next.lsn;
    if (!is_sequenced(next.kind)) return;
    const auto seq = next.entity_seq.raw();
    if (seq <= trace.last_seq) {
      damaged(next.lsn, fmt::format("entity {} has sequence {} twice", next.entity.raw(), seq));
      return;
    }
    if (seq != trace.last_seq + 1) trace.gaps.emplace_back(trace.last_seq + 1, seq - 1);
    trace.last_seq = seq;
    if (next.lsn <= applied_) trace.applied_seqs.push_back(seq);
  }

  void check_entities() {
    for (const auto& [entity, trace] : entities_)
      check_entity(entity_id{entity}, trace);
  }

  void check_entity(entity_id entity, const entity_trace& trace) {
    std::string row;
    const auto exists = db_.get(family::index, keys::head_row(shard_, entity), row);
    if (!exists) return damaged(trace.last, exists.error().detail);
    const auto head = *exists ? decode_head(row) : std::optional{entity_head{}};
    if (!head) return damaged(trace.last, "head row does not parse");
    // Without a head the entity was deleted, and these are its remains.
    if (!*exists && trace.last <= applied_) return;
    const auto floor = head->dead_floor().raw();
    for (const auto& [first, last] : trace.gaps) {
      if (last > floor && !is_lost(entity, std::max(first, floor + 1), last)) {
        damaged(
            trace.last,
            fmt::format("entity {}: sequences {} to {} are missing", entity.raw(), first, last));
      }
    }
    check_index(entity, trace, floor);
  }

  bool is_lost(entity_id entity, std::uint64_t first, std::uint64_t last) {
    const auto rows = db_.iterate(family::index, nullptr, nullptr);
    const auto key = keys::index_row(shard_, entity, keys::index_class::lost, first);
    rows->SeekForPrev(std::string_view{key});
    return rows->Valid()
           && keys::is_index_row(
               rows->key().ToStringView(), shard_, entity, keys::index_class::lost)
           && rows->value().size() == 8 && load_little<std::uint64_t>(rows->value().data()) >= last;
  }

  void check_index(entity_id entity, const entity_trace& trace, std::uint64_t floor) {
    const auto live =
        std::ranges::count_if(trace.applied_seqs, [&](std::uint64_t seq) { return seq > floor; });
    std::int64_t indexed = 0;
    index_walk index{db_, shard_, entity, keys::index_class::sequenced, nullptr};
    for (auto segment = index.seek(0);; segment = index.next()) {
      if (!segment) return damaged(trace.last, segment.error().detail);
      if (*segment == nullptr) break;
      const auto first = (*segment)->number;
      const auto end = first + (*segment)->count;
      if (end <= floor + 1) continue;
      if (!std::ranges::binary_search(blocks_, (*segment)->block.raw())) {
        damaged(
            (*segment)->block,
            fmt::format("the index of entity {} names a block that does not exist", entity.raw()));
      }
      indexed += static_cast<std::int64_t>(end - std::max(first, floor + 1));
    }
    if (indexed != live) {
      damaged(
          trace.last,
          fmt::format(
              "entity {}: {} live records, {} of them in the index", entity.raw(), live, indexed));
    }
  }

  database& db_;
  shard_id shard_;
  liveness live_;
  head_table heads_{2};
  projector projector_;
  verify_report& report_;
  /// A generation of view rows that the store has none of.
  std::uint8_t no_rows_ = 2;
  std::vector<record> viewed_;
  rocksdb::WriteBatch never_written_;
  lsn applied_{};
  lsn expected_{1};
  std::vector<std::uint64_t> blocks_;
  std::unordered_map<std::uint64_t, entity_trace> entities_;
};

/// Where something is missing. What stands behind a place that does not verify is damage only if
/// any of it was acknowledged: a power cut takes any pages of what was not.
void verify_logs(const directory_paths& paths, verify_report& report) {
  for (const auto& file : wal_files(paths.db)) {
    const auto found = check_wal(file);
    if (found.is_sound || !found.has_more) continue;
    report.damage.push_back(
        {.file = file.string(),
         .shard = 0,
         .lsn = 0,
         .what = fmt::format(
             "does not verify at byte {} of {}, and sound records follow",
             found.offset,
             found.size)});
  }
}

std::optional<mark_state>
verify_mark(const directory_paths& paths, std::uint32_t shard_count, verify_report& report) {
  const auto report_mark = [&](std::string what) {
    report.damage.push_back(
        {.file = paths.mark.string(), .shard = 0, .lsn = 0, .what = std::move(what)});
  };
  auto mark = read_mark(*rocksdb::FileSystem::Default(), paths.mark.string(), shard_count);
  if (!mark) {
    report_mark(mark.error().detail);
    return std::nullopt;
  }
  if (mark->has_bad_slot) {
    report_mark("one of its two slots does not verify: torn by a power cut, or damaged");
  }
  return *mark;
}

}  // namespace

result<verify_report> verify_directory(
    const std::string& data_dir, std::shared_ptr<const projection> views, const progress& report) {
  const directory_paths paths{data_dir};
  auto lock = lock_existing(paths);
  if (!lock) return std::unexpected{lock.error()};
  verify_report found;
  auto settings = read_settings(paths);
  if (!settings && settings.error().code != errc::corruption) {
    return std::unexpected{settings.error()};
  }
  if (!settings || !*settings) {
    found.damage.push_back(
        {.file = paths.settings.string(),
         .shard = 0,
         .lsn = 0,
         .what = settings ? "is missing" : settings.error().detail});
    return found;
  }
  found.shards = (*settings)->shard_count;
  const auto mark = verify_mark(paths, found.shards, found);
  auto db = database::open(paths.db.string(), open_mode::read_only, {});
  if (!db) {
    found.damage.push_back(
        {.file = paths.db.string(), .shard = 0, .lsn = 0, .what = db.error().detail});
    verify_logs(paths, found);
    return found;
  }
  verify_tables(**db, found.damage);
  for (std::uint32_t i = 0; i < found.shards; ++i) {
    const auto acknowledged = mark ? std::optional{lsn{mark->lsns[i]}} : std::nullopt;
    shard_check{**db, shard_id{i}, views, found}.run(acknowledged);
    if (report) report(i + 1, found.shards);
  }
  if (!found.damage.empty()) verify_logs(paths, found);
  return found;
}

result<void> dump_directory(
    const std::string& data_dir,
    std::optional<shard_id> shard,
    lsn from,
    const std::function<bool(shard_id, const record&)>& visit) {
  auto opened = open_stopped(data_dir, open_mode::read_only);
  if (!opened) return std::unexpected{opened.error()};
  if (shard && shard->raw() >= opened->fixed.shard_count) {
    return fail(errc::not_found, fmt::format("there is no shard {}", shard->raw()));
  }
  const auto first = shard ? shard->raw() : 0;
  const auto end = shard ? shard->raw() + 1 : opened->fixed.shard_count;
  bool wanted = true;
  for (auto i = first; i < end && wanted; ++i) {
    auto at = locate_shard(*opened->db, shard_id{i});
    if (!at) return std::unexpected{at.error()};
    const auto start = std::max({from, at->first, lsn{1}});
    auto done = visit_blocks(
        *opened->db,
        shard_id{i},
        lsn{start.raw() - 1},
        at->last,
        [&](const block_bytes& bytes, lsn block, lsn) -> result<bool> {
          block_reader reader{bytes, block};
          if (auto sound = reader.open(); !sound) return std::unexpected{sound.error()};
          record next;
          while (wanted && reader.next(next) == block_step::record) {
            if (next.lsn >= start) wanted = visit(shard_id{i}, next);
          }
          return wanted;
        });
    if (!done) return done;
  }
  return {};
}

}  // namespace callboard::storage
