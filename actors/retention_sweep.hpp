// Which topics of a shard retention is due for: read from disk a page at a time. Part of the SHARD
// actor, used by it alone.
#pragma once

#include "actors/broker_parts.hpp"
#include "actors/topic_reads.hpp"

#include <caf/actor.hpp>

#include <string>
#include <vector>

namespace callboard::actors {

/// INTERNAL, READER POOL -> SHARD: topics that retention wants to touch.
struct sweep_told {
  result<sweep_page> page;
};

class retention_sweep {
public:
  retention_sweep(const broker_parts& parts, shard_id shard) : parts_{parts}, shard_{shard} {}

  /// Reads the next page, unless one is being read.
  void look(const caf::actor& self);

  /// Takes the answer of a read; says which topics to wake. An active topic applies its retention
  /// itself.
  [[nodiscard]] std::vector<topic_ref> take(sweep_told& message);

private:
  const broker_parts& parts_;
  const shard_id shard_;
  std::string after_;
  bool is_reading_ = false;
};

}  // namespace callboard::actors
