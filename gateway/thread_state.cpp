#include "gateway/thread_state.hpp"

#include <algorithm>
#include <utility>

namespace callboard::gateway {

namespace {

constexpr std::size_t spare_buffers_max = 8;
constexpr std::uint32_t latency_sample = 16;

}  // namespace

thread_state& thread_state::of(actors::relay_hub& hub, metrics& counters) {
  if (hub.companion() == nullptr) {
    hub.companion() = std::shared_ptr<thread_state>{new thread_state{counters}};
  }
  return *static_cast<thread_state*>(hub.companion().get());
}

thread_state::thread_state(metrics& counters)
    : delivered_total_{counters.counter(
          "deliver_events_total", "Events handed to the sockets of subscribers")},
      dropped_total_{counters.counter(
          "drop_events_total",
          "Ephemeral events that subscribers did not get",
          {{"reason", "slow_subscriber"}})},
      lagging_gauge_{counters.gauge(
          "subscriptions_lagging", "Subscriptions that were told they lag and have not caught up")},
      websockets_{counters.gauge(
          "client_sessions", "Sessions that subscribe, by kind", {{"kind", "websocket"}})},
      streams_{counters.gauge(
          "client_sessions", "Sessions that subscribe, by kind", {{"kind", "event_stream"}})},
      latency_{counters.histogram(
          "publish_to_socket_seconds",
          "From the time of an event's record to its bytes being with the socket; sampled",
          {0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 10.0})},
      queue_bytes_{counters.histogram(
          "output_queue_bytes",
          "The fullest output queue of an I/O thread in each tick",
          {1024, 16384, 65536, 262144, 524288, 1048576, 4194304})} {}

thread_state::buffer thread_state::take_buffer() {
  if (spare_.empty()) return std::make_unique_for_overwrite<buffer::element_type>();
  auto one = std::move(spare_.back());
  spare_.pop_back();
  return one;
}

void thread_state::give_back(buffer one) {
  if (spare_.size() < spare_buffers_max) spare_.push_back(std::move(one));
}

void thread_state::connected(std::int64_t websockets, std::int64_t streams) {
  websockets_.Increment(static_cast<double>(websockets));
  streams_.Increment(static_cast<double>(streams));
}

bool thread_state::wants_latency() {
  return ++sample_ % latency_sample == 0;
}

void thread_state::note_latency(std::chrono::milliseconds passed) {
  latency_.Observe(std::max(0.0, std::chrono::duration<double>{passed}.count()));
}

void thread_state::publish(boot_time now) {
  if (now == published_) return;
  published_ = now;
  delivered_total_.Increment(static_cast<double>(std::exchange(delivered_, 0)));
  dropped_total_.Increment(static_cast<double>(std::exchange(dropped_, 0)));
  lagging_gauge_.Increment(static_cast<double>(lagging_ - std::exchange(lagging_told_, lagging_)));
  queue_bytes_.Observe(static_cast<double>(std::exchange(queue_bytes_max_, 0)));
}

}  // namespace callboard::gateway
