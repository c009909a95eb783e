// What the runs in memory hold together, and whether more may come in. Charged as recorded, which
// is what is known of a run before it is read: its code holds about as much once more.
#pragma once

#include "base/clock.hpp"
#include "base/config.hpp"
#include "base/error.hpp"
#include "base/metrics.hpp"
#include "base/time.hpp"

#include <atomic>
#include <cstdint>
#include <mutex>
#include <utility>

namespace callboard::actors {

class run_memory;

/// One run's share; given back when destroyed. Movable, any thread.
class run_charge {
public:
  run_charge() = default;

  run_charge(run_charge&& other) noexcept
      : memory_{std::exchange(other.memory_, nullptr)}, bytes_{std::exchange(other.bytes_, 0)} {}

  run_charge& operator=(run_charge&& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }

  ~run_charge();

  run_charge(const run_charge&) = delete;
  run_charge& operator=(const run_charge&) = delete;

  [[nodiscard]] bool is_held() const { return memory_ != nullptr; }

  /// What a run has grown to is never refused.
  void resize(std::uint64_t bytes);

private:
  friend run_memory;

  run_charge(run_memory& memory, std::uint64_t bytes) : memory_{&memory}, bytes_{bytes} {}

  run_memory* memory_ = nullptr;
  std::uint64_t bytes_ = 0;
};

/// Who asks for room. begins: somebody's new run, who asks again. goes_on: a run that is on disk,
/// or one that a run in memory waits for: without it those that are here might never leave.
enum class run_need : std::uint8_t { begins, goes_on };

/// Bound: `workflows.resident_max` runs and `workflows.resident_bytes_max`, of which the last one
/// admitted may go beyond, so that one larger than all there is gets in, too. Above it come in:
/// what a signal or a question is for, and one that goes on when none has got in otherwise for
/// `stall`, or for `stall_long` once `passed_soon_max` came so one after the other.
/// Outlives its charges. Any thread.
class run_memory {
public:
  run_memory(const config::workflows_section& limits, const clock& time, metrics& counters);

  run_memory(const run_memory&) = delete;
  run_memory& operator=(const run_memory&) = delete;

  static constexpr boot_time stall = std::chrono::seconds{5};
  static constexpr boot_time stall_long = std::chrono::seconds{60};
  /// As many as the children of children that one of those in memory is likely to wait for.
  static constexpr std::uint32_t passed_soon_max = 16;

  /// Errors: overloaded.
  [[nodiscard]] result<run_charge> admit(std::uint64_t bytes, run_need need);

  /// Whatever there is.
  [[nodiscard]] run_charge take(std::uint64_t bytes);

  /// Whether `admit` would have room.
  [[nodiscard]] bool has_room(run_need need) const;

  /// How full it is, by what is nearer to its bound; 1: full.
  [[nodiscard]] double fill() const;

  /// So many more runs, or fewer, wait for their turn to be read; new ones wait for them.
  void add_waiting(std::int64_t more) { waiting_.fetch_add(more, std::memory_order_relaxed); }

private:
  friend run_charge;

  [[nodiscard]] std::uint64_t count() const;
  [[nodiscard]] error refusal(run_need need) const;
  /// None that goes on has got in for so long that one more may be what all wait for.
  [[nodiscard]] bool lets_one_pass();

  const std::uint64_t count_max_;
  const std::uint64_t bytes_max_;
  const clock& time_;
  prometheus::Counter& refused_;
  std::atomic<std::uint64_t> entered_{0};
  std::atomic<std::uint64_t> left_{0};
  std::atomic<std::uint64_t> bytes_{0};
  std::atomic<std::int64_t> waiting_{0};
  /// Those that go on and had room.
  std::atomic<std::uint64_t> went_on_{0};
  std::mutex stall_mutex_;
  std::uint64_t went_on_before_ = 0;
  boot_time still_since_{};
  std::uint32_t passed_ = 0;
};

}  // namespace callboard::actors
