#include "storage/recovery.hpp"

#include "base/log.hpp"
#include "base/random.hpp"
#include "storage/keys.hpp"
#include "storage/wal_check.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace callboard::storage {

namespace {

error in_shard(shard_id shard, const error& why) {
  return {why.code, fmt::format("shard {}: {}", shard.raw(), why.detail)};
}

result<void> read_meta(database& db, shard_id shard, shard_position& out) {
  std::string value;
  auto applied = db.get(family::meta, keys::meta_row(shard.raw(), keys::meta_tag::applied), value);
  if (!applied) return std::unexpected{applied.error()};
  if (*applied) {
    if (value.size() != 9) return fail(errc::corruption, "applied row does not parse");
    out.applied = lsn{load_little<std::uint64_t>(value.data())};
    out.view_generation = static_cast<std::uint8_t>(value[8]);
  }
  auto incarnation =
      db.get(family::meta, keys::meta_row(shard.raw(), keys::meta_tag::incarnation), value);
  if (!incarnation) return std::unexpected{incarnation.error()};
  if (*incarnation) {
    if (value.size() != 8) return fail(errc::corruption, "incarnation row does not parse");
    out.incarnation = incarnation_id{load_little<std::uint64_t>(value.data())};
  }
  auto views = db.get(family::meta, keys::meta_row(shard.raw(), keys::meta_tag::views), value);
  if (!views) return std::unexpected{views.error()};
  if (*views) {
    if (value.size() != 4) return fail(errc::corruption, "views row does not parse");
    out.view_version = load_little<std::uint32_t>(value.data());
  }
  return {};
}

result<void> read_ends(database& db, shard_id shard, shard_position& out) {
  const auto begin = keys::shard_prefix(shard.raw());
  const auto end = keys::shard_prefix(shard.raw() + 1);
  const rocksdb::Slice lower = std::string_view{begin};
  const rocksdb::Slice upper = std::string_view{end};
  const auto rows = db.iterate(family::log, &lower, &upper);
  rows->SeekToLast();
  if (!rows->Valid()) return checked(rows->status(), "reading the log");
  const auto first = keys::lsn_of_log_block(rows->key().ToStringView());
  block_reader reader{std::make_shared<const std::string>(rows->value().ToString()), first};
  if (auto sound = reader.open(); !sound) return sound;
  record next;
  for (auto step = reader.next(next); step != block_step::end; step = reader.next(next)) {
    if (step == block_step::bad) return std::unexpected{reader.problem()};
    out.last_time = next.time;
  }
  out.last = reader.last();
  rows->SeekToFirst();
  if (rows->Valid()) out.first = keys::lsn_of_log_block(rows->key().ToStringView());
  return checked(rows->status(), "reading the log");
}

result<void> inspect_shard(database& db, shard_id shard, lsn acknowledged) {
  auto at = locate_shard(db, shard);
  if (!at) return std::unexpected{at.error()};
  if (at->last < acknowledged) {
    return fail(
        errc::corruption,
        fmt::format(
            "shard {} ends at lsn {}, but lsn {} was acknowledged",
            shard.raw(),
            at->last.raw(),
            acknowledged.raw()));
  }
  if (at->applied > at->last) {
    return fail(
        errc::corruption,
        fmt::format(
            "shard {} ends at lsn {}, but its views stand for lsn {}",
            shard.raw(),
            at->last.raw(),
            at->applied.raw()));
  }
  return visit_blocks(
      db, shard, at->applied, at->last, [](const auto&, lsn, lsn) -> result<bool> { return true; });
}

/// A new mark file has generations 1 and 2 and no lsns.
bool was_used(const mark_state& mark) {
  return mark.generation > 2 || std::ranges::any_of(mark.lsns, [](auto at) { return at != 0; });
}

error with_advice(const error& why, const directory_paths& paths) {
  if (why.code != errc::corruption) return why;
  const auto where = describe_wal_damage(paths);
  return {
      errc::corruption,
      fmt::format(
          "{} is damaged: {}{}{}. Nothing was changed. Run `callboard journal verify`, then "
          "`callboard journal repair` or restore a backup.",
          paths.db.string(),
          why.detail,
          where.empty() ? "" : "; ",
          where)};
}

}  // namespace

incarnation_id draw_incarnation() {
  std::uint64_t drawn = 0;
  while (drawn == 0)
    drawn = random_64();
  return incarnation_id{drawn};
}

void put_incarnation(
    database& db, shard_id shard, incarnation_id incarnation, rocksdb::WriteBatch& batch) {
  char value[8];
  store_little(value, incarnation.raw());
  const auto key = keys::meta_row(shard.raw(), keys::meta_tag::incarnation);
  batch.Put(db.handle(family::meta), std::string_view{key}, rocksdb::Slice{value, sizeof value})
      .PermitUncheckedError();
}

result<shard_position> locate_shard(database& db, shard_id shard) {
  shard_position found;
  auto done = read_meta(db, shard, found);
  if (done) done = read_ends(db, shard, found);
  if (!done) return std::unexpected{in_shard(shard, done.error())};
  return found;
}

