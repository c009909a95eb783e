#include "bench/machine.hpp"

#include "cli/client/raw_json.hpp"

#include "bench/histogram.hpp"
#include "bench/time.hpp"

#include <fmt/format.h>

#include <fcntl.h>
#include <fstream>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <thread>
#include <unistd.h>

namespace callboard::bench {

namespace {

std::string line_of(const char* file, std::string_view key) {
  std::ifstream in{file};
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with(key)) continue;
    const auto at = line.find_first_not_of(" \t:", key.size());
    return at == std::string::npos ? std::string{} : line.substr(at);
  }
  return {};
}

std::string file_system_of(const std::string& folder) {
  struct statfs info{};
  if (::statfs(folder.c_str(), &info) != 0) return "unknown";
  switch (static_cast<std::uint64_t>(info.f_type)) {
  case 0xEF53:
    return "ext4";
  case 0x58465342:
    return "xfs";
  case 0x9123683E:
    return "btrfs";
  case 0x01021994:
    return "tmpfs";
  case 0x794C7630:
    return "overlay";
  case 0x2FC12FC1:
    return "zfs";
  default:
    return fmt::format("{:#x}", static_cast<std::uint64_t>(info.f_type));
  }
}

void probe_fsync(const std::string& folder, machine& here) {
  const auto path = folder + "/.callboard-fsync-probe";
  const int fd = ::open(path.c_str(), O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return;
  const std::string block(4096, 'x');
  histogram times;
  const auto until = now_ns() + ns_per_s;
  for (int i = 0; i < 500 && now_ns() < until; ++i) {
    const auto began = now_ns();
    if (::write(fd, block.data(), block.size()) < 0 || ::fdatasync(fd) != 0) break;
    times.record(now_ns() - began);
  }
  ::close(fd);
  ::unlink(path.c_str());
  here.fsync_p50_us = static_cast<double>(times.percentile(50)) / 1000;
  here.fsync_p99_us = static_cast<double>(times.percentile(99)) / 1000;
}

}  // namespace

machine describe_machine(const std::string& folder) {
  machine here;
  here.cores = std::thread::hardware_concurrency();
  here.cpu = line_of("/proc/cpuinfo", "model name");
  utsname names{};
  ::uname(&names);
  here.kernel = fmt::format("{} {}", names.sysname, names.release);
  const auto memory = line_of("/proc/meminfo", "MemTotal");
  here.memory_bytes = memory.empty() ? 0 : std::stoull(memory) * 1024;
  here.file_system = file_system_of(folder);
  probe_fsync(folder, here);
  return here;
}

std::string shown(const machine& here) {
  return fmt::format(
      "machine: {} cores, {}, {:.1f} GiB, {}, data on {}, fdatasync of 4 KiB p50 {:.0f} us, "
      "p99 {:.0f} us",
      here.cores,
      here.cpu.empty() ? "unknown CPU" : here.cpu,
      static_cast<double>(here.memory_bytes) / (1ULL << 30),
      here.kernel,
      here.file_system,
      here.fsync_p50_us,
      here.fsync_p99_us);
}

std::string json_of(const machine& here) {
  return fmt::format(
      R"({{"cores":{},"cpu":{},"kernel":{},"memory_bytes":{},"file_system":"{}",)"
      R"("fsync_p50_us":{:.1f},"fsync_p99_us":{:.1f}}})",
      here.cores,
      client::json_quoted(here.cpu),
      client::json_quoted(here.kernel),
      here.memory_bytes,
      here.file_system,
      here.fsync_p50_us,
      here.fsync_p99_us);
}

}  // namespace callboard::bench
