// What a chat completion is asked with and what comes of it, free of any provider's wire format.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace callboard::model {

/// One question to a model.
struct chat_request {
  /// For whom: tenants take turns at a provider.
  std::string tenant;
  /// Whom to ask first; empty = the first provider of the settings.
  std::string provider;
  /// Empty = the provider's default. A fallback uses its own default, or the same model if it has
  /// none.
  std::string model;
  /// As the protocol has them: objects with `role` and `content`. At least one.
  boost::json::array messages;
  boost::json::array tools;
  std::optional<double> temperature;
  std::optional<std::uint32_t> max_tokens;
  bool stream = true;
  /// Sent as `Idempotency-Key`, the same with every attempt at a provider; empty = no header.
  /// Visible ASCII, at most `idempotency_key_size_max`.
  std::string idempotency_key;
  /// Further members of the request, for instance `tool_choice` or `response_format`.
  boost::json::object options;
  /// From admission to the end, with queueing and retries; 0 = the provider's `total_timeout`.
  std::chrono::milliseconds timeout{0};
  /// A longer time that a provider names with 429 ends the call with that failure, where no
  /// fallback is left: who asked waits himself. Nothing: the call does.
  std::optional<std::chrono::milliseconds> wait_max;
};

inline constexpr std::size_t idempotency_key_size_max = 255;

/// A call of a tool that the model asks for; `arguments` is JSON text, as the model wrote it.
struct tool_call {
  std::string id;
  std::string name;
  std::string arguments;

  friend bool operator==(const tool_call&, const tool_call&) = default;
};

struct token_usage {
  std::uint64_t prompt = 0;
  std::uint64_t completion = 0;
  std::uint64_t total = 0;
  /// Part of `prompt` that the provider had cached.
  std::uint64_t cached = 0;
  /// Part of `completion` that went into reasoning.
  std::uint64_t reasoning = 0;

  friend bool operator==(const token_usage&, const token_usage&) = default;
};

/// A whole answer.
struct chat_result {
  std::string text;
  std::string refusal;
  std::vector<tool_call> tool_calls;
  /// `stop`, `length` or `tool_calls`; empty if the provider did not say.
  std::string finish_reason;
  /// Nothing if the provider did not count.
  std::optional<token_usage> usage;
  /// Who answered.
  std::string provider;
  /// The model that answered, in the provider's words.
  std::string model;
  /// The provider's id of the answer.
  std::string response_id;
  /// How often a provider was asked, the successful time included.
  std::uint32_t attempts = 0;

  friend bool operator==(const chat_result&, const chat_result&) = default;
};

}  // namespace callboard::model
