// What an owner may choose for a topic.
#pragma once

#include "base/config.hpp"

#include <cstdint>

namespace callboard::runtime {

enum class topic_kind : std::uint8_t { durable, ephemeral };

/// Interactive topics are served before bulk ones wherever both wait.
enum class topic_lane : std::uint8_t { interactive, bulk };

struct topic_settings {
  topic_kind kind = topic_kind::durable;
  topic_lane lane = topic_lane::interactive;
  /// 0 = unlimited, for all three.
  std::uint64_t retention_age_s = 0;
  std::uint64_t retention_bytes = 0;
  std::uint64_t retention_events = 0;
  std::uint32_t dedupe_window_s = 120;
  /// Retention waits for the slowest consumer group; publishes are refused at `retention_bytes`.
  bool hold_for_groups = false;

  [[nodiscard]] static topic_settings defaults(const config::topics_section& from) {
    topic_settings settings;
    settings.retention_age_s = from.retention_age_s;
    settings.retention_bytes = from.retention_bytes;
    settings.retention_events = from.retention_events;
    settings.dedupe_window_s = from.dedupe_window_s;
    return settings;
  }

  friend bool operator==(const topic_settings&, const topic_settings&) = default;
};

}  // namespace callboard::runtime
