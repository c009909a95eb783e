#include "actors/reader_pool.hpp"

#include "base/short_lock.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace callboard::actors {

namespace {

/// Of the thread that runs a job: whose it is, and whether the job has posted its next.
struct running_job {
  const void* pool = nullptr;
  bool has_next = false;
};

thread_local running_job running;

}  // namespace

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
    } else if (auto posted = post_read(std::move(job)); !posted) {
      return posted;
    }
    wakes = wake_one();
  }
  if (wakes != nullptr) wakes->woken.notify_one();
  return {};
}

result<void> reader_pool::post_read(work job) {
  if (reads_.size() >= queue_max_) {
    return fail(
        errc::overloaded, fmt::format("{} reads are waiting for the journal", queue_max_), 100);
  }
  reads_.push_back({std::move(job), time_.boot()});
  return {};
}

result<void> reader_pool::post_next(work job) {
  if (running.pool != this || running.has_next) return post(lane::reads, std::move(job));
  const auto lock = lock_shortly(mutex_);
  if (stopping_) return fail(errc::draining, "the node is shutting down");
  next_.push_back({std::move(job), time_.boot()});
  running.has_next = true;
  return {};
}

bool reader_pool::post_if_idle(work& job) {
  sleeper* wakes = nullptr;
  {
    const auto lock = lock_shortly(mutex_);
    // Steps that wait already are not held up by ever more turns.
    if (stopping_ || idle_ <= reads_.size()) return false;
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

bool reader_pool::has_none() const {
  return control_.empty() && next_.empty() && reads_.empty();
}

/// What is next may take long: unless somebody else is there for `control`, that goes first.
reader_pool::queue& reader_pool::foremost() {
  if (!next_.empty() && (control_.empty() || idle_ > 0)) return next_;
  return control_.empty() ? reads_ : control_;
}

void reader_pool::stop() {
  end_when_done();
  threads_.clear();
}

bool reader_pool::stop_within(std::chrono::milliseconds patience) {
  end_when_done();
  {
    std::unique_lock lock{mutex_};
    const auto have_ended = [this] { return threads_ended_ == threads_.size(); };
    if (!thread_ended_.wait_for(lock, patience, have_ended)) return false;
  }
  threads_.clear();
  return true;
}

void reader_pool::end_when_done() {
  const std::lock_guard guard{mutex_};
  stopping_ = true;
  for (auto* one : std::exchange(asleep_, {})) {
    one->is_woken = true;
    one->woken.notify_one();
  }
}

std::size_t reader_pool::depth() const {
  const std::lock_guard guard{mutex_};
  return control_.size() + next_.size() + reads_.size();
}

boot_time reader_pool::oldest_wait() const {
  const std::lock_guard guard{mutex_};
  boot_time longest{};
  for (const auto* waiting : {&control_, &next_, &reads_}) {
    if (!waiting->empty()) longest = std::max(longest, time_.boot() - waiting->front().since);
  }
  return longest;
}

void reader_pool::run(sleeper& self) {
  running.pool = this;
  auto lock = lock_shortly(mutex_);
  while (true) {
    while (!stopping_ && has_none()) {
      ++idle_;
      asleep_.push_back(&self);
      self.woken.wait(lock, [&] { return std::exchange(self.is_woken, false); });
      --idle_;
      is_one_waking_ = false;
    }
    if (has_none()) {
      ++threads_ended_;
      return thread_ended_.notify_all();
    }
    auto& from = foremost();
    auto job = std::move(from.front().job);
    from.pop_front();
    auto* wakes = wake_one();
    lock.unlock();
    if (wakes != nullptr) wakes->woken.notify_one();
    job();
    job = nullptr;
    lock = lock_shortly(mutex_);
    running.has_next = false;
  }
}

}  // namespace callboard::actors
