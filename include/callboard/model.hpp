// Asking a model from a workflow: what is asked, and what comes of it. `ctx.model(name, request)`.
#pragma once

#include "callboard/failure.hpp"
#include "callboard/json.hpp"
#include "callboard/time_span.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace callboard {

/// One question to a model. It must come out the same in a replay: after a crash the provider gets
/// it again under the same idempotency key.
struct model_request {
  /// Whom to ask first, by the name in the node's settings; empty = the first of their order.
  std::string provider;
  /// Empty = the provider's default.
  std::string model;
  /// As the chat-completions protocol has them: objects with `role` and `content`. At least one.
  boost::json::array messages;
  boost::json::array tools;
  std::optional<double> temperature;
  std::optional<std::uint32_t> max_tokens;
  /// Whether the answer is shown on the run's channel while it is made (`model.delta`).
  bool stream = true;
  /// Further members of the request, for instance `tool_choice` or `response_format`.
  boost::json::object options;
  /// One attempt, with the provider's queue and what the node tries by itself; 0 = the provider's
  /// `total_timeout_ms`.
  time_span timeout = std::chrono::milliseconds{0};
  /// Attempts that are recorded. Within each the node asks again, or another provider, as its
  /// settings say. The default waits 61 to 123 s in all, so an outage of a minute is outlived.
  retry_policy retry{.attempts_max = 8, .first_delay_ms = 1'000, .delay_max_ms = 60'000};
};

[[nodiscard]] inline boost::json::object message_of(std::string_view role, std::string_view text) {
  return {{"role", role}, {"content", text}};
}

[[nodiscard]] inline boost::json::object system_message(std::string_view text) {
  return message_of("system", text);
}

[[nodiscard]] inline boost::json::object user_message(std::string_view text) {
  return message_of("user", text);
}

/// What a tool gave; `call` is the id of the model_tool_call.
[[nodiscard]] inline boost::json::object
tool_message(std::string_view call, std::string_view result) {
  return {{"role", "tool"}, {"tool_call_id", call}, {"content", result}};
}

/// A call of a tool that the model asks for; `arguments` is JSON text, as the model wrote it.
struct model_tool_call {
  std::string id;
  std::string name;
  std::string arguments;

  friend bool operator==(const model_tool_call&, const model_tool_call&) = default;
};

struct model_usage {
  std::uint64_t prompt = 0;
  std::uint64_t completion = 0;
  std::uint64_t total = 0;
  /// Part of `prompt` that the provider had cached.
  std::uint64_t cached = 0;
  /// Part of `completion` that went into reasoning.
  std::uint64_t reasoning = 0;

  friend bool operator==(const model_usage&, const model_usage&) = default;
};

/// A whole answer, as the journal has it.
struct model_reply {
  std::string text;
  std::string refusal;
  std::vector<model_tool_call> tool_calls;
  /// `stop`, `length` or `tool_calls`; empty if the provider did not say.
  std::string finish_reason;
  /// Nothing if the provider did not count.
  std::optional<model_usage> usage;
  std::string provider;
  /// The model that answered, in the provider's words.
  std::string model;
  /// The provider's id of the answer.
  std::string response_id;

  /// The answer as the message that a later request repeats.
  [[nodiscard]] boost::json::object message() const;

  friend bool operator==(const model_reply&, const model_reply&) = default;
};

void tag_invoke(const boost::json::value_from_tag& tag, json& to, const model_reply& from);
[[nodiscard]] model_reply
tag_invoke(const boost::json::value_to_tag<model_reply>& tag, const json& from);

}  // namespace callboard
