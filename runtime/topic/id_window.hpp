// The event ids of one topic within its dedupe window: recent ones whole, older ones as
// fingerprints that say where to look. Memory is bounded; nothing inside the window is forgotten.
#pragma once

#include "base/hash.hpp"
#include "base/ids.hpp"
#include "base/lazy_deque.hpp"

#include <boost/unordered/unordered_flat_map.hpp>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <vector>

namespace callboard::runtime {

/// What is remembered of a recent event.
struct remembered_event {
  sequence seq{};
  std::uint64_t content = 0;
};

/// Lifecycle: filled by `insert` in order of seq, emptied by time. A recent id costs about 64
/// bytes, an older one 16. Not thread-safe; belongs to its topic core.
///
/// A fingerprint is 32 bits of the identity's high half at a place given by its low half; a hit is
/// a candidate that must be compared with the stored event, a miss is final.
class id_window {
public:
  /// `recent_max` whole ids; `total_max` ids altogether.
  id_window(std::size_t recent_max, std::size_t total_max)
      : recent_max_{recent_max}, total_max_{total_max} {}

  /// Forgets ids older than `cutoff`. Precondition: times of inserts do not go back.
  void expire(time_ms cutoff);

  [[nodiscard]] std::optional<remembered_event> find_recent(const hash128& identity) const;

  /// Seqs of older events that may have this identity; appended to `out`.
  void find_candidates(const hash128& identity, std::vector<sequence>& out) const;

  /// Precondition: not full; the identity is not in the window.
  void insert(const hash128& identity, remembered_event event, time_ms time);

  /// Takes the latest inserts back. Precondition: `count` inserts since the last `expire`, and
  /// `count <= recent_max`.
  void forget_last(std::size_t count);

  /// No more ids fit before the window has moved on.
  [[nodiscard]] bool is_full(std::size_t adding) const { return size_ + adding > total_max_; }

  [[nodiscard]] std::size_t size() const { return size_; }

private:
  /// Open-addressing table of fingerprints of consecutive events. Each is as large as all before
  /// it together, so that a look-up touches few however many ids there are.
  struct generation {
    struct slot {
      std::uint32_t fingerprint = 0;
      /// 1-based distance from `first`; 0 = free.
      std::uint32_t offset = 0;
    };

    struct release {
      void operator()(slot* memory) const { std::free(memory); }
    };

    sequence first{};
    time_ms newest{};
    std::size_t used = 0;
    /// Ids that fit; there are twice as many slots.
    std::size_t capacity = 0;
    std::unique_ptr<slot[], release> slots;
    /// Slots that are free so far; all of them once ids go in.
    std::size_t cleared = 0;

    [[nodiscard]] std::size_t slot_count() const { return 2 * capacity; }

    [[nodiscard]] std::size_t slot_mask() const { return slot_count() - 1; }

    void clear_slots(std::size_t count);
  };

  struct arrival {
    hash128 identity;
    sequence seq{};
    time_ms time{};
  };

  /// An id may come again once its window has passed: then the later event keeps it.
  void forget(const arrival& one);

  void retire_oldest();
  void add_generation(sequence first);

  /// The table for ids behind `behind` others.
  [[nodiscard]] static generation allocate(std::size_t behind);

  std::size_t recent_max_;
  std::size_t total_max_;
  std::size_t size_ = 0;
  boost::unordered_flat_map<hash128, remembered_event, std::hash<hash128>> recent_;
  lazy_deque<arrival> order_;
  lazy_deque<generation> older_;
  /// The next table. It is cleared bit by bit while the newest fills: tens of megabytes at once
  /// would hold all publishes of the topic up.
  generation coming_;
};

}  // namespace callboard::runtime
