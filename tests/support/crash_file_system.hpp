// A file system that can lose what was not fsynced, fail on demand, and be full.
//
// It passes everything to the real one and remembers, per file, how far it was synced. `crash`
// then cuts files back to that (or a bit further: an operating system may have written more).
#pragma once

#include <rocksdb/file_system.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace callboard::testing {

class crash_file_system final : public rocksdb::FileSystemWrapper {
public:
  crash_file_system() : FileSystemWrapper{rocksdb::FileSystem::Default()} {}

  static const char* kClassName() { return "crash_file_system"; }

  const char* Name() const override { return kClassName(); }

  /// The next `count` syncs of files whose name ends with `suffix` fail, and their bytes are lost
  /// in the next crash.
  void fail_syncs(std::string suffix, int count) {
    const std::lock_guard guard{mutex_};
    failing_syncs_ = {std::move(suffix), count};
  }

  /// The next `count` writes to files whose name ends with `suffix` fail.
  void fail_writes(std::string suffix, int count) {
    const std::lock_guard guard{mutex_};
    failing_writes_ = {std::move(suffix), count};
  }

  /// While set, every write answers that the disk is full.
  void set_full(bool full) { is_full_ = full; }

  /// Asked at every write. To be set while the store is closed.
  void set_full_while(std::function<bool()> is_full) { is_full_while_ = std::move(is_full); }

  /// From now on nothing changes any file, as if the power were off.
  void freeze() { is_frozen_ = true; }

  /// Takes away what was not synced. `random`: of every file some of it may have been written all
  /// the same; null: nothing was. All files must be closed.
  void crash(std::mt19937* random) {
    const std::lock_guard guard{mutex_};
    for (auto& [path, state] : files_) {
      std::error_code gone;
      const auto size = std::filesystem::file_size(path, gone);
      if (gone) continue;
      undo(path, state, random);
      if (size <= state.synced || state.is_rewritten) continue;
      auto keep = state.synced;
      if (random != nullptr) {
        keep += std::uniform_int_distribution<std::uint64_t>{0, size - state.synced}(*random);
      }
      std::filesystem::resize_file(path, keep, gone);
    }
    files_.clear();
    is_frozen_ = false;
  }

  rocksdb::IOStatus NewWritableFile(
      const std::string& path,
      const rocksdb::FileOptions& options,
      std::unique_ptr<rocksdb::FSWritableFile>* out,
      rocksdb::IODebugContext* debug) override {
    if (auto refused = refusal(path); !refused.ok()) return refused;
    auto status = target()->NewWritableFile(path, options, out, debug);
    if (!status.ok()) return status;
    {
      const std::lock_guard guard{mutex_};
      files_[path] = {};
    }
    *out = std::make_unique<writable>(*this, path, std::move(*out));
    return status;
  }

  rocksdb::IOStatus NewRandomRWFile(
      const std::string& path,
      const rocksdb::FileOptions& options,
      std::unique_ptr<rocksdb::FSRandomRWFile>* out,
      rocksdb::IODebugContext* debug) override {
    auto status = target()->NewRandomRWFile(path, options, out, debug);
    if (!status.ok()) return status;
    {
      const std::lock_guard guard{mutex_};
      files_[path].is_rewritten = true;
    }
    *out = std::make_unique<rewritable>(*this, path, std::move(*out));
    return status;
  }

  rocksdb::IOStatus DeleteFile(
      const std::string& path,
      const rocksdb::IOOptions& options,
      rocksdb::IODebugContext* debug) override {
    if (is_frozen_) return rocksdb::IOStatus::IOError("power is off");
    return target()->DeleteFile(path, options, debug);
  }

  rocksdb::IOStatus ReopenWritableFile(
      const std::string& path,
      const rocksdb::FileOptions& options,
      std::unique_ptr<rocksdb::FSWritableFile>* out,
      rocksdb::IODebugContext* debug) override {
    if (is_frozen_) return rocksdb::IOStatus::IOError("power is off");
    return target()->ReopenWritableFile(path, options, out, debug);
  }

  rocksdb::IOStatus RenameFile(
      const std::string& from,
      const std::string& to,
      const rocksdb::IOOptions& options,
      rocksdb::IODebugContext* debug) override {
    if (is_frozen_) return rocksdb::IOStatus::IOError("power is off");
    auto status = target()->RenameFile(from, to, options, debug);
    const std::lock_guard guard{mutex_};
    if (auto node = files_.extract(from)) {
      node.key() = to;
      files_.erase(to);
      files_.insert(std::move(node));
    }
    return status;
  }

private:
  static constexpr std::uint64_t page = 4096;

  struct file_state {
    std::uint64_t written = 0;
    std::uint64_t synced = 0;
    bool is_rewritten = false;
    /// For files that are written in place: what stood where since the last sync.
    std::vector<std::pair<std::uint64_t, std::string>> before;
  };

  struct failure {
    std::string suffix;
    int count = 0;
  };

  static void undo(const std::string& path, file_state& state, std::mt19937* random) {
    std::fstream file{path, std::ios::in | std::ios::out | std::ios::binary};
    for (auto at = state.before.rbegin(); at != state.before.rend(); ++at) {
      // Its pages reach the disk in any order.
      const std::string_view all{at->second};
      for (std::uint64_t done = 0; done < all.size();) {
        const auto begin = at->first + done;
        const auto part = all.substr(done, page - begin % page);
        done += part.size();
        if (random != nullptr && std::bernoulli_distribution{0.3}(*random)) continue;
        file.seekp(static_cast<std::streamoff>(begin));
        file.write(part.data(), static_cast<std::streamsize>(part.size()));
      }
    }
  }

