// Errors as clients see them: RFC 9457 problem documents over HTTP, `error` frames on WebSockets.
#pragma once

#include "base/error.hpp"

#include <span>
#include <string>
#include <string_view>

namespace callboard::gateway {

struct status_line {
  unsigned status = 0;
  std::string_view reason;
};

/// Every status that is answered here, in order, with its reason.
[[nodiscard]] std::span<const status_line> http_statuses();

/// The reason of one of them, which is also the title of a problem.
[[nodiscard]] std::string_view reason_of(unsigned status);

/// The HTTP status that stands for a code, for example 409 for id_conflict.
[[nodiscard]] unsigned http_status(errc code);

/// An application/problem+json body: type, title, status, detail, code, retryable, and
/// retry_after_ms where there is one.
[[nodiscard]] std::string problem_json(const error& problem);

/// The same with another status than the one that stands for the code (408, 431 and the like).
[[nodiscard]] std::string problem_json(const error& problem, unsigned status);

/// `"code":"...","detail":"..."[,"retry_after_ms":n]` for use inside an error frame.
void append_error_members(std::string& out, const error& problem);

/// Appends `text` as a JSON string with quotes, escaping what JSON and SSE need escaped.
void append_json_string(std::string& out, std::string_view text);

}  // namespace callboard::gateway
