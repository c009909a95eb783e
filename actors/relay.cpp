#include "actors/relay.hpp"

#include "actors/absence.hpp"

#include <algorithm>
#include <utility>

namespace callboard::actors {

namespace {

/// Pages of history kept for others that read the same.
constexpr std::size_t pages_max = 2;

template <class T>
void drop(std::vector<T*>& from, const T& one) {
  std::erase(from, &one);
}

}  // namespace

void relay::add(topic_subscription& one) {
  subscriptions_.push_back(&one);
  if (attached_) one.begin(head_);
}

void relay::remove(topic_subscription& one) {
  const auto found = std::ranges::find(subscriptions_, &one);
  if (found == subscriptions_.end()) return;
  *found = subscriptions_.back();
  subscriptions_.pop_back();
  if (!one.reading_) return;
  for (auto& read : reads_)
    drop(read.readers, one);
  std::ranges::replace(answering_.readers, &one, static_cast<topic_subscription*>(nullptr));
  drop(waiting_, one);
  drop(retry_, one);
}

void relay::abandon() {
  for (auto* one : subscriptions_)
    one->abandon();
  subscriptions_.clear();
  reads_.clear();
  waiting_.clear();
  retry_.clear();
}

void relay::forget_history() {
  tail_.clear();
  tail_bytes_ = 0;
  pages_.clear();
}

void relay::on_attached(const relay_attached& attached) {
  const runtime::topic_head head{
      attached.exists, attached.ephemeral, attached.epoch, attached.first_seq, attached.last_seq};
  const bool first_time = !attached_;
  const bool anew = !first_time && head.exists && head.epoch != head_.epoch;
  const bool existed = existed_;
  attached_ = true;
  existed_ |= head.exists;
  has_streams_ = attached.has_streams;
  snapshot_is_asked_ = false;
  if (first_time || anew) {
    forget_history();
    head_ = head;
    for (std::size_t i = 0; i < subscriptions_.size(); ++i) {
      if (subscriptions_[i]->started_) {
        subscriptions_[i]->restart(head_, existed);
      } else {
        subscriptions_[i]->begin(head_);
      }
    }
    return;
  }
  if (!head.exists) return;
  head_.first_seq = head.first_seq;
  on_skipped({std::max(head.last_seq, head_.last_seq), 0});
}

void relay::on_deliver(runtime::event_batch_ptr batch, boot_time now) {
  if (!attached_) return;
  if (batch->role == runtime::frame_role::snapshot) {
    snapshot_is_asked_ = false;
    if (batch->epoch != head_.epoch) return;
  } else if (batch->events.empty()) {
    return;
  }
  if (batch->epoch != head_.epoch) {
    const auto before = batch->ephemeral ? 0 : batch->events.front().seq.raw() - 1;
    on_attached(
        {.topic = topic_,
         .exists = true,
         .ephemeral = head_.ephemeral,
         .has_streams = has_streams_,
         .epoch = batch->epoch,
         .first_seq = sequence{1},
         .last_seq = sequence{before}});
  }
  auto offered = std::make_shared<offered_batch>(std::move(batch));
  offered->offered_at = now;
  ++counts_->batches;
  counts_->offered += offered->count();
  if (!offered->batch->ephemeral) {
    head_.last_seq = std::max(head_.last_seq, offered->last_seq());
    keep(offered);
  }
  for (std::size_t i = 0; i < subscriptions_.size(); ++i)
    subscriptions_[i]->offer(offered);
}

void relay::on_unheard(const unheard_since& unheard, boot_time now) {
  if (!attached_) return;
  const auto each = [this](std::uint64_t behind, const auto& tell) {
    for (std::size_t i = 0; i < subscriptions_.size(); ++i) {
      if (subscriptions_[i]->expects_unheard(behind)) tell(*subscriptions_[i]);
    }
  };
  counts_->dropped_ephemeral += unheard.dropped;
  if (unheard.dropped != 0) {
    each(unheard.dropped_news, [&](auto& one) { one.skipped(head_.last_seq, unheard.dropped); });
  }
  for (const auto& part : unheard.batches) {
    const auto offered = std::make_shared<offered_batch>(part.batch);
    offered->offered_at = now;
    each(part.news, [&](auto& one) { one.offer(offered); });
  }
}

void relay::on_skipped(const relay_skipped& skipped) {
  head_.last_seq = std::max(head_.last_seq, skipped.last_seq);
  counts_->dropped_ephemeral += skipped.dropped;
  snapshot_is_asked_ = false;
  for (std::size_t i = 0; i < subscriptions_.size(); ++i) {
    subscriptions_[i]->skipped(skipped.last_seq, skipped.dropped);
  }
}

void relay::on_gone() {
  if (!head_.exists) return;
  forget_history();
  const bool ephemeral = head_.ephemeral;
  head_ = {};
  head_.ephemeral = ephemeral;
  for (std::size_t i = 0; i < subscriptions_.size(); ++i) {
    if (subscriptions_[i]->started_) subscriptions_[i]->topic_gone(head_);
  }
}

std::uint64_t relay::slowest_lag() const {
  std::uint64_t most = 0;
  for (const auto* one : subscriptions_)
    most = std::max(most, one->core().behind_by());
  return most;
}

// -- the tail --------------------------------------------------------------------------------

void relay::keep(const offered_batch_ptr& batch) {
  tail_.push_back(batch);
  tail_bytes_ += batch->bytes;
  std::size_t gone = 0;
  while (
      gone + 1 < tail_.size()
      && (tail_.size() - gone > limits_.tail_batches_max || tail_bytes_ > limits_.tail_bytes_max)) {
    tail_bytes_ -= tail_[gone++]->bytes;
  }
  tail_.erase(tail_.begin(), tail_.begin() + static_cast<std::ptrdiff_t>(gone));
}

offered_batch_ptr relay::find(sequence seq) {
  const auto covers = [seq](const offered_batch_ptr& batch) {
    return batch->first_seq() <= seq && seq <= batch->last_seq();
  };
  const auto after = std::ranges::upper_bound(
      tail_, seq, {}, [](const offered_batch_ptr& batch) { return batch->first_seq(); });
  if (after != tail_.begin() && covers(*(after - 1))) {
    ++counts_->tail_hits;
    return *(after - 1);
  }
  const auto page = std::ranges::find_if(pages_, covers);
  return page == pages_.end() ? nullptr : *page;
}

void relay::want_snapshot() {
  if (!has_streams_ || std::exchange(snapshot_is_asked_, true)) return;
  upstream_->ask_snapshot();
}

void relay::on_tick(boot_time now) {
  auto again = std::exchange(retry_, {});
  for (auto* one : again) {
    one->reading_ = false;
    one->resume();
  }
  const bool needed =
      std::ranges::any_of(subscriptions_, [](const auto* one) { return one->core().is_behind(); });
  if (needed) return;
  pages_.clear();
  const auto young = std::ranges::find_if(
      tail_, [&](const auto& batch) { return now - batch->offered_at < limits_.tail_age_max; });
  for (auto old = tail_.begin(); old != young; ++old)
    tail_bytes_ -= (*old)->bytes;
  tail_.erase(tail_.begin(), young);
}

// -- reads of history ------------------------------------------------------------------------

void relay::read_for(topic_subscription& one) {
  const bool searching = one.core().is_searching();
  const auto at = one.core().next();
  if (!searching) {
    for (auto& read : reads_) {
      if (read.from != at) continue;
      ++counts_->reads_shared;
      read.readers.push_back(&one);
      return;
    }
  }
  if (reads_.size() >= limits_.reads_max) {
    waiting_.push_back(&one);
    return;
  }
  pending_read read{.from = searching ? std::nullopt : std::optional{at}, .readers = {&one}};
  start_read(std::move(read), searching ? one.from_ : runtime::position{runtime::from_seq{at}});
}

void relay::start_read(pending_read read, const runtime::position& from) {
  read.id = next_read_++;
  ++counts_->reads;
  const auto asked = upstream_->read(read.id, from);
  if (asked) {
    reads_.push_back(std::move(read));
    return;
  }
  // Refused: everyone tries again with the next tick.
  retry_.insert(retry_.end(), read.readers.begin(), read.readers.end());
}

void relay::start_waiting() {
  while (!waiting_.empty() && reads_.size() < limits_.reads_max) {
    auto* one = waiting_.front();
    waiting_.erase(waiting_.begin());
    one->reading_ = false;
    one->resume();
  }
}

void relay::on_page(std::uint64_t read, const result<event_page>& page) {
  const auto found =
      std::ranges::find_if(reads_, [read](const auto& one) { return one.id == read; });
  if (found == reads_.end()) return;
  answering_ = std::move(*found);
  reads_.erase(found);
  if (page) {
    answer(page);
  } else {
    fail_read(page.error());
  }
  answering_ = {};
  start_waiting();
}

void relay::answer(const result<event_page>& page) {
  offered_batch_ptr offered;
  const auto& batch = page->batch;
  const bool stale = batch != nullptr && batch->epoch != head_.epoch;
  if (!stale && batch != nullptr && !batch->events.empty()) {
    offered = std::make_shared<offered_batch>(batch);
    if (pages_.size() >= pages_max) pages_.erase(pages_.begin());
    pages_.push_back(offered);
  }
  for (std::size_t i = 0; i < answering_.readers.size(); ++i) {
    auto* one = answering_.readers[i];
    if (one == nullptr) continue;
    if (stale) {
      one->reading_ = true;
      retry_.push_back(one);
      continue;
    }
    one->page(offered, page->first_seq, page->next_from);
    // Still behind and not reading: there was nothing to read yet.
    if (offered == nullptr && !one->reading_ && one->core().is_behind() && !one->over_) {
      one->reading_ = true;
      retry_.push_back(one);
    }
  }
}

void relay::fail_read(const error& why) {
  const bool trimmed = why.code == errc::cursor_expired && answering_.from;
  const bool passing = is_retryable(why.code) || is_not_there(why.code);
  if (trimmed) {
    // What was asked for is gone: the oldest page shows where the gap ends.
    std::erase(answering_.readers, nullptr);
    if (!answering_.readers.empty()) {
      start_read({.from = answering_.from, .readers = answering_.readers}, runtime::from_first{});
    }
    return;
  }
  for (auto* one : answering_.readers) {
    if (one == nullptr) continue;
    if (passing) {
      retry_.push_back(one);
    } else {
      one->read_failed(why);
    }
  }
}

}  // namespace callboard::actors
