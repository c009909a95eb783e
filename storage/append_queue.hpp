// What waits for the journal writer: bounded by bytes, in the order of arrival.
#pragma once

#include "base/error.hpp"
#include "storage/journal.hpp"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <vector>

namespace callboard::storage {

struct queued_append {
  append_request request;
  boot_time arrived{};
  /// What it counts against the bound until it is answered.
  std::uint64_t size = 0;
};

/// Any thread pushes, the writer takes. Bytes count until `answered`.
class append_queue {
public:
  append_queue(std::uint64_t bytes_max, const clock& time) : bytes_max_{bytes_max}, time_{time} {}

  /// Errors: too_large (never fits), overloaded (full now), draining (closed).
  [[nodiscard]] result<void> push(append_request request);

  enum class wakeup : std::uint8_t { work, timeout, closed };

  /// Moves all that waits to the end of `out`. `closed`: closed, and nothing waits any more.
  [[nodiscard]] wakeup wait(std::deque<queued_append>& out, std::chrono::milliseconds timeout);

  /// As `wait`, without waiting.
  void take(std::deque<queued_append>& out);

  /// Gives the bytes of an answered append free. Call it before the listener.
  void answered(const queued_append& append);

  /// Nothing is pushed any more; a waiting writer wakes.
  void close();

  [[nodiscard]] bool is_closed() const;

  struct load {
    std::uint64_t bytes = 0;
    std::uint64_t records = 0;
    boot_time oldest_age{};
  };

  [[nodiscard]] load now() const;

private:
  const std::uint64_t bytes_max_;
  const clock& time_;
  mutable std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<queued_append> waiting_;
  std::uint64_t bytes_ = 0;
  std::uint64_t records_ = 0;
  boot_time oldest_taken_{};
  bool is_closed_ = false;
  bool is_waiting_ = false;
};

}  // namespace callboard::storage
