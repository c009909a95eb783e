#include "actors/reader_pool.hpp"

#include "base/short_lock.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace callboard::actors {

reader_pool::reader_pool(const clock& time, std::uint32_t threads, std::uint32_t queue_max)
    : time_{time}, queue_max_{queue_max} {
  asleep_.reserve(threads);
  for (std::uint32_t i = 0; i < threads; ++i) {
    threads_.emplace_back([this, &self = sleepers_.emplace_back()] { run(self); });
  }
}

reader_pool::~reader_pool() {
  stop();
}

result<void> reader_pool::post(lane which, work job) {
  sleeper* wakes = nullptr;
  {
    const auto lock = lock_shortly(mutex_);
    if (stopping_) return fail(errc::draining, "the node is shutting down");
    if (which == lane::control) {
      control_.push_back({std::move(job), time_.boot()});
    } else if (reads_.size() < queue_max_) {
      reads_.push_back({std::move(job), time_.boot()});
    } else {
      return fail(
          errc::overloaded, fmt::format("{} reads are waiting for the journal", queue_max_), 100);
    }
    wakes = wake_one();
  }
  if (wakes != nullptr) wakes->woken.notify_one();
  return {};
}

bool reader_pool::post_if_idle(work& job) {
  sleeper* wakes = nullptr;
  {
    const auto lock = lock_shortly(mutex_);
    if (stopping_ || idle_ <= control_.size() + reads_.size()) return false;
    control_.push_back({std::move(job), time_.boot()});
    wakes = wake_one();
  }
  if (wakes != nullptr) wakes->woken.notify_one();
  return true;
}

/// With one thread on its way, more are woken only by it, when it finds more than it can take: many
/// short jobs then end on few threads, and waking costs more than most of them.
reader_pool::sleeper* reader_pool::wake_one() {
  if (asleep_.empty() || is_one_waking_ || (control_.empty() && reads_.empty())) return nullptr;
  is_one_waking_ = true;
  auto* last = asleep_.back();
  asleep_.pop_back();
  last->is_woken = true;
  return last;
}

void reader_pool::stop() {
  {
    const std::lock_guard guard{mutex_};
    stopping_ = true;
    for (auto* one : std::exchange(asleep_, {})) {
      one->is_woken = true;
      one->woken.notify_one();
    }
  }
  threads_.clear();
}

std::size_t reader_pool::depth() const {
  const std::lock_guard guard{mutex_};
  return control_.size() + reads_.size();
}

boot_time reader_pool::oldest_wait() const {
  const std::lock_guard guard{mutex_};
  boot_time longest{};
  for (const auto* queue : {&control_, &reads_}) {
    if (!queue->empty()) longest = std::max(longest, time_.boot() - queue->front().since);
  }
  return longest;
}

void reader_pool::run(sleeper& self) {
  auto lock = lock_shortly(mutex_);
  while (true) {
    while (!stopping_ && control_.empty() && reads_.empty()) {
      ++idle_;
      asleep_.push_back(&self);
      self.woken.wait(lock, [&] { return std::exchange(self.is_woken, false); });
      --idle_;
      is_one_waking_ = false;
    }
    auto& queue = control_.empty() ? reads_ : control_;
    if (queue.empty()) return;
    auto job = std::move(queue.front().job);
    queue.pop_front();
    auto* wakes = wake_one();
    lock.unlock();
    if (wakes != nullptr) wakes->woken.notify_one();
    job();
    job = nullptr;
    lock = lock_shortly(mutex_);
  }
}

}  // namespace callboard::actors
