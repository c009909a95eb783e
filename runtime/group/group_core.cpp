#include "runtime/group/group_core.hpp"

#include "base/utf8.hpp"
#include "runtime/backoff.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace callboard::runtime {

namespace {

/// How long a delivery may go unrecorded when nothing else is written: a crash within this time
/// forgets the attempt, not the event.
constexpr boot_time record_delay = std::chrono::milliseconds{200};
constexpr std::chrono::milliseconds nack_delay_max = std::chrono::hours{24 * 7};
/// Entries that one record lists when the floor passes them.
constexpr std::size_t passed_per_record_max = 1000;

}  // namespace

group_core::group_core(options with, group_ledger committed, sequence last_seq, group_time now)
    : settings_{std::move(with.settings)},
      limits_{with.limits},
      nonce_{with.nonce},
      random_{std::move(with.random)},
      ledger_{std::move(committed)},
      last_seq_{last_seq},
      next_read_{ledger_.floor().next()},
      settled_{ledger_.acked()},
      roots_{ledger_.roots()} {
  restore(now);
}

void group_core::restore(group_time now) {
  for (const auto& [seq, pending] : ledger_.pending()) {
    auto& event = entries_[seq];
    event.attempts = pending.attempts;
    event.history = pending.history;
    event.recorded = true;
    if (settings_.ordered_by_subject) unknown_.insert(seq);
    if (settings_.is_binding() && pending.nonce != 0) {
      event.attempts -= std::min(event.attempts, 1U);
      schedule(seq, event, now.shard);
      continue;
    }
    if (pending.nonce == 0) {
      schedule(seq, event, pending.not_before);
      continue;
    }
    // Its holder may well be alive: the hold is granted anew, and its token stays good.
    event.at = stage::held;
    event.nonce = pending.nonce;
    event.delivered = now.shard;
    event.deadline = now.boot + std::chrono::milliseconds{settings_.hold_ms};
    holds_.emplace(event.deadline, seq);
  }
  for (auto& [seq, event] : dying_)
    event.is_restored = true;
}

result<void> group_core::fetch(fetch_command command, group_time now) {
  if (waiters_.size() >= limits_.waiters_max) {
    return fail(
        errc::overloaded,
        fmt::format("{} fetches of this group are waiting", limits_.waiters_max),
        1000);
  }
  command.max = std::clamp(command.max, 1U, limits_.fetch_events_max);
  const auto wait = std::chrono::milliseconds{std::min(command.wait_ms, limits_.fetch_wait_ms_max)};
  if (command.bytes_max == 0) command.bytes_max = limits_.fetch_bytes_max;
  command.bytes_max = std::min(command.bytes_max, limits_.fetch_bytes_max);
  waiters_.push_back({std::move(command), now.boot + wait, {}, 0});
  return {};
}

group_core::entry* group_core::held_by(const std::string& token, delivery_token& parsed) {
  const auto read = parse_token(token);
  if (!read) return nullptr;
  parsed = *read;
  const auto it = entries_.find(parsed.seq);
  if (it == entries_.end() || it->second.at != stage::held) return nullptr;
  const auto& event = it->second;
  return event.attempts == parsed.attempt && event.nonce == parsed.nonce ? &it->second : nullptr;
}

std::vector<std::string> group_core::ack(
    std::span<const std::string> tokens, std::optional<sequence> up_to, group_time now) {
  std::vector<std::string> lost;
  delivery_token parsed;
  for (const auto& token : tokens) {
    if (held_by(token, parsed) == nullptr) {
      lost.push_back(token);
      continue;
    }
    settle(parsed.seq);
    urgent_ = true;
  }
  if (up_to) {
    settle_up_to(std::min(*up_to, last_seq_));
    urgent_ = true;
  }
  changed_at_ = std::max(changed_at_, now.boot);
  return lost;
}

void group_core::ack_events(std::span<const sequence> seqs, group_time now) {
  for (const auto seq : seqs) {
    if (seq <= ledger_.floor() || seq > last_seq_ || settled_.contains(seq)) continue;
    if (entries_.contains(seq)) {
      settle(seq);
    } else {
      std::erase_if(fresh_, [&](const auto& one) { return one.event.seq == seq; });
      note_settled({seq, seq});
    }
    urgent_ = true;
  }
  changed_at_ = std::max(changed_at_, now.boot);
}

