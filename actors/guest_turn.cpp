#include "actors/guest_turn.hpp"

#include <caf/abstract_actor.hpp>
#include <caf/actor_cast.hpp>
#include <caf/actor_system.hpp>
#include <caf/execution_unit.hpp>
#include <caf/intrusive_ptr.hpp>
#include <caf/mailbox_element.hpp>
#include <caf/message_id.hpp>
#include <caf/resumable.hpp>
#include <caf/scheduler/abstract_coordinator.hpp>

#include <utility>

namespace callboard::actors {

namespace {

/// What CAF's workers are to the actors they run, for one turn.
class guest_unit final : public caf::execution_unit {
public:
  /// Null, or the actor if this made it ready: whoever asks has to see to it that it has its turn.
  [[nodiscard]] static caf::resumable*
  enqueue(const caf::actor& to, caf::message_id with, caf::message content) {
    guest_unit unit;
    auto* actor = caf::actor_cast<caf::abstract_actor*>(to);
    actor->enqueue(caf::make_mailbox_element(nullptr, with, {}, std::move(content)), &unit);
    return unit.made_ready_;
  }

  static void run(caf::resumable* job, caf::actor_system& system) {
    guest_unit unit;
    unit.system_ = &system;
    switch (job->resume(&unit, system.scheduler().max_throughput())) {
    case caf::resumable::resume_later:
      system.scheduler().enqueue(job);
      break;
    case caf::resumable::done:
    case caf::resumable::awaiting_message:
    case caf::resumable::shutdown_execution_unit:
      caf::intrusive_ptr_release(job);
      break;
    }
  }

  /// Others that become ready by it are the actor system's.
  void exec_later(caf::resumable* job) override {
    if (system_ == nullptr) {
      made_ready_ = job;
    } else {
      system_->scheduler().enqueue(job);
    }
  }

private:
  caf::resumable* made_ready_ = nullptr;
};

}  // namespace

void tell_and_run(const caf::actor& to, caf::message content) {
  auto* job = guest_unit::enqueue(to, caf::make_message_id(), std::move(content));
  if (job != nullptr) guest_unit::run(job, to.home_system());
}

void tell_on(reader_pool* on, const caf::actor& to, caf::message content) {
  auto* job = guest_unit::enqueue(
      to, caf::make_message_id(caf::message_priority::high), std::move(content));
  // The system of an actor that is over may be over, too.
  if (job == nullptr) return;
  auto& system = to.home_system();
  reader_pool::work run = [job, &system] { guest_unit::run(job, system); };
  if (on == nullptr || !on->post_if_idle(run)) system.scheduler().enqueue(job);
}

}  // namespace callboard::actors
