#include "model/failure.hpp"

#include "base/utf8.hpp"
#include "model/response_head.hpp"
#include "model/retry_after.hpp"
#include "model/split_pairs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

namespace callboard::model {

namespace json = boost::json;

namespace {

/// What a status alone says.
failure by_status(int status) {
  using enum failure_kind;
  using enum failure_scope;
  const auto made = [status](failure_kind kind, failure_scope scope, errc code) {
    failure out;
    out.kind = kind;
    out.scope = scope;
    out.code = code;
    out.status = status;
    return out;
  };
  switch (status) {
  case 400:
  case 422:
    return made(permanent, request, errc::bad_request);
  case 401:
    return made(permanent, provider, errc::unauthorized);
  case 402:
    return made(quota, provider, errc::forbidden);
  case 403:
    return made(permanent, provider, errc::forbidden);
  case 404:
    return made(permanent, provider, errc::not_found);
  case 408:
    return made(retryable, provider, errc::timeout);
  // 409: an attempt under the same key is still running; 425: too early.
  case 409:
  case 425:
    return made(retryable, provider, errc::unreachable);
  // A smaller context than that of others is a matter of this provider.
  case 413:
    return made(permanent, provider, errc::too_large);
  case 429:
    return made(rate, provider, errc::rate_limited);
  case 504:
    return made(retryable, provider, errc::timeout);
  default:
    break;
  }
  if (status >= 500) return made(retryable, provider, errc::overloaded);
  return made(permanent, provider, errc::bad_request);
}

/// Codes and types of error objects, as the status that would have said the same. A quota that is
/// used up also comes as 429, and an error in the middle of a stream has no status at all.
constexpr auto known_codes = std::to_array<std::pair<std::string_view, int>>({
    {"insufficient_quota", 402},
    {"billing_hard_limit_reached", 402},
    {"billing_not_active", 402},
    {"quota_exceeded", 402},
    {"credit_balance_too_low", 402},
    {"content_policy_violation", 400},
    {"content_filter", 400},
    {"rate_limit_exceeded", 429},
    {"rate_limit_error", 429},
    {"tokens_per_minute", 429},
    {"invalid_api_key", 401},
    {"authentication_error", 401},
    {"permission_error", 403},
    {"permission_denied", 403},
    {"model_not_found", 404},
    {"not_found_error", 404},
    {"context_length_exceeded", 400},
    {"invalid_request_error", 400},
    {"overloaded_error", 503},
    {"overloaded", 503},
    {"server_error", 500},
    {"api_error", 500},
    {"internal_error", 500},
    {"timeout", 504},
});

int like_status(std::string_view code) {
  for (const auto& [name, like] : known_codes) {
    if (name == code) return like;
  }
  return 0;
}

std::string_view text_of(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  if (value == nullptr || !value->is_string()) return {};
  return value->get_string();
}

/// Some providers put a status there.
int number_of(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  if (value == nullptr || !value->is_int64()) return 0;
  const auto number = value->get_int64();
  return number >= 400 && number <= 599 ? static_cast<int>(number) : 0;
}

bool is_secret_char(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.'
         || c == '*';
}

constexpr std::string_view in_place_of_key = "***";

void mask(std::string& text, std::string_view begin) {
  std::size_t at = 0;
  while ((at = text.find(begin, at)) != std::string::npos) {
    const bool in_word = at > 0 && std::isalnum(static_cast<unsigned char>(text[at - 1])) != 0;
    const auto from = at + begin.size();
    auto end = from;
    while (end < text.size() && is_secret_char(text[end]))
      ++end;
    if (!in_word) {
      text.replace(from, end - from, in_place_of_key);
      end = from + in_place_of_key.size();
    }
    at = end;
  }
}

/// The rest of a text that was cut may begin the secret and be too short to be found as such.
void drop_begin_of(std::string_view secret, std::string& text) {
  if (secret.empty()) return;
  for (auto size = std::min(secret.size() - 1, text.size()); size > 0; --size) {
    if (!text.ends_with(secret.substr(0, size))) continue;
    return text.resize(text.size() - size);
  }
}

/// One line; runs of control characters become a space.
std::string on_one_line(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool control = static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
    if (control && (out.empty() || out.back() == ' ')) continue;
    out.push_back(control ? ' ' : c);
  }
  return out;
}

/// A body that is no JSON may be no UTF-8 either.
std::string ascii(std::string_view text) {
  std::string out{text};
  std::ranges::replace_if(out, [](char c) { return static_cast<unsigned char>(c) >= 0x80; }, '?');
  return out;
}

void cut(std::string& text, std::size_t size_max) {
  if (text.size() <= size_max) return;
  text.resize(front_of(text, size_max).size());
  text += "...";
}

/// The error object of an answer's body, wherever providers put it.
std::optional<json::object> error_object(std::string_view body) {
  constexpr std::size_t depth_max = 16;
  json::error_code failed;
  auto value = parse_json(body, failed, {}, depth_max);
  if (failed) return std::nullopt;
  if (value.is_array() && !value.get_array().empty()) {
    auto first = value.get_array().front();
    value = std::move(first);
  }
  if (!value.is_object()) return std::nullopt;
  auto& whole = value.get_object();
  const auto* inner = whole.if_contains("error");
  if (inner != nullptr && inner->is_object()) return inner->get_object();
  if (inner != nullptr && inner->is_string()) {
    json::object made;
    made["message"] = inner->get_string();
    return made;
  }
  return std::move(whole);
}

}  // namespace

