// The disk watermarks, and the ballast file that is given up so that compaction can free space.
#pragma once

#include "base/clock.hpp"
#include "base/config.hpp"
#include "storage/directory.hpp"
#include "storage/open_options.hpp"

#include <atomic>
#include <cstdint>
#include <mutex>

namespace callboard::storage {

/// Any thread.
class disk_space {
public:
  disk_space(
      const config::storage_section& settings,
      directory_paths paths,
      const open_options& options,
      const clock& time);

  /// Reads free space if the last reading is too old.
  void refresh();

  [[nodiscard]] std::uint64_t free_bytes() const { return free_.load(std::memory_order_relaxed); }

  [[nodiscard]] bool is_below_soft() const { return below_soft_.load(std::memory_order_relaxed); }

  [[nodiscard]] bool is_below_hard() const { return below_hard_.load(std::memory_order_relaxed); }

  /// Why an append is refused now; nothing if it may go on.
  [[nodiscard]] std::optional<error> refusal(bool frees_space) const;

  /// A file of this size would not bring it below the soft watermark.
  [[nodiscard]] bool has_room_for(std::uint64_t bytes) const;

  /// Removes the ballast; false if it is gone already.
  bool give_up_ballast();

  /// Makes the ballast again once there is space for it above the soft watermark.
  void restore_ballast();

private:
  const std::uint64_t soft_;
  const std::uint64_t hard_;
  const std::uint64_t ballast_size_;
  const directory_paths paths_;
  const std::function<result<std::uint64_t>(const std::string&)> read_free_;
  const boot_time max_age_;
  const clock& time_;
  std::mutex mutex_;
  boot_time read_at_{};
  bool was_read_ = false;
  std::atomic<std::uint64_t> free_{~std::uint64_t{0}};
  std::atomic<bool> below_soft_{false};
  std::atomic<bool> below_hard_{false};
};

}  // namespace callboard::storage
