// Providers and bounds of model calls, as plain values. No setting holds a key: only the name of
// the environment variable that does.
#pragma once

#include "base/error.hpp"

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace callboard::model {

struct provider_timeouts {
  /// TCP and TLS.
  std::chrono::milliseconds connect{5'000};
  /// From sending to the first byte of the answer's body. Without streaming that is all of the
  /// thinking.
  std::chrono::milliseconds first_byte{120'000};
  /// Between two pieces of the answer; comments count.
  std::chrono::milliseconds idle{60'000};
  /// A whole call: queueing, attempts, waits between them, fallbacks.
  std::chrono::milliseconds total{600'000};
};

struct provider_concurrency {
  std::uint32_t min = 1;
  std::uint32_t max = 64;
  /// Where the adaptive limit begins.
  std::uint32_t start = 16;
};

struct retry_settings {
  /// Attempts at one provider, the first one included.
  std::uint32_t attempts_max = 4;
  std::chrono::milliseconds backoff_base{500};
  std::chrono::milliseconds backoff_max{30'000};
  /// A longer wish to wait is left to somebody else if there is a fallback.
  std::chrono::milliseconds fallback_wait_max{15'000};
  /// For how long at most one call's wish to wait holds others back, too.
  std::chrono::milliseconds hold_max{300'000};
};

struct answer_limits {
  /// An answer that is not streamed, and error documents.
  std::uint64_t body_bytes_max = 8ULL << 20;
  /// All that came over the wire for one streamed answer; none of it is kept.
  std::uint64_t stream_bytes_max = 256ULL << 20;
  std::uint64_t event_bytes_max = 1ULL << 20;
  /// Text, refusal and arguments of tool calls of one answer.
  std::uint64_t text_bytes_max = 1ULL << 20;
  std::uint32_t tool_calls_max = 128;
  std::uint32_t header_bytes_max = 64U << 10;
};

enum class proxy_use : std::uint8_t {
  /// What `https_proxy`, `http_proxy`, `all_proxy` and `no_proxy` say.
  environment = 1,
  none = 2,
};

struct provider_settings {
  /// `[a-z0-9][a-z0-9_-]{0,62}`; a label of metrics.
  std::string name;
  /// Up to and without `/chat/completions`, for instance `https://api.openai.com/v1`.
  std::string base_url;
  /// The environment variable that holds the key; empty = no `Authorization`.
  std::string api_key_env;
  /// Allows a key over `http` to another machine.
  bool allow_plaintext = false;
  /// Of calls that name none, and of calls that fall back to it; empty = those that fall back ask
  /// for the model that they began with.
  std::string default_model;
  /// Names of providers to ask, in this order, when this one cannot answer.
  std::vector<std::string> fallbacks;
  provider_timeouts timeouts;
  provider_concurrency concurrency;
  retry_settings retry;
  answer_limits limits;
  /// Bound on calls that wait (for their turn or their next attempt), in calls and in bytes.
  std::uint32_t queue_max = 10'000;
  std::uint64_t queue_bytes_max = 64ULL << 20;
  /// What one tenant may have of both.
  std::uint32_t tenant_queue_percent = 50;
  /// Asks for the token count of streamed answers (`stream_options`); some servers refuse it.
  bool stream_usage = true;
  /// Newer models want `max_completion_tokens`.
  std::string max_tokens_member = "max_tokens";
  proxy_use proxy = proxy_use::environment;
  /// PEM file of certificate authorities; empty = those of the system.
  std::string ca_file;
};

struct client_settings {
  /// At least one; the first is asked when a call names none.
  std::vector<provider_settings> providers;
  /// One request's body.
  std::uint64_t request_bytes_max = 4ULL << 20;
};

/// Errors: invalid_setting with provider and setting.
[[nodiscard]] result<void> check(const client_settings& settings);

/// True if `url` is `http` to another machine.
[[nodiscard]] bool is_plaintext_to_others(const std::string& url);

}  // namespace callboard::model
