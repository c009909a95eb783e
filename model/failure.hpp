// Why a model call failed, in classes that say what to do about it.
#pragma once

#include "base/error.hpp"
#include "base/ids.hpp"
#include "model/chat.hpp"

#include <boost/json/object.hpp>

#include <chrono>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

namespace callboard::model {

class response_head;

enum class failure_kind : std::uint8_t {
  /// Network, 5xx, timeout, a cut or broken answer: the same request may succeed soon.
  retryable = 1,
  /// Too many requests just now (429).
  rate = 2,
  /// The account's money or quota is used up: no retry helps soon.
  quota = 3,
  /// The request, the key or the content is refused.
  permanent = 4,
  /// `cancel` or `stop`.
  cancelled = 5,
};

[[nodiscard]] std::string_view name_of(failure_kind kind);

enum class failure_scope : std::uint8_t {
  /// Every provider would say the same, for instance 400.
  request = 1,
  /// It lies with this provider, its key or its network: another one may answer.
  provider = 2,
};

/// A failed call or attempt. `detail` is short, printable and free of keys; it may be logged.
struct failure : error {
  failure_kind kind = failure_kind::permanent;
  failure_scope scope = failure_scope::provider;
  /// The HTTP status; 0 = none came.
  int status = 0;
  std::string provider;
  /// The provider's own code, for instance `insufficient_quota`; may be empty.
  std::string provider_code;
  /// How often a provider was asked.
  std::uint32_t attempts = 0;
  /// When the provider wants to be asked again; 0 ms is a wish too.
  std::optional<std::chrono::milliseconds> retry_after;

  friend bool operator==(const failure&, const failure&) = default;
};

/// Converts to `result<chat_result>`, which keeps code and detail.
using chat_outcome = std::expected<chat_result, failure>;

/// Bytes of a provider's message that are kept.
inline constexpr std::size_t message_size_max = 300;

/// `text` on one line, printable, cut to `message_size_max`, without `secret` and without anything
/// that looks like a key.
[[nodiscard]] std::string sanitize(std::string_view text, std::string_view secret);

[[nodiscard]] failure retryable_failure(errc code, std::string detail);

[[nodiscard]] failure permanent_failure(errc code, failure_scope scope, std::string detail);

/// What an answer with a status outside of 2xx says. `now` is for dates in headers.
[[nodiscard]] failure classify_response(
    const response_head& head, std::string_view body, time_ms now, std::string_view secret);

/// What an error object (`message`, `type`, `code`) says that came inside an answer; `status` is
/// that of the answer, if it is one of failure.
[[nodiscard]] failure
classify_error(const boost::json::object& error, int status, std::string_view secret);

}  // namespace callboard::model
