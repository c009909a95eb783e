// The file system of the store, for its write-ahead logs: they are written over zeros, and end with
// the first of them.
//
// An fsync of a file that has grown writes its new size, too, in one or two writes more, each of
// which waits for the one before it. So a log begins as a file full of zeros that was made while
// the one before was in use. What is written over them reaches the disk in any order: behind a page
// that a power cut has lost there may be one that it has not. RocksDB skips zeros, and would go on
// with what is behind them; here a log ends there, so that recovery finds what was written up to
// some point, and nothing else.
#pragma once

#include "base/clock.hpp"
#include "base/metrics.hpp"

#include <rocksdb/file_system.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>

namespace callboard::storage {

/// The zeros that logs are written over.
struct spare_log_options {
  /// Where the next log waits, on the file system of the store; the one behind it, at this and
  /// ".2". Empty: logs grow.
  std::string path;
  /// What is written behind these makes the file grow; 0: logs grow.
  std::uint64_t bytes = 0;
  /// Given where zeros are made.
  const clock* time = nullptr;
  /// Whether the disk has room for another file of a size; empty: it has.
  std::function<bool(std::uint64_t bytes)> has_room;
  /// 1 as long as what is written to the newest log goes over zeros, else 0. Null: nobody looks.
  prometheus::Gauge* is_over_zeros = nullptr;
};

/// Any thread. Outlives the files it has opened.
class log_files final : public rocksdb::FileSystemWrapper {
public:
  explicit log_files(
      const std::shared_ptr<rocksdb::FileSystem>& below, spare_log_options options = {});
  ~log_files() override;

  static const char* kClassName() { return "callboard.log_files"; }

  const char* Name() const override { return kClassName(); }

  /// Makes no more zeros: the directory may be another process's then. Idempotent.
  void stop();

  /// Removes what the next logs would be written over.
  void give_up_spares();

  /// The log before it is synced first, so that none has records that follow on what is lost. The
  /// first one takes a spare that an earlier process left, or as many zeros as are made in a
  /// moment; without any, as on a full disk, a log grows.
  rocksdb::IOStatus NewWritableFile(
      const std::string& path,
      const rocksdb::FileOptions& options,
      std::unique_ptr<rocksdb::FSWritableFile>* out,
      rocksdb::IODebugContext* debug) override;

  rocksdb::IOStatus NewSequentialFile(
      const std::string& path,
      const rocksdb::FileOptions& options,
      std::unique_ptr<rocksdb::FSSequentialFile>* out,
      rocksdb::IODebugContext* debug) override;

private:
  class sync_gate;
  class open_log;
  class zeroed_file;

  [[nodiscard]] rocksdb::IOStatus sync_current();
  void prepare_first();
  [[nodiscard]] rocksdb::IOStatus take_spare(
      const std::string& path,
      const rocksdb::FileOptions& options,
      std::unique_ptr<rocksdb::FSWritableFile>& out,
      std::uint64_t& zeros);
  void opened(rocksdb::FSWritableFile& log, bool is_over_zeros);
  void closed(const rocksdb::FSWritableFile& log);
  /// The log goes on behind its zeros.
  void left_zeros(const rocksdb::FSWritableFile& log);
  /// A log has grown, and has come so far.
  void grown(std::uint64_t by, std::uint64_t to);
  void want_spares();
  void run(const std::stop_token& stopping);
  /// For a moment at most: zeros are made with what the logs grow by, and on a quiet node slowly.
  void rest_until_grown_to(std::uint64_t bytes, const std::stop_token& stopping);
  [[nodiscard]] bool has_left_over(const std::string& spare) const;
  /// True once `unfinished` is complete and synced: full, or what there was when `is_enough`.
  [[nodiscard]] bool make_zeros(
      const std::function<bool()>& is_given_up, const std::function<bool()>& is_enough) const;
  /// The mutex is held, so that whoever sees it there may take it.
  [[nodiscard]] bool put_in_place(std::size_t number);

  /// RocksDB may begin two logs in a row: it looks how large all are while it gives back an old
  /// one.
  static constexpr std::size_t spares_max = 2;

  [[nodiscard]] std::string spare(std::size_t number) const {
    return number == 0 ? options_.path : options_.path + ".2";
  }

  [[nodiscard]] std::string unfinished() const { return options_.path + ".part"; }

  [[nodiscard]] rocksdb::IOStatus sync_directory() const;

  const spare_log_options options_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  /// What all logs together have grown by.
  std::atomic<std::uint64_t> grown_{0};
  bool is_first_ = true;
  std::array<bool, spares_max> has_spare_{};
  bool are_spares_wanted_ = false;
  /// It could not be made a log: not tried again.
  bool is_useless_ = false;
  /// The newest log, as long as it is open. Locked while it is synced by others than RocksDB.
  std::mutex current_mutex_;
  rocksdb::FSWritableFile* current_ = nullptr;
  std::jthread maker_;
};

}  // namespace callboard::storage
