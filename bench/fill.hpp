// Publishes many events quickly, as the ground of other workloads.
#pragma once

#include "bench/session.hpp"

#include <cstdint>
#include <functional>
#include <string>

namespace callboard::bench {

/// Publishes `count` events to `topic` in batches and waits for all acks.
/// Errors: unreachable; what the server refuses with.
[[nodiscard]] result<void> fill_topic(
    session& with,
    const bench_options& options,
    const event_ids& ids,
    const std::string& topic,
    std::uint64_t count);

/// Publishes one event to each of `count` topics, `topic_of(i)`, several hundred in flight.
[[nodiscard]] result<void> touch_topics(
    session& with,
    const bench_options& options,
    const event_ids& ids,
    std::uint64_t count,
    const std::function<std::string(std::uint64_t)>& topic_of);

}  // namespace callboard::bench
