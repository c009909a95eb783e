// What a workflow did, as tests find it: in its channel, in the journal of a node that is stopped,
// and in the file that the steps of tests/e2e/every_command write (EVERY_COMMAND_LOG).
#pragma once

#include "tests/e2e/broker.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/server_process.hpp"
#include "tests/support/unmarked.hpp"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace callboard::testing {

/// Of a channel, what an event says: its run, command, type and attempt; where no command is
/// concerned, what it is about instead.
inline std::string saying_of(const json::object& event) {
  const auto* data = event.if_contains("data");
  const auto part = [&](std::string_view name) {
    return data == nullptr ? std::string{} : text_of(*data, name);
  };
  auto text = "run " + std::to_string(number_of(event, "run")) + ' ' + text_of(event, "type");
  if (const auto command = number_of(event, "command"); command != 0) {
    text += " of command " + std::to_string(command);
    if (data != nullptr) text += " attempt " + std::to_string(number_of(*data, "attempt"));
    return text;
  }
  return text + ' ' + part("name") + ' ' + part("id");
}

/// Fails for each gap in the channel, and for each event that is recorded again.
inline void check_recorded_once(const std::vector<stored_event>& channel) {
  CHECK_FALSE(channel.empty());
  std::uint64_t seq = 0;
  std::map<std::string, int> said;
  for (const auto& one : channel) {
    CHECK(one.seq == ++seq);
    ++said[saying_of(one.event)];
  }
  for (const auto& [what, count] : said) {
    INFO(what);
    CHECK(count == 1);
  }
}

/// One attempt of one step.
struct effect {
  std::string what;
  /// Idempotency key.
  std::string key;
  std::uint64_t attempt = 0;

  auto operator<=>(const effect&) const = default;
};

/// How often each attempt was made.
inline std::map<effect, int> effects_in(const std::filesystem::path& log) {
  std::map<effect, int> seen;
  std::ifstream file{log};
  for (std::string line; std::getline(file, line);) {
    const auto number = line.rfind(' ');
    const auto key = line.rfind(' ', number - 1);
    ++seen[{
        line.substr(0, key),
        line.substr(key + 1, number - key - 1),
        std::stoull(line.substr(number + 1))}];
  }
  return seen;
}

/// The ends of commands in the journal of a node that does not run.
class recorded_ends {
public:
  /// Nothing if the journal cannot be read: the node died before there was one.
  static std::optional<recorded_ends> read(const std::filesystem::path& data_dir) {
    const auto exported = run_callboard({"journal", "export", "--data", data_dir.string()});
    if (exported.status != 0) return std::nullopt;
    recorded_ends ends;
    std::istringstream lines{exported.out};
    for (std::string line; std::getline(lines, line);) {
      const auto parsed = json::parse(line);
      ends.add(text_of(parsed, "topic"), parsed.at("event").as_object());
    }
    return ends;
  }

  /// Whether the end of this attempt is there, or that of the whole command. `key` with or without
  /// its mark.
  [[nodiscard]] bool has(const std::string& key, std::uint64_t attempt) const {
    const auto found = attempts_.find(unmarked(key));
    return found != attempts_.end() && attempt <= found->second;
  }

private:
  void add(const std::string& topic, const json::object& event) {
    const std::string channel = "workflow.";
    const auto type = text_of(event, "type");
    const auto is_failed = type == "task.failed";
    if (!topic.starts_with(channel)) return;
    if (!is_failed && type != "task.completed" && type != "command.cancelled") return;
    const auto& data = event.at("data");
    const auto is_over = !is_failed || flag_of(data, "final");
    const auto key = unmarked(topic.substr(channel.size())) + '.'
                     + std::to_string(number_of(event, "run")) + '.'
                     + std::to_string(number_of(event, "command"));
    auto& last = attempts_[key];
    last = std::max(
        last, is_over ? std::numeric_limits<std::uint64_t>::max() : number_of(data, "attempt"));
  }

  /// The last that has ended, by the key of its command without the mark.
  std::map<std::string, std::uint64_t> attempts_;
};

}  // namespace callboard::testing
