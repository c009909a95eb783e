// Between the internal client and the public one (include/callboard/client.hpp): failures, JSON.
#pragma once

#include "base/error.hpp"

#include <boost/json/object.hpp>

#include <callboard/event.hpp>
#include <callboard/failure.hpp>
#include <cstdint>
#include <string>
#include <string_view>

namespace callboard::client {

/// `overloaded` and `rate_limited` are of the kind `rate`.
[[nodiscard]] failure failure_of(const error& why);

/// Errors: invalid_json if it is not an object. An empty body is an empty object.
[[nodiscard]] outcome<boost::json::object> object_in(std::string_view body);

/// Empty, 0 and false if the member is missing or of another kind.
[[nodiscard]] std::string text_of(const boost::json::object& from, std::string_view name);
[[nodiscard]] std::uint64_t number_of(const boost::json::object& from, std::string_view name);
[[nodiscard]] bool flag_of(const boost::json::object& from, std::string_view name);

/// `{"class", "code", "message", "retry_after_ms", "details"}` of a workflow that failed.
[[nodiscard]] failure failure_in(const boost::json::object& told);

/// `{"seq", "cursor", "event"}` of a page or a frame.
[[nodiscard]] received_event
received_from(const boost::json::object& delivery, std::string_view topic);

}  // namespace callboard::client
