// How whoever must tell another entity something goes about it: again and again, with growing
// pauses, until the answer says that it is heard.
#pragma once

#include "actors/absence.hpp"
#include "actors/requests.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace callboard::actors {

inline constexpr std::chrono::milliseconds telling_pause_min{200};
inline constexpr std::chrono::milliseconds telling_pause_max{10'000};

/// Before the next telling, when `tries` were not heard.
[[nodiscard]] constexpr std::chrono::milliseconds pause_before_telling(std::uint32_t tries) {
  return std::min(telling_pause_max, telling_pause_min * (1U << std::min(tries, 6U)));
}

/// The store of whoever is asked is damaged. That is his node's affair and may be repaired, so it
/// is no answer.
[[nodiscard]] constexpr bool is_damage(errc code) {
  return code == errc::quarantined || code == errc::io_error || code == errc::corruption;
}

/// Also who is not there, or has no use for it, has nothing more to be told. Anybody else may have
/// by and by: a shard that is damaged can be repaired.
[[nodiscard]] inline bool is_heard(const control_reply& reply) {
  if (reply.outcome) return true;
  const auto code = reply.outcome.error().code;
  if (is_not_there(code)) return true;
  switch (code) {
  case errc::queue_not_found:
  case errc::binding_not_found:
  case errc::not_found:
  case errc::wrong_kind:
  case errc::bad_request:
    return true;
  default:
    return false;
  }
}

}  // namespace callboard::actors
