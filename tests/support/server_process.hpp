// The real program as a child process: started, killed, stopped and started again by tests.
#pragma once

#include "tests/support/socket.hpp"
#include "tests/support/temp_dir.hpp"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace callboard::testing {

/// Path of the program under test (set by CMake, or CALLBOARD_PROGRAM in the environment).
[[nodiscard]] std::string callboard_program();

struct run_result {
  /// Exit status, or minus the signal.
  int status = 0;
  std::string out;
  std::string err;
};

/// Runs the program to its end with these arguments and `input` on stdin.
[[nodiscard]] run_result run_callboard(
    const std::vector<std::string>& arguments,
    const std::string& input = {},
    milliseconds limit = std::chrono::seconds{60});

struct server_options {
  /// `dev` has no authentication, `serve` does.
  std::string command = "dev";
  /// Empty: a folder of the process's own.
  std::filesystem::path data_dir{};
  std::vector<std::string> arguments{};
  bool tls = false;
  /// Whether it starts again on the port that it had: for clients that find it again by themselves.
  bool keeps_port = false;
};

/// One node on a free port. Owner: a test. Its data outlives `kill`, `stop` and `start`.
class server_process {
public:
  /// Starts at once; throws std::runtime_error with the log if it does not get ready.
  explicit server_process(server_options options = {});
  ~server_process();
  server_process(const server_process&) = delete;
  server_process& operator=(const server_process&) = delete;

  /// Starts again on the same data, on a new port unless it keeps its own.
  void start();

  /// kill -9.
  void kill();

  /// Sends SIGTERM and does not wait.
  void terminate();

  /// Waits for the end: exit status, or minus the signal; nothing after `limit`.
  std::optional<int> wait(milliseconds limit = std::chrono::seconds{30});

  /// SIGTERM and wait.
  std::optional<int> stop(milliseconds limit = std::chrono::seconds{30});

  [[nodiscard]] endpoint where() const;
  [[nodiscard]] std::string url() const;

  [[nodiscard]] std::filesystem::path data_dir() const { return options_.data_dir; }

  [[nodiscard]] int pid() const { return pid_; }

  [[nodiscard]] bool running();

  /// Everything it has logged so far, over all starts.
  [[nodiscard]] std::string log() const;

  /// Resident memory now, in bytes.
  [[nodiscard]] std::uint64_t resident_bytes() const;

private:
  server_options options_;
  temp_dir folder_;
  int pid_ = -1;
  std::uint16_t port_ = 0;
};

}  // namespace callboard::testing
