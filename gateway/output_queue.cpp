#include "gateway/output_queue.hpp"

#include <utility>

namespace callboard::gateway {

namespace {

/// Slots that an idle connection may keep.
constexpr std::size_t slots_kept_max = 4;

}  // namespace

void output_queue::push(shared_bytes bytes, std::uint32_t frames) {
  if (abandoned_ || bytes.empty()) return;
  seal_own();
  bytes_ += bytes.size();
  frames_ += frames;
  waiting_.push_back(std::move(bytes));
  hub_->request_flush(*this);
}

void output_queue::push(std::string_view bytes, std::uint32_t frames) {
  if (abandoned_ || bytes.empty()) return;
  bytes_ += bytes.size();
  frames_ += frames;
  own_ += bytes;
  hub_->request_flush(*this);
}

void output_queue::push_message(ws_opcode opcode, std::string_view payload) {
  if (abandoned_) return;
  const auto before = own_.size();
  append_ws_frame(own_, opcode, payload);
  bytes_ += own_.size() - before;
  ++frames_;
  hub_->request_flush(*this);
}

void output_queue::seal_own() {
  if (own_.empty()) return;
  waiting_.emplace_back(std::exchange(own_, {}));
}

void output_queue::flush() {
  if (writing_ || abandoned_) return;
  owner_->before_flush();
  seal_own();
  if (waiting_.empty()) return;
  in_flight_.swap(waiting_);
  in_flight_bytes_ = bytes_;
  in_flight_frames_ = frames_;
  std::vector<boost::asio::const_buffer> buffers;
  buffers.reserve(in_flight_.size());
  for (const auto& one : in_flight_)
    buffers.emplace_back(one.view().data(), one.size());
  writing_ = true;
  stream_->async_write(
      std::move(buffers),
      [this, keep = owner_->keep_alive()](const boost::system::error_code& failed, std::size_t) {
        written(failed);
      });
}

void output_queue::written(const boost::system::error_code& failed) {
  writing_ = false;
  in_flight_.clear();
  bytes_ -= std::exchange(in_flight_bytes_, 0);
  frames_ -= std::exchange(in_flight_frames_, 0);
  if (abandoned_) return;
  if (failed) {
    abandon();
    return owner_->on_write_failed(failed);
  }
  owner_->on_written();
  // What came meanwhile leaves at once: it has waited for a whole write already.
  if (!abandoned_ && (held_bytes_ != 0 || !waiting_.empty() || !own_.empty())) flush();
}

void output_queue::abandon() {
  abandoned_ = true;
  waiting_ = {};
  own_ = {};
  held_bytes_ = 0;
  bytes_ = in_flight_bytes_;
  frames_ = in_flight_frames_;
  hub_->cancel_flush(*this);
}

void output_queue::shrink() {
  if (waiting_.empty() && waiting_.capacity() > slots_kept_max) waiting_ = {};
  if (in_flight_.empty() && in_flight_.capacity() > slots_kept_max) in_flight_ = {};
}

}  // namespace callboard::gateway
