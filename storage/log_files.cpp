#include "storage/log_files.hpp"

#include "base/log.hpp"
#include "base/thread_priority.hpp"
#include "storage/byte_order.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <string_view>
#include <utility>

namespace callboard::storage {

namespace {

using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;

/// Zeros are written in pieces, and reach the disk as they come: a sync of the log in use waits for
/// no more than one of them.
constexpr std::uint64_t piece_bytes = 256 << 10;
/// So many zeros for each byte that the logs grow by: two spares are there well before a log ends,
/// and what a node writes meanwhile is not held up by all of them at once.
constexpr std::uint64_t zeros_for_each_byte = 4;
/// On a quiet node a piece waits no longer, and looks so often.
constexpr std::chrono::milliseconds rest_max{20};
constexpr std::chrono::milliseconds rest_step{2};
/// After zeros that could not be written.
constexpr std::chrono::seconds retry_after{10};
/// What the first log of a node may wait for its zeros.
constexpr std::chrono::milliseconds first_spare_max{100};
/// The next log is made when the one in use has come so far.
constexpr std::uint64_t parts_until_wanted = 8;

bool is_log(std::string_view path) {
  return path.ends_with(".log");
}

/// Framing: the "log format" page of RocksDB's documentation. Frames that are not sound are for
/// RocksDB to find: what it is given then does not matter.
class log_end_finder {
public:
  /// Of the bytes that follow those given before: how many belong to the log.
  std::size_t take(std::string_view bytes) {
    const auto end = position_ + bytes.size();
    while (!is_over_ && next_header_ + header_.size() <= end) {
      for (auto at = std::max(next_header_, position_); at < next_header_ + header_.size(); ++at)
        header_[at - next_header_] = bytes[at - position_];
      read_header();
    }
    if (is_over_) {
      const auto left = next_header_ > position_ ? next_header_ - position_ : 0;
      position_ = end;
      return static_cast<std::size_t>(left);
    }
    for (auto at = std::max(next_header_, position_); at < end; ++at)
      header_[at - next_header_] = bytes[at - position_];
    position_ = end;
    return bytes.size();
  }

  [[nodiscard]] bool is_over() const { return is_over_; }

private:
  static constexpr std::uint64_t page_size = 32 << 10;

  void read_header() {
    if (is_zero({header_.data(), header_.size()})) {
      is_over_ = true;
      return;
    }
    next_header_ += header_.size() + load_little<std::uint16_t>(header_.data() + 4);
    const auto left = page_size - next_header_ % page_size;
    if (left < header_.size()) next_header_ += left;
  }

  std::array<char, 7> header_{};
  std::uint64_t next_header_ = 0;
  std::uint64_t position_ = 0;
  bool is_over_ = false;
};

class log_reader final : public rocksdb::FSSequentialFileOwnerWrapper {
public:
  using FSSequentialFileOwnerWrapper::FSSequentialFileOwnerWrapper;

  IOStatus Read(
      std::size_t n,
      const IOOptions& options,
      rocksdb::Slice* result,
      char* scratch,
      IODebugContext* debug) override {
    if (end_.is_over()) {
      *result = {};
      return IOStatus::OK();
    }
    auto status = target()->Read(n, options, result, scratch, debug);
    if (!status.ok()) return status;
    const auto read = *result;
    const auto size = end_.take(read.ToStringView());
    *result = {read.data(), size};
    // Part of a header tells RocksDB that it has not read all that was there: what a later log has
    // then counts only if nothing is missing before it.
    if (end_.is_over() && size < read.size() && has_more({read.data() + size, read.size() - size}))
      *result = {read.data(), size + 1};
    return status;
  }

  IOStatus Skip(std::uint64_t n) override {
    std::string skipped(std::min(n, piece_bytes), '\0');
    while (n > 0) {
      rocksdb::Slice read;
      auto status = Read(std::min<std::uint64_t>(n, skipped.size()), {}, &read, skipped.data(), {});
      if (!status.ok() || read.empty()) return status;
      n -= read.size();
    }
    return IOStatus::OK();
  }

private:
  /// Behind its end there is something else than zeros.
  bool has_more(std::string_view rest) {
    if (!is_zero(rest)) return true;
    std::string bytes(piece_bytes, '\0');
    rocksdb::Slice read;
    do {
      if (!target()->Read(bytes.size(), {}, &read, bytes.data(), nullptr).ok()) return true;
      if (!is_zero(read.ToStringView())) return true;
    } while (!read.empty());
    return false;
  }

