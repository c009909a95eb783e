#include "storage/disk_space.hpp"

#include "base/log.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace callboard::storage {

namespace {

result<std::uint64_t> statvfs_free(const std::string& path) {
  struct statvfs found{};
  if (::statvfs(path.c_str(), &found) != 0) {
    return fail(
        errc::io_error, fmt::format("reading free space of {}: {}", path, std::strerror(errno)));
  }
  return std::uint64_t{found.f_bavail} * found.f_frsize;
}

}  // namespace

disk_space::disk_space(
    const config::storage_section& settings,
    directory_paths paths,
    const open_options& options,
    const clock& time)
    : soft_{settings.disk_soft_bytes},
      hard_{settings.disk_hard_bytes},
      ballast_size_{settings.ballast_bytes},
      paths_{std::move(paths)},
      read_free_{options.free_bytes ? options.free_bytes : statvfs_free},
      max_age_{options.free_bytes_max_age},
      time_{time} {}

void disk_space::refresh() {
  const std::lock_guard guard{mutex_};
  const auto now = time_.boot();
  if (was_read_ && now - read_at_ < max_age_) return;
  read_at_ = now;
  was_read_ = true;
  const auto read = read_free_(paths_.root.string());
  // A failed reading changes nothing: the writes themselves tell whether the disk still works.
  if (!read) return;
  free_ = *read;
  const bool soft = *read < soft_;
  const bool hard = *read < hard_;
  const bool hard_changed = hard != below_hard_.exchange(hard);
  const bool soft_changed = soft != below_soft_.exchange(soft);
  if (soft_changed || hard_changed) {
    log::channel("storage")->warn(
        "{} bytes free: {}",
        *read,
        hard   ? "all writes are refused"
        : soft ? "publishes are refused; acks and deletes go on"
               : "writing goes on");
  }
}

std::optional<error> disk_space::refusal(bool frees_space) const {
  constexpr std::uint32_t retry_after_ms = 1000;
  if (is_below_hard()) {
    return error{
        errc::storage_full,
        fmt::format("{} bytes free, below storage.disk_hard_bytes", free_bytes()),
        retry_after_ms};
  }
  if (is_below_soft() && !frees_space) {
    return error{
        errc::storage_full,
        fmt::format("{} bytes free, below storage.disk_soft_bytes", free_bytes()),
        retry_after_ms};
  }
  return std::nullopt;
}

bool disk_space::has_room_for(std::uint64_t bytes) const {
  const auto free = free_bytes();
  return !is_below_soft() && free >= soft_ && free - soft_ >= bytes;
}

bool disk_space::give_up_ballast() {
  if (::unlink(paths_.ballast.c_str()) != 0) return false;
  log::channel("storage")->warn("disk is full: gave up {}", paths_.ballast.string());
  return true;
}

void disk_space::restore_ballast() {
  if (ballast_size_ == 0 || !has_room_for(ballast_size_)) return;
  std::error_code ignored;
  if (std::filesystem::exists(paths_.ballast, ignored)) return;
  const int file = ::open(paths_.ballast.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
  if (file < 0) return;
  const bool reserved = ::posix_fallocate(file, 0, static_cast<off_t>(ballast_size_)) == 0;
  ::close(file);
  if (!reserved) ::unlink(paths_.ballast.c_str());
}

}  // namespace callboard::storage