void group_core::ack_orphan(sequence seq, group_time now) {
  if (root_of(seq)) return;
  topic_grew(seq);
  ack_events({&seq, 1}, now);
}

bool group_core::replace(sequence seq, sequence by, group_time now) {
  const auto is_open = [this](sequence one) {
    return one > ledger_.floor() && !settled_.contains(one);
  };
  const auto known = entries_.find(seq);
  const bool is_dying = known != entries_.end() && known->second.at == stage::dying;
  if (!is_open(seq) || seq > last_seq_ || is_dying || !is_open(by) || entries_.contains(by)) {
    return false;
  }
  topic_grew(by);
  const auto root = root_of(seq).value_or(seq);
  roots_.emplace(by, root);
  newly_replaced_.push_back({by, root});
  ack_events({&seq, 1}, now);
  return true;
}

std::optional<sequence> group_core::root_of(sequence seq) const {
  const auto found = roots_.find(seq);
  return found == roots_.end() ? std::nullopt : std::optional{found->second};
}

std::vector<std::string> group_core::nack(const nack_command& command, group_time now) {
  std::vector<std::string> lost;
  delivery_token parsed;
  if (!command.error.empty()) last_error_ = front_of(command.error, attempt_error_size_max);
  for (const auto& token : command.tokens) {
    auto* event = held_by(token, parsed);
    if (event == nullptr) {
      lost.push_back(token);
      continue;
    }
    urgent_ = true;
    if (command.kind == nack_kind::put_back) {
      put_back(parsed.seq, *event, now);
    } else {
      const auto* outcome = command.kind == nack_kind::give_up ? "refused" : "nack";
      end_attempt(parsed.seq, *event, outcome, command.error, now);
    }
    if (command.kind == nack_kind::give_up) {
      let_die(parsed.seq, *event);
      continue;
    }
    const std::chrono::milliseconds delay{command.delay_ms.value_or(0)};
    const auto due = command.delay_ms ? now.shard + std::min(delay, nack_delay_max)
                                      : backoff(event->attempts, now);
    schedule(parsed.seq, *event, due);
  }
  return lost;
}

/// As if it had not been delivered.
void group_core::put_back(sequence seq, entry& event, group_time now) {
  unlink(seq, event);
  event.attempts -= std::min(event.attempts, 1U);
  event.nonce = 0;
  event.member.clear();
  mark(seq, now.boot);
}

void group_core::leave(
    const std::string& member, std::span<const std::uint64_t> unseen, group_time now) {
  std::erase_if(waiters_, [&](const waiter& one) {
    if (one.command.member != member) return false;
    answers_.push_back({one.command.key, {}});
    return true;
  });
  const auto it = members_.find(member);
  if (it == members_.end()) return;
  const auto held = it->second;
  for (const auto seq : held) {
    auto& event = entries_.at(seq);
    const bool is_unseen = event.poll != 0 && std::ranges::find(unseen, event.poll) != unseen.end();
    if (settings_.is_binding() || is_unseen) {
      put_back(seq, event, now);
    } else {
      end_attempt(seq, event, "released", {}, now);
    }
    schedule(seq, event, now.shard);
  }
}

void group_core::tick(group_time now) {
  while (!holds_.empty() && holds_.begin()->first <= now.boot) {
    const auto seq = holds_.begin()->second;
    auto& event = entries_.at(seq);
    if (settings_.is_binding()) {
      put_back(seq, event, now);
    } else {
      end_attempt(seq, event, "hold_expired", {}, now);
    }
    schedule(seq, event, now.shard);
  }
}

void group_core::paused(boot_time pause, group_time now) {
  const auto anew = now.boot + std::chrono::milliseconds{settings_.hold_ms};
  for (const auto& [deadline, seq] : std::exchange(holds_, {})) {
    auto& event = entries_.at(seq);
    event.deadline = std::max(deadline, std::min(deadline + pause, anew));
    holds_.emplace(event.deadline, seq);
  }
}

