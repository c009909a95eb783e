// What an owner may choose for a consumer group.
#pragma once

#include "base/ids.hpp"

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
  /// Of a binding: its filter and target as JSON (runtime/binding/binding_rule.hpp). Empty: a group
  /// of clients.
  std::string binding;
  /// Events beyond it are not delivered; 0 = no such end.
  sequence up_to{};

  /// Its consumer lives beside it, in the same shard: what it held when the shard went down is held
  /// by nobody, and only what it refuses counts as an attempt.
  [[nodiscard]] bool is_binding() const { return !binding.empty(); }

  friend bool operator==(const group_settings&, const group_settings&) = default;
};

/// What becomes of deliveries that are given back. retry: they come again until their attempts are
/// used up. put_back: they come again, and the attempt does not count. give_up: dead letters at once.
enum class nack_kind : std::uint8_t { retry, put_back, give_up };

}  // namespace callboard::runtime
