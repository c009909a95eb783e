// Preloaded into a node under test: kill -9 at a chosen position of its journal. CALLBOARD_KILL_AT
// is `write:N`, before the Nth write to a write-ahead log (what it held is nowhere), or `sync:N`,
// after the Nth fdatasync of one (it is on disk, and nobody has been told).
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <string_view>
#include <sys/types.h>
#include <unistd.h>

namespace {

bool is_log(int fd) {
  char link[64];
  char path[4096];
  char digits[16];
  int count = 0;
  for (int rest = fd; count == 0 || rest > 0; rest /= 10)
    digits[count++] = static_cast<char>('0' + rest % 10);
  std::strcpy(link, "/proc/self/fd/");
  auto* end = link + std::strlen(link);
  while (count > 0)
    *end++ = digits[--count];
  *end = 0;
  const auto size = ::readlink(link, path, sizeof path);
  return size > 4 && std::string_view{path, static_cast<std::size_t>(size)}.ends_with(".log");
}

/// True at the position that was asked for, once.
bool is_due(std::string_view what, std::atomic<long>& passed) {
  static const char* const asked = std::getenv("CALLBOARD_KILL_AT");
  if (asked == nullptr || !std::string_view{asked}.starts_with(what)) return false;
  return ++passed == std::atol(asked + what.size());
}

std::atomic<long> writes{0};
std::atomic<long> syncs{0};

}  // namespace

extern "C" ssize_t write(int fd, const void* data, std::size_t size) {
  using function = ssize_t (*)(int, const void*, std::size_t);
  static const auto real = reinterpret_cast<function>(::dlsym(RTLD_NEXT, "write"));
  if (fd > 2 && is_log(fd) && is_due("write:", writes)) ::raise(SIGKILL);
  return real(fd, data, size);
}

using positioned_write = ssize_t (*)(int, const void*, std::size_t, off_t);

extern "C" ssize_t pwrite(int fd, const void* data, std::size_t size, off_t at) {
  static const auto real = reinterpret_cast<positioned_write>(::dlsym(RTLD_NEXT, "pwrite"));
  if (is_log(fd) && is_due("write:", writes)) ::raise(SIGKILL);
  return real(fd, data, size, at);
}

extern "C" ssize_t pwrite64(int fd, const void* data, std::size_t size, off_t at) {
  static const auto real = reinterpret_cast<positioned_write>(::dlsym(RTLD_NEXT, "pwrite64"));
  if (is_log(fd) && is_due("write:", writes)) ::raise(SIGKILL);
  return real(fd, data, size, at);
}

extern "C" int fdatasync(int fd) {
  using function = int (*)(int);
  static const auto real = reinterpret_cast<function>(::dlsym(RTLD_NEXT, "fdatasync"));
  const int outcome = real(fd);
  if (is_log(fd) && is_due("sync:", syncs)) ::raise(SIGKILL);
  return outcome;
}