  log_end_finder end_;
};

}  // namespace

/// Linux tells of a failed write once, to whoever syncs next: everybody else has to hear it, too.
class log_files::sync_gate {
public:
  template <class Sync>
  IOStatus pass(const Sync& sync) {
    const std::lock_guard guard{mutex_};
    if (failed_.ok()) failed_ = sync();
    return failed_;
  }

private:
  std::mutex mutex_;
  IOStatus failed_ = IOStatus::OK();
};

/// The newest log: what counts for all, whatever it is written to.
class log_files::open_log final : public rocksdb::FSWritableFileOwnerWrapper {
public:
  /// `zeros`: bytes that it is written over.
  open_log(log_files& owner, std::unique_ptr<rocksdb::FSWritableFile>&& below, std::uint64_t zeros)
      : FSWritableFileOwnerWrapper{std::move(below)}, owner_{owner}, zeros_{zeros} {
    owner_.opened(*this, zeros_ != 0);
  }

  ~open_log() override { owner_.closed(*this); }

  IOStatus
  Append(const rocksdb::Slice& data, const IOOptions& options, IODebugContext* debug) override {
    auto status = target()->Append(data, options, debug);
    size_ += data.size();
    if (zeros_ != 0 && size_ > zeros_) {
      zeros_ = 0;
      owner_.left_zeros(*this);
    }
    owner_.grown(data.size(), size_);
    return status;
  }

  IOStatus Append(
      const rocksdb::Slice& data,
      const IOOptions& options,
      const rocksdb::DataVerificationInfo& /*unused*/,
      IODebugContext* debug) override {
    return Append(data, options, debug);
  }

  IOStatus Sync(const IOOptions& options, IODebugContext* debug) override {
    return gate_.pass([&] { return target()->Sync(options, debug); });
  }

  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    return gate_.pass([&] { return target()->Fsync(options, debug); });
  }

private:
  log_files& owner_;
  sync_gate gate_;
  std::uint64_t size_ = 0;
  /// 0: none are left.
  std::uint64_t zeros_ = 0;
};

/// A file that is written from its begin on over what it has.
class log_files::zeroed_file final : public rocksdb::FSWritableFile {
public:
  zeroed_file(
      rocksdb::FileSystem& files,
      std::string path,
      std::unique_ptr<rocksdb::FSRandomRWFile>&& below)
      : files_{files}, path_{std::move(path)}, file_{std::move(below)} {}

  IOStatus
  Append(const rocksdb::Slice& data, const IOOptions& options, IODebugContext* debug) override {
    auto status = file_->Write(size_, data, options, debug);
    if (status.ok()) size_ += data.size();
    return status;
  }

  IOStatus Flush(const IOOptions& options, IODebugContext* debug) override {
    return file_->Flush(options, debug);
  }

  IOStatus Sync(const IOOptions& options, IODebugContext* debug) override {
    return file_->Sync(options, debug);
  }

  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    return file_->Fsync(options, debug);
  }

  bool IsSyncThreadSafe() const override { return true; }

  std::uint64_t GetFileSize(const IOOptions& /*unused*/, IODebugContext* /*unused*/) override {
    return size_;
  }

  /// Nobody needs the zeros that are left. A process that is killed leaves them; a log that RocksDB
  /// has deleted meanwhile is not made again.
  IOStatus Close(const IOOptions& options, IODebugContext* debug) override {
    auto status = file_->Close(options, debug);
    if (!status.ok() || !files_.FileExists(path_, options, debug).ok()) return status;
    std::unique_ptr<rocksdb::FSWritableFile> whole;
    status = files_.ReopenWritableFile(path_, {}, &whole, debug);
    if (status.ok()) status = whole->Truncate(size_, options, debug);
    if (status.ok()) status = whole->Close(options, debug);
    return status;
  }

private:
  rocksdb::FileSystem& files_;
  const std::string path_;
  std::unique_ptr<rocksdb::FSRandomRWFile> file_;
  std::uint64_t size_ = 0;
};

log_files::log_files(const std::shared_ptr<rocksdb::FileSystem>& below, spare_log_options options)
    : FileSystemWrapper{below}, options_{std::move(options)} {
  if (options_.path.empty() || options_.bytes == 0) return;
  maker_ = std::jthread{[this](const std::stop_token& stopping) { run(stopping); }};
}

log_files::~log_files() = default;

void log_files::stop() {
  if (!maker_.joinable()) return;
  maker_.request_stop();
  maker_.join();
}

void log_files::give_up_spares() {
  const std::lock_guard guard{mutex_};
  for (std::size_t i = 0; i < spares_max; ++i) {
    if (!std::exchange(has_spare_[i], false)) continue;
    target()->DeleteFile(spare(i), {}, nullptr).PermitUncheckedError();
  }
}

