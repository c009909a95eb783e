#include "runtime/topic/id_window.hpp"

namespace callboard::runtime {

namespace {

/// Ids of one generation, and slots for them at a load of at most one half.
constexpr std::size_t generation_ids = 128 * 1024;
constexpr std::size_t generation_slots = 2 * generation_ids;
constexpr std::size_t slot_mask = generation_slots - 1;

std::uint32_t fingerprint_of(const hash128& identity) {
  return static_cast<std::uint32_t>(identity.high >> 32);
}

}  // namespace

void id_window::expire(time_ms cutoff) {
  while (!older_.empty() && older_.front().newest < cutoff) {
    size_ -= older_.front().used;
    older_.pop_front();
  }
  while (!order_.empty() && order_.front().time < cutoff) {
    forget(order_.front());
    order_.pop_front();
    --size_;
  }
}

std::optional<remembered_event> id_window::find_recent(const hash128& identity) const {
  const auto found = recent_.find(identity);
  if (found == recent_.end()) return std::nullopt;
  return found->second;
}

void id_window::find_candidates(const hash128& identity, std::vector<sequence>& out) const {
  const auto wanted = fingerprint_of(identity);
  for (const auto& table : older_) {
    for (auto place = identity.low & slot_mask; table.slots[place].offset != 0;
         place = (place + 1) & slot_mask) {
      if (table.slots[place].fingerprint == wanted) {
        out.push_back(table.first.plus(table.slots[place].offset - 1));
      }
    }
  }
}

void id_window::insert(const hash128& identity, remembered_event event, time_ms time) {
  recent_.insert_or_assign(identity, event);
  order_.push_back({identity, event.seq, time});
  ++size_;
  if (order_.size() > recent_max_) retire_oldest();
}

void id_window::forget_last(std::size_t count) {
  for (; count > 0 && !order_.empty(); --count, --size_) {
    forget(order_.back());
    order_.pop_back();
  }
}

void id_window::forget(const arrival& one) {
  const auto found = recent_.find(one.identity);
  if (found != recent_.end() && found->second.seq == one.seq) recent_.erase(found);
}

void id_window::retire_oldest() {
  const auto oldest = order_.front();
  order_.pop_front();
  const auto seq = oldest.seq;
  forget(oldest);
  const bool fits = !older_.empty() && older_.back().used < generation_ids
                    && seq.distance_from(older_.back().first) < 0xFFFF'FFFF;
  if (!fits) {
    older_.emplace_back();
    older_.back().first = seq;
    older_.back().slots.resize(generation_slots);
  }
  auto& table = older_.back();
  auto place = oldest.identity.low & slot_mask;
  while (table.slots[place].offset != 0)
    place = (place + 1) & slot_mask;
  table.slots[place] = {
      .fingerprint = fingerprint_of(oldest.identity),
      .offset = static_cast<std::uint32_t>(seq.distance_from(table.first) + 1)};
  table.newest = oldest.time;
  ++table.used;
}

}  // namespace callboard::runtime
