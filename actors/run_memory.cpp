#include "actors/run_memory.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace callboard::actors {

namespace {

constexpr auto relaxed = std::memory_order_relaxed;
constexpr std::uint32_t retry_ms = 1000;

}  // namespace

run_charge::~run_charge() {
  if (memory_ == nullptr) return;
  memory_->bytes_.fetch_sub(bytes_, relaxed);
  memory_->left_.fetch_add(1, relaxed);
}

void run_charge::resize(std::uint64_t bytes) {
  if (memory_ == nullptr) return;
  // Wraps around where it shrinks, as the sum does.
  memory_->bytes_.fetch_add(bytes - std::exchange(bytes_, bytes), relaxed);
}

run_memory::run_memory(
    const config::workflows_section& limits, const clock& time, metrics& counters)
    : count_max_{limits.resident_max},
      bytes_max_{limits.resident_bytes_max},
      time_{time},
      refused_{counters.counter(
          "workflow_starts_refused_total",
          "Starts that were refused as runs in memory are many or hold much.")} {
  counters
      .gauge(
          "workflow_history_bytes_max",
          "Bound of workflow_history_bytes, from which on no run begins.")
      .Set(static_cast<double>(bytes_max_));
  counters.add_sampler(
      [this,
       &resident = counters.gauge("workflow_runs_resident", "Runs in memory."),
       &held = counters.gauge(
           "workflow_history_bytes", "Of the histories, as stored, of the runs in memory."),
       &waiting = counters.gauge(
           "workflow_runs_waiting", "Runs on disk that wait for room in memory to go on.")] {
        resident.Set(static_cast<double>(count()));
        held.Set(static_cast<double>(bytes_.load(relaxed)));
        waiting.Set(static_cast<double>(waiting_.load(relaxed)));
      });
}

std::uint64_t run_memory::count() const {
  // In this order, so that it is never below zero.
  const auto left = left_.load(relaxed);
  const auto entered = entered_.load(relaxed);
  return entered > left ? entered - left : 0;
}

run_charge run_memory::take(std::uint64_t bytes) {
  bytes_.fetch_add(bytes, relaxed);
  entered_.fetch_add(1, relaxed);
  return {*this, bytes};
}

result<run_charge> run_memory::admit(std::uint64_t bytes, run_need need) {
  const bool goes_on = need == run_need::goes_on;
  if (has_room(need)) {
    const auto held = bytes_.fetch_add(bytes, relaxed);
    const auto entered = entered_.fetch_add(1, relaxed);
    const auto left = left_.load(relaxed);
    const auto others = entered > left ? entered - left : 0;
    if (held < bytes_max_ && others < count_max_) {
      if (goes_on) went_on_.fetch_add(1, relaxed);
      return run_charge{*this, bytes};
    }
    // Somebody else was first.
    bytes_.fetch_sub(bytes, relaxed);
    entered_.fetch_sub(1, relaxed);
  }
  if (goes_on && lets_one_pass()) return take(bytes);
  if (!goes_on) refused_.Increment();
  return std::unexpected{refusal(need)};
}

bool run_memory::has_room(run_need need) const {
  const bool is_behind = need == run_need::begins && waiting_.load(relaxed) > 0;
  return !is_behind && fill() < 1;
}

double run_memory::fill() const {
  const auto share = [](std::uint64_t used, std::uint64_t most) {
    return static_cast<double>(used) / static_cast<double>(most);
  };
  return std::max(share(bytes_.load(relaxed), bytes_max_), share(count(), count_max_));
}

/// The same words each time: who is refused much is answered and noted by them.
error run_memory::refusal(run_need need) const {
  if (bytes_.load(relaxed) >= bytes_max_) {
    return {
        errc::overloaded,
        fmt::format(
            "workflows and agents in memory hold as much as they may "
            "(workflows.resident_bytes_max is {}); retry later",
            bytes_max_),
        retry_ms};
  }
  if (count() < count_max_ && need == run_need::begins) {
    return {
        errc::overloaded,
        fmt::format(
            "workflows that have begun wait for room in memory (workflows.resident_max is {}, "
            "workflows.resident_bytes_max is {}); retry later",
            count_max_,
            bytes_max_),
        retry_ms};
  }
  return {
      errc::overloaded,
      fmt::format(
          "as many workflows and agents are in memory as may be (workflows.resident_max is {}); "
          "retry later",
          count_max_),
      retry_ms};
}

bool run_memory::lets_one_pass() {
  const auto now = time_.boot();
  const std::lock_guard guard{stall_mutex_};
  const auto went_on = went_on_.load(relaxed);
  if (went_on != std::exchange(went_on_before_, went_on) || still_since_ == boot_time{}) {
    still_since_ = now;
    passed_ = 0;
    return false;
  }
  if (now - still_since_ < (passed_ < passed_soon_max ? stall : stall_long)) return false;
  still_since_ = now;
  ++passed_;
  return true;
}

}  // namespace callboard::actors
