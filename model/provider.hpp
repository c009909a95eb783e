// A provider as the client sees it: its key, its queue, its limit and what it is counted by.
#pragma once

#include "base/clock.hpp"
#include "base/metrics.hpp"
#include "model/adaptive_limit.hpp"
#include "model/chat_client.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <set>
#include <string>

namespace callboard::model {

/// When to ask again whoever found a queue full.
inline constexpr std::chrono::milliseconds full_queue_pause{1000};

/// What any thread may see; the client's thread writes it once a turn, except `waiting`.
struct provider_load {
  /// Admitted calls that are not in flight, and their bytes; the bound of admission.
  std::atomic<std::uint32_t> waiting{0};
  std::atomic<std::uint64_t> waiting_bytes{0};

  std::atomic<std::uint32_t> ready{0};
  std::atomic<std::uint32_t> backing_off{0};
  std::atomic<std::uint32_t> in_flight{0};
  std::atomic<std::uint32_t> limit{0};
  /// Since when the first of the queue waits, boot time; 0 = the queue is empty.
  std::atomic<std::int64_t> oldest_ns{0};

  [[nodiscard]] provider_stats stats(const std::string& name, boot_time now) const;
};

struct provider_counters {
  provider_counters(metrics& counters, const std::string& name);

  /// `outcome`: "ok" or the name of a failure_kind.
  void ended(const chat_outcome& outcome);

  prometheus::Counter& attempts;
  prometheus::Counter& refused;
  prometheus::Counter& prompt_tokens;
  prometheus::Counter& completion_tokens;
  prometheus::Histogram& attempt_seconds;

private:
  prometheus::Counter& ok_;
  /// By failure_kind, from 1.
  std::array<prometheus::Counter*, 5> failed_{};
};

/// The client's thread owns it; `load`, `settings` and `counters.refused` are for any thread.
class provider {
public:
  provider(provider_settings settings, std::string key, client_parts& parts);

  [[nodiscard]] const std::string& name() const { return settings.name; }

  /// Counts a call in or out of those that wait.
  void wait_for(std::uint64_t bytes);
  void waits_no_more(std::uint64_t bytes);

  [[nodiscard]] bool is_full(std::uint64_t bytes) const;

  const provider_settings settings;
  const std::string key;
  const std::string url;
  adaptive_limit limit;
  /// Calls whose turn it is as soon as the limit has room, the oldest first.
  std::set<call_id> ready;
  std::uint32_t backing_off = 0;
  provider_counters counters;
  const std::shared_ptr<provider_load> load = std::make_shared<provider_load>();
};

/// The key of a provider. Errors: invalid_setting if the variable is missing or empty.
[[nodiscard]] result<std::string> key_from_environment(const provider_settings& settings);

}  // namespace callboard::model
