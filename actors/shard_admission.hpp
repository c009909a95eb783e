// How much work a shard has taken on: one credit per event between router and commit.
#pragma once

#include "base/ids.hpp"
#include "base/names.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <list>
#include <mutex>
#include <optional>
#include <unordered_set>
#include <utility>

namespace callboard::actors {

class shard_admission;

/// Credits of one batch; given back when destroyed. Movable, any thread.
class admission_ticket {
public:
  admission_ticket() = default;

  admission_ticket(admission_ticket&& other) noexcept
      : from_{std::exchange(other.from_, nullptr)},
        events_{other.events_},
        is_bulk_{other.is_bulk_},
        since_{other.since_} {}

  admission_ticket& operator=(admission_ticket&& other) noexcept {
    std::swap(from_, other.from_);
    std::swap(events_, other.events_);
    std::swap(is_bulk_, other.is_bulk_);
    std::swap(since_, other.since_);
    return *this;
  }

  ~admission_ticket();

  admission_ticket(const admission_ticket&) = delete;
  admission_ticket& operator=(const admission_ticket&) = delete;

  /// When the batch was admitted. Precondition: the ticket is a shard's, not a default one.
  [[nodiscard]] boot_time since() const { return *since_; }

private:
  friend shard_admission;

  shard_admission* from_ = nullptr;
  std::uint64_t events_ = 0;
  bool is_bulk_ = false;
  std::list<boot_time>::iterator since_;
};

/// Refuses beyond its bound; never over-admits. Bulk topics may take a quarter of it, so that a
/// flood on them leaves room for the others. Outlives its tickets. Any thread.
class shard_admission {
public:
  explicit shard_admission(std::uint64_t events_max)
      : events_max_{events_max}, bulk_events_max_{std::max<std::uint64_t>(events_max / 4, 1)} {}

  shard_admission(const shard_admission&) = delete;
  shard_admission& operator=(const shard_admission&) = delete;

  /// Nothing when `events` more are too many.
  [[nodiscard]] std::optional<admission_ticket>
  admit(const topic_ref& topic, std::uint64_t events, boot_time now) {
    const std::lock_guard guard{mutex_};
    const bool is_bulk = !bulk_topics_.empty() && bulk_topics_.contains(topic);
    if (used_ + events > events_max_) return std::nullopt;
    if (is_bulk && bulk_used_ + events > bulk_events_max_) return std::nullopt;
    used_ += events;
    if (is_bulk) bulk_used_ += events;
    admission_ticket ticket;
    ticket.from_ = this;
    ticket.events_ = events;
    ticket.is_bulk_ = is_bulk;
    ticket.since_ = in_flight_.insert(in_flight_.end(), now);
    return ticket;
  }

  /// What is never admitted at once is more than this.
  [[nodiscard]] std::uint64_t events_max_of(const topic_ref& topic) const {
    const std::lock_guard guard{mutex_};
    return bulk_topics_.contains(topic) ? bulk_events_max_ : events_max_;
  }

  /// Said by the topic when it becomes active and when its lane changes.
  void set_bulk(const topic_ref& topic, bool is_bulk) {
    const std::lock_guard guard{mutex_};
    if (is_bulk) {
      bulk_topics_.insert(topic);
    } else {
      bulk_topics_.erase(topic);
    }
  }

  [[nodiscard]] std::uint64_t used() const {
    const std::lock_guard guard{mutex_};
    return used_;
  }

  /// When the oldest batch in flight was admitted; nothing if none is.
  [[nodiscard]] std::optional<boot_time> oldest() const {
    const std::lock_guard guard{mutex_};
    if (in_flight_.empty()) return std::nullopt;
    return in_flight_.front();
  }

private:
  friend admission_ticket;

  void give_back(const admission_ticket& ticket) {
    const std::lock_guard guard{mutex_};
    used_ -= ticket.events_;
    if (ticket.is_bulk_) bulk_used_ -= ticket.events_;
    in_flight_.erase(ticket.since_);
  }

  const std::uint64_t events_max_;
  const std::uint64_t bulk_events_max_;
  mutable std::mutex mutex_;
  std::uint64_t used_ = 0;
  std::uint64_t bulk_used_ = 0;
  std::list<boot_time> in_flight_;
  std::unordered_set<topic_ref> bulk_topics_;
};

inline admission_ticket::~admission_ticket() {
  if (from_ != nullptr) from_->give_back(*this);
}

}  // namespace callboard::actors
