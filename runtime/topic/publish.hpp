// A publish and its answer, as the gateway makes it and the topic core decides it.
#pragma once

#include "base/durability.hpp"
#include "base/error.hpp"
#include "base/ids.hpp"
#include "runtime/topic/event_batch.hpp"
#include "storage/record.hpp"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace callboard::runtime {

/// One atomic publish: all events or none, 1..=batch_events_max; a run's may be records alone.
struct publish_request {
  correlation_id correlation{};
  std::vector<encoded_event> events;
  /// The topic's last seq before the first of these events, if the publisher insists on it.
  std::optional<sequence> expected;
  durability level = durability::synced;
  /// Not stored, no seq: goes to whoever is subscribed now.
  bool ephemeral = false;
  /// Ephemeral ones only.
  frame_role role = frame_role::event;
  /// The one relay that gets it; 0 = all. Ephemeral ones only.
  std::uint64_t only_relay = 0;
  /// Whoever made the ids makes no other event of them: one that is there stands for it, whatever
  /// it says. A run that computes its event anew may word it otherwise.
  bool id_suffices = false;
  /// Records of the topic's entity that stand or fall with these events: what a transition of a
  /// run changes besides its channel.
  std::vector<storage::record_draft> with;
};

struct publish_outcome {
  /// Of the first event; the topic's last where there are only records. 0 for ephemeral publishes.
  sequence first_seq{};
  std::shared_ptr<const std::string> epoch;
  durability reached = durability::synced;

  /// One entry per event, only if some event was a duplicate; else seqs run on from `first_seq`.
  struct each {
    sequence seq{};
    bool duplicate = false;
  };

  std::vector<each> events;
};

struct publish_reply {
  correlation_id correlation{};
  result<publish_outcome> outcome;
};

}  // namespace callboard::runtime
