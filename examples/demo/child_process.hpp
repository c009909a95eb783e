// A program of the demo: started, killed and started again.
#pragma once

#include "base/error.hpp"

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

namespace callboard::demo {

/// Owner: the stage. What it prints goes to files, over all starts. Destroying it kills the
/// process; so does the end of the demo itself.
class child_process {
public:
  /// `output` is the file of its standard output; `output` + ".err" that of its standard error.
  child_process(std::vector<std::string> words, std::string output);
  ~child_process();
  child_process(const child_process&) = delete;
  child_process& operator=(const child_process&) = delete;

  /// Runs the program and waits for a line that begins with `sign`; gives the rest of that line.
  /// Errors: unreachable with where its log is, if it ends before or takes longer than 30 s.
  [[nodiscard]] result<std::string> start(std::string_view sign);

  void set_words(std::vector<std::string> words) { words_ = std::move(words); }

  /// kill -9.
  void kill() { end(9); }

  /// SIGTERM, and waits for the end.
  void stop() { end(15); }

  [[nodiscard]] int pid() const { return pid_; }

  /// What it has printed so far.
  [[nodiscard]] std::string printed() const;

  /// True if it has ended by itself or by somebody else's signal.
  [[nodiscard]] bool has_ended();

private:
  void run();
  void end(int signal);

  std::vector<std::string> words_;
  std::string output_;
  /// Where the present process's output begins.
  std::size_t begin_ = 0;
  int pid_ = -1;
};

}  // namespace callboard::demo
