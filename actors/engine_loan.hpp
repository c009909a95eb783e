// Who has the engine of a run: its actor, or the thread on which a step of it has just ended and
// which goes on with the run's code at once, without a way back to the actor in between.
#pragma once

#include "actors/reader_pool.hpp"
#include "runtime/workflow/run_engine.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

namespace callboard::actors {

/// User code runs in the destructors of what an engine has of it, so none of them ends on the
/// thread of an actor, whoever was the last to know of it.
struct engine_end {
  reader_pool* on = nullptr;

  void operator()(runtime::run_engine* last) const {
    std::unique_ptr<runtime::run_engine> ended{last};
    if (ended->is_closed()) return;
    (void)on->post(
        reader_pool::lane::control, [ended = std::move(ended)]() mutable { ended.reset(); });
  }
};

/// One for each engine. The actor offers the engine while it waits for steps and nothing else, and
/// asks for it back before it works on any message.
class engine_loan {
public:
  explicit engine_loan(std::shared_ptr<runtime::run_engine> engine) : engine_{std::move(engine)} {}

  // -- the actor -----------------------------------------------------------------------------

  [[nodiscard]] bool is_of(const std::shared_ptr<runtime::run_engine>& engine) const {
    return engine_ == engine;
  }

  /// Whoever has it.
  [[nodiscard]] const std::shared_ptr<runtime::run_engine>& engine() const { return engine_; }

  void offer() { holder_.store(holder::nobody, std::memory_order_release); }

  /// False: a step took it first, and what came of it is on its way to the actor.
  [[nodiscard]] bool ask_back() {
    auto expected = holder::nobody;
    return holder_.compare_exchange_strong(expected, holder::actor, std::memory_order_acquire);
  }

  // -- any thread ----------------------------------------------------------------------------

  /// Null: it is not offered. Who gets it tells the actor and does not touch it any more then.
  [[nodiscard]] runtime::run_engine* take() {
    auto expected = holder::nobody;
    const bool taken =
        holder_.compare_exchange_strong(expected, holder::step, std::memory_order_acquire);
    return taken ? engine_.get() : nullptr;
  }

private:
  enum class holder : std::uint8_t { actor, nobody, step };

  const std::shared_ptr<runtime::run_engine> engine_;
  std::atomic<holder> holder_ = holder::actor;
};

}  // namespace callboard::actors
