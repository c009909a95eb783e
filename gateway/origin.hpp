// Which browser pages may talk to this node: the Origin check and the CORS headers that go with it.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace callboard::gateway {

enum class origin_standing {
  /// No Origin header: not a browser, or a plain navigation.
  absent,
  same_host,
  /// Another origin that the settings allow.
  allowed,
  denied,
};

/// `allowed`: the setting `listen.allowed_origins`; "*" allows every origin. With `trusted_local`
/// (a node without authentication) the same host counts only if it names this machine, so that a
/// foreign name that resolves to 127.0.0.1 opens no door.
[[nodiscard]] origin_standing standing_of(
    const std::string* origin,
    const std::string* host,
    const std::vector<std::string>& allowed,
    bool trusted_local);

/// The header lines that let a page of an allowed origin read an answer; empty for others.
[[nodiscard]] std::string cors_lines(origin_standing standing, const std::string* origin);

/// The further headers of an answer to a preflight request.
[[nodiscard]] std::vector<std::pair<std::string, std::string>>
preflight_headers(const std::string& methods);

}  // namespace callboard::gateway
