#include "storage/online_backup.hpp"

#include "base/hash.hpp"
#include "storage/directory.hpp"
#include "storage/mark.hpp"
#include "storage/rocksdb_status.hpp"

#include <rocksdb/utilities/backup_engine.h>

#include <filesystem>
#include <vector>

namespace callboard::storage {

result<backup_info> back_up(
    store& shards,
    const config::storage_section& settings,
    const std::string& target,
    const progress& report) {
  const auto db = shards.acquire();
  if (!db) return fail(errc::overloaded, "the store is being opened again", 1000);
  std::error_code problem;
  std::filesystem::create_directories(target, problem);
  if (problem) return fail(errc::io_error, "creating " + target + ": " + problem.message());
  const directory_paths paths{target};
  auto existing = read_settings(paths);
  if (!existing) return std::unexpected{existing.error()};
  const fixed_settings fixed{
      .format = directory_format,
      .shard_count = settings.shard_count,
      .hash_name = std::string{shard_hash_name}};
  if (*existing && **existing != fixed) {
    return fail(errc::incompatible, target + " holds backups of another data directory");
  }
  rocksdb::BackupEngineOptions options{paths.db.string()};
  options.share_table_files = true;
  options.share_files_with_checksum = true;
  options.sync = true;
  std::unique_ptr<rocksdb::BackupEngine> engine;
  rocksdb::BackupEngine* opened = nullptr;
  // Logs are read by the store's own files, as far as they go; the copies are not logs in use.
  options.backup_env = rocksdb::Env::Default();
  rocksdb::Status status = rocksdb::BackupEngine::Open(db->raw().GetEnv(), options, &opened);
  if (!status.ok()) return std::unexpected{error_of(status, "opening the backup folder")};
  engine.reset(opened);
  // Read before the copy begins: the copy has at least this.
  std::vector<std::uint64_t> lsns;
  for (std::uint32_t i = 0; i < shards.shard_count(); ++i) {
    const auto& slot = shards.slot(shard_id{i});
    const std::lock_guard guard{slot.mutex};
    lsns.push_back(slot.committed.raw());
  }
  std::uint64_t done = 0;
  rocksdb::CreateBackupOptions how;
  how.flush_before_backup = true;
  how.progress_callback = [&] {
    // Whoever closes the database waits until nobody holds it.
    if (shards.closing()) engine->StopBackup();
    if (report) report(++done, 0);
  };
  rocksdb::BackupID id = 0;
  status = engine->CreateNewBackupWithMetadata(how, &db->raw(), encode_mark(lsns), &id);
  if (status.IsIncomplete()) {
    return fail(errc::overloaded, "the store is being opened again; make the backup later", 1000);
  }
  if (!status.ok()) return std::unexpected{error_of(status, "copying the store")};
  if (!*existing) {
    if (auto written = write_settings(paths, fixed); !written) {
      return std::unexpected{written.error()};
    }
  }
  rocksdb::BackupInfo info;
  status = engine->GetBackupInfo(id, &info);
  if (!status.ok()) return std::unexpected{error_of(status, "reading the backup")};
  return backup_info{.bytes = info.size, .files = info.number_files};
}

}  // namespace callboard::storage
