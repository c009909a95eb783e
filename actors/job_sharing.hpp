// How the threads of the actor system share what is to be run: one queue, as CAF's own policy
// "sharing", that wakes one thread at a time and wakes it when the queue is free.
//
// CAF signals a sleeping thread for every actor that gets a message, and does so with the queue
// locked, so that it wakes only to wait. Where actors run for microseconds, that is most of the
// cost.
#pragma once

#include "base/short_lock.hpp"

#include <caf/policy/unprofiled.hpp>
#include <caf/resumable.hpp>
#include <caf/scheduler/abstract_coordinator.hpp>

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>

namespace callboard::actors {

/// Policy for `caf::scheduler::coordinator`.
class job_sharing : public caf::policy::unprofiled {
public:
  struct coordinator_data {
    explicit coordinator_data(caf::scheduler::abstract_coordinator* /*unused*/) {}

    /// Whoever gets true has to wake a thread. With one on its way more are woken only by it, when
    /// it finds more than it can take.
    [[nodiscard]] bool must_wake_one() {
      if (idle == 0 || is_one_waking || jobs.empty()) return false;
      is_one_waking = true;
      return true;
    }

    std::mutex mutex;
    std::condition_variable ready;
    std::deque<caf::resumable*> jobs;
    std::size_t idle = 0;
    bool is_one_waking = false;
  };

  struct worker_data {
    explicit worker_data(caf::scheduler::abstract_coordinator* /*unused*/) {}
  };

  template <class Coordinator>
  void central_enqueue(Coordinator* self, caf::resumable* job) {
    auto& shared = d(self);
    auto lock = lock_shortly(shared.mutex);
    shared.jobs.push_back(job);
    const bool wakes = shared.must_wake_one();
    lock.unlock();
    if (wakes) shared.ready.notify_one();
  }

  template <class Worker>
  void external_enqueue(Worker* self, caf::resumable* job) {
    central_enqueue(self->parent(), job);
  }

  template <class Worker>
  void internal_enqueue(Worker* self, caf::resumable* job) {
    central_enqueue(self->parent(), job);
  }

  template <class Worker>
  void resume_job_later(Worker* self, caf::resumable* job) {
    central_enqueue(self->parent(), job);
  }

  template <class Worker>
  caf::resumable* dequeue(Worker* self) {
    auto& shared = d(self->parent());
    auto lock = lock_shortly(shared.mutex);
    while (shared.jobs.empty()) {
      ++shared.idle;
      shared.ready.wait(lock);
      --shared.idle;
      shared.is_one_waking = false;
    }
    auto* job = shared.jobs.front();
    shared.jobs.pop_front();
    const bool wakes = shared.must_wake_one();
    lock.unlock();
    if (wakes) shared.ready.notify_one();
    return job;
  }

  template <class Worker, class Function>
  void foreach_resumable(Worker* /*unused*/, Function /*unused*/) {}

  template <class Coordinator, class Function>
  void foreach_central_resumable(Coordinator* self, Function each) {
    auto& shared = d(self);
    const auto lock = lock_shortly(shared.mutex);
    for (; !shared.jobs.empty(); shared.jobs.pop_front())
      each(shared.jobs.front());
  }
};

}  // namespace callboard::actors