void group_core::change_settings(const group_settings& settings, group_time now) {
  settings_ = settings;
  // Deliveries may have become too many by the new count.
  std::vector<sequence> waiting;
  for (const auto& [due, seq] : retries_) {
    if (entries_.at(seq).attempts >= settings_.deliveries_max) waiting.push_back(seq);
  }
  for (const auto seq : waiting) {
    auto& event = entries_.at(seq);
    retries_.erase({event.not_before, seq});
    schedule(seq, event, now.shard);
  }
}

void group_core::end_attempt(
    sequence seq, entry& event, std::string_view outcome, const std::string& why, group_time now) {
  attempt_record attempt;
  attempt.number = event.attempts;
  attempt.delivered = event.delivered;
  attempt.member = event.member;
  attempt.outcome = outcome;
  attempt.error = front_of(why, attempt_error_size_max);
  append_history(event.history, {std::move(attempt)});
  event.unrecorded =
      static_cast<std::uint32_t>(std::min<std::size_t>(event.unrecorded + 1, event.history.size()));
  unlink(seq, event);
  event.nonce = 0;
  event.member.clear();
  mark(seq, now.boot);
}

/// Precondition: `event` is in none of holds, retries and dying.
void group_core::schedule(sequence seq, entry& event, time_ms not_before) {
  event.not_before = not_before;
  if (event.attempts >= settings_.deliveries_max) return let_die(seq, event);
  event.at = stage::waiting;
  retries_.emplace(not_before, seq);
}

/// Precondition as above.
void group_core::let_die(sequence seq, entry& event) {
  event.at = stage::dying;
  dying_.emplace(seq, dying_event{});
}

time_ms group_core::backoff(std::uint32_t attempt, group_time now) {
  return now.shard
         + backoff_of(attempt, settings_.backoff_min_ms, settings_.backoff_max_ms, random_());
}

void group_core::unlink(sequence seq, const entry& event) {
  switch (event.at) {
  case stage::held: {
    holds_.erase({event.deadline, seq});
    if (const auto it = members_.find(event.member); it != members_.end()) {
      it->second.erase(seq);
      if (it->second.empty()) members_.erase(it);
    }
    break;
  }
  case stage::waiting:
    retries_.erase({event.not_before, seq});
    break;
  case stage::dying:
    dying_.erase(seq);
    break;
  case stage::blocked:
    break;
  }
  retry_loaded_.erase(seq);
}

void group_core::settle(sequence seq) {
  const auto it = entries_.find(seq);
  if (it == entries_.end()) return;
  unlink(seq, it->second);
  const auto subject = it->second.subject;
  entries_.erase(it);
  unknown_.erase(seq);
  dirty_.erase(seq);
  note_settled({seq, seq});
  if (!settings_.ordered_by_subject || !subject || *subject == 0) return;
  auto& queue = subjects_[*subject];
  queue.erase(seq);
  if (queue.empty()) {
    subjects_.erase(*subject);
  } else {
    unblock(*subject);
  }
}

void group_core::settle_up_to(sequence last) {
  while (!entries_.empty() && entries_.begin()->first <= last) {
    settle(entries_.begin()->first);
  }
  while (!fresh_.empty() && fresh_.front().event.seq <= last) {
    fresh_.pop_front();
  }
  note_settled({ledger_.floor().next(), last});
  next_read_ = std::max(next_read_, last.next());
}

void group_core::note_settled(seq_range range) {
  settled_.add(range);
  newly_settled_.add(range);
  roots_.erase(roots_.lower_bound(range.first), roots_.upper_bound(range.last));
}

std::uint64_t group_core::unsettled_up_to(sequence last) const {
  const auto floor = ledger_.floor();
  std::uint64_t count = 0;
  for (auto it = entries_.begin(); it != entries_.end() && it->first <= std::min(floor, last); ++it)
    ++count;
  if (last <= floor) return count;
  count += last.distance_from(floor);
  for (const auto& range : settled_.ranges()) {
    if (range.first > last) break;
    count -= std::min(range.last, last).raw() - range.first.raw() + 1;
  }
  return count;
}

