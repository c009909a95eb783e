// The SHARD actor: owns the topics of one shard. It alone activates, passivates and routes.
//
// Lifecycle: one per shard from start to stop. Names are looked up in the catalogue on the reader
// pool; a topic that is not in memory is read there too, and messages for it wait here, in order,
// within the shard's admission. After a failed append all topics of the shard are retired: each
// answers what it owes, and is read again when needed.
#pragma once

#include "actors/boxed.hpp"
#include "actors/broker_parts.hpp"
#include "actors/relay_messages.hpp"
#include "actors/requests.hpp"
#include "actors/shard_companions.hpp"
#include "actors/topic_actor.hpp"

#include <caf/actor.hpp>
#include <caf/fwd.hpp>

namespace callboard::actors {

/// What a shard is made with; all outlive it.
struct shard_setup {
  const broker_parts& parts;
  topic_admission admission;
  topic_metrics& counters;
  shard_id shard{};
};

/// Accepts: (boxed<admitted_publish>, caf::actor reply_to), (boxed<control_request>, caf::actor
/// reply_to) for changes of topics, groups and presence, (boxed<attach_relay>, caf::actor relay),
/// (boxed<detach_relay>, caf::actor relay), (boxed<watch_pattern>, caf::actor hub),
/// (boxed<unwatch_pattern>, caf::actor hub). On boxed<stop_shard> it refuses new work, retires its
/// topics and ends after them; on exit_msg it ends at once.
struct stop_shard {};

/// Has a shard begin that was only spawned so far; so does any other message.
struct begin_shard {};

[[nodiscard]] caf::actor spawn_shard(caf::actor_system& system, const shard_setup& setup);

}  // namespace callboard::actors
