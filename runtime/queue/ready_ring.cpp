#include "runtime/queue/ready_ring.hpp"

#include <algorithm>
#include <limits>

namespace callboard::runtime {

namespace {

constexpr auto last_fairness = std::numeric_limits<std::uint64_t>::max();

}  // namespace

ready_ring::ready_ring(task_priority priority, const queue_limits& limits, bool is_empty)
    : priority_{priority}, limits_{limits} {
  if (is_empty) emptied();
}

void ready_ring::emptied() {
  keys_.clear();
  heads_.clear();
  task_count_ = 0;
  payload_bytes_ = 0;
  is_covered_ = true;
  from_ = 0;
  to_ = last_fairness;
  turn_ = 0;
  is_turn_begun_ = false;
}

bool ready_ring::is_all_covered() const {
  return is_covered_ && from_ == 0 && to_ == last_fairness;
}

std::optional<task_position> ready_ring::head_of(const key_window& window) {
  if (window.tasks.empty()) return std::nullopt;
  return window.tasks.begin()->first;
}

void ready_ring::note_head(key_map::iterator key, std::optional<task_position> before) {
  const auto after = head_of(key->second);
  if (before == after) return;
  if (before) heads_.erase({*before, key->first});
  if (after) heads_.emplace(*after, key->first);
}

void ready_ring::add(waiting_task task) {
  const auto fairness = task.state.fairness;
  if (!covers(fairness)) {
    is_fruitful_ = true;
    return;
  }
  // A key that is covered and not there has no waiting task, so that it is whole with this one.
  auto key = keys_.try_emplace(fairness).first;
  const auto& known = key->second.known_up_to;
  if (known && task.state.position() > *known) return;
  insert(key, std::move(task));
  bound_key(key);
  bound_keys();
}

void ready_ring::insert(key_map::iterator key, waiting_task task) {
  const auto before = head_of(key->second);
  const auto at = task.state.position();
  if (!key->second.tasks.emplace(at, std::move(task.state)).second) return;
  ++task_count_;
  if (task.payload && payload_bytes_ + task.payload->size() <= limits_.window_payload_bytes_max) {
    payload_bytes_ += task.payload->size();
    key->second.payloads.emplace(at, *std::move(task.payload));
  }
  note_head(key, before);
}

void ready_ring::erase(key_map::iterator key, std::map<task_position, task_state>::iterator task) {
  const auto before = head_of(key->second);
  const auto payload = key->second.payloads.find(task->first);
  if (payload != key->second.payloads.end()) {
    payload_bytes_ -= payload->second.size();
    key->second.payloads.erase(payload);
  }
  key->second.tasks.erase(task);
  --task_count_;
  note_head(key, before);
}

/// What is too much of one key is forgotten from its end on.
void ready_ring::bound_key(key_map::iterator key) {
  auto& window = key->second;
  const auto too_many = [&] {
    const auto count = window.tasks.size();
    return count > limits_.window_key_tasks_max
           || (count > limits_.window_key_tasks_min && task_count_ > limits_.window_tasks_max);
  };
  while (too_many()) {
    erase(key, std::prev(window.tasks.end()));
    window.known_up_to = window.tasks.rbegin()->first;
  }
}

/// What is too much of the segment is forgotten from its end on.
void ready_ring::bound_keys() {
  while (keys_.size() > limits_.window_keys_max) {
    const auto last = std::prev(keys_.end());
    to_ = last->first - 1;
    drop_key(last);
    is_fruitful_ = true;
  }
}

void ready_ring::drop_key(key_map::iterator key) {
  while (!key->second.tasks.empty())
    erase(key, std::prev(key->second.tasks.end()));
  forget_key(key);
}

/// Its turn ends with it: what waits of the key later is a new window, which was given nothing.
void ready_ring::forget_key(key_map::iterator key) {
  if (is_turn_begun_ && turn_ == key->first) {
    turn_ = key->first + 1;
    is_turn_begun_ = false;
  }
  keys_.erase(key);
}

void ready_ring::remove(const task_state& state) {
  const auto key = keys_.find(state.fairness);
  if (key == keys_.end()) return;
  const auto task = key->second.tasks.find(state.position());
  if (task == key->second.tasks.end()) return;
  erase(key, task);
  key->second.is_used = true;
  is_fruitful_ = true;
  if (key->second.tasks.empty() && key->second.is_whole()) forget_key(key);
}

void ready_ring::move(const task_state& state) {
  const auto key = keys_.find(state.fairness);
  if (key == keys_.end()) return;
  const auto task = key->second.tasks.find(state.position());
  if (task != key->second.tasks.end()) task->second.place = state.place;
}

bool ready_ring::may_serve(key_map::const_iterator key, const key_load& load, time_ms now) const {
  const auto& tasks = key->second.tasks;
  return !tasks.empty() && tasks.begin()->first.ready <= now && load.has_room(key->first);
}

ready_ring::key_map::const_iterator ready_ring::find_turn(const key_load& load, time_ms now) const {
  const auto start = keys_.lower_bound(turn_);
  for (auto key = start; key != keys_.end(); ++key) {
    if (may_serve(key, load, now)) return key;
  }
  // Only where the whole ring is known does its end lead to its beginning.
  if (!is_all_covered()) return keys_.end();
  for (auto key = keys_.begin(); key != start; ++key) {
    if (may_serve(key, load, now)) return key;
  }
  return keys_.end();
}

bool ready_ring::has_next(const key_load& load, time_ms now) const {
  return find_turn(load, now) != keys_.end();
}

waiting_task ready_ring::take_next(const key_load& load, time_ms now, std::uint32_t quantum) {
  const auto key = keys_.find(find_turn(load, now)->first);
  auto& deficit = key->second.deficit;
  if (!is_turn_begun_ || turn_ != key->first) {
    // What was left of an earlier turn is gone: a key that had nothing to give saves nothing up.
    deficit = std::max(quantum, 1U);
    turn_ = key->first;
    is_turn_begun_ = true;
  }
  if (--deficit == 0) {
    turn_ = key->first + 1;
    is_turn_begun_ = false;
  }
  return take_head(key);
}

std::optional<time_ms> ready_ring::oldest(const key_load& load, time_ms now) const {
  for (const auto& [at, fairness] : heads_) {
    if (at.ready > now) break;
    if (load.has_room(fairness)) return at.ready;
  }
  return std::nullopt;
}

waiting_task ready_ring::take_head(key_map::iterator key) {
  auto& window = key->second;
  const auto head = window.tasks.begin();
  waiting_task taken{head->second, std::nullopt};
  if (const auto payload = window.payloads.find(head->first); payload != window.payloads.end()) {
    taken.payload = payload->second;
  }
  erase(key, head);
  window.is_used = true;
  is_fruitful_ = true;
  if (window.tasks.empty() && window.is_whole()) forget_key(key);
  return taken;
}

std::optional<segment_ask> ready_ring::plan_segment(const key_load& load, time_ms now) {
  if (is_all_covered() || (is_covered_ && has_next(load, now))) return std::nullopt;
  // A key that may be served as soon as more of it is read keeps its turn.
  if (is_covered_ && !plan_keys(load, 1).empty()) return std::nullopt;
  segment_ask ask{
      priority_,
      !is_covered_ || to_ == last_fairness ? 0 : to_ + 1,
      limits_.window_keys_max,
      std::max(
          limits_.window_key_tasks_min,
          limits_.window_tasks_max / std::max(1U, limits_.window_keys_max))};
  if (!is_covered_ || is_fruitful_) return ask;
  const bool is_round = mark_ == 0 ? to_ == last_fairness : has_wrapped_ && to_ >= mark_ - 1;
  if (!is_round) return ask;
  if (!wake_ || *wake_ > now) return std::nullopt;
  is_fruitful_ = true;
  return ask;
}

std::vector<key_ask> ready_ring::plan_keys(const key_load& load, std::size_t count_max) const {
  std::vector<key_ask> asks;
  for (const auto& [fairness, window] : keys_) {
    if (asks.size() == count_max) break;
    if (window.is_whole() || !load.has_room(fairness)) continue;
    const auto low = std::max(limits_.window_key_tasks_min, limits_.window_key_tasks_max / 4);
    if (!window.tasks.empty() && (!window.is_used || window.tasks.size() >= low)) continue;
    const auto room = task_count_ < limits_.window_tasks_max
                          ? limits_.window_tasks_max - task_count_
                          : std::size_t{0};
    const auto wanted = limits_.window_key_tasks_max - window.tasks.size();
    auto count = std::min<std::size_t>(wanted, room);
    // However full the window is, none starves.
    if (window.tasks.size() + count < limits_.window_key_tasks_min) {
      count = limits_.window_key_tasks_min - window.tasks.size();
    }
    if (count == 0) continue;
    asks.push_back({priority_, fairness, *window.known_up_to, static_cast<std::uint32_t>(count)});
  }
  return asks;
}

void ready_ring::account_rotation(const segment_page& page) {
  if (is_fruitful_) {
    mark_ = page.from;
    has_wrapped_ = false;
    wake_.reset();
  } else if (page.from == 0) {
    has_wrapped_ = true;
  }
  is_fruitful_ = false;
}

void ready_ring::loaded(segment_page page, lsn as_of, const recent_changes& later, time_ms now) {
  account_rotation(page);
  keys_.clear();
  heads_.clear();
  task_count_ = 0;
  payload_bytes_ = 0;
  is_covered_ = true;
  from_ = page.from;
  to_ = page.to;
  turn_ = page.from;
  is_turn_begun_ = false;
  for (auto& key : page.keys) {
    const auto at = keys_.try_emplace(key.fairness).first;
    if (!key.is_whole) at->second.known_up_to = key.tasks.back().position();
    for (auto& task : key.tasks) {
      if (later.later(task.task, as_of) == nullptr) insert(at, {std::move(task), std::nullopt});
    }
  }
  later.visit_later(as_of, [&](const recent_changes::change& one) {
    const auto& state = one.state;
    if (one.phase != task_phase::waiting || state.priority != priority_) return;
    if (!covers(state.fairness)) return;
    const auto key = keys_.try_emplace(state.fairness).first;
    const auto& known = key->second.known_up_to;
    if (!known || state.position() <= *known) insert(key, {state, std::nullopt});
  });
  std::erase_if(keys_, [](const auto& entry) {
    return entry.second.tasks.empty() && entry.second.is_whole();
  });
  for (auto key = keys_.begin(); key != keys_.end(); ++key)
    bound_key(key);
  bound_keys();
  for (const auto& [at, fairness] : heads_) {
    if (at.ready <= now) continue;
    wake_ = wake_ ? std::min(*wake_, at.ready) : at.ready;
    break;
  }
}

void ready_ring::loaded(const key_ask& ask, key_page page, lsn as_of, const recent_changes& later) {
  const auto key = keys_.find(ask.fairness);
  // The segment may have moved on, or the key lost its end: then this page does not fit.
  if (key == keys_.end() || key->second.known_up_to != ask.after) return;
  auto& window = key->second;
  window.known_up_to.reset();
  if (!page.is_whole) window.known_up_to = page.tasks.back().position();
  for (auto& task : page.tasks) {
    if (later.later(task.task, as_of) == nullptr) insert(key, {std::move(task), std::nullopt});
  }
  later.visit_later(as_of, [&](const recent_changes::change& one) {
    const auto& state = one.state;
    if (one.phase != task_phase::waiting || state.priority != priority_) return;
    if (state.fairness != ask.fairness || state.position() <= ask.after) return;
    const auto& known = window.known_up_to;
    if (!known || state.position() <= *known) insert(key, {state, std::nullopt});
  });
  bound_key(key);
  if (window.tasks.empty() && window.is_whole()) forget_key(key);
}

}  // namespace callboard::runtime
