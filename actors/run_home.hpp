// What a run needs of the actor it lives in.
#pragma once

#include "runtime/topic/publish.hpp"

#include <caf/actor.hpp>

#include <chrono>
#include <functional>

namespace callboard::actors {

/// INTERNAL: the rest of a run's work, to be done in its actor.
struct run_continuation {
  std::move_only_function<void()> go_on;
};

/// Called in that actor only.
class run_home {
public:
  virtual ~run_home() = default;

  [[nodiscard]] virtual caf::actor run_handle() = 0;
  /// Answered by `run_host::on_appended`.
  virtual void append_transition(runtime::publish_request transition) = 0;
  virtual void run_later(std::chrono::milliseconds delay, std::move_only_function<void()> rest) = 0;
  /// Within a second.
  virtual void run_at_leisure(std::move_only_function<void()> rest) = 0;
  virtual void may_passivate() = 0;
  virtual void run_settled() = 0;
};

}  // namespace callboard::actors