void log_files::prepare_first() {
  const std::lock_guard guard{mutex_};
  if (options_.path.empty() || !std::exchange(is_first_, false)) return;
  // A process was killed while it made it.
  target()->DeleteFile(unfinished(), {}, nullptr).PermitUncheckedError();
  for (std::size_t i = 0; i < spares_max; ++i) {
    if (options_.bytes == 0) {
      target()->DeleteFile(spare(i), {}, nullptr).PermitUncheckedError();
    } else {
      has_spare_[i] = has_left_over(spare(i));
    }
  }
  if (options_.bytes == 0 || std::ranges::find(has_spare_, true) != has_spare_.end()) return;
  const auto began = options_.time->boot();
  const auto is_enough = [&] { return options_.time->boot() - began >= first_spare_max; };
  if (make_zeros([] { return false; }, is_enough)) (void)put_in_place(0);
}

IOStatus log_files::NewWritableFile(
    const std::string& path,
    const rocksdb::FileOptions& options,
    std::unique_ptr<rocksdb::FSWritableFile>* out,
    IODebugContext* debug) {
  if (!is_log(path)) return target()->NewWritableFile(path, options, out, debug);
  if (auto synced = sync_current(); !synced.ok()) return synced;
  prepare_first();
  std::unique_ptr<rocksdb::FSWritableFile> log;
  std::uint64_t zeros = 0;
  auto status = take_spare(path, options, log, zeros);
  if (!status.ok()) {
    // The next one need not.
    want_spares();
    zeros = 0;
    status = target()->NewWritableFile(path, options, &log, debug);
  }
  if (status.ok()) *out = std::make_unique<open_log>(*this, std::move(log), zeros);
  return status;
}

IOStatus log_files::NewSequentialFile(
    const std::string& path,
    const rocksdb::FileOptions& options,
    std::unique_ptr<rocksdb::FSSequentialFile>* out,
    IODebugContext* debug) {
  std::unique_ptr<rocksdb::FSSequentialFile> file;
  auto status = target()->NewSequentialFile(path, options, &file, debug);
  if (!status.ok()) return status;
  if (is_log(path)) {
    *out = std::make_unique<log_reader>(std::move(file));
  } else {
    *out = std::move(file);
  }
  return status;
}

IOStatus log_files::sync_current() {
  const std::lock_guard guard{current_mutex_};
  return current_ == nullptr ? IOStatus::OK() : current_->Sync({}, nullptr);
}

/// Whatever goes wrong, the log can begin as a file of its own.
IOStatus log_files::take_spare(
    const std::string& path,
    const rocksdb::FileOptions& options,
    std::unique_ptr<rocksdb::FSWritableFile>& out,
    std::uint64_t& zeros) {
  auto status = IOStatus::NotFound();
  {
    // Until it has another name nobody makes the next one in its place.
    const std::lock_guard guard{mutex_};
    const auto there = std::ranges::find(has_spare_, true);
    if (there == has_spare_.end()) return status;
    *there = false;
    const auto number = static_cast<std::size_t>(there - has_spare_.begin());
    status = target()->RenameFile(spare(number), path, {}, nullptr);
    is_useless_ |= !status.ok();
  }
  if (!status.ok()) {
    log::channel("storage")->warn(
        "logs grow, as zeros made beside the store cannot become one: {}", status.ToString());
  }
  if (status.ok()) status = sync_directory();
  if (status.ok()) status = target()->GetFileSize(path, {}, &zeros, nullptr);
  std::unique_ptr<rocksdb::FSRandomRWFile> file;
  if (status.ok()) status = target()->NewRandomRWFile(path, options, &file, nullptr);
  if (status.ok()) out = std::make_unique<zeroed_file>(*target(), path, std::move(file));
  return status;
}

void log_files::opened(rocksdb::FSWritableFile& log, bool is_over_zeros) {
  const std::lock_guard guard{current_mutex_};
  current_ = &log;
  if (options_.is_over_zeros != nullptr) options_.is_over_zeros->Set(is_over_zeros ? 1 : 0);
}

void log_files::closed(const rocksdb::FSWritableFile& log) {
  const std::lock_guard guard{current_mutex_};
  if (current_ == &log) current_ = nullptr;
}

void log_files::left_zeros(const rocksdb::FSWritableFile& log) {
  const std::lock_guard guard{current_mutex_};
  if (current_ == &log && options_.is_over_zeros != nullptr) options_.is_over_zeros->Set(0);
}

void log_files::grown(std::uint64_t by, std::uint64_t to) {
  grown_.fetch_add(by, std::memory_order_relaxed);
  if (to >= options_.bytes / parts_until_wanted) want_spares();
}

