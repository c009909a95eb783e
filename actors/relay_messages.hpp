// What shards, topics and relays say to each other (docs/architecture.md, "life of a publish").
// A relay stands in for one topic on one I/O thread; a hub owns the relays of its I/O thread.
#pragma once

#include "base/ids.hpp"
#include "base/names.hpp"
#include "runtime/topic/event_batch.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace callboard::actors {

/// RELAY -> SHARD, handed on to the topic. The topic need not exist yet: the shard remembers the
/// relay and attaches it when the topic is made (at last_seq 0), or asks it to come again. Answered
/// by `relay_attached`.
struct attach_relay {
  topic_ref topic;
  /// Batches the topic may send before it needs `relay_credit`.
  std::uint32_t credits = 0;
};

/// TOPIC -> RELAY (from the shard with `exists` false while there is no such topic). Every event
/// after `last_seq` will come as `deliver` or be passed over with `relay_skipped`.
struct relay_attached {
  topic_ref topic;
  bool exists = false;
  /// Nobody knows whether there is such a topic: it cannot be read now.
  bool is_unknown = false;
  /// Only while there is no such topic: the shard cannot remember the relay, which must attach
  /// again after a while to hear of one.
  bool ask_again = false;
  bool ephemeral = false;
  /// It answers `ask_snapshot`.
  bool has_streams = false;
  std::string epoch;
  entity_id entity{};
  sequence first_seq{};
  sequence last_seq{};
};

/// TOPIC -> RELAY: committed events, in order; takes one credit.
struct deliver {
  runtime::event_batch_ptr batch;
};

/// TOPIC -> RELAY: the relay had no credit; everything up to `last_seq` must be read instead.
/// `dropped`: ephemeral events that are gone for good.
struct relay_skipped {
  sequence last_seq{};
  std::uint64_t dropped = 0;
};

/// RELAY -> TOPIC: so many batches were offered to every subscriber.
struct relay_credit {
  std::uint32_t credits = 0;
};

/// RELAY -> TOPIC: somebody has caught up who lacks what streams told before. Answered by a
/// `deliver` of role `snapshot` for this relay, empty if no stream is under way.
struct ask_snapshot {};

/// RELAY -> SHARD, handed on to the topic: its last subscriber on this thread left.
struct detach_relay {
  topic_ref topic;
};

/// RELAY -> TOPIC: nobody here wants more than to hear of the next event, which comes after
/// `heard`. Answered by `relay_released` if that is the last one and nothing is under way, else not
/// at all: then something comes.
struct release_relay {
  sequence heard{};
};

/// TOPIC -> RELAY: detached. Those who watch patterns are told of the next event (`topic_active`).
struct relay_released {};

/// TOPIC -> RELAY: deleted. The shard attaches the relay again if it is made anew.
struct topic_gone {
  topic_ref topic;
};

/// HUB -> every SHARD: tell me of topics of this tenant that match, each at once how far it is if
/// it is active, and once when its next event comes. May be sent again, to be told of all anew.
struct watch_pattern {
  tenant_name tenant;
  topic_pattern pattern;
};

struct unwatch_pattern {
  tenant_name tenant;
  topic_pattern pattern;
};

/// SHARD or TOPIC -> HUB: an event of a watched topic is about to come, after `last_seq`. A topic
/// says so once, then again after a relay was released or somebody began to watch. It tells its
/// relays, too, which hand it to their hubs before that event: by way of the shard it may come
/// later than the event does.
struct topic_active {
  topic_ref topic;
  std::string epoch;
  sequence last_seq{};
  /// Nothing comes just now: the answer to `watch_pattern` of one that has nothing under way.
  bool is_quiet = false;
  /// The same for the same news, whichever way they came; 0 of other words about a topic.
  std::uint64_t number = 0;
};

/// TOPIC -> RELAY, behind `relay_attached`: what came lately that nobody can read later, for those
/// who begin because of news, each from its own on. Takes no credit.
struct unheard_since {
  struct part {
    runtime::event_batch_ptr batch;
    /// Number of the last news before it.
    std::uint64_t news = 0;
  };

  /// The last.
  topic_active news;
  std::vector<part> batches;
  /// Events before these that were too many to keep, and the number of the last news before them.
  std::uint64_t dropped = 0;
  std::uint64_t dropped_news = 0;
};

}  // namespace callboard::actors
