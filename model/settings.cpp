#include "model/settings.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace callboard::model {

namespace {

bool is_name(std::string_view text) {
  constexpr std::string_view first = "abcdefghijklmnopqrstuvwxyz0123456789";
  constexpr std::string_view all = "abcdefghijklmnopqrstuvwxyz0123456789_-";
  return !text.empty() && text.size() <= 63 && first.contains(text.front())
         && text.find_first_not_of(all) == std::string_view::npos;
}

/// Host of an `http` or `https` URL without user, query and fragment; empty if it is something
/// else.
std::string_view host_of(std::string_view url) {
  const auto scheme = url.starts_with("https://") ? 8U : url.starts_with("http://") ? 7U : 0U;
  if (scheme == 0) return {};
  const bool printable = std::ranges::all_of(url, [](char c) { return c > ' ' && c < 0x7f; });
  if (!printable || url.find_first_of("?#@\\\"<>") != std::string_view::npos) return {};
  auto host = url.substr(scheme);
  host = host.substr(0, host.find('/'));
  if (host.starts_with('[')) return host.substr(0, host.find(']') + 1);
  return host.substr(0, host.find(':'));
}

std::string_view trouble_with_numbers(const provider_settings& p) {
  using std::chrono::milliseconds;
  constexpr milliseconds most = std::chrono::hours{24 * 7};
  for (const auto wait :
       {p.timeouts.connect,
        p.timeouts.first_byte,
        p.timeouts.idle,
        p.timeouts.total,
        p.retry.backoff_base,
        p.retry.backoff_max,
        p.retry.hold_max}) {
    if (wait <= milliseconds{0} || wait > most) {
      return "timeouts, backoff and hold_max are 1 ms to 7 days";
    }
  }
  const auto& c = p.concurrency;
  constexpr std::uint32_t concurrency_max = 10'000;
  if (c.min < 1 || c.min > c.start || c.start > c.max || c.max > concurrency_max) {
    return "concurrency needs 1 <= min <= start <= max <= 10000";
  }
  if (p.retry.attempts_max < 1 || p.retry.attempts_max > 100) return "attempts_max is 1 to 100";
  if (p.retry.backoff_base > p.retry.backoff_max) return "backoff_base is above backoff_max";
  if (p.queue_max < 1 || p.queue_bytes_max < 1) return "a queue holds at least one call";
  if (p.tenant_queue_percent < 1 || p.tenant_queue_percent > 100) {
    return "tenant_queue_percent is 1 to 100";
  }
  const auto& l = p.limits;
  constexpr std::uint64_t bytes_max = 1ULL << 30;
  for (const std::uint64_t limit :
       {l.body_bytes_max, l.event_bytes_max, l.text_bytes_max, std::uint64_t{l.header_bytes_max}}) {
    if (limit < 1 || limit > bytes_max) return "limits of an answer are 1 B to 1 GiB";
  }
  return {};
}

std::string_view trouble_with(const provider_settings& p) {
  if (!is_name(p.name)) return "a name is [a-z0-9][a-z0-9_-]{0,62}";
  if (host_of(p.base_url).empty()) {
    return "base_url is an http or https URL without user, query and fragment";
  }
  if (!p.api_key_env.empty() && !p.allow_plaintext && is_plaintext_to_others(p.base_url)) {
    return "a key over plain http to another machine needs allow_plaintext";
  }
  if (!is_name(p.max_tokens_member)) return "max_tokens_member is a name";
  return trouble_with_numbers(p);
}

}  // namespace

bool is_plaintext_to_others(const std::string& url) {
  constexpr std::array<std::string_view, 3> local{"127.0.0.1", "localhost", "[::1]"};
  return url.starts_with("http://") && std::ranges::find(local, host_of(url)) == local.end();
}

result<void> check(const client_settings& settings) {
  if (settings.providers.empty()) return fail(errc::invalid_setting, "no provider of models");
  if (settings.request_bytes_max < 1) return fail(errc::invalid_setting, "request_bytes_max is 0");
  const auto& all = settings.providers;
  for (const auto& p : all) {
    if (const auto trouble = trouble_with(p); !trouble.empty()) {
      return fail(errc::invalid_setting, fmt::format("model provider '{}': {}", p.name, trouble));
    }
    if (std::ranges::count(all, p.name, &provider_settings::name) > 1) {
      return fail(errc::invalid_setting, fmt::format("two model providers '{}'", p.name));
    }
    for (const auto& other : p.fallbacks) {
      if (other == p.name || std::ranges::count(all, other, &provider_settings::name) == 0) {
        return fail(
            errc::invalid_setting,
            fmt::format("model provider '{}': no other provider is named '{}'", p.name, other));
      }
    }
  }
  return {};
}

}  // namespace callboard::model
