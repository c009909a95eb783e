// Threads for what no actor may wait for: reads of the journal, code of workflows, steps.
#pragma once

#include "base/clock.hpp"
#include "base/error.hpp"

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace callboard::actors {

/// A fixed number of threads with one bounded queue. Any thread may post. Work on behalf of
/// activations (`control`) goes before reads for subscribers and always passes the bound.
class reader_pool {
public:
  using work = std::move_only_function<void()>;

  enum class lane : std::uint8_t { control, reads };

  /// `threads` 1..; `queue_max` bounds waiting reads. `time` outlives the pool.
  reader_pool(const clock& time, std::uint32_t threads, std::uint32_t queue_max);

  /// Finishes what is queued and joins.
  ~reader_pool();

  /// Errors: overloaded when `queue_max` reads wait; draining after `stop`.
  [[nodiscard]] result<void> post(lane which, work job);

  /// Takes the job for `control` if a thread has nothing to do. False: none has, or it is stopped.
  [[nodiscard]] bool post_if_idle(work& job);

  /// Runs what is queued, refuses more, joins the threads. Idempotent.
  void stop();

  [[nodiscard]] std::size_t depth() const;

  /// How long the job that has waited for longest has waited; 0 if none waits.
  [[nodiscard]] boot_time oldest_wait() const;

private:
  struct waiting_job {
    work job;
    boot_time since{};
  };

  struct sleeper {
    std::condition_variable woken;
    bool is_woken = false;
  };

  void run(sleeper& self);
  /// Null: nobody has to be woken. To be told without the lock.
  [[nodiscard]] sleeper* wake_one();

  const clock& time_;
  mutable std::mutex mutex_;
  std::deque<sleeper> sleepers_;
  /// The last to fall asleep is woken first: its memory is in the caches still.
  std::vector<sleeper*> asleep_;
  std::deque<waiting_job> control_;
  std::deque<waiting_job> reads_;
  std::size_t idle_ = 0;
  bool is_one_waking_ = false;
  bool stopping_ = false;
  const std::uint32_t queue_max_;
  std::vector<std::jthread> threads_;
};

}  // namespace callboard::actors
