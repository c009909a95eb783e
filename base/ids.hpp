// The numeric ids of docs/architecture.md: each counts or names one thing.
#pragma once

#include "base/strong_id.hpp"

#include <chrono>
#include <string>

namespace callboard {

/// A shard: the unit of placement and recovery, 0-based, below the data directory's shard count.
using shard_id = strong_id<struct shard_id_tag, std::uint32_t>;

/// Position of a record in its shard's journal, dense from 1; 0 means "before the first".
using lsn = counter_id<struct lsn_tag>;

/// An entity (topic, group, ...) in its shard: the lsn of the record that created it.
using entity_id = strong_id<struct entity_id_tag, std::uint64_t>;

/// Position of an event in its topic, or of a record in its entity; dense from 1.
using sequence = counter_id<struct sequence_tag>;

/// The number of a shard leader's reign; fences every write. A single node stays at 1.
using term_id = counter_id<struct term_tag>;

/// How often a shard's history may have been cut by repair, restore or promotion.
using incarnation_id = counter_id<struct incarnation_tag>;

/// Which activation of a shard's actors an append belongs to; fences appends of an older one.
using activation_id = counter_id<struct activation_tag>;

/// Pairs a one-way message with its answer in the table of whoever asked.
using correlation_id = counter_id<struct correlation_tag>;

/// Wall-clock or shard time in milliseconds since 1970 (UTC).
using time_ms = std::chrono::sys_time<std::chrono::milliseconds>;

/// Time since boot, suspend included. Measures waits; never compared with wall-clock time.
using boot_time = std::chrono::nanoseconds;

} // namespace callboard
