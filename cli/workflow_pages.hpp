// Lists of a node that come in pages, joined: workflows, and the history of one.
#pragma once

#include "base/error.hpp"
#include "cli/client/api.hpp"

#include <cstdint>
#include <string>

namespace callboard::cli {

/// Which workflows; what is empty says nothing.
struct workflow_filter {
  std::string type;
  std::string status;
  bool is_stuck = false;
  /// 0: all.
  std::uint32_t limit = 0;
};

/// `{"workflows":[…]}`, in order of id. Errors: as the node answers.
[[nodiscard]] result<std::string> all_workflows(client::api& api, const workflow_filter& which);

/// `{"events":[…]}`, read page by page; `limit` 0: all. Errors: as the node answers.
[[nodiscard]] result<std::string> whole_history(
    client::api& api, const std::string& id, std::string from = "first", std::uint32_t limit = 0);

}  // namespace callboard::cli
