// An output that remembers what it was told, with as much room as a test gives it.
#pragma once

#include "actors/pattern_subscription.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace callboard::testing {

/// Each call becomes one line, for example "e1:4" for an event, "lagging 3 0" or "gap trimmed 2-5".
class recording_output final : public actors::pattern_output {
public:
  std::vector<std::string> lines;
  std::uint32_t room = UINT32_MAX;
  /// Batches that were written whole, by address: to see that they are shared.
  std::vector<const actors::offered_batch*> batches;
  std::optional<error> refused;
  std::map<std::string, runtime::cursor> cursors;
  bool name_topics = false;
  bool tells_settled = false;

  /// What was told since the last call.
  std::vector<std::string> take() { return std::exchange(lines, {}); }

  void started(
      actors::topic_subscription& which,
      const runtime::start_outcome& outcome,
      const runtime::topic_head& head) override;
  std::uint32_t write(
      actors::topic_subscription& which,
      actors::offered_batch& batch,
      runtime::portion planned,
      actors::delivery_mode mode) override;
  void
  lagging(actors::topic_subscription& which, std::uint64_t behind, std::uint64_t dropped) override;
  void caught_up(actors::topic_subscription& which) override;
  void
  gap(actors::topic_subscription& which,
      runtime::loss reason,
      std::optional<runtime::seq_gap> gone,
      const runtime::topic_head& head) override;
  void failed(actors::topic_subscription& which, const error& why) override;
  void disconnect(actors::topic_subscription& which) override;
  void pattern_started(const std::map<std::string, runtime::cursor>& known, bool complete) override;
  void pattern_failed(const error& why) override;

  void pattern_settled() override {
    if (tells_settled) lines.emplace_back("settled");
  }

  void topic_left_out(const std::string& topic, const error& why) override;
};

/// Events `first`..`last` of a topic, or as many ephemeral ones (seq 0).
[[nodiscard]] runtime::event_batch_ptr make_batch(
    const topic_ref& topic,
    std::string epoch,
    std::uint64_t first,
    std::uint64_t last,
    bool ephemeral = false);

/// `topic` of tenant "acme".
[[nodiscard]] topic_ref topic_named(std::string topic);

}  // namespace callboard::testing
