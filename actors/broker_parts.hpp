// What every broker actor is built on.
#pragma once

#include "actors/reader_pool.hpp"
#include "base/clock.hpp"
#include "base/config.hpp"
#include "base/metrics.hpp"
#include "storage/journal.hpp"

namespace callboard::model {
class chat_calls;
}  // namespace callboard::model

namespace callboard::runtime {
class workflow_registry;
}  // namespace callboard::runtime

namespace callboard::actors {

class router;
class run_census;
class run_memory;
class stuck_runs;

/// Shared by all actors of the node; made by `node` before the actor system starts working and
/// outliving it. Every member is safe to use from any actor.
struct broker_parts {
  const config& settings;
  storage::journal& journal;
  reader_pool& readers;
  const clock& time;
  metrics& counters;
  /// Set before the first message is sent.
  actors::router* router = nullptr;
  /// The workflow classes of this program, and the threads that run their code and their steps;
  /// null where there are none.
  const runtime::workflow_registry* workflows = nullptr;
  reader_pool* user_code = nullptr;
  reader_pool* steps = nullptr;
  /// Null where no provider of models is configured.
  model::chat_calls* models = nullptr;
  /// The router's; set with it.
  stuck_runs* stuck = nullptr;
  run_census* census = nullptr;
  run_memory* runs = nullptr;
};

}  // namespace callboard::actors