void log_files::want_spares() {
  if (options_.bytes == 0) return;
  {
    const std::lock_guard guard{mutex_};
    const bool are_all_there = std::ranges::find(has_spare_, false) == has_spare_.end();
    if (are_all_there || is_useless_ || std::exchange(are_spares_wanted_, true)) return;
  }
  changed_.notify_one();
}

void log_files::run(const std::stop_token& stopping) {
  yield_this_thread();
  const auto is_stopping = [&] { return stopping.stop_requested(); };
  std::unique_lock lock{mutex_};
  while (changed_.wait(lock, stopping, [&] { return are_spares_wanted_; })) {
    const auto missing = std::ranges::find(has_spare_, false);
    if (missing == has_spare_.end()) {
      are_spares_wanted_ = false;
      continue;
    }
    const auto number = static_cast<std::size_t>(missing - has_spare_.begin());
    lock.unlock();
    auto enough = grown_.load(std::memory_order_relaxed);
    const bool is_made = make_zeros(is_stopping, [&] {
      enough += piece_bytes / zeros_for_each_byte;
      rest_until_grown_to(enough, stopping);
      return false;
    });
    lock.lock();
    if (is_made && put_in_place(number)) continue;
    // Not at once again, where the disk is full.
    are_spares_wanted_ = false;
    changed_.wait_for(lock, stopping, retry_after, [] { return false; });
  }
}

void log_files::rest_until_grown_to(std::uint64_t bytes, const std::stop_token& stopping) {
  const auto has_grown = [&] { return grown_.load(std::memory_order_relaxed) >= bytes; };
  std::unique_lock lock{mutex_};
  for (auto left = rest_max; left.count() > 0 && !stopping.stop_requested(); left -= rest_step)
    if (changed_.wait_for(lock, stopping, rest_step, has_grown)) return;
}

/// A spare is in its place only once it is complete.
bool log_files::has_left_over(const std::string& spare) const {
  std::unique_ptr<rocksdb::FSRandomAccessFile> file;
  std::uint64_t size = 0;
  if (!target()->GetFileSize(spare, {}, &size, nullptr).ok() || size == 0) return false;
  if (!target()->NewRandomAccessFile(spare, {}, &file, nullptr).ok()) return false;
  std::string bytes(4096, '\0');
  rocksdb::Slice read;
  if (!file->Read(0, bytes.size(), {}, &read, bytes.data(), nullptr).ok()) return false;
  return is_zero(read.ToStringView());
}

bool log_files::make_zeros(
    const std::function<bool()>& is_given_up, const std::function<bool()>& is_enough) const {
  const auto bytes = options_.bytes;
  if (options_.has_room && !options_.has_room(bytes)) return false;
  const std::string zeros(std::min(piece_bytes, bytes), '\0');
  rocksdb::FileOptions how;
  how.strict_bytes_per_sync = true;
  std::unique_ptr<rocksdb::FSWritableFile> file;
  auto status = target()->NewWritableFile(unfinished(), how, &file, nullptr);
  for (std::uint64_t at = 0; status.ok() && at < bytes; at += zeros.size()) {
    const rocksdb::Slice piece{zeros.data(), std::min<std::uint64_t>(zeros.size(), bytes - at)};
    if (is_given_up()) status = IOStatus::Aborted();
    if (status.ok()) status = file->Append(piece, {}, nullptr);
    if (status.ok()) status = file->RangeSync(at, piece.size(), {}, nullptr);
    if (is_enough()) break;
  }
  if (status.ok()) status = file->Fsync({}, nullptr);
  if (status.ok()) status = file->Close({}, nullptr);
  file.reset();
  if (status.ok() && is_given_up()) status = IOStatus::Aborted();
  if (status.ok()) return true;
  target()->DeleteFile(unfinished(), {}, nullptr).PermitUncheckedError();
  if (!status.IsAborted()) {
    log::channel("storage")->warn("no zeros for the next log: {}", status.ToString());
  }
  return false;
}

/// The directory is synced when it is taken: a spare that a power cut takes back is made again.
bool log_files::put_in_place(std::size_t number) {
  const auto status = target()->RenameFile(unfinished(), spare(number), {}, nullptr);
  if (!status.ok()) {
    log::channel("storage")->warn("zeros for the next log stay aside: {}", status.ToString());
    target()->DeleteFile(unfinished(), {}, nullptr).PermitUncheckedError();
  }
  return has_spare_[number] = status.ok();
}

IOStatus log_files::sync_directory() const {
  const auto path = std::filesystem::path{options_.path}.parent_path().string();
  std::unique_ptr<rocksdb::FSDirectory> directory;
  auto status = target()->NewDirectory(path, {}, &directory, nullptr);
  return status.ok() ? directory->Fsync({}, nullptr) : status;
}

}  // namespace callboard::storage
