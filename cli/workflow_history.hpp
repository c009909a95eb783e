// The history of a workflow as a node shows it.
#pragma once

#include "base/error.hpp"
#include "cli/client/api.hpp"

#include <cstdint>
#include <string>

namespace callboard::cli {

/// `{"events":[…]}`, read page by page; `limit` 0: all. Errors: as the node answers.
[[nodiscard]] result<std::string> whole_history(
    client::api& api, const std::string& id, std::string from = "first", std::uint32_t limit = 0);

}  // namespace callboard::cli
