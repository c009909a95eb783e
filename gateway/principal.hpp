// Who a client is and what it may do, as its token says.
#pragma once

#include "base/error.hpp"
#include "base/ids.hpp"
#include "base/names.hpp"

#include <optional>
#include <string>
#include <vector>

namespace callboard::gateway {

/// Immutable once made. Patterns are matched against topic names; an empty list allows nothing.
struct principal {
  std::string subject;
  tenant_name tenant;
  std::vector<topic_pattern> publish;
  std::vector<topic_pattern> subscribe;
  std::vector<std::string> work;
  bool admin = false;
  /// To terminate and repair workflows that it may steer.
  bool repair = true;
  /// When the token ends, `auth.leeway_s` included; nothing in a node without authentication.
  std::optional<time_ms> expires;

  [[nodiscard]] bool may_publish(std::string_view topic) const;
  /// To everything that `pattern` matches.
  [[nodiscard]] bool may_publish_all(std::string_view pattern) const;
  /// A pattern is allowed if one of ours covers it: equal, or a plain match of its text.
  [[nodiscard]] bool may_subscribe(std::string_view topic_or_pattern) const;
  /// Patterns on the names of task queues, as those on topics.
  [[nodiscard]] bool may_work(std::string_view queue) const;
};

}  // namespace callboard::gateway
