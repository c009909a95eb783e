// Turns a journal's records back into the events that clients published.
#pragma once

#include "base/names.hpp"
#include "storage/record.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

namespace callboard::cli {

/// Fed the records of shards in lsn order, it learns topics from their own records.
class event_exporter {
public:
  /// Empty: all.
  struct filter {
    std::string tenant;
    /// A topic or pattern.
    std::string topic;
  };

  explicit event_exporter(filter wanted);

  /// A JSON line {"tenant","topic","seq","time_ms","event"} for an event that is wanted. Events of
  /// deleted topics are left out once the deletion has been read, not before.
  [[nodiscard]] std::optional<std::string> line_of(shard_id shard, const storage::record& record);

private:
  struct topic {
    std::string tenant;
    std::string name;
    bool is_wanted = false;
  };

  void learn(shard_id shard, const storage::record& record);

  filter wanted_;
  std::optional<topic_pattern> pattern_;
  std::map<std::pair<std::uint32_t, std::uint64_t>, topic> topics_;
};

}  // namespace callboard::cli
