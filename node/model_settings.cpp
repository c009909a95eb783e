#include "node/model_settings.hpp"

#include <algorithm>
#include <chrono>

namespace callboard::node {

namespace {

using std::chrono::milliseconds;

model::provider_settings provider_of(const config::model_provider& from) {
  model::provider_settings to;
  to.name = from.name;
  to.base_url = from.base_url;
  to.api_key_env = from.api_key_env;
  to.allow_plaintext = from.allow_plaintext;
  to.default_model = from.default_model;
  to.timeouts = {
      .connect = milliseconds{from.connect_timeout_ms},
      .first_byte = milliseconds{from.first_byte_timeout_ms},
      .idle = milliseconds{from.idle_timeout_ms},
      .total = milliseconds{from.total_timeout_ms}};
  to.concurrency = {
      .min = from.concurrency_min, .max = from.concurrency_max, .start = from.concurrency_start};
  to.retry.attempts_max = from.attempts_max;
  to.retry.backoff_base = milliseconds{from.backoff_min_ms};
  to.retry.backoff_max = milliseconds{from.backoff_max_ms};
  to.retry.fallback_wait_max = milliseconds{from.fallback_wait_max_ms};
  to.retry.hold_max = milliseconds{from.hold_max_ms};
  to.limits = {
      .body_bytes_max = from.body_bytes_max,
      .stream_bytes_max = from.stream_bytes_max,
      .event_bytes_max = from.event_bytes_max,
      .text_bytes_max = from.text_bytes_max,
      .tool_calls_max = from.tool_calls_max,
      .header_bytes_max = from.header_bytes_max};
  to.queue_max = from.queue_max;
  to.queue_bytes_max = from.queue_bytes_max;
  to.tenant_queue_percent = from.tenant_queue_percent;
  to.stream_usage = from.stream_usage;
  to.max_tokens_member = from.max_tokens_member;
  to.proxy = from.use_proxy ? model::proxy_use::environment : model::proxy_use::none;
  to.ca_file = from.ca_file;
  return to;
}

}  // namespace

model::client_settings model_settings(const config::models_section& from) {
  model::client_settings to;
  to.request_bytes_max = from.request_bytes_max;
  for (std::size_t i = 0; i < from.order.size(); ++i) {
    const auto found =
        std::ranges::find(from.providers, from.order[i], &config::model_provider::name);
    if (found == from.providers.end()) continue;
    to.providers.push_back(provider_of(*found));
    to.providers.back().fallbacks = {
        from.order.begin() + static_cast<std::ptrdiff_t>(i) + 1, from.order.end()};
  }
  for (const auto& one : from.providers) {
    if (std::ranges::find(from.order, one.name) == from.order.end()) {
      to.providers.push_back(provider_of(one));
    }
  }
  return to;
}

}  // namespace callboard::node
