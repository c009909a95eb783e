// What a run waits for elsewhere, children, tasks and agents, as the journal has it: looked at
// without waking anybody up. Blocks on disk: reader pool only.
#pragma once

#include "base/ids.hpp"
#include "base/names.hpp"
#include "storage/journal.hpp"

#include <callboard/json.hpp>
#include <cstdint>
#include <optional>
#include <string>

namespace callboard::actors {

/// What an open command waits for: a child by its channel, a task by who waits for it, or an agent
/// by its channel and the id of the message.
struct awaited {
  std::uint32_t command = 0;
  std::optional<topic_ref> child;
  std::optional<queue_ref> queue;
  std::string origin;
  std::optional<topic_ref> agent = {};
};

/// there: it has not ended. ended: its end is on disk. missing: there is nothing that could end.
/// queue_missing: not even the queue. unknown: it could not be read.
enum class wait_state : std::uint8_t { there, ended, missing, queue_missing, unknown };

struct seen_wait {
  std::uint32_t command = 0;
  wait_state state = wait_state::unknown;
  /// For people: who has it, and for how long.
  std::string words;
  /// Members `child`, `task` or `agent`.
  boost::json::object shown;
};

[[nodiscard]] seen_wait look_at(storage::journal& journal, const awaited& what);

}  // namespace callboard::actors
