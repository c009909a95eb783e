// The node of the demo: a child process that is started, killed and started again.
#pragma once

#include "cli/client/endpoint.hpp"

#include <chrono>
#include <string>

namespace callboard::demo {

/// Owner: main. Its data outlives `kill`. Destroying it kills the process.
class node_process {
public:
  node_process(std::string program, std::string data_dir);
  ~node_process();
  node_process(const node_process&) = delete;
  node_process& operator=(const node_process&) = delete;

  /// Starts the program and waits for its `ready` line; the second time on the same port.
  /// Errors: unreachable with the program's last words.
  [[nodiscard]] result<std::chrono::milliseconds> start();

  /// kill -9.
  void kill();

  /// SIGTERM, and waits for the end.
  void stop();

  /// Leaves the process alone from now on.
  void release() { pid_ = -1; }

  [[nodiscard]] int pid() const { return pid_; }

  [[nodiscard]] client::endpoint where() const;

private:
  std::string program_;
  std::string data_dir_;
  int pid_ = -1;
  std::uint16_t port_ = 0;
};

}  // namespace callboard::demo
