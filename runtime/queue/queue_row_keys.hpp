// Keys and small values of a queue's view rows (docs/formats.md "Queues"). Numbers in keys are
// big-endian, so that rows sort as numbers; the same form serves in values.
#pragma once

#include "base/hash.hpp"
#include "runtime/queue/queue_task.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace callboard::runtime {

inline void append_number(std::string& out, std::uint64_t value) {
  for (int shift = 56; shift >= 0; shift -= 8)
    out.push_back(static_cast<char>((value >> shift) & 0xff));
}

/// Takes 8 bytes off the front. Precondition: they are there.
inline std::uint64_t take_number(std::string_view& from) {
  std::uint64_t value = 0;
  for (int i = 0; i < 8; ++i)
    value = (value << 8) | static_cast<unsigned char>(from[static_cast<std::size_t>(i)]);
  from.remove_prefix(8);
  return value;
}

/// Key of the counters, and prefix of all other rows of the queue.
inline std::string queue_key(entity_id queue) {
  std::string key;
  append_number(key, queue.raw());
  return key;
}

/// queue_task, queue_lease, queue_dead (a task), queue_place (a sequence), queue_audit (an lsn).
inline std::string queue_key(entity_id queue, std::uint64_t number) {
  auto key = queue_key(queue);
  append_number(key, number);
  return key;
}

/// Rows of queue_waiting of one priority and, up to `fairness`, of keys before that.
inline std::string waiting_key(entity_id queue, task_priority priority, std::uint64_t fairness) {
  auto key = queue_key(queue);
  key.push_back(static_cast<char>(priority));
  append_number(key, fairness);
  return key;
}

/// Shard times are not negative.
inline std::string waiting_key(
    entity_id queue, task_priority priority, std::uint64_t fairness, const task_position& at) {
  auto key = waiting_key(queue, priority, fairness);
  append_number(key, static_cast<std::uint64_t>(at.ready.time_since_epoch().count()));
  append_number(key, at.task.raw());
  return key;
}

inline constexpr std::size_t waiting_key_size = 8 + 1 + 8 + 8 + 8;

inline std::string waiting_value(const task_state& state) {
  std::string out;
  append_number(out, state.place.raw());
  append_number(out, static_cast<std::uint64_t>(state.enqueued.time_since_epoch().count()));
  append_number(out, (static_cast<std::uint64_t>(state.attempts) << 32) | state.attempts_max);
  return out + state.origin;
}

/// queue_origin
inline std::string origin_key(entity_id queue, std::string_view origin) {
  auto key = queue_key(queue);
  key += origin;
  return key;
}

inline std::string dedupe_hash_key(entity_id queue, const hash128& hash) {
  auto key = queue_key(queue);
  key.push_back('h');
  append_number(key, hash.high);
  append_number(key, hash.low);
  return key;
}

inline std::string dedupe_number_key(entity_id queue, std::uint64_t number) {
  auto key = queue_key(queue);
  key.push_back('n');
  append_number(key, number);
  return key;
}

}  // namespace callboard::runtime
