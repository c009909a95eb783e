// What waits to be written to one client: shared frames and our own answers, in order, bounded, and
// sent together in one gathered write per turn of the event loop.
#pragma once

#include "actors/relay_hub.hpp"
#include "base/shared_bytes.hpp"
#include "gateway/transport.hpp"
#include "gateway/websocket_wire.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace callboard::gateway {

/// Belongs to one session on one I/O thread. What is pushed is written even past the bound: callers
/// ask `has_room` before they push events, and stop reading requests while there is none, so that
/// answers are bounded by requests in flight.
class output_queue final : public actors::flushable {
public:
  struct limits {
    std::uint64_t frames_max = 1024;
    std::uint64_t bytes_max = 1 << 20;
  };

  class listener {
  public:
    virtual ~listener() = default;

    /// Everything that was handed to the socket is written.
    virtual void on_written() = 0;
    virtual void on_write_failed(const boost::system::error_code& why) = 0;

    /// Appends what was held back to be batched; called before anything else is queued or sent.
    virtual void before_flush() {}

    /// Keeps the listener, the queue and the stream alive while a write is under way.
    [[nodiscard]] virtual std::shared_ptr<void> keep_alive() = 0;
  };

  output_queue(actors::relay_hub& hub, transport& stream, listener& owner, limits bounds)
      : hub_{&hub}, stream_{&stream}, owner_{&owner}, bounds_{bounds} {}

  ~output_queue() override { hub_->cancel_flush(*this); }

  output_queue(const output_queue&) = delete;
  output_queue& operator=(const output_queue&) = delete;

  /// Queues a slice of shared frames.
  void push(shared_bytes bytes, std::uint32_t frames);

  /// Queues bytes that are ours alone.
  void push(std::string_view bytes, std::uint32_t frames = 1);

  /// Queues one WebSocket frame of our own.
  void push_message(ws_opcode opcode, std::string_view payload);

  /// `before_flush` has so many bytes to append; they count as if they were. 0: no more.
  void hold(std::size_t bytes) {
    held_bytes_ = bytes;
    if (bytes != 0) hub_->request_flush(*this);
  }

  void flush() override;

  [[nodiscard]] bool has_room() const {
    return bytes() < bounds_.bytes_max && frames_ < bounds_.frames_max;
  }

  [[nodiscard]] std::uint64_t room_bytes() const {
    return bytes() < bounds_.bytes_max ? bounds_.bytes_max - bytes() : 0;
  }

  [[nodiscard]] std::uint64_t room_frames() const {
    return frames_ < bounds_.frames_max ? bounds_.frames_max - frames_ : 0;
  }

  /// Half empty again: time to go on after it was full.
  [[nodiscard]] bool has_drained() const {
    return bytes() <= bounds_.bytes_max / 2 && frames_ <= bounds_.frames_max / 2;
  }

  [[nodiscard]] bool is_empty() const { return bytes_ == 0; }

  [[nodiscard]] bool is_writing() const { return writing_; }

  /// Bytes that wait, are held back, or are being written.
  [[nodiscard]] std::uint64_t bytes() const { return bytes_ + held_bytes_; }

  [[nodiscard]] std::uint64_t written_bytes() const { return written_bytes_; }

  /// Forgets what waits; nothing is written any more.
  void abandon();

  /// Gives spare memory back; for idle connections.
  void shrink();

private:
  void seal_own();
  void written(const boost::system::error_code& failed);

  actors::relay_hub* hub_;
  transport* stream_;
  listener* owner_;
  limits bounds_;
  std::vector<shared_bytes> waiting_;
  std::vector<shared_bytes> in_flight_;
  std::string own_;
  std::uint64_t bytes_ = 0;
  std::uint64_t held_bytes_ = 0;
  std::uint64_t frames_ = 0;
  std::uint64_t in_flight_bytes_ = 0;
  std::uint64_t in_flight_frames_ = 0;
  std::uint64_t written_bytes_ = 0;
  bool writing_ = false;
  bool abandoned_ = false;
};

}  // namespace callboard::gateway
