// The actors beside each SHARD that keep its consumer groups and what is bound to them, its
// presence and its task queues.
//
// Messages all accept:
//   (boxed<control_request>, caf::actor reply_to)   group, binding, presence or queue bodies;
//   answered by
//                                                   boxed<control_reply> to reply_to
//   boxed<shard_activated>  SHARD: first message of all, and again after every new activation
//   boxed<topic_active>     SHARD, to groups only: a topic of this shard became active (or was
//                           made), or retention would take something of a channel
//   boxed<topic_gone>       SHARD, to groups and presence: a topic was deleted, and they go with
//                           it; or it was to be read and is not there
//   boxed<deliver>, boxed<relay_attached>, boxed<relay_skipped>   as any relay: groups and presence
//                                                   may attach to topics through the router
//   boxed<binding_news>     GROUPS to BINDINGS: a binding is there, has changed, or is gone
// What they send to the SHARD (their parent, given at spawn):
//   boxed<companion_append_failed>   an append failed; SHARD begins a new activation
//                                    (unless it has by now) and tells everybody
//   boxed<held_floor>       groups: how far the slowest group of a topic is; SHARD hands it to the
//   topic
#pragma once

#include "actors/broker_parts.hpp"
#include "base/ids.hpp"
#include "base/names.hpp"

#include <caf/actor.hpp>
#include <caf/fwd.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace callboard::actors {

/// GROUPS -> SHARD -> TOPIC: nothing up to and including `floor` is needed by any group any more;
/// no value: the topic has no groups. Sent in answer to `topic_active` and whenever it moves.
/// Not known while the groups cannot be read; who needs it asks again.
struct held_floor {
  topic_ref topic;
  std::optional<sequence> floor;
  bool is_known = true;
};

/// Attempts that count before an event is a dead letter of its binding.
inline constexpr std::uint32_t binding_attempts_max = 10;
/// Deliveries of one binding at a time.
inline constexpr std::uint32_t binding_in_flight_max = 256;

/// GROUPS -> BINDINGS: what is bound now; sent for each binding when the shard starts, and whenever
/// one is made, changed or deleted.
struct binding_news {
  topic_ref topic;
  /// The one that the binding stands on.
  group_name group;
  /// The rule as JSON; empty: there is no such binding any more.
  std::string rule;
  /// It redrives what has died and stops when that is done.
  bool is_redrive = false;
};

/// SHARD -> companions: what their appends must carry from now on. Companions serve
/// nothing before the first of these.
struct shard_activated {
  activation_id activation{};
};

/// A companion -> SHARD: an append under `activation` failed.
struct companion_append_failed {
  activation_id activation{};
};

/// All consumer groups of one shard. Ends on exit_msg, which the shard sends before it ends.
[[nodiscard]] caf::actor spawn_groups(
    caf::actor_system& system,
    shard_id shard,
    const broker_parts& parts,
    const caf::actor& parent,
    const caf::actor& bindings);

/// All bindings on topics of one shard; ends as the others do.
[[nodiscard]] caf::actor spawn_bindings(
    caf::actor_system& system, shard_id shard, const broker_parts& parts, const caf::actor& parent);

/// Presence on all topics of one shard.
[[nodiscard]] caf::actor spawn_presence(
    caf::actor_system& system, shard_id shard, const broker_parts& parts, const caf::actor& parent);

/// All task queues of one shard; ends as the others do.
[[nodiscard]] caf::actor spawn_queues(
    caf::actor_system& system, shard_id shard, const broker_parts& parts, const caf::actor& parent);

}  // namespace callboard::actors
