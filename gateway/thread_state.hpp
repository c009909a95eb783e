// What the sessions of one I/O thread share: counters that are gathered without locks, and large
// read buffers that only busy connections hold.
#pragma once

#include "actors/relay_hub.hpp"
#include "base/metrics.hpp"

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

namespace callboard::gateway {

/// Lives as long as its hub. I/O thread only.
class thread_state {
public:
  /// The state beside `hub`, made when first asked for.
  [[nodiscard]] static thread_state& of(actors::relay_hub& hub, metrics& counters);

  static constexpr std::size_t buffer_size = 64U << 10;
  using buffer = std::unique_ptr<std::array<char, buffer_size>>;

  [[nodiscard]] buffer take_buffer();
  void give_back(buffer one);

  void delivered(std::uint64_t events) { delivered_ += events; }

  void dropped(std::uint64_t events) { dropped_ += events; }

  void lag_began() { ++lagging_; }

  void lag_ended() { --lagging_; }

  void connected(std::int64_t websockets, std::int64_t streams);

  /// One in `latency_sample` deliveries is timed.
  [[nodiscard]] bool wants_latency();
  void note_latency(std::chrono::milliseconds passed);

  void note_queue(std::uint64_t bytes) { queue_bytes_max_ = std::max(queue_bytes_max_, bytes); }

  /// Adds what was gathered to the metrics; cheap when called again within a tick.
  void publish(boot_time now);

private:
  explicit thread_state(metrics& counters);

  std::vector<buffer> spare_;
  std::uint64_t delivered_ = 0;
  std::uint64_t dropped_ = 0;
  std::uint64_t queue_bytes_max_ = 0;
  std::int64_t lagging_ = 0;
  std::int64_t lagging_told_ = 0;
  std::uint32_t sample_ = 0;
  boot_time published_{};

  prometheus::Counter& delivered_total_;
  prometheus::Counter& dropped_total_;
  prometheus::Gauge& lagging_gauge_;
  prometheus::Gauge& websockets_;
  prometheus::Gauge& streams_;
  prometheus::Histogram& latency_;
  prometheus::Histogram& queue_bytes_;
};

}  // namespace callboard::gateway
