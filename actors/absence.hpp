// What those who ask for a topic hear if it is not there.
#pragma once

#include "base/error.hpp"

namespace callboard::actors {

/// Whatever it would be: a topic, or the channel of a workflow or an agent (`not_there`).
[[nodiscard]] constexpr bool is_not_there(errc code) {
  return code == errc::topic_not_found || code == errc::workflow_not_found
         || code == errc::agent_not_found;
}

}  // namespace callboard::actors
