#include "storage/directory.hpp"

#include "base/crc32c.hpp"
#include "base/hash.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <iterator>
#include <string>
#include <sys/file.h>
#include <thread>
#include <unistd.h>
#include <utility>

namespace callboard::storage {

namespace {

constexpr std::string_view title = "callboard data directory";

constexpr std::chrono::milliseconds lock_pause{20};
constexpr int awaits_max = 150;
/// Others that wait have the lock for a moment each when they look.
constexpr int lock_tries_max = 5;

std::unexpected<error> os_failure(std::string_view doing, const std::filesystem::path& path) {
  return fail(errc::io_error, fmt::format("{} {}: {}", doing, path.string(), std::strerror(errno)));
}

std::string pid_in(const std::filesystem::path& lock) {
  std::ifstream file{lock};
  std::string pid;
  std::getline(file, pid);
  return pid;
}

std::string holder_of(const std::filesystem::path& lock) {
  const auto pid = pid_in(lock);
  return pid.empty() ? "another process" : fmt::format("another process (pid {})", pid);
}

/// Takes the lock of the open file (`how`: LOCK_EX or LOCK_SH), with so many tries if its holder is
/// not this process. False, with errno, if it cannot.
bool lock_file(int descriptor, int how, int tries_max, const std::filesystem::path& path) {
  for (int tries = 1; ::flock(descriptor, how | LOCK_NB) != 0; ++tries) {
    const int code = errno;
    const bool may_let_go =
        code == EWOULDBLOCK && pid_in(path) != std::to_string(::getpid()) && tries < tries_max;
    if (!may_let_go && code != EINTR) {
      errno = code;
      return false;
    }
    std::this_thread::sleep_for(lock_pause);
  }
  return true;
}

/// Takes the value of a line "name value\n" off the front of `text`.
std::optional<std::string_view> take_line(std::string_view& text, std::string_view name) {
  const auto end = text.find('\n');
  if (end == std::string_view::npos || !text.starts_with(name) || text.size() <= name.size()
      || text[name.size()] != ' ') {
    return std::nullopt;
  }
  const auto value = text.substr(name.size() + 1, end - name.size() - 1);
  text.remove_prefix(end + 1);
  return value;
}

std::optional<std::uint32_t> number_in(std::optional<std::string_view> text, int base = 10) {
  if (!text) return std::nullopt;
  std::uint32_t value = 0;
  const auto [end, code] = std::from_chars(text->data(), text->data() + text->size(), value, base);
  if (code != std::errc{} || end != text->data() + text->size()) return std::nullopt;
  return value;
}

/// A descriptor that is closed when it goes.
struct open_file {
  int descriptor = -1;

