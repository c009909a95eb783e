// Who may do what to a workflow: its channel's topic is what rights are given on.
#pragma once

#include "gateway/http_handlers.hpp"

#include <fmt/format.h>

#include <string>
#include <string_view>

namespace callboard::gateway {

/// To start, signal and cancel it. Errors: forbidden.
[[nodiscard]] inline result<void> may_steer(const exchange& now, std::string_view channel) {
  if (now.who->may_publish(channel)) return {};
  return fail(
      errc::forbidden,
      fmt::format("the token does not allow to publish to '{}', so not to steer it", channel));
}

/// To terminate, restart and fork it and to end its commands by hand. Errors: forbidden.
[[nodiscard]] inline result<void> may_repair(const exchange& now, std::string_view channel) {
  if (!now.who->repair) {
    return fail(
        errc::forbidden,
        "the token says \"repair\": false: it may steer workflows, but not terminate or repair "
        "them");
  }
  return may_steer(now, channel);
}

/// For the record.
[[nodiscard]] inline std::string who_of(const exchange& now) {
  return now.who->subject.empty() ? "anonymous" : now.who->subject;
}

}  // namespace callboard::gateway
