#include "model/chat_body.hpp"

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace callboard::model {

namespace json = boost::json;

namespace {

bool all_objects(const json::array& values) {
  return std::ranges::all_of(values, [](const json::value& value) { return value.is_object(); });
}

bool is_key(std::string_view text) {
  return text.size() <= idempotency_key_size_max
         && std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f; });
}

result<void> check(const chat_request& request) {
  constexpr std::array<std::string_view, 9> taken{
      "model",
      "messages",
      "tools",
      "temperature",
      "max_tokens",
      "max_completion_tokens",
      "stream",
      "stream_options",
      "n"};
  if (request.messages.empty()) return fail(errc::bad_request, "a model call needs messages");
  if (!all_objects(request.messages)) return fail(errc::bad_request, "a message is an object");
  if (!all_objects(request.tools)) return fail(errc::bad_request, "a tool is an object");
  if (request.temperature && !std::isfinite(*request.temperature)) {
    return fail(errc::bad_request, "the temperature is not a number");
  }
  if (!is_key(request.idempotency_key)) {
    return fail(
        errc::bad_request,
        fmt::format("an idempotency key is visible ASCII, at most {} B", idempotency_key_size_max));
  }
  if (request.timeout.count() < 0) return fail(errc::bad_request, "the timeout is negative");
  for (const auto& [name, value] : request.options) {
    if (std::ranges::find(taken, std::string_view{name}) != taken.end()) {
      return fail(errc::bad_request, fmt::format("'{}' is not one of the options", name.data()));
    }
  }
  return {};
}

void add_member(std::string& out, std::string_view name, const json::value& value) {
  out += ',';
  out += json::serialize(json::string_view{name});
  out += ':';
  out += json::serialize(value);
}

}  // namespace

result<shared_body> make_shared_body(const chat_request& request) {
  if (auto sound = check(request); !sound) return std::unexpected{sound.error()};
  shared_body out;
  out.max_tokens = request.max_tokens;
  out.stream = request.stream;
  out.members = ",\"messages\":" + json::serialize(request.messages);
  if (!request.tools.empty()) out.members += ",\"tools\":" + json::serialize(request.tools);
  if (request.temperature) add_member(out.members, "temperature", *request.temperature);
  for (const auto& [name, value] : request.options)
    add_member(out.members, name, value);
  return out;
}

std::string
body_for(const provider_settings& provider, std::string_view model, const shared_body& shared) {
  std::string out = "{\"model\":" + json::serialize(json::string_view{model});
  if (shared.max_tokens) add_member(out, provider.max_tokens_member, *shared.max_tokens);
  out += shared.members;
  if (shared.stream) {
    out += ",\"stream\":true";
    if (provider.stream_usage) out += ",\"stream_options\":{\"include_usage\":true}";
  }
  out += '}';
  return out;
}

}  // namespace callboard::model
