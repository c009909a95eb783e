// Threads for what no actor may wait for: reads of the journal, code of workflows, steps.
#pragma once

#include "base/clock.hpp"
#include "base/error.hpp"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace callboard::actors {

/// A fixed number of threads and what waits for them. Any thread may post. Work on behalf of
/// activations (`control`) goes before reads for subscribers, which alone are bounded.
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

  /// As `post` to `reads`, but from a job of this pool the first such job is the next one for its
  /// thread: what it needs is in the caches still, and nobody has to be woken for it. That job must
  /// be about to end.
  [[nodiscard]] result<void> post_next(work job);

  /// Takes the job for `control` if some thread sleeps, and no reads wait for it; not always for
  /// that thread alone, as one that is woken takes what came meanwhile, too. The job may wait for
  /// other such jobs, but for none that was posted by `post_next` or to `reads`. False: none has,
  /// or it is stopped.
  [[nodiscard]] bool post_if_idle(work& job);

  /// Runs what is queued, refuses more, joins the threads. Idempotent.
  void stop();

  /// The same, but only for so long. False: there are jobs that have not ended; nothing that they
  /// may use can go.
  [[nodiscard]] bool stop_within(std::chrono::milliseconds patience);

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

  using queue = std::deque<waiting_job>;

  void run(sleeper& self);
  /// Refuses more, and lets each thread end behind what is queued.
  void end_when_done();
  [[nodiscard]] result<void> post_read(work job);
  /// Null: nobody has to be woken. To be told without the lock.
  [[nodiscard]] sleeper* wake_one();
  [[nodiscard]] bool has_none() const;
  /// What the next job is taken from. Precondition: not `has_none`.
  [[nodiscard]] queue& foremost();

  const clock& time_;
  mutable std::mutex mutex_;
  std::deque<sleeper> sleepers_;
  /// The last to fall asleep is woken first: its memory is in the caches still.
  std::vector<sleeper*> asleep_;
  queue control_;
  /// Nobody is woken for these: who has posted one looks here before it sleeps, and leaves it only
  /// where nobody is asleep.
  queue next_;
  queue reads_;
  std::size_t idle_ = 0;
  std::size_t threads_ended_ = 0;
  std::condition_variable thread_ended_;
  bool is_one_waking_ = false;
  bool stopping_ = false;
  const std::uint32_t queue_max_;
  std::vector<std::jthread> threads_;
};

}  // namespace callboard::actors
