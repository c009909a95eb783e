// A node in a process of its own, on a fresh folder and a free port, for one run of a workload.
#pragma once

#include "base/error.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace callboard::bench {

/// Owns the child; destroying it kills it.
class server_process {
public:
  /// Starts `program dev --data … --listen 127.0.0.1:0` with these assignments and waits for its
  /// `ready` line, at most 60 s. Errors: io_error with what it said on stderr being shown.
  [[nodiscard]] static result<server_process> start(
      const std::string& program,
      const std::string& data_dir,
      const std::vector<std::string>& assignments);

  server_process(server_process&& other) noexcept;
  server_process& operator=(server_process&& other) noexcept;
  server_process(const server_process&) = delete;
  server_process& operator=(const server_process&) = delete;
  ~server_process();

  [[nodiscard]] int pid() const { return pid_; }

  [[nodiscard]] const std::string& url() const { return url_; }

  /// From fork to the `ready` line.
  [[nodiscard]] std::int64_t ready_after_ns() const { return ready_after_ns_; }

  /// SIGTERM and wait; false if it had to be killed after `limit`.
  bool stop(std::chrono::milliseconds limit = std::chrono::seconds{30});

  /// SIGKILL and wait.
  void kill();

private:
  server_process() = default;

  int pid_ = -1;
  std::string url_;
  std::int64_t ready_after_ns_ = 0;
};

/// What a process has used so far.
struct process_usage {
  std::int64_t cpu_ns = 0;
  std::uint64_t rss_bytes = 0;
};

/// Nothing if there is no such process.
[[nodiscard]] std::optional<process_usage> usage_of(int pid);

/// Path of this program.
[[nodiscard]] std::string own_program();

}  // namespace callboard::bench
