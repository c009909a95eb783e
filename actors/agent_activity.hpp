// What an agent does now, by its record: looked at without waking it up. Blocks on disk: reader
// pool only.
#pragma once

#include "base/error.hpp"
#include "base/names.hpp"
#include "storage/journal.hpp"

#include <callboard/json.hpp>
#include <optional>
#include <string>

namespace callboard::actors {

struct agent_activity {
  /// For people, behind "the agent": which message it handles and since when, and how many wait.
  std::string words;
  /// `type`, `key`, `status`, `run`, `messages_waiting`, `oldest_message_ms`, `handling`, `ahead`.
  boost::json::object shown;
};

/// `message`: the id of one that somebody waits for, or empty. Nothing if the agent has not had a
/// message yet.
[[nodiscard]] result<std::optional<agent_activity>>
look_at_agent(storage::journal& journal, const topic_ref& channel, const std::string& message);

}  // namespace callboard::actors
