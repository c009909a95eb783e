// The TOPIC actor: one active topic. Spawned, routed to and passivated by its SHARD.
//
// Lifecycle: made with what committed records say; ends only when the shard says so, once all work
// it was given is answered: after it was idle, after its deletion, or after an append of the shard
// failed. Then what is unanswered is answered with an error, and a new one is made from the
// journal. Nothing of it survives but its records.
#pragma once

#include "actors/boxed.hpp"
#include "actors/broker_parts.hpp"
#include "actors/relay_messages.hpp"
#include "actors/requests.hpp"
#include "actors/run_host.hpp"
#include "actors/shard_admission.hpp"
#include "actors/shard_companions.hpp"
#include "actors/topic_metrics.hpp"
#include "base/byte_budget.hpp"
#include "runtime/topic/topic_core.hpp"
#include "storage/journal.hpp"

#include <caf/actor.hpp>
#include <caf/fwd.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace callboard::actors {

class run_alarms;

/// Bounds on work in flight; all outlive the topics.
struct topic_admission {
  /// Events of bulk topics of the node between publish and commit: what may wait in the journal
  /// before those of interactive topics.
  byte_budget& bulk_events;
  shard_admission& shard;
};

/// ROUTER -> SHARD -> TOPIC: a batch with the credits it was admitted under.
struct admitted_publish {
  publish_batch batch;
  admission_ticket ticket;
};

/// TOPIC -> SHARD: the topic, whose first request was to make it, is on disk now.
struct topic_born {
  topic_ref topic;
  activation_id activation{};
  std::string epoch;
};

/// TOPIC -> SHARD: its next event comes; not all who watch patterns may hear of it otherwise.
struct topic_stirs {
  topic_active news;
};

/// TOPIC -> SHARD: nothing to do for a while; may be passivated.
struct topic_idle {
  topic_ref topic;
};

/// TOPIC -> SHARD: an append under `activation` failed. The topic refuses everything until it is
/// retired.
struct topic_failed {
  activation_id activation{};
};

/// TOPIC -> SHARD: the topic's deletion is on disk; the topic is about to end. Its relays wait for
/// it to be made anew.
struct topic_deleted {
  topic_ref topic;
  std::vector<std::pair<caf::actor, std::uint32_t>> relays;
};

/// TOPIC -> SHARD: the topic's deletion failed, and may be on disk all the same: read it again.
struct topic_in_doubt {
  topic_ref topic;
};

/// SHARD -> TOPIC, with the hub: tell it `topic_active` as of now.
struct report_active {};

/// SHARD -> TOPIC: end now if you are still idle (answered by DOWN), else stay (`topic_busy`).
struct passivate_topic {};

/// SHARD -> TOPIC: the last message; end as soon as everything is answered. `has_failed`: an append
/// of the shard, so nothing more can be written, and what a run works out is not waited for.
struct retire_topic {
  bool has_failed = false;
};

/// TOPIC -> SHARD: a run sleeps; wake it before then.
struct run_sleeps {
  runtime::next_timers until;
};

/// TOPIC -> SHARD: work came in between, or the deletion was refused: it goes on.
struct topic_busy {
  topic_ref topic;
};

/// What a topic is made with.
struct topic_setup {
  const broker_parts& parts;
  topic_admission admission;
  topic_metrics& counters;
  shard_id shard{};
  activation_id activation{};
  std::shared_ptr<run_alarms> alarms;
  /// Knows what committed records say. Not null. One that is not made yet (runs only) gets the
  /// request that makes it and nothing else until it has said `topic_born`; it ends by itself if
  /// the request is refused.
  std::unique_ptr<runtime::topic_core> core;
  /// Set for the channels of workflows.
  std::optional<run_image> run;
};

[[nodiscard]] caf::actor
spawn_topic(caf::actor_system& system, topic_setup setup, const caf::actor& shard);

}  // namespace callboard::actors