std::string_view name_of(failure_kind kind) {
  switch (kind) {
  case failure_kind::retryable:
    return "retryable";
  case failure_kind::rate:
    return "rate";
  case failure_kind::quota:
    return "quota";
  case failure_kind::permanent:
    return "permanent";
  case failure_kind::cancelled:
    return "cancelled";
  }
  return "permanent";
}

std::string sanitize(std::string_view text, std::string_view secret) {
  constexpr std::size_t looked_at_max = 4096;
  // Longer than what is kept, so that a key is never cut before it is found.
  auto out = on_one_line(as_utf8(std::string{front_of(text, looked_at_max)}));
  if (text.size() > looked_at_max) drop_begin_of(secret, out);
  if (!secret.empty()) {
    // Goes on behind the replacement: the key may be part of it.
    for (auto at = out.find(secret); at != std::string::npos;
         at = out.find(secret, at + in_place_of_key.size()))
      out.replace(at, secret.size(), in_place_of_key);
  }
  for (const auto* begin : {"sk-", "Bearer ", "bearer "})
    mask(out, begin);
  cut(out, message_size_max);
  return out;
}

failure retryable_failure(errc code, std::string detail) {
  failure out;
  out.kind = failure_kind::retryable;
  out.code = code;
  out.detail = std::move(detail);
  return out;
}

failure permanent_failure(errc code, failure_scope scope, std::string detail) {
  failure out;
  out.kind = failure_kind::permanent;
  out.scope = scope;
  out.code = code;
  out.detail = std::move(detail);
  return out;
}

failure classify_error(const json::object& error, int status, std::string_view secret) {
  const auto code = text_of(error, "code");
  const auto type = text_of(error, "type");
  int like = like_status(code);
  if (like == 0) like = like_status(type);
  // A status is more exact than a type, except where it hides that the quota is used up.
  if (status != 0 && like != 402) like = status;
  if (like == 0) like = number_of(error, "code");
  if (like == 0) like = 500;
  auto out = by_status(like);
  out.status = status;
  constexpr std::size_t code_size_max = 64;
  out.provider_code = front_of(sanitize(code.empty() ? type : code, secret), code_size_max);
  if (code == "context_length_exceeded") out.scope = failure_scope::provider;
  out.detail = sanitize(text_of(error, "message"), secret);
  if (out.detail.empty()) out.detail = "no message";
  return out;
}

failure classify_response(
    const response_head& head, std::string_view body, time_ms now, std::string_view secret) {
  const int status = head.status();
  auto out = by_status(status);
  if (const auto object = error_object(body)) {
    out = classify_error(*object, status, secret);
  } else {
    out.detail = body.empty() ? "no message" : sanitize(ascii(body), secret);
  }
  out.detail = out.provider_code.empty()
                   ? fmt::format("status {}: {}", status, out.detail)
                   : fmt::format("status {} ({}): {}", status, out.provider_code, out.detail);
  if (out.kind == failure_kind::rate || out.kind == failure_kind::retryable) {
    // Rate headers come with every answer; they mean something only where the rate is the trouble.
    const bool asked = status == 429 || head.has("retry-after") || head.has("retry-after-ms");
    if (asked) out.retry_after = retry_after_of(head, now);
  }
  if (out.retry_after) out.retry_after_ms = static_cast<std::uint32_t>(out.retry_after->count());
  return out;
}

}  // namespace callboard::model
