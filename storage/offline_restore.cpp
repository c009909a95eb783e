// Making a data directory from a backup.
#include "storage/keys.hpp"
#include "storage/mark.hpp"
#include "storage/offline.hpp"
#include "storage/recovery.hpp"
#include "storage/stopped_store.hpp"

#include <fmt/format.h>
#include <rocksdb/utilities/backup_engine.h>
#include <rocksdb/write_batch.h>

#include <memory>

namespace callboard::storage {

namespace {

/// Gives every shard a new incarnation, so that cursors of the original are told apart.
result<std::vector<std::uint64_t>> renew_incarnations(database& db, std::uint32_t shard_count) {
  rocksdb::WriteBatch batch;
  std::vector<std::uint64_t> lsns;
  for (std::uint32_t i = 0; i < shard_count; ++i) {
    auto at = locate_shard(db, shard_id{i});
    if (!at) return std::unexpected{at.error()};
    lsns.push_back(at->last.raw());
    put_incarnation(db, shard_id{i}, draw_incarnation(), batch);
  }
  rocksdb::WriteOptions synced;
  synced.sync = true;
  auto written = checked(db.raw().Write(synced, &batch), "writing the new incarnations");
  if (!written) return std::unexpected{written.error()};
  return lsns;
}

result<backup_info> restore_store(
    const directory_paths& backup, const directory_paths& paths, std::uint32_t shard_count) {
  rocksdb::BackupEngineReadOnly* opened = nullptr;
  rocksdb::Status status = rocksdb::BackupEngineReadOnly::Open(
      rocksdb::Env::Default(), rocksdb::BackupEngineOptions{backup.db.string()}, &opened);
  if (!status.ok()) return std::unexpected{error_of(status, "opening the backup")};
  const std::unique_ptr<rocksdb::BackupEngineReadOnly> engine{opened};
  std::vector<rocksdb::BackupInfo> all;
  engine->GetBackupInfo(&all);
  if (all.empty()) return fail(errc::not_found, backup.root.string() + " holds no backup");
  const auto& newest = all.back();
  status = engine->VerifyBackup(newest.backup_id, true);
  if (!status.ok()) return std::unexpected{error_of(status, "verifying the backup")};
  status = engine->RestoreDBFromBackup(newest.backup_id, paths.db.string(), paths.db.string());
  if (!status.ok()) return std::unexpected{error_of(status, "restoring the backup")};
  auto mark = decode_mark(newest.app_metadata, shard_count, "the mark inside the backup");
  if (!mark) return std::unexpected{mark.error()};
  auto db = open_store(paths, *mark, {});
  if (!db) return std::unexpected{db.error()};
  auto lsns = renew_incarnations(**db, shard_count);
  if (!lsns) return std::unexpected{lsns.error()};
  auto made = create_mark(*rocksdb::FileSystem::Default(), paths.mark.string(), *lsns);
  if (!made) return std::unexpected{made.error()};
  return backup_info{.bytes = newest.size, .files = newest.number_files};
}

}  // namespace

result<backup_info>
restore_backup(const std::string& backup_dir, const std::string& data_dir, const progress& report) {
  const directory_paths backup{backup_dir};
  const directory_paths paths{data_dir};
  auto settings = read_settings(backup);
  if (!settings) return std::unexpected{settings.error()};
  if (!*settings) return fail(errc::not_found, backup_dir + " is not a callboard backup");
  std::error_code problem;
  if (std::filesystem::exists(paths.root, problem)
      && !std::filesystem::is_empty(paths.root, problem)) {
    return fail(errc::exists, data_dir + " is not empty: a backup is restored into a new folder");
  }
  std::filesystem::create_directories(paths.root, problem);
  if (problem) return fail(errc::io_error, "creating " + data_dir + ": " + problem.message());
  auto lock = directory_lock::take(paths);
  if (!lock) return std::unexpected{lock.error()};
  if (report) report(0, 1);
  auto restored = restore_store(backup, paths, (*settings)->shard_count);
  if (!restored) return restored;
  // Last: a directory without settings is not taken for a whole one.
  if (auto written = write_settings(paths, **settings); !written) {
    return std::unexpected{written.error()};
  }
  if (report) report(1, 1);
  return restored;
}

}  // namespace callboard::storage
