// The durable side of a consumer group: what its committed records say, and nothing else. Live
// state (group_core) is rebuilt from it; a snapshot is a ledger written down.
#pragma once

#include "base/ids.hpp"
#include "runtime/group/seq_set.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace callboard::runtime {

/// Attempts kept of one event; older ones are dropped from the history, not from the count.
inline constexpr std::size_t attempt_history_max = 50;
/// Bytes of a nack's error that are kept.
inline constexpr std::size_t attempt_error_size_max = 200;

/// A delivery that ended without an ack.
struct attempt_record {
  std::uint32_t number = 0;
  time_ms delivered{};
  std::string member;
  /// "nack", "refused", "hold_expired" or "released"
  std::string outcome;
  std::string error;

  friend bool operator==(const attempt_record&, const attempt_record&) = default;
};

/// An event that was delivered, or that the floor has passed, and that is not acked.
struct pending_event {
  sequence seq{};
  /// Deliveries so far, the one being held included.
  std::uint32_t attempts = 0;
  /// Not to be delivered again before this shard time.
  time_ms not_before{};
  std::vector<attempt_record> history;
  /// Token part of the hold on it; 0 = not held.
  std::uint32_t nonce = 0;

  friend bool operator==(const pending_event&, const pending_event&) = default;
};

/// An event that took the place of another, maybe of one that had taken somebody's place.
struct replacement {
  sequence by{};
  /// The first of them.
  sequence root{};

  friend bool operator==(const replacement&, const replacement&) = default;
};

/// One record: what changed since the record before.
struct group_progress {
  /// First deliveries, each held with `nonce`.
  std::vector<seq_range> delivered;
  std::uint32_t nonce = 0;
  /// `history` holds only attempts that no earlier record has.
  std::vector<pending_event> pending;
  std::vector<seq_range> acked;
  std::vector<sequence> dead_lettered;
  /// Everything up to here is acked or pending; 0 = says nothing.
  sequence floor{};
  /// Of `acked`, those that retention took before they were.
  std::uint64_t missed = 0;
  /// What they replace is in `acked`.
  std::vector<replacement> replaced;

  [[nodiscard]] bool empty() const {
    return delivered.empty() && pending.empty() && acked.empty() && dead_lettered.empty()
           && floor == sequence{};
  }
};

/// Committed state. Invariant: an event is unacked exactly if it is in `pending` or is above
/// `floor` and not in `acked`; `acked` has nothing at or below `floor + 1`.
class group_ledger {
public:
  group_ledger() = default;

  /// A new group that begins after `floor`.
  explicit group_ledger(sequence floor) : floor_{floor} {}

  /// From a snapshot.
  group_ledger(
      sequence floor,
      const std::vector<seq_range>& acked,
      std::vector<pending_event> pending,
      std::uint64_t dead_lettered,
      std::uint64_t missed);

  /// Applies one committed record. Pure: the same records give the same ledger.
  void apply(const group_progress& progress);

  /// Forgets everything after `last`: a cursor must not be ahead of its topic (lessons of peers:
  /// such a consumer gets nothing until the topic has caught up). True if anything was ahead.
  [[nodiscard]] bool clamp(sequence last);

  [[nodiscard]] sequence floor() const { return floor_; }

  [[nodiscard]] const seq_set& acked() const { return acked_; }

  [[nodiscard]] const std::map<sequence, pending_event>& pending() const { return pending_; }

  [[nodiscard]] std::uint64_t dead_lettered() const { return dead_lettered_; }

  /// Events that retention took before they were acked.
  [[nodiscard]] std::uint64_t missed() const { return missed_; }

  /// By events that are not settled: the first of those whose place each has.
  [[nodiscard]] const std::map<sequence, sequence>& roots() const { return roots_; }

  /// Nothing up to here is needed any more; below `floor` if the floor has passed a pending event.
  [[nodiscard]] sequence needed_after() const;

  /// True if it is delivered no more, nor is what has its place.
  [[nodiscard]] bool is_settled(sequence seq) const;

  /// Unacked events of a topic that ends at `last`.
  [[nodiscard]] std::uint64_t lag(sequence last) const;

  friend bool operator==(const group_ledger&, const group_ledger&) = default;

private:
  void settle(seq_range range);
  void raise_floor();

  sequence floor_{};
  seq_set acked_;
  std::map<sequence, pending_event> pending_;
  std::uint64_t dead_lettered_ = 0;
  std::uint64_t missed_ = 0;
  std::map<sequence, sequence> roots_;
};

/// Appends `more` to `history`, dropping the oldest beyond `attempt_history_max`.
void append_history(std::vector<attempt_record>& history, const std::vector<attempt_record>& more);

}  // namespace callboard::runtime
