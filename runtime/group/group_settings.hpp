// What an owner may choose for a consumer group.
#pragma once

#include <cstdint>
#include <string>

namespace callboard::runtime {

struct group_settings {
  std::uint32_t hold_ms = 30'000;
  std::uint32_t deliveries_max = 20;
  std::uint32_t in_flight_max = 1000;
  std::uint32_t backoff_min_ms = 100;
  std::uint32_t backoff_max_ms = 60'000;
  bool ordered_by_subject = false;
  /// Empty: `<topic>.<group>.dead` (characters that a topic cannot have become '-').
  std::string dead_letter_topic;

  friend bool operator==(const group_settings&, const group_settings&) = default;
};

}  // namespace callboard::runtime
