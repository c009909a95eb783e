// Loaded into a node by tests (LD_PRELOAD): lets one sync of a log of the store fail.
//
// When the file named by CALLBOARD_FSYNC_FAULT exists, the next fsync or fdatasync of a `*.log`
// file removes it and fails with EIO; nothing is synced then. All other calls reach the system.
#include <cerrno>
#include <cstdlib>
#include <string>
#include <string_view>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

bool is_log(int fd) {
  char path[4096];
  const auto link = "/proc/self/fd/" + std::to_string(fd);
  const auto size = ::readlink(link.c_str(), path, sizeof path);
  return size > 0 && std::string_view{path, static_cast<std::size_t>(size)}.ends_with(".log");
}

/// Removing is what one caller of many can do once.
bool shall_fail(int fd) {
  static const char* const trigger = std::getenv("CALLBOARD_FSYNC_FAULT");
  return trigger != nullptr && is_log(fd) && ::unlink(trigger) == 0;
}

int sync(long call, int fd) {
  if (shall_fail(fd)) {
    errno = EIO;
    return -1;
  }
  return static_cast<int>(::syscall(call, fd));
}

}  // namespace

extern "C" int fsync(int fd) {
  return sync(SYS_fsync, fd);
}

extern "C" int fdatasync(int fd) {
  return sync(SYS_fdatasync, fd);
}
