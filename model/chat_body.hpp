// The body of a request, in the words of the chat-completions protocol.
#pragma once

#include "model/chat.hpp"
#include "model/settings.hpp"

#include <string>
#include <string_view>

namespace callboard::model {

/// What all providers get alike; made once per call, so that the request's JSON is not kept.
struct shared_body {
  /// Members, each with a comma before it.
  std::string members;
  std::optional<std::uint32_t> max_tokens;
  bool stream = false;
};

/// Errors: bad_request for a request that no provider could take: no messages, messages or tools
/// that are no objects, a key outside of its grammar, options that set what has its own member.
[[nodiscard]] result<shared_body> make_shared_body(const chat_request& request);

[[nodiscard]] std::string
body_for(const provider_settings& provider, std::string_view model, const shared_body& shared);

}  // namespace callboard::model
