#include "runtime/group/group_ledger.hpp"

#include <algorithm>
#include <iterator>

namespace callboard::runtime {

void append_history(std::vector<attempt_record>& history, const std::vector<attempt_record>& more) {
  history.insert(history.end(), more.begin(), more.end());
  if (history.size() > attempt_history_max) {
    history.erase(
        history.begin(),
        history.begin() + static_cast<std::ptrdiff_t>(history.size() - attempt_history_max));
  }
}

group_ledger::group_ledger(
    sequence floor,
    const std::vector<seq_range>& acked,
    std::vector<pending_event> pending,
    std::uint64_t dead_lettered,
    std::uint64_t missed)
    : floor_{floor}, dead_lettered_{dead_lettered}, missed_{missed} {
  for (const auto& range : acked) {
    acked_.add(range);
  }
  for (auto& event : pending) {
    const auto seq = event.seq;
    pending_.insert_or_assign(seq, std::move(event));
  }
  acked_.erase_up_to(floor_);
  raise_floor();
}

void group_ledger::apply(const group_progress& progress) {
  for (const auto& range : progress.delivered) {
    for (auto seq = range.first; seq <= range.last; seq = seq.next()) {
      if (seq <= floor_ || acked_.contains(seq)) continue;
      auto& event = pending_[seq];
      event.seq = seq;
      event.attempts = std::max(event.attempts, 1U);
      event.nonce = progress.nonce;
    }
  }
  for (const auto& change : progress.pending) {
    auto& event = pending_[change.seq];
    event.seq = change.seq;
    event.attempts = change.attempts;
    event.not_before = change.not_before;
    event.nonce = change.nonce;
    append_history(event.history, change.history);
  }
  for (const auto& one : progress.replaced)
    roots_.insert_or_assign(one.by, one.root);
  for (const auto& range : progress.acked) {
    settle(range);
  }
  for (const auto seq : progress.dead_lettered) {
    settle({seq, seq});
    ++dead_lettered_;
  }
  missed_ += progress.missed;
  if (progress.floor > floor_) {
    floor_ = progress.floor;
    acked_.erase_up_to(floor_);
  }
  raise_floor();
}

bool group_ledger::clamp(sequence last) {
  const auto ahead = pending_.upper_bound(last);
  const auto had_acked = acked_.count();
  const bool was_ahead = floor_ > last || ahead != pending_.end();
  pending_.erase(ahead, pending_.end());
  acked_.erase_after(last);
  roots_.erase(roots_.upper_bound(last), roots_.end());
  floor_ = std::min(floor_, last);
  return was_ahead || acked_.count() != had_acked;
}

bool group_ledger::is_settled(sequence seq) const {
  const bool is_acked = !pending_.contains(seq) && (seq <= floor_ || acked_.contains(seq));
  return is_acked
         && std::ranges::none_of(roots_, [seq](const auto& one) { return one.second == seq; });
}

sequence group_ledger::needed_after() const {
  if (pending_.empty()) return floor_;
  const auto lowest = pending_.begin()->first;
  return lowest > floor_ ? floor_ : sequence{lowest.raw() - 1};
}

std::uint64_t group_ledger::lag(sequence last) const {
  const auto passed =
      static_cast<std::uint64_t>(std::distance(pending_.begin(), pending_.upper_bound(floor_)));
  const auto above = last > floor_ ? last.distance_from(floor_) : 0;
  const auto acked = acked_.count();
  return passed + (above > acked ? above - acked : 0);
}

void group_ledger::settle(seq_range range) {
  pending_.erase(pending_.lower_bound(range.first), pending_.upper_bound(range.last));
  roots_.erase(roots_.lower_bound(range.first), roots_.upper_bound(range.last));
  if (range.last <= floor_) return;
  acked_.add({std::max(range.first, floor_.next()), range.last});
}

void group_ledger::raise_floor() {
  if (const auto next = acked_.range_with(floor_.next())) {
    floor_ = next->last;
    acked_.erase_up_to(floor_);
  }
}

}  // namespace callboard::runtime
