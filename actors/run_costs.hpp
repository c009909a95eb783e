// What one run costs others: threads that its code holds, memory while it waits, time to replay it.
#pragma once

#include "actors/run_memory.hpp"
#include "actors/run_metrics.hpp"
#include "base/clock.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>

namespace callboard::actors {

/// Counts also for all runs of the node, as long as it lives. Lifecycle: part of a run_host, in its
/// actor. Survives a restart: nothing.
class run_costs {
public:
  /// `charge`: its share of the memory of all runs.
  run_costs(run_metrics& counters, run_charge charge)
      : counters_{counters}, charge_{std::move(charge)} {}

  run_costs(const run_costs&) = delete;
  run_costs& operator=(const run_costs&) = delete;

  /// One that is on disk.
  void count(const runtime::run_event& event) { counters_.count(event); }

  /// Code of it ran for `took` without suspending.
  void note_turn(boot_time took);

  /// An attempt of a step took this long, until the run heard of its end.
  void note_step(boot_time took);

  /// With reading its history.
  void begin_replay(boot_time when) { replay_began_ = when; }

  void end_replay(boot_time when);

  /// Bytes of the events of its current run, on disk.
  void note_history(std::uint64_t bytes);

  [[nodiscard]] std::uint64_t history_bytes() const { return history_bytes_; }

  /// Nothing before the first.
  [[nodiscard]] std::optional<std::chrono::milliseconds> replay_took() const {
    return replay_took_;
  }

  /// Turns that took longer than they should, and the longest.
  [[nodiscard]] std::uint32_t long_turns() const { return long_turns_; }

  [[nodiscard]] boot_time longest_turn() const { return longest_turn_; }

private:
  run_metrics& counters_;
  run_charge charge_;
  std::uint64_t history_bytes_ = 0;
  boot_time replay_began_{};
  std::optional<std::chrono::milliseconds> replay_took_;
  std::uint32_t long_turns_ = 0;
  boot_time longest_turn_{};
};

}  // namespace callboard::actors