  ~open_file() {
    if (descriptor >= 0) ::close(descriptor);
  }
};

}  // namespace

void await_unlocked(const directory_paths& paths) {
  const open_file lock{::open(paths.lock.c_str(), O_RDONLY | O_CLOEXEC)};
  if (lock.descriptor >= 0) (void)lock_file(lock.descriptor, LOCK_SH, awaits_max, paths.lock);
}

result<directory_lock> directory_lock::take(const directory_paths& paths) {
  const int descriptor = ::open(paths.lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640);
  if (descriptor < 0) return os_failure("opening", paths.lock);
  if (!lock_file(descriptor, LOCK_EX, lock_tries_max, paths.lock)) {
    const int code = errno;
    ::close(descriptor);
    if (code != EWOULDBLOCK) {
      errno = code;
      return os_failure("locking", paths.lock);
    }
    return fail(
        errc::locked,
        fmt::format(
            "data directory {} is in use by {}: a callboard node serves it, or a journal command "
            "works on it. Stop that first, or give this node a data_dir of its own.",
            paths.root.string(),
            holder_of(paths.lock)));
  }
  const auto pid = fmt::format("{}\n", ::getpid());
  if (::ftruncate(descriptor, 0) != 0
      || ::pwrite(descriptor, pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
    // The pid only makes the message above clearer; the lock stands without it.
  }
  return directory_lock{descriptor};
}

directory_lock::directory_lock(directory_lock&& other) noexcept
    : descriptor_{std::exchange(other.descriptor_, -1)} {}

directory_lock& directory_lock::operator=(directory_lock&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

directory_lock::~directory_lock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

std::string encode(const fixed_settings& settings) {
  auto text = fmt::format(
      "{}\nformat {}\nshards {}\nhash {}\n",
      title,
      settings.format,
      settings.shard_count,
      settings.hash_name);
  return text + fmt::format("crc32c {:08x}\n", crc32c(text));
}

result<fixed_settings> decode_settings(std::string_view text, std::string_view file) {
  const auto damaged = [&] {
    return fail(
        errc::corruption,
        fmt::format(
            "{} is damaged. Nothing was changed. It can be made again by hand: see "
            "docs/formats.md \"settings\".",
            file));
  };
  const auto last_line = text.rfind("crc32c ");
  if (last_line == std::string_view::npos) return damaged();
  auto tail = text.substr(last_line);
  const auto sum = number_in(take_line(tail, "crc32c"), 16);
  auto body = text.substr(0, last_line);
  if (!sum || !tail.empty() || *sum != crc32c(body)) return damaged();
  if (!body.starts_with(title)) return damaged();
  body.remove_prefix(std::min(body.size(), title.size() + 1));
  fixed_settings settings;
  const auto format = number_in(take_line(body, "format"));
  if (!format) return damaged();
  if (*format > directory_format) {
    return fail(
        errc::incompatible,
        fmt::format(
            "{} says format {}, this build reads up to {}: use a newer callboard",
            file,
            *format,
            directory_format));
  }
  const auto shards = number_in(take_line(body, "shards"));
  const auto hash = take_line(body, "hash");
  if (!shards || !hash || !body.empty() || *shards == 0) return damaged();
  return fixed_settings{.format = *format, .shard_count = *shards, .hash_name = std::string{*hash}};
}

result<std::optional<fixed_settings>> read_settings(const directory_paths& paths) {
  std::error_code ignored;
  if (!std::filesystem::exists(paths.settings, ignored)) return std::nullopt;
  std::ifstream file{paths.settings, std::ios::binary};
  if (!file) return os_failure("reading", paths.settings);
  const std::string text{std::istreambuf_iterator<char>{file}, {}};
  auto settings = decode_settings(text, paths.settings.string());
  if (!settings) return std::unexpected{settings.error()};
  return *settings;
}

result<void> write_settings(const directory_paths& paths, const fixed_settings& settings) {
  auto temporary = paths.settings;
  temporary += ".new";
  const auto text = encode(settings);
  {
    const open_file file{::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640)};
    if (file.descriptor < 0) return os_failure("creating", temporary);
    if (::write(file.descriptor, text.data(), text.size()) != static_cast<ssize_t>(text.size())
        || ::fsync(file.descriptor) != 0) {
      return os_failure("writing", temporary);
    }
  }
  if (::rename(temporary.c_str(), paths.settings.c_str()) != 0) {
    return os_failure("renaming", temporary);
  }
  const open_file folder{::open(paths.root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (folder.descriptor < 0 || ::fsync(folder.descriptor) != 0) {
    return os_failure("syncing", paths.root);
  }
  return {};
}

result<void> check_settings(
    const fixed_settings& settings, std::uint32_t shard_count, const directory_paths& paths) {
  if (settings.shard_count != shard_count) {
    return fail(
        errc::incompatible,
        fmt::format(
            "data directory {} was made with {} shards, the configuration says {}. The number is "
            "fixed when a directory is made: set storage.shard_count = {}, or start with an empty "
            "data_dir and bring the events over with `callboard journal export`.",
            paths.root.string(),
            settings.shard_count,
            shard_count,
            settings.shard_count));
  }
  if (settings.hash_name != shard_hash_name) {
    return fail(
        errc::incompatible,
        fmt::format(
            "data directory {} places topics by {}, this build by {}: use the build that made it, "
            "and bring the events over with `callboard journal export`.",
            paths.root.string(),
            settings.hash_name,
            shard_hash_name));
  }
  return {};
}

}  // namespace callboard::storage
