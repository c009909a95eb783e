// What is known of every ticket, from nothing but the events of its channel.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "examples/demo/follower.hpp"

namespace callboard::demo {

using steady_time = std::chrono::steady_clock::time_point;

enum class ticket_phase : std::uint8_t { started, drafting, waiting, decided, closed };

inline constexpr std::size_t ticket_phase_count = 5;

/// Attempts of a step as the journal has them.
struct step_record {
  std::string kind;
  std::uint64_t attempts_failed = 0;
  std::uint64_t completed = 0;
  /// Of the attempt that completed.
  std::uint64_t attempt = 0;
};

struct ticket_record {
  ticket_phase phase = ticket_phase::started;
  /// When the phase was reached, as seen from here.
  std::array<steady_time, ticket_phase_count> reached{};
  /// Stored events seen, and those that came out of turn: 0 unless one was lost or came twice.
  std::uint64_t events = 0;
  std::uint64_t out_of_turn = 0;
  std::uint64_t deltas = 0;
  /// The draft as it was streamed, since the last reset; then as it was recorded.
  std::string streamed;
  std::string recorded;
  std::uint64_t stream_attempt = 0;
  std::uint64_t signals = 0;
  std::string last_update;
  bool is_completed = false;
  std::map<std::string, step_record> steps;
};

/// By tenant and ticket. Any thread.
class tickets {
public:
  using key = std::pair<std::string, std::string>;
  using watcher = std::function<void(const key&, const channel_event&)>;

  /// Also tells the watcher, on the thread of the follower.
  void take(const std::string& tenant, const channel_event& event);

  /// Empty: nobody. It may not call back.
  void set_watcher(watcher tell) {
    const std::lock_guard lock{mutex_};
    tell_ = std::move(tell);
  }

  [[nodiscard]] ticket_record at(const key& which) const;

  /// All whose name begins with `prefix`.
  [[nodiscard]] std::vector<std::pair<key, ticket_record>>
  with_prefix(const std::string& prefix) const;

  struct totals {
    /// Tickets that have reached the phase.
    std::array<std::uint64_t, ticket_phase_count> reached{};
    std::uint64_t deltas = 0;
    std::uint64_t events = 0;
  };

  [[nodiscard]] totals count(const std::string& prefix) const;

private:
  mutable std::mutex mutex_;
  std::map<key, ticket_record> records_;
  watcher tell_;
};

}  // namespace callboard::demo
