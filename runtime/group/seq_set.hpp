// A set of sequences as closed ranges: acks come in runs, so a million of them is a few numbers.
#pragma once

#include "base/ids.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

namespace callboard::runtime {

/// Both ends included; `first <= last`.
struct seq_range {
  sequence first{};
  sequence last{};

  friend bool operator==(const seq_range&, const seq_range&) = default;
};

/// Sorted, disjoint ranges that never touch. A value; copying copies the ranges.
class seq_set {
public:
  /// Adds every sequence of `range`; those already in stay. Does nothing if it is empty
  /// (`first > last`).
  void add(seq_range range);

  void add(sequence seq) { add({seq, seq}); }

  /// Drops everything up to and including `last`.
  void erase_up_to(sequence last);

  /// Drops everything after `last`.
  void erase_after(sequence last);

  void clear() { ranges_.clear(); }

  [[nodiscard]] bool contains(sequence seq) const { return range_with(seq).has_value(); }

  /// The range that `seq` lies in.
  [[nodiscard]] std::optional<seq_range> range_with(sequence seq) const;

  [[nodiscard]] bool empty() const { return ranges_.empty(); }

  /// How many sequences are in, not how many ranges.
  [[nodiscard]] std::uint64_t count() const;

  [[nodiscard]] std::vector<seq_range> ranges() const;

  friend bool operator==(const seq_set&, const seq_set&) = default;

private:
  /// First of each range -> its last.
  std::map<std::uint64_t, std::uint64_t> ranges_;
};

}  // namespace callboard::runtime