result<std::optional<lsn>> hole_at(database& db, shard_id shard, lsn at) {
  const auto begin = keys::meta_row(shard.raw(), keys::meta_tag::hole);
  const auto key = keys::meta_row(shard.raw(), keys::meta_tag::hole, at.raw());
  const rocksdb::Slice lower = std::string_view{begin};
  const auto rows = db.iterate(family::meta, &lower, nullptr);
  rows->SeekForPrev(std::string_view{key});
  if (!rows->Valid()) {
    if (auto sound = checked(rows->status(), "reading holes"); !sound) {
      return std::unexpected{sound.error()};
    }
    return std::nullopt;
  }
  if (rows->value().size() != 8) return fail(errc::corruption, "hole row does not parse");
  const lsn last{load_little<std::uint64_t>(rows->value().data())};
  if (last < at) return std::nullopt;
  return last;
}

result<void>
visit_blocks(database& db, shard_id shard, lsn after, lsn last, const block_visitor& visit) {
  if (after >= last) return {};
  const auto begin = keys::shard_prefix(shard.raw());
  const auto end = keys::shard_prefix(shard.raw() + 1);
  const rocksdb::Slice lower = std::string_view{begin};
  const rocksdb::Slice upper = std::string_view{end};
  const auto rows = db.iterate(family::log, &lower, &upper);
  const auto start = keys::log_block(shard, after.next());
  rows->SeekForPrev(std::string_view{start});
  if (!rows->Valid()) rows->Seek(std::string_view{start});
  auto expected = after.next();
  for (; rows->Valid() && expected <= last; rows->Next()) {
    const auto first = keys::lsn_of_log_block(rows->key().ToStringView());
    while (first > expected) {
      auto hole = hole_at(db, shard, expected);
      if (!hole) return std::unexpected{in_shard(shard, hole.error())};
      if (!*hole) {
        return fail(
            errc::corruption,
            fmt::format("shard {}: lsn {} is missing", shard.raw(), expected.raw()));
      }
      expected = (*hole)->next();
    }
    const auto bytes = std::make_shared<const std::string>(rows->value().ToString());
    block_reader reader{bytes, first};
    if (auto sound = reader.open(); !sound) {
      return std::unexpected{in_shard(shard, sound.error())};
    }
    if (reader.last() < expected) continue;
    record next;
    auto step = reader.next(next);
    while (step == block_step::record)
      step = reader.next(next);
    if (step == block_step::bad) return std::unexpected{in_shard(shard, reader.problem())};
    auto go_on = visit(bytes, first, reader.last());
    if (!go_on) return std::unexpected{go_on.error()};
    if (!*go_on) return {};
    expected = reader.last().next();
  }
  if (auto sound = checked(rows->status(), "reading the log"); !sound) {
    return std::unexpected{in_shard(shard, sound.error())};
  }
  if (expected <= last) {
    return fail(
        errc::corruption, fmt::format("shard {}: lsn {} is missing", shard.raw(), expected.raw()));
  }
  return {};
}

result<void> inspect_store(
    const directory_paths& paths, const mark_state& mark, const database_options& options) {
  auto db = database::open(paths.db.string(), open_mode::read_only, options);
  if (!db) {
    // The very first opening may have ended half way, before anything could be acknowledged;
    // opening for writing decides.
    if (!was_used(mark)) return {};
    auto why = db.error();
    // A store that cannot even be opened to read, although its files can be, is damaged: a flipped
    // bit in CURRENT or MANIFEST shows as a file that does not exist.
    if (why.code == errc::io_error) why.code = errc::corruption;
    return std::unexpected{with_advice(why, paths)};
  }
  for (std::uint32_t i = 0; i < mark.lsns.size(); ++i) {
    auto sound = inspect_shard(**db, shard_id{i}, lsn{mark.lsns[i]});
    if (!sound) return std::unexpected{with_advice(sound.error(), paths)};
  }
  return {};
}

result<std::shared_ptr<database>>
open_store(const directory_paths& paths, const mark_state& mark, const database_options& options) {
  std::error_code ignored;
  const bool is_new = !std::filesystem::exists(paths.db / "CURRENT", ignored);
  if (is_new && was_used(mark)) {
    return fail(
        errc::corruption,
        fmt::format(
            "{} is missing, but records were acknowledged. Nothing was changed.",
            (paths.db / "CURRENT").string()));
  }
  if (!is_new) {
    if (auto sound = inspect_store(paths, mark, options); !sound) {
      return std::unexpected{sound.error()};
    }
  }
  std::filesystem::create_directories(paths.db, ignored);
  return database::open(
      paths.db.string(), was_used(mark) ? open_mode::read_write : open_mode::create, options);
}

std::string describe_wal_damage(const directory_paths& paths) {
  for (const auto& file : wal_files(paths.db)) {
    const auto checked = check_wal(file);
    if (checked.is_sound) continue;
    return fmt::format(
        "{} does not verify at byte {} of {} ({})",
        file.string(),
        checked.offset,
        checked.size,
        checked.has_more ? "sound records follow: this is damage, not an unfinished write"
                         : "nothing sound follows");
  }
  return {};
}

}  // namespace callboard::storage
