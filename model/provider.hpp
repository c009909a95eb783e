// A provider as the client sees it: its key, its queue, its limit and what it is counted by.
#pragma once

#include "base/clock.hpp"
#include "base/metrics.hpp"
#include "model/adaptive_limit.hpp"
#include "model/chat_client.hpp"
#include "model/holds.hpp"
#include "model/turn_queue.hpp"
#include "model/waiting_room.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <string>

namespace callboard::model {

/// When to ask again whoever found a queue full.
inline constexpr std::chrono::milliseconds full_queue_pause{1000};

/// What any thread may see; the client's thread writes it once a turn.
struct provider_load {
  std::atomic<std::uint32_t> ready{0};
  std::atomic<std::uint32_t> backing_off{0};
  std::atomic<std::uint32_t> in_flight{0};
  std::atomic<std::uint32_t> limit{0};
  /// Since when the first of the queue waits, boot time; 0 = the queue is empty.
  std::atomic<std::int64_t> oldest_ns{0};
  std::atomic<std::int64_t> held_until_ns{0};

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

/// The client's thread owns it; `load`, `settings`, `waiting` and `counters.refused` are for any
/// thread.
class provider {
public:
  provider(provider_settings settings, std::string key, client_parts& parts);

  [[nodiscard]] const std::string& name() const { return settings.name; }

  /// Providers limit each model by itself. Valid until it is asked for another one.
  [[nodiscard]] adaptive_limit& limit_of(const std::string& model);

  /// By the model's limit.
  [[nodiscard]] bool has_room_for(const std::string& model) const;

  /// Whether a call for the model is there, or goes as soon as it has room.
  [[nodiscard]] bool is_asked_for(const std::string& model) const;

  /// The lowest of all models.
  [[nodiscard]] std::uint32_t lowest_limit() const;

  const provider_settings settings;
  const std::string key;
  const std::string url;
  holds held;
  waiting_room waiting;
  /// Calls that go as soon as their model has room.
  turn_queue ready;
  std::uint32_t in_flight = 0;
  std::uint32_t backing_off = 0;
  provider_counters counters;
  const std::shared_ptr<provider_load> load = std::make_shared<provider_load>();

private:
  std::map<std::string, adaptive_limit> limits_;
};

/// The key of a provider. Errors: invalid_setting if the variable is missing or empty.
[[nodiscard]] result<std::string> key_from_environment(const provider_settings& settings);

}  // namespace callboard::model
