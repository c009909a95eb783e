#include "storage/stopped_store.hpp"

#include "storage/block.hpp"
#include "storage/keys.hpp"

#include <fmt/format.h>
#include <rocksdb/options.h>
#include <rocksdb/sst_file_reader.h>

#include <algorithm>

namespace callboard::storage {

namespace {

/// How far a seek looks for something readable behind a damaged place, in lsns.
constexpr std::uint64_t skip_max = std::uint64_t{1} << 40;

/// A block with the records of `bytes` up to the first bad one; nothing if there is none.
block_bytes good_front(const block_bytes& bytes, lsn first, error& problem) {
  block_reader reader{bytes, first};
  if (auto sound = reader.open(); !sound) {
    problem = sound.error();
    return nullptr;
  }
  block_builder front;
  front.start(first);
  record next;
  auto step = reader.next(next);
  for (; step == block_step::record; step = reader.next(next)) {
    front.add(next, next.payload.view());
  }
  if (step == block_step::end) return bytes;
  problem = reader.problem();
  if (front.empty()) return nullptr;
  return std::make_shared<const std::string>(front.finish());
}

/// One shard's rows of the log, read past damage.
class readable_rows {
public:
  readable_rows(database& db, shard_id shard)
      : db_{db},
        shard_{shard},
        begin_{keys::shard_prefix(shard.raw())},
        end_{keys::shard_prefix(shard.raw() + 1)},
        lower_{std::string_view{begin_}},
        upper_{std::string_view{end_}} {}

  /// Goes to the first row at or after `at`; false if it cannot be read.
  bool seek(lsn at) {
    rows_ = db_.iterate(family::log, &lower_, &upper_);
    const auto key = keys::log_block(shard_, at);
    rows_->Seek(std::string_view{key});
    return rows_->status().ok();
  }

  /// The nearest lsn after `bad` from which rows can be read again.
  std::optional<lsn> skip(lsn bad) {
    std::uint64_t step = 1;
    while (step < skip_max && !seek(bad.plus(step)))
      step *= 2;
    if (step >= skip_max) return std::nullopt;
    std::uint64_t low = step / 2;
    std::uint64_t high = step;
    while (low + 1 < high) {
      const auto middle = low + (high - low) / 2;
      (seek(bad.plus(middle)) ? high : low) = middle;
    }
    return seek(bad.plus(high)) ? std::optional{bad.plus(high)} : std::nullopt;
  }

  [[nodiscard]] rocksdb::Iterator& rows() { return *rows_; }

private:
  database& db_;
  shard_id shard_;
  keys::fixed_key<4> begin_;
  keys::fixed_key<4> end_;
  rocksdb::Slice lower_;
  rocksdb::Slice upper_;
  std::unique_ptr<rocksdb::Iterator> rows_;
};

}  // namespace

result<directory_lock> lock_existing(const directory_paths& paths) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(paths.root, ignored)
      || (!std::filesystem::exists(paths.settings, ignored)
          && !std::filesystem::exists(paths.db, ignored))) {
    return fail(errc::not_found, paths.root.string() + " is not a callboard data directory");
  }
  await_unlocked(paths);
  return directory_lock::take(paths);
}

result<stopped_store> open_stopped(const std::string& data_dir, open_mode mode) {
  const directory_paths paths{data_dir};
  auto lock = lock_existing(paths);
  if (!lock) return std::unexpected{lock.error()};
  auto settings = read_settings(paths);
  if (!settings) return std::unexpected{settings.error()};
  if (!*settings) return fail(errc::corruption, paths.settings.string() + " is missing");
  auto db = database::open(paths.db.string(), mode, {});
  if (!db) return std::unexpected{db.error()};
  return stopped_store{
      .paths = paths,
      .lock = std::move(*lock),
      .fixed = std::move(**settings),
      .db = std::move(*db)};
}

void visit_readable_blocks(
    database& db,
    shard_id shard,
    const std::function<bool(const block_bytes& bytes, lsn first)>& visit,
    const std::function<void(damage_report)>& damage) {
  readable_rows log{db, shard};
  const auto report = [&](lsn at, std::string what) {
    damage({.file = "db (log)", .shard = shard.raw(), .lsn = at.raw(), .what = std::move(what)});
  };
  lsn expected{0};
  bool readable = log.seek(expected);
  for (;;) {
    if (!readable || !log.rows().status().ok()) {
      report(expected, log.rows().status().ToString());
      const auto next = log.skip(expected);
      if (!next) return;
      expected = *next;
      readable = true;
    }
    if (!log.rows().Valid()) return;
    const auto first = keys::lsn_of_log_block(log.rows().key().ToStringView());
    error problem;
    const auto whole = std::make_shared<const std::string>(log.rows().value().ToString());
    const auto bytes = good_front(whole, first, problem);
    if (bytes != whole) report(first, problem.detail);
    if (bytes) {
      block_reader reader{bytes, first};
      if (!reader.open() || !visit(bytes, first)) return;
      expected = reader.last().next();
    } else {
      expected = first.next();
    }
    log.rows().Next();
  }
}

damage_report without_views(shard_id shard, lsn first, const error& why) {
  return {
      .file = "db (log)",
      .shard = shard.raw(),
      .lsn = first.raw(),
      .what = "no view can be made of it: " + why.detail};
}

void verify_tables(database& db, std::vector<damage_report>& report) {
  std::vector<rocksdb::LiveFileMetaData> files;
  db.raw().GetLiveFilesMetaData(&files);
  for (const auto& file : files) {
    const auto path = file.db_path + file.name;
    rocksdb::SstFileReader reader{rocksdb::Options{}};
    auto status = reader.Open(path);
    if (status.ok()) status = reader.VerifyChecksum();
    if (!status.ok()) {
      report.push_back({.file = path, .shard = 0, .lsn = 0, .what = status.ToString()});
    }
  }
}

}  // namespace callboard::storage
