// What a SHARD tells itself, and what the reader pool and the journal tell it.
#pragma once

#include "actors/topic_loading.hpp"
#include "actors/topic_reads.hpp"
#include "base/ids.hpp"
#include "base/names.hpp"
#include "storage/journal.hpp"

namespace callboard::actors {

/// INTERNAL: answer of the reader pool.
struct topic_loaded {
  topic_ref topic;
  activation_id activation{};
  result<loaded_topic> outcome;
  /// There is no room for its run, and it may wait.
  bool is_put_off = false;
};

/// INTERNAL: read a topic again that could not be read. That does not mean that it is gone: a relay
/// that heard so would begin anew, and groups would be dropped.
struct load_again {
  static constexpr std::chrono::milliseconds delay{200};

  topic_ref topic;
};

/// INTERNAL: the record that makes a topic is on disk, or is not.
struct topic_made {
  topic_ref topic;
  activation_id activation{};
  result<storage::append_receipt> outcome;
};

/// INTERNAL: time has passed.
struct shard_tick {};

}  // namespace callboard::actors
