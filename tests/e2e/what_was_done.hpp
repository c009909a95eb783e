// What a workflow did, as tests find it: in its channel, and in the file that the steps of
// tests/e2e/every_command write (EVERY_COMMAND_LOG).
#pragma once

#include "tests/e2e/broker.hpp"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace callboard::testing {

/// How often each command of each run is recorded as ended.
inline std::map<std::pair<std::uint64_t, std::uint64_t>, int>
ends_of(const std::vector<stored_event>& channel) {
  std::map<std::pair<std::uint64_t, std::uint64_t>, int> ends;
  for (const auto& one : channel) {
    const auto type = text_of(one.event, "type");
    if (type == "task.completed" || type == "timer.fired" || type == "command.cancelled") {
      ++ends[{number_of(one.event, "run"), number_of(one.event, "command")}];
    }
  }
  return ends;
}

/// How often each step was done: by its name and its idempotency key.
inline std::map<std::string, int> effects_in(const std::filesystem::path& log) {
  std::map<std::string, int> seen;
  std::ifstream file{log};
  for (std::string line; std::getline(file, line);)
    ++seen[line];
  return seen;
}

}  // namespace callboard::testing
