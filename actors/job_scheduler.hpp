// The scheduler of the actor system: its threads share one queue, and its clock is not told of
// actors that end.
//
// CAF tells the clock of each, so that it forgets their timeouts: for actors that live for
// milliseconds its thread is woken once for every few of them. Ours have no timeouts: they send
// themselves delayed messages, which stay.
#pragma once

#include "actors/job_sharing.hpp"

#include <caf/actor_control_block.hpp>
#include <caf/group.hpp>
#include <caf/mailbox_element.hpp>
#include <caf/scheduler/coordinator.hpp>

#include <utility>

namespace callboard::actors {

/// For `caf::actor_system_config::load`.
class job_scheduler final : public caf::scheduler::coordinator<job_sharing> {
public:
  using caf::scheduler::coordinator<job_sharing>::coordinator;

  static caf::actor_system::module* make(caf::actor_system& system, caf::detail::type_list<>) {
    return new job_scheduler(system);
  }

  caf::detail::thread_safe_actor_clock& clock() noexcept override { return clock_; }

private:
  class message_clock final : public caf::detail::thread_safe_actor_clock {
  public:
    explicit message_clock(job_scheduler& of) : of_{of} {}

    void cancel_timeouts(caf::abstract_actor* /*unused*/) override {}

    void schedule_message(
        time_point when, caf::strong_actor_ptr to, caf::mailbox_element_ptr content) override {
      of_.running_clock().schedule_message(when, std::move(to), std::move(content));
    }

    void schedule_message(
        time_point when, caf::group to, caf::strong_actor_ptr from, caf::message content) override {
      of_.running_clock().schedule_message(
          when, std::move(to), std::move(from), std::move(content));
    }

    void set_ordinary_timeout(
        time_point when, caf::abstract_actor* of, caf::atom_value type, std::uint64_t id) override {
      of_.running_clock().set_ordinary_timeout(when, of, type, id);
    }

    void
    set_request_timeout(time_point when, caf::abstract_actor* of, caf::message_id id) override {
      of_.running_clock().set_request_timeout(when, of, id);
    }

    void set_multi_timeout(
        time_point when, caf::abstract_actor* of, caf::atom_value type, std::uint64_t id) override {
      of_.running_clock().set_multi_timeout(when, of, type, id);
    }

    void cancel_ordinary_timeout(caf::abstract_actor* of, caf::atom_value type) override {
      of_.running_clock().cancel_ordinary_timeout(of, type);
    }

    void cancel_request_timeout(caf::abstract_actor* of, caf::message_id id) override {
      of_.running_clock().cancel_request_timeout(of, id);
    }

    void cancel_all() override { of_.running_clock().cancel_all(); }

  private:
    job_scheduler& of_;
  };

  /// The one that has a thread.
  caf::detail::thread_safe_actor_clock& running_clock() {
    return caf::scheduler::coordinator<job_sharing>::clock();
  }

  message_clock clock_{*this};
};

}  // namespace callboard::actors
