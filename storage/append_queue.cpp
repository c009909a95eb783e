#include "storage/append_queue.hpp"

#include "storage/block.hpp"

#include <fmt/format.h>

#include <utility>

namespace callboard::storage {

namespace {

std::uint64_t size_of(const append_request& request) {
  std::uint64_t size = sizeof(queued_append);
  for (const auto& draft : request.records)
    size += record_header_size + draft.payload.size();
  return size;
}

}  // namespace

result<void> append_queue::push(append_request request) {
  const auto size = size_of(request);
  if (size > bytes_max_) {
    return fail(
        errc::too_large,
        fmt::format("{} bytes in one append; the journal's queue holds {}", size, bytes_max_));
  }
  const auto now = time_.boot();
  bool wake = false;
  {
    const std::lock_guard guard{mutex_};
    if (is_closed_) return fail(errc::draining, "the journal is closed");
    if (bytes_ + size > bytes_max_) {
      return fail(
          errc::overloaded, fmt::format("{} bytes wait for the journal writer", bytes_), 50);
    }
    bytes_ += size;
    records_ += request.records.size();
    waiting_.push_back({std::move(request), now, size});
    wake = std::exchange(is_waiting_, false);
  }
  if (wake) arrived_.notify_one();
  return {};
}

append_queue::wakeup
append_queue::wait(std::deque<queued_append>& out, std::chrono::milliseconds timeout) {
  std::unique_lock lock{mutex_};
  if (waiting_.empty() && !is_closed_) {
    is_waiting_ = true;
    arrived_.wait_for(lock, timeout, [this] { return !waiting_.empty() || is_closed_; });
    is_waiting_ = false;
  }
  if (waiting_.empty()) return is_closed_ ? wakeup::closed : wakeup::timeout;
  oldest_taken_ = waiting_.front().arrived;
  for (auto& append : waiting_)
    out.push_back(std::move(append));
  waiting_.clear();
  return wakeup::work;
}

void append_queue::take(std::deque<queued_append>& out) {
  const std::lock_guard guard{mutex_};
  for (auto& append : waiting_)
    out.push_back(std::move(append));
  waiting_.clear();
}

void append_queue::answered(const queued_append& append) {
  const std::lock_guard guard{mutex_};
  bytes_ -= append.size;
  records_ -= append.request.records.size();
}

void append_queue::close() {
  const std::lock_guard guard{mutex_};
  is_closed_ = true;
  arrived_.notify_all();
}

bool append_queue::is_closed() const {
  const std::lock_guard guard{mutex_};
  return is_closed_;
}

append_queue::load append_queue::now() const {
  const auto boot = time_.boot();
  const std::lock_guard guard{mutex_};
  load found{.bytes = bytes_, .records = records_, .oldest_age = {}};
  if (!waiting_.empty()) found.oldest_age = boot - waiting_.front().arrived;
  // What the writer holds arrived before what waits.
  if (bytes_ > 0 && oldest_taken_ != boot_time{} && waiting_.empty()) {
    found.oldest_age = boot - oldest_taken_;
  }
  return found;
}

}  // namespace callboard::storage
