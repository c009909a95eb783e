// How a group reads and hands out: due redeliveries first, then what was never delivered.
#include "runtime/group/group_core.hpp"

#include <algorithm>
#include <utility>

namespace callboard::runtime {

namespace {

constexpr std::chrono::milliseconds dead_letter_retry_min{1000};
constexpr std::uint32_t dead_letter_doublings_max = 6;
constexpr std::size_t dead_letters_at_once_max = 16;

}  // namespace

/// The last event that may be delivered.
sequence group_core::reach() const {
  return settings_.up_to == sequence{} ? last_seq_ : std::min(last_seq_, settings_.up_to);
}

bool group_core::takes(sequence first) const {
  return settings_.up_to == sequence{} && !reading_ && first == next_read_ && fresh_.empty()
         && !waiters_.empty();
}

void group_core::offer(std::span<const loaded_event> events) {
  std::uint64_t bytes = 0;
  for (const auto& event : events) {
    topic_grew(event.event.seq);
    const bool is_full =
        fresh_.size() >= limits_.read_events_max || bytes >= limits_.fetch_bytes_max;
    // What does not fit is read later.
    if (event.event.seq != next_read_ || is_full) continue;
    bytes += event.event.stored.size();
    next_read_ = next_read_.next();
    if (settled_.contains(event.event.seq) || entries_.contains(event.event.seq)) continue;
    fresh_.push_back(event);
  }
}

std::size_t group_core::room() const {
  // Fewer allowed than are held after a restart with other settings: they drain, nothing blocks.
  return settings_.in_flight_max > holds_.size() ? settings_.in_flight_max - holds_.size() : 0;
}

void group_core::match(group_time now) {
  if (!unknown_.empty()) return;
  // What is due again comes first, or a steady flow of new events would starve it: read it now.
  if (retry_loaded_.empty() && !retries_.empty() && retries_.begin()->first <= now.shard) return;
  std::size_t at = 0;
  while (!waiters_.empty() && room() > 0) {
    // One each in turn, so that a large fetch does not take everything from a small one.
    std::size_t tried = 0;
    const auto is_full = [&] {
      const auto& one = waiters_[at % waiters_.size()];
      return one.given.size() >= one.command.max || one.given_bytes >= one.command.bytes_max;
    };
    for (; tried < waiters_.size() && is_full(); ++tried)
      ++at;
    if (tried == waiters_.size()) break;
    auto event = next_retry(now);
    if (!event) event = next_fresh();
    if (!event) break;
    hold(*std::move(event), waiters_[at % waiters_.size()], now);
    ++at;
  }
  std::erase_if(waiters_, [this](waiter& one) {
    if (one.given.empty()) return false;
    answers_.push_back({one.command.key, std::move(one.given)});
    return true;
  });
}

std::optional<loaded_event> group_core::next_retry(group_time now) {
  while (!retry_loaded_.empty()) {
    auto node = retry_loaded_.extract(retry_loaded_.begin());
    const auto it = entries_.find(node.key());
    if (it == entries_.end() || it->second.at != stage::waiting) continue;
    if (it->second.not_before > now.shard) continue;
    return std::move(node.mapped());
  }
  return std::nullopt;
}

std::optional<loaded_event> group_core::next_fresh() {
  while (!fresh_.empty()) {
    auto event = std::move(fresh_.front());
    fresh_.pop_front();
    if (!settings_.ordered_by_subject || event.subject == 0) return event;
    auto& queue = subjects_[event.subject];
    queue.insert(event.event.seq);
    if (queue.size() == 1) return event;
    auto& blocked = entries_[event.event.seq];
    blocked.at = stage::blocked;
    blocked.subject = event.subject;
  }
  return std::nullopt;
}

void group_core::hold(loaded_event event, waiter& to, group_time now) {
  const auto seq = event.event.seq;
  auto& entry = entries_[seq];
  retries_.erase({entry.not_before, seq});
  entry.at = stage::held;
  ++entry.attempts;
  entry.nonce = nonce_;
  entry.subject = event.subject;
  entry.member = to.command.member;
  entry.poll = to.command.poll;
  entry.delivered = now.shard;
  entry.deadline = now.boot + std::chrono::milliseconds{settings_.hold_ms};
  holds_.emplace(entry.deadline, seq);
  members_[entry.member].insert(seq);
  mark(seq, now.boot);
  to.given_bytes += event.event.stored.size();
  to.given.push_back({{seq, entry.attempts, nonce_}, std::move(event.event)});
}

void group_core::plan_singles(read_plan& plan, bool demand, group_time now) const {
  std::set<sequence> wanted;
  for (const auto& [seq, event] : dying_) {
    if (wanted.size() >= dead_letters_at_once_max) break;
    if (!event.publishing && !event.loaded && event.retry_at <= now.boot) wanted.insert(seq);
  }
  if (demand) {
    for (auto it = unknown_.begin(); it != unknown_.end(); ++it) {
      if (wanted.size() >= limits_.read_events_max) break;
      wanted.insert(*it);
    }
  }
  if (demand && unknown_.empty()) {
    const auto most = std::min<std::size_t>(room(), limits_.read_events_max);
    for (auto it = retries_.begin(); it != retries_.end() && it->first <= now.shard; ++it) {
      if (wanted.size() >= most) break;
      if (!retry_loaded_.contains(it->second)) wanted.insert(it->second);
    }
  }
  plan.single.assign(wanted.begin(), wanted.end());
}

void group_core::skip_known() {
  while (true) {
    if (const auto range = settled_.range_with(next_read_)) {
      next_read_ = range->last.next();
    } else if (entries_.contains(next_read_)) {
      next_read_ = next_read_.next();
    } else {
      return;
    }
  }
}

std::optional<read_plan> group_core::plan_read(group_time now) {
  if (reading_) return std::nullopt;
  const bool demand = !waiters_.empty() && room() > 0;
  read_plan plan;
  plan_singles(plan, demand, now);
  const auto tracked_max = std::max<std::size_t>(limits_.ack_span_max, settings_.in_flight_max);
  if (demand && unknown_.empty() && fresh_.empty() && entries_.size() < tracked_max) {
    skip_known();
    if (next_read_ <= reach()) {
      plan.run_from = next_read_;
      plan.run_events_max = limits_.read_events_max;
    }
  }
  if (plan.single.empty() && plan.run_from == sequence{}) return std::nullopt;
  plan.known_last = last_seq_;
  reading_ = true;
  return plan;
}

void group_core::loaded(read_result result, group_time now) {
  reading_ = false;
  gone(result.gone_up_to, now);
  for (auto& event : result.single) {
    const auto seq = event.event.seq;
    if (unknown_.contains(seq)) learn_subject(seq, event.subject);
    if (const auto it = dying_.find(seq); it != dying_.end()) {
      if (!it->second.publishing) it->second.loaded = std::move(event.event);
    } else if (const auto found = entries_.find(seq); found != entries_.end()) {
      const bool due = found->second.at == stage::waiting && found->second.not_before <= now.shard;
      if (due && retry_loaded_.size() < limits_.read_events_max) {
        retry_loaded_.insert_or_assign(seq, std::move(event));
      }
    }
  }
  for (auto& event : result.run) {
    const auto seq = event.event.seq;
    if (seq < next_read_) continue;
    // An ack may have moved on meanwhile, never back: a hole is read again.
    if (seq > next_read_) break;
    topic_grew(seq);
    if (seq > reach()) break;
    next_read_ = seq.next();
    if (settled_.contains(seq) || entries_.contains(seq)) continue;
    fresh_.push_back(std::move(event));
  }
}

void group_core::gone(sequence up_to, group_time now) {
  const bool holds_some = !entries_.empty() && entries_.begin()->first <= up_to;
  if (up_to < next_read_ && !holds_some) return;
  if (!has_changes()) changed_at_ = now.boot;
  const auto last = std::min(up_to, last_seq_);
  newly_missed_ += unsettled_up_to(last);
  settle_up_to(last);
}

void group_core::learn_subject(sequence seq, std::uint64_t subject) {
  unknown_.erase(seq);
  const auto it = entries_.find(seq);
  if (it == entries_.end()) return;
  it->second.subject = subject;
  if (subject == 0) return;
  auto& queue = subjects_[subject];
  queue.insert(seq);
  // Only the first of a subject may be out; what was waiting behind it is blocked again.
  for (auto other = std::next(queue.begin()); other != queue.end(); ++other) {
    auto& event = entries_.at(*other);
    if (event.at != stage::waiting) continue;
    retries_.erase({event.not_before, *other});
    retry_loaded_.erase(*other);
    event.at = stage::blocked;
  }
  unblock(subject);
}

void group_core::expire_waiters(group_time now) {
  if (reading_) return;
  std::erase_if(waiters_, [&](const waiter& one) {
    if (one.deadline > now.boot) return false;
    answers_.push_back({one.command.key, {}});
    return true;
  });
}

std::vector<std::uint64_t> group_core::drop_waiters() {
  std::vector<std::uint64_t> keys;
  for (const auto& one : waiters_) {
    keys.push_back(one.command.key);
  }
  waiters_.clear();
  return keys;
}

std::vector<dead_letter> group_core::take_dead_letters() {
  std::vector<dead_letter> letters;
  for (auto& [seq, event] : dying_) {
    if (!event.loaded) continue;
    const auto& entry = entries_.at(seq);
    letters.push_back(
        {*std::exchange(event.loaded, std::nullopt),
         entry.attempts,
         entry.history,
         event.is_restored});
    event.publishing = true;
  }
  return letters;
}

void group_core::dead_letter_published(sequence seq) {
  if (!dying_.contains(seq)) return;
  settle(seq);
  newly_dead_.push_back(seq);
  urgent_ = true;
}

void group_core::dead_letter_failed(sequence seq, group_time now) {
  const auto it = dying_.find(seq);
  if (it == dying_.end()) return;
  auto& event = it->second;
  event.publishing = false;
  event.retry_at = now.boot + dead_letter_retry_min * (1U << event.failures);
  event.failures = std::min(event.failures + 1, dead_letter_doublings_max);
}

}  // namespace callboard::runtime
