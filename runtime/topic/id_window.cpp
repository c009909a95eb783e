#include "runtime/topic/id_window.hpp"

#include <algorithm>
#include <bit>
#include <memory>
#include <new>

namespace callboard::runtime {

namespace {

/// Ids of the smallest and of the largest generation; powers of two.
constexpr std::size_t generation_ids_min = 128 * 1024;
constexpr std::size_t generation_ids_max = 4 * 1024 * 1024;

std::uint32_t fingerprint_of(const hash128& identity) {
  return static_cast<std::uint32_t>(identity.high >> 32);
}

}  // namespace

void id_window::expire(time_ms cutoff) {
  while (!older_.empty() && older_.front().newest < cutoff) {
    size_ -= older_.front().used;
    older_.pop_front();
  }
  if (older_.empty()) coming_ = {};
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
    const auto mask = table.slot_mask();
    for (auto place = identity.low & mask; table.slots[place].offset != 0;
         place = (place + 1) & mask) {
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

void id_window::generation::clear_slots(std::size_t count) {
  const auto end = std::min(slot_count(), cleared + count);
  std::uninitialized_fill(slots.get() + cleared, slots.get() + end, slot{});
  cleared = end;
}

id_window::generation id_window::allocate(std::size_t behind) {
  generation made;
  made.capacity = std::clamp(
      std::bit_ceil(std::max<std::size_t>(behind, 1)), generation_ids_min, generation_ids_max);
  auto* memory = std::malloc(made.slot_count() * sizeof(generation::slot));
  if (memory == nullptr) throw std::bad_alloc{};
  made.slots.reset(static_cast<generation::slot*>(memory));
  return made;
}

void id_window::add_generation(sequence first) {
  const auto behind = size_ - order_.size();
  if (coming_.capacity == 0) coming_ = allocate(behind);
  coming_.clear_slots(coming_.slot_count());
  coming_.first = first;
  older_.push_back(std::move(coming_));
  coming_ = allocate(behind + older_.back().capacity);
}

void id_window::retire_oldest() {
  const auto oldest = order_.front();
  order_.pop_front();
  const auto seq = oldest.seq;
  forget(oldest);
  const bool fits = !older_.empty() && older_.back().used < older_.back().capacity
                    && seq.distance_from(older_.back().first) < 0xFFFF'FFFF;
  if (!fits) add_generation(seq);
  auto& table = older_.back();
  const auto mask = table.slot_mask();
  auto place = oldest.identity.low & mask;
  while (table.slots[place].offset != 0)
    place = (place + 1) & mask;
  table.slots[place] = {
      .fingerprint = fingerprint_of(oldest.identity),
      .offset = static_cast<std::uint32_t>(seq.distance_from(table.first) + 1)};
  table.newest = oldest.time;
  ++table.used;
  coming_.clear_slots(coming_.slot_count() / table.capacity + 1);
}

}  // namespace callboard::runtime
