// Which messages an agent has answered: known for longer than what it replied, so that one which
// comes again then is told apart from a new one, and is not handled a second time.
#pragma once

#include "base/ids.hpp"

#include <callboard/json.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string_view>
#include <vector>

namespace callboard::runtime {

/// The latest messages, by hashes of their ids, and until when those are of that are no longer
/// among them. Each run of the agent hands it on to the next, in `workflow.started`.
/// Bound: `messages_max`, of 8 bytes in memory and 16 in the record.
class answered_messages {
public:
  static constexpr std::size_t messages_max = 2048;

  /// In the order of their replies.
  void add(std::string_view message, time_ms when);

  [[nodiscard]] bool contains(std::string_view message) const;

  /// One that was answered at `when` or later may be missing.
  [[nodiscard]] bool lacks_some_of(time_ms when) const;

  [[nodiscard]] bool is_empty() const { return count_ == 0; }

  /// About what `write` comes to as text.
  [[nodiscard]] std::size_t written_size() const;

  [[nodiscard]] json write() const;

  /// As far as it can be read: what it does not say is not known.
  [[nodiscard]] static answered_messages read(const json& written);

private:
  /// They are forgotten together, and share one time.
  struct group {
    time_ms until{};
    std::vector<std::uint64_t> hashes;
  };

  void forget_some();

  std::deque<group> groups_;
  std::size_t count_ = 0;
  std::optional<time_ms> lacks_until_;
};

}  // namespace callboard::runtime
