#include "storage/journal.hpp"

#include "base/hash.hpp"
#include "base/log.hpp"
#include "storage/append_queue.hpp"
#include "storage/directory.hpp"
#include "storage/disk_space.hpp"
#include "storage/journal_reader.hpp"
#include "storage/journal_writer.hpp"
#include "storage/mark.hpp"
#include "storage/online_backup.hpp"
#include "storage/open_options.hpp"
#include "storage/store.hpp"
#include "storage/upkeep.hpp"

#include <fmt/format.h>

#include <mutex>
#include <utility>

namespace callboard::storage {

namespace {

/// Settings and mark of a data directory that is opened or made.
struct opened_directory {
  fixed_settings fixed;
  mark_state mark;
};

result<opened_directory> open_directory(
    const directory_paths& paths, std::uint32_t shard_count, rocksdb::FileSystem& files) {
  std::error_code ignored;
  auto settings = read_settings(paths);
  if (!settings) return std::unexpected{settings.error()};
  const bool has_mark = std::filesystem::exists(paths.mark, ignored);
  const bool has_db = std::filesystem::exists(paths.db, ignored);
  if (!*settings) {
    if (has_mark || has_db) {
      return fail(
          errc::corruption,
          fmt::format(
              "{} is missing beside a store. Nothing was changed. It can be made again by hand: "
              "see docs/formats.md \"settings\".",
              paths.settings.string()));
    }
    const fixed_settings made{
        .format = directory_format,
        .shard_count = shard_count,
        .hash_name = std::string{shard_hash_name}};
    if (auto written = write_settings(paths, made); !written) {
      return std::unexpected{written.error()};
    }
    *settings = made;
  }
  if (auto fits = check_settings(**settings, shard_count, paths); !fits) {
    return std::unexpected{fits.error()};
  }
  if (!has_mark) {
    if (has_db) {
      return fail(
          errc::corruption,
          fmt::format(
              "{} is missing, so it cannot be told whether acknowledged records are. Nothing was "
              "changed. Run `callboard journal verify`, then `callboard journal repair`.",
              paths.mark.string()));
    }
    const std::vector<std::uint64_t> nothing(shard_count, 0);
    if (auto made = create_mark(files, paths.mark.string(), nothing); !made) {
      return std::unexpected{made.error()};
    }
  }
  auto mark = read_mark(files, paths.mark.string(), shard_count);
  if (!mark) return std::unexpected{mark.error()};
  if (mark->has_bad_slot) {
    log::channel("storage")->warn(
        "{}: one of its two slots does not verify (torn by a power cut, or damaged); the other "
        "one is used",
        paths.mark.string());
  }
  return opened_directory{.fixed = std::move(**settings), .mark = std::move(*mark)};
}

class rocksdb_journal final : public journal {
public:
  rocksdb_journal(
      const config::storage_section& settings,
      std::shared_ptr<const projection> views,
      const clock& time,
      metrics& counters,
      open_options options)
      : settings_{settings},
        paths_{settings.data_dir},
        seams_{std::move(options)},
        time_{time},
        shards_{settings.shard_count},
        queue_{settings.journal_queue_bytes_max, time},
        space_{settings_, paths_, seams_, time},
        writer_{writer_parts{
            .settings = settings_,
            .paths = paths_,
            .seams = seams_,
            .time = time,
            .counters = counters,
            .shards = shards_,
            .queue = queue_,
            .space = space_,
            .views = views,
            .reclaimable = [this] { upkeep_.wake(); }}},
        upkeep_{upkeep_parts{
            .settings = settings_,
            .seams = seams_,
            .time = time,
            .counters = counters,
            .shards = shards_,
            .space = space_,
            .writer = writer_,
            .views = views}} {}

  ~rocksdb_journal() override { close(); }

  result<void> open() {
    std::error_code problem;
    std::filesystem::create_directories(paths_.root, problem);
    if (problem) {
      return fail(
          errc::io_error, fmt::format("creating {}: {}", paths_.root.string(), problem.message()));
    }
    auto lock = directory_lock::take(paths_);
    if (!lock) return std::unexpected{lock.error()};
    lock_.emplace(std::move(*lock));
    const auto files = file_system_or_default(seams_.file_system);
    auto directory = open_directory(paths_, settings_.shard_count, *files);
    if (!directory) return std::unexpected{directory.error()};
    space_.refresh();
    auto started = writer_.start(directory->mark);
    // To open needs space, too, and that is what the ballast is for.
    const auto is_full = [&] { return !started && started.error().code == errc::storage_full; };
    if (is_full() && space_.give_up_ballast()) started = writer_.start(directory->mark);
    if (is_full()) {
      return fail(
          errc::storage_full,
          fmt::format(
              "{}. Free some space on the disk of {} and start again: nothing is lost.",
              started.error().detail,
              paths_.root.string()));
    }
    if (!started) return started;
    upkeep_.start();
    is_open_ = true;
    return {};
  }