  static bool takes(failure& wanted, const std::string& path) {
    if (wanted.count == 0 || !path.ends_with(wanted.suffix)) return false;
    --wanted.count;
    return true;
  }

  rocksdb::IOStatus refusal(const std::string& path) {
    if (is_frozen_) return rocksdb::IOStatus::IOError("power is off");
    if (is_full_ || (is_full_while_ && is_full_while_()))
      return rocksdb::IOStatus::NoSpace("the test says so");
    const std::lock_guard guard{mutex_};
    if (takes(failing_writes_, path)) return rocksdb::IOStatus::IOError("injected");
    return rocksdb::IOStatus::OK();
  }

  rocksdb::IOStatus sync_refusal(const std::string& path) {
    if (is_frozen_) return rocksdb::IOStatus::IOError("power is off");
    const std::lock_guard guard{mutex_};
    if (takes(failing_syncs_, path)) return rocksdb::IOStatus::IOError("injected");
    return rocksdb::IOStatus::OK();
  }

  void wrote(const std::string& path, std::uint64_t bytes) {
    const std::lock_guard guard{mutex_};
    files_[path].written += bytes;
  }

  void was_synced(const std::string& path, std::uint64_t up_to) {
    const std::lock_guard guard{mutex_};
    auto& state = files_[path];
    state.synced = std::max(state.synced, up_to);
    state.before.clear();
  }

  std::uint64_t written(const std::string& path) {
    const std::lock_guard guard{mutex_};
    return files_[path].written;
  }

  class writable final : public rocksdb::FSWritableFileOwnerWrapper {
  public:
    writable(
        crash_file_system& owner,
        std::string path,
        std::unique_ptr<rocksdb::FSWritableFile>&& below)
        : FSWritableFileOwnerWrapper{std::move(below)}, owner_{owner}, path_{std::move(path)} {}

    rocksdb::IOStatus Append(
        const rocksdb::Slice& data,
        const rocksdb::IOOptions& options,
        rocksdb::IODebugContext* debug) override {
      if (auto refused = owner_.refusal(path_); !refused.ok()) return refused;
      auto status = target()->Append(data, options, debug);
      if (status.ok()) owner_.wrote(path_, data.size());
      return status;
    }

    rocksdb::IOStatus Append(
        const rocksdb::Slice& data,
        const rocksdb::IOOptions& options,
        const rocksdb::DataVerificationInfo&,
        rocksdb::IODebugContext* debug) override {
      return Append(data, options, debug);
    }

    rocksdb::IOStatus
    Sync(const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) override {
      return sync([&] { return target()->Sync(options, debug); });
    }

    rocksdb::IOStatus
    Fsync(const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) override {
      return sync([&] { return target()->Fsync(options, debug); });
    }

    rocksdb::IOStatus
    RangeSync(std::uint64_t, std::uint64_t, const rocksdb::IOOptions&, rocksdb::IODebugContext*)
        override {
      return rocksdb::IOStatus::OK();
    }

  private:
    template <class Sync>
    rocksdb::IOStatus sync(const Sync& below) {
      if (auto refused = owner_.sync_refusal(path_); !refused.ok()) return refused;
      const auto size = owner_.written(path_);
      auto status = below();
      if (status.ok()) owner_.was_synced(path_, size);
      return status;
    }

    crash_file_system& owner_;
    std::string path_;
  };

  class rewritable final : public rocksdb::FSRandomRWFileOwnerWrapper {
  public:
    rewritable(
        crash_file_system& owner,
        std::string path,
        std::unique_ptr<rocksdb::FSRandomRWFile>&& below)
        : FSRandomRWFileOwnerWrapper{std::move(below)}, owner_{owner}, path_{std::move(path)} {}

    rocksdb::IOStatus Write(
        std::uint64_t offset,
        const rocksdb::Slice& data,
        const rocksdb::IOOptions& options,
        rocksdb::IODebugContext* debug) override {
      if (auto refused = owner_.refusal(path_); !refused.ok()) return refused;
      std::string before(data.size(), '\0');
      rocksdb::Slice read;
      auto status = target()->Read(offset, before.size(), options, &read, before.data(), debug);
      if (!status.ok()) return status;
      // Where the file ended, as nothing at all.
      auto old = read.ToString();
      old.resize(data.size(), '\0');
      {
        const std::lock_guard guard{owner_.mutex_};
        owner_.files_[path_].before.emplace_back(offset, std::move(old));
      }
      return target()->Write(offset, data, options, debug);
    }

    rocksdb::IOStatus
    Sync(const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) override {
      if (auto refused = owner_.sync_refusal(path_); !refused.ok()) return refused;
      auto status = target()->Sync(options, debug);
      if (status.ok()) owner_.was_synced(path_, 0);
      return status;
    }

  private:
    crash_file_system& owner_;
    std::string path_;
  };

  std::mutex mutex_;
  std::map<std::string, file_state> files_;
  failure failing_syncs_;
  failure failing_writes_;
  std::atomic<bool> is_full_{false};
  std::function<bool()> is_full_while_;
  std::atomic<bool> is_frozen_{false};
};

}  // namespace callboard::testing
