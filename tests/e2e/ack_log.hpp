// The outside record of what a node promised, kept by the test while the node is killed.
#pragma once

#include "tests/e2e/broker.hpp"

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace callboard::testing {

/// What publishers were told. Thread-safe.
class ack_log {
public:
  /// The node acked event `id` at `seq` of `topic`. A second ack must name the same seq.
  void acked(std::string_view topic, std::string_view id, std::uint64_t seq);

  /// A promise was broken; shown by `violations`.
  void broken(std::string what);

  [[nodiscard]] std::uint64_t count() const;

  /// Compares with the histories that the node has now: every acked event at its seq, seqs dense
  /// from 1, no id twice. Returns all violations so far, one line each.
  [[nodiscard]] std::vector<std::string> check(broker& node);

private:
  mutable std::mutex mutex_;
  std::map<std::string, std::map<std::string, std::uint64_t>, std::less<>> acks_;
  std::uint64_t count_ = 0;
  std::vector<std::string> broken_;
};

}  // namespace callboard::testing