  result<activation_id> begin_activation(shard_id shard) override {
    if (!shards_.has(shard)) return no_such_shard(shard);
    auto& slot = shards_.slot(shard);
    std::unique_lock lock{slot.mutex};
    if (slot.damage) return std::unexpected{*slot.damage};
    slot.activation = slot.activation.next();
    const auto mine = slot.activation;
    // What the earlier activation has in the group under way must be known before the shard is
    // read.
    slot.settled.wait(lock, [&] { return !slot.in_flight; });
    return mine;
  }

  result<void> append(append_request request) override {
    if (!shards_.has(request.shard)) return no_such_shard(request.shard);
    if (request.records.empty()) return fail(errc::bad_request, "an append of no records");
    // While the store is being opened again appends wait in the queue.
    if (auto damage = shards_.node_damage(); damage && damage->code != errc::overloaded) {
      return std::unexpected{refusal_for(*damage)};
    }
    {
      auto& slot = shards_.slot(request.shard);
      const std::lock_guard guard{slot.mutex};
      if (slot.damage) return std::unexpected{*slot.damage};
      if (request.activation != slot.activation || request.activation <= slot.failed) {
        return fail(errc::stale_term, "the shard must be activated anew");
      }
    }
    if (auto full = space_.refusal(request.frees_space)) return std::unexpected{*full};
    return queue_.push(std::move(request));
  }

  result<std::unique_ptr<shard_reader>> read(shard_id shard) override {
    if (!shards_.has(shard)) return no_such_shard(shard);
    return journal_reader::open(shards_, shard);
  }

  shard_state state(shard_id shard) const override {
    const auto& slot = shards_.slot(shard);
    const std::lock_guard guard{slot.mutex};
    return shard_state{
        .first = slot.first,
        .applied = slot.applied,
        .committed = slot.committed,
        .term = slot.term,
        .incarnation = slot.incarnation,
        .damage = slot.damage};
  }

  time_ms shard_time(shard_id shard) const override { return shards_.slot(shard).clock.now(time_); }

  storage_status status() const override {
    const auto load = queue_.now();
    return storage_status{
        .disk_free_bytes = space_.free_bytes(),
        .log_bytes = upkeep_.log_bytes(),
        .queue_bytes = load.bytes,
        .queue_records = load.records,
        .oldest_queued_age = load.oldest_age,
        .below_soft = space_.is_below_soft(),
        .below_hard = space_.is_below_hard(),
        .damage = shards_.node_damage()};
  }

  std::uint32_t shard_count() const override { return shards_.shard_count(); }

  result<backup_info> backup(const std::string& target, const progress& report) override {
    // Two at work in one folder would take each other's files for left over.
    const std::unique_lock only{backup_mutex_, std::try_to_lock};
    if (!only) return fail(errc::overloaded, "another backup is being made; retry later", 5000);
    return back_up(shards_, settings_, target, report);
  }

  void close() override {
    if (!std::exchange(is_open_, false)) return;
    upkeep_.stop();
    writer_.stop();
    lock_.reset();
  }

private:
  static std::unexpected<error> no_such_shard(shard_id shard) {
    return fail(errc::bad_request, fmt::format("there is no shard {}", shard.raw()));
  }

  const config::storage_section settings_;
  const directory_paths paths_;
  const open_options seams_;
  const clock& time_;
  std::optional<directory_lock> lock_;
  store shards_;
  append_queue queue_;
  disk_space space_;
  journal_writer writer_;
  upkeep upkeep_;
  std::mutex backup_mutex_;
  bool is_open_ = false;
};

}  // namespace

result<std::unique_ptr<journal>> open_journal(
    const config::storage_section& settings,
    std::shared_ptr<const projection> views,
    const clock& time,
    metrics& counters,
    open_options options) {
  auto opened = std::make_unique<rocksdb_journal>(
      settings, std::move(views), time, counters, std::move(options));
  if (auto done = opened->open(); !done) return std::unexpected{done.error()};
  return opened;
}

result<std::unique_ptr<journal>> journal::open(
    const config::storage_section& settings,
    std::shared_ptr<const projection> views,
    const clock& time,
    metrics& counters) {
  return open_journal(settings, std::move(views), time, counters, {});
}

}  // namespace callboard::storage