void group_core::unblock(std::uint64_t subject) {
  const auto seq = *subjects_.at(subject).begin();
  auto& event = entries_.at(seq);
  if (event.at == stage::blocked) schedule(seq, event, event.not_before);
}

void group_core::mark(sequence seq, boot_time now) {
  if (!has_changes()) changed_at_ = now;
  dirty_.insert(seq);
}

bool group_core::has_changes() const {
  return !dirty_.empty() || !newly_settled_.empty() || !newly_dead_.empty()
         || floor_to_pass() != sequence{};
}

bool group_core::wants_append(group_time now) const {
  if (!has_changes()) return false;
  return urgent_ || floor_to_pass() != sequence{} || now.boot - changed_at_ >= record_delay;
}

/// Where the floor should be moved past entries that block it; 0 = it need not.
sequence group_core::floor_to_pass() const {
  const auto newest = next_read_.raw() - 1;
  const auto floor = ledger_.floor().raw();
  if (newest <= floor || newest - floor <= limits_.ack_span_max) return sequence{};
  // Half the span at once, so that not every record moves it by one.
  auto target = newest - limits_.ack_span_max / 2;
  if (!fresh_.empty()) target = std::min(target, fresh_.front().event.seq.raw() - 1);
  auto it = entries_.upper_bound(ledger_.floor());
  for (std::size_t n = 0; it != entries_.end() && n < passed_per_record_max; ++it)
    ++n;
  if (it != entries_.end()) target = std::min(target, it->first.raw() - 1);
  return target > floor ? sequence{target} : sequence{};
}

group_progress group_core::take_progress() {
  group_progress progress;
  progress.floor = floor_to_pass();
  progress.nonce = nonce_;
  auto it = entries_.upper_bound(ledger_.floor());
  for (; it != entries_.end() && it->first <= progress.floor; ++it) {
    if (!it->second.recorded) dirty_.insert(it->first);
  }
  for (const auto seq : dirty_) {
    auto& event = entries_.at(seq);
    const bool first =
        event.at == stage::held && event.attempts == 1 && !event.recorded && event.nonce == nonce_;
    event.recorded = true;
    if (first) {
      auto& ranges = progress.delivered;
      if (!ranges.empty() && ranges.back().last.next() == seq) {
        ranges.back().last = seq;
      } else {
        ranges.push_back({seq, seq});
      }
      continue;
    }
    pending_event pending{seq, event.attempts, event.not_before, {}, event.nonce};
    pending.history.assign(
        event.history.end() - static_cast<std::ptrdiff_t>(event.unrecorded), event.history.end());
    event.unrecorded = 0;
    progress.pending.push_back(std::move(pending));
  }
  progress.acked = newly_settled_.ranges();
  progress.dead_lettered = std::exchange(newly_dead_, {});
  progress.missed = std::exchange(newly_missed_, 0);
  progress.replaced = std::exchange(newly_replaced_, {});
  newly_settled_.clear();
  dirty_.clear();
  urgent_ = false;
  return progress;
}

void group_core::committed(const group_progress& progress) {
  ledger_.apply(progress);
  settled_.erase_up_to(ledger_.floor());
  // After a restart reading begins at the floor, which acks of restored holds may have moved.
  next_read_ = std::max(next_read_, ledger_.floor().next());
}

group_counts group_core::counts() const {
  group_counts counts;
  counts.floor = ledger_.floor();
  counts.last_seq = last_seq_;
  counts.lag = ledger_.lag(last_seq_);
  counts.in_flight = holds_.size();
  counts.parked = retries_.size() + dying_.size();
  counts.dead_lettered = ledger_.dead_lettered();
  counts.missed = ledger_.missed() + newly_missed_;
  std::set<std::string_view> members;
  for (const auto& [name, held] : members_) {
    members.insert(name);
  }
  for (const auto& one : waiters_) {
    members.insert(one.command.member);
  }
  counts.members = members.size();
  const auto needed = ledger_.needed_after().next();
  if (needed <= last_seq_) counts.oldest = needed;
  return counts;
}

bool group_core::idle() const {
  return waiters_.empty() && holds_.empty() && dying_.empty() && !reading_ && !has_changes();
}

}  // namespace callboard::runtime
