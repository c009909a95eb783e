#include "model/provider.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace callboard::model {

namespace {

constexpr std::array kinds{
    failure_kind::retryable,
    failure_kind::rate,
    failure_kind::quota,
    failure_kind::permanent,
    failure_kind::cancelled};

prometheus::Counter& calls(metrics& counters, const std::string& name, std::string_view outcome) {
  return counters.counter(
      "model_calls_total",
      "Model calls that ended, by the provider that ended them.",
      {{"provider", name}, {"outcome", std::string{outcome}}});
}

prometheus::Counter& tokens(metrics& counters, const std::string& name, const char* kind) {
  return counters.counter(
      "model_tokens_total", "Tokens that providers counted.", {{"provider", name}, {"kind", kind}});
}

std::string endpoint_of(std::string base) {
  while (base.ends_with('/'))
    base.pop_back();
  return base + "/chat/completions";
}

/// Gauges are set when somebody looks.
void add_sampler(
    metrics& counters,
    const std::string& name,
    const clock& time,
    const std::shared_ptr<provider_load>& load) {
  const metrics::labels with{{"provider", name}};
  auto& depth = counters.gauge("model_queue_depth", "Model calls waiting for their turn.", with);
  auto& oldest =
      counters.gauge("model_queue_oldest_seconds", "How long the first of them has waited.", with);
  auto& backing_off = counters.gauge(
      "model_backing_off", "Model calls between two attempts, or put off by the provider.", with);
  auto& in_flight = counters.gauge("model_in_flight", "Model calls at the provider.", with);
  auto& limit = counters.gauge(
      "model_concurrency_limit",
      "How many calls for a model the provider gets at once just now; the lowest of its models.",
      with);
  auto& held = counters.gauge(
      "model_held_seconds",
      "For how long the provider wants no request for a model, from a tenant or from all.",
      with);
  counters.add_sampler(
      [name, &time, load, &depth, &oldest, &backing_off, &in_flight, &limit, &held] {
        const auto now = load->stats(name, time.boot());
        depth.Set(now.queue_depth);
        oldest.Set(static_cast<double>(now.oldest_age.count()) / 1000.0);
        backing_off.Set(now.backing_off);
        in_flight.Set(now.in_flight);
        limit.Set(now.concurrency_limit);
        held.Set(static_cast<double>(now.held.count()) / 1000.0);
      });
}

}  // namespace

provider_stats provider_load::stats(const std::string& name, boot_time now) const {
  provider_stats out;
  out.provider = name;
  out.queue_depth = ready.load();
  out.backing_off = backing_off.load();
  out.in_flight = in_flight.load();
  out.concurrency_limit = limit.load();
  const auto between = [](boot_time from, boot_time to) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(to - from);
  };
  if (const auto since = oldest_ns.load(); since != 0 && now.count() > since) {
    out.oldest_age = between(boot_time{since}, now);
  }
  if (const boot_time until{held_until_ns.load()}; until > now) out.held = between(now, until);
  return out;
}

provider_counters::provider_counters(metrics& counters, const std::string& name)
    : attempts{counters.counter(
          "model_attempts_total", "Requests sent to providers.", {{"provider", name}})},
      refused{counters.counter(
          "model_refused_total", "Model calls refused at a full queue.", {{"provider", name}})},
      prompt_tokens{tokens(counters, name, "prompt")},
      completion_tokens{tokens(counters, name, "completion")},
      attempt_seconds{counters.histogram(
          "model_attempt_seconds",
          "From sending a request to the end of its answer.",
          {0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0},
          {{"provider", name}})},
      ok_{calls(counters, name, "ok")} {
  static_assert(kinds.size() == std::tuple_size_v<decltype(failed_)>);
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    failed_[i] = &calls(counters, name, name_of(kinds[i]));
  }
}

void provider_counters::ended(const chat_outcome& outcome) {
  if (!outcome) {
    failed_[static_cast<std::size_t>(outcome.error().kind) - 1]->Increment();
    return;
  }
  ok_.Increment();
  if (!outcome->usage) return;
  prompt_tokens.Increment(static_cast<double>(outcome->usage->prompt));
  completion_tokens.Increment(static_cast<double>(outcome->usage->completion));
}

provider::provider(provider_settings given, std::string secret, client_parts& parts)
    : settings{std::move(given)},
      key{std::move(secret)},
      url{endpoint_of(settings.base_url)},
      waiting{{settings.queue_max, settings.queue_bytes_max, settings.tenant_queue_percent}},
      counters{parts.counters, settings.name} {
  load->limit = lowest_limit();
  add_sampler(parts.counters, settings.name, parts.time, load);
}

adaptive_limit& provider::limit_of(const std::string& model) {
  // Names of models come from callers; one that is idle begins anew when it is forgotten.
  constexpr std::size_t idle_max = 1000;
  if (limits_.size() >= idle_max + in_flight && !limits_.contains(model)) {
    std::erase_if(limits_, [](const auto& one) { return one.second.in_flight() == 0; });
  }
  const auto& range = settings.concurrency;
  return limits_.try_emplace(model, range.min, range.max, range.start).first->second;
}

bool provider::has_room_for(const std::string& model) const {
  const auto known = limits_.find(model);
  return known == limits_.end() || known->second.has_room();
}

bool provider::is_asked_for(const std::string& model) const {
  const auto known = limits_.find(model);
  return ready.asks_for(model) || (known != limits_.end() && known->second.in_flight() > 0);
}

std::uint32_t provider::lowest_limit() const {
  auto lowest = limits_.empty() ? settings.concurrency.start : settings.concurrency.max;
  for (const auto& [model, limit] : limits_)
    lowest = std::min(lowest, limit.current());
  return lowest;
}

result<std::string> key_from_environment(const provider_settings& settings) {
  if (settings.api_key_env.empty()) return std::string{};
  // Read once, before threads that might change the environment.
  const char* value = std::getenv(settings.api_key_env.c_str());
  if (value == nullptr || *value == '\0') {
    return fail(
        errc::invalid_setting,
        fmt::format(
            "model provider '{}': the environment variable {} is not set",
            settings.name,
            settings.api_key_env));
  }
  std::string key{value};
  const bool sound = std::ranges::all_of(key, [](char c) { return c > ' ' && c < 0x7f; });
  if (!sound) {
    return fail(
        errc::invalid_setting,
        fmt::format(
            "model provider '{}': {} holds more than visible ASCII",
            settings.name,
            settings.api_key_env));
  }
  return key;
}

}  // namespace callboard::model
