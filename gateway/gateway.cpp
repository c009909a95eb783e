// Puts the door together: loops with their threads and hubs, the listener, and what sessions share.
#include "gateway/gateway.hpp"

#include "actors/relay_hub.hpp"
#include "base/log.hpp"
#include "gateway/auth.hpp"
#include "gateway/control_gate.hpp"
#include "gateway/http_session.hpp"
#include "gateway/listener.hpp"
#include "gateway/sessions.hpp"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

namespace callboard::gateway {

namespace asio = boost::asio;

namespace {

constexpr std::chrono::seconds stop_time_max{5};
/// Clients are sent away over this share of the drain time; the rest is for work in flight.
constexpr int drain_spread_percent = 50;
constexpr std::chrono::milliseconds drain_spread_max{10'000};

std::size_t io_thread_count(const config& settings) {
  if (settings.node.io_threads != 0) return settings.node.io_threads;
  return std::max(1U, std::thread::hardware_concurrency() / 2);
}

/// Enough for every connection to wait for something and ask something; one connection alone may
/// have what its own bound allows.
std::uint64_t control_requests_max(const config::limits_section& limits) {
  return std::max<std::uint64_t>(
      std::uint64_t{4} * limits.connections_max, limits.requests_in_flight_max);
}

/// One loop, its thread and what lives on it.
struct io_loop {
  asio::io_context context{1};
  asio::executor_work_guard<asio::io_context::executor_type> guard{context.get_executor()};
  actors::relay_hub hub;
  io_thread view;
  std::jthread thread;

  io_loop(const gateway_parts& parts, control_gate& gate, std::uint32_t number)
    : hub{{.system = parts.system,
           .broker = parts.router,
           .loop = context,
           .settings = parts.settings,
           .time = parts.time,
           .counters = parts.counters,
           .thread = number}},
      view{.context = context, .hub = hub, .gate = &gate} {}

  /// Runs `work` on the loop and waits for it, but not for ever.
  template <class Work>
  void run(Work work) {
    auto done = std::make_shared<std::promise<void>>();
    auto finished = done->get_future();
    asio::post(context, [work = std::move(work), done]() mutable {
      work();
      done->set_value();
    });
    finished.wait_for(stop_time_max);
  }
};

class running_gateway final : public gateway {
public:
  explicit running_gateway(gateway_parts parts)
      : parts_{std::move(parts)},
        counters_{parts_.counters},
        sessions_{
            .settings = parts_.settings,
            .time = parts_.time,
            .counters = parts_.counters,
            .payload_budget = parts_.payload_budget,
            .verifier = nullptr,
            .node_id = parts_.settings.node.id},
        http_{
            .sessions = sessions_,
            .counters = counters_,
            .readiness = parts_.readiness,
            .node_status = parts_.node_status,
            .backup = parts_.backup,
            .draining = draining_} {}

  ~running_gateway() override { stop(); }

  result<void> build() {
    if (parts_.settings.auth.required) {
      auto made = token_verifier::from(parts_.settings.auth);
      if (!made) return std::unexpected{made.error()};
      verifier_ = std::move(*made);
      sessions_.verifier = verifier_.get();
    }
    std::vector<asio::io_context*> contexts;
    for (std::uint32_t i = 0; i < io_thread_count(parts_.settings); ++i) {
      contexts.push_back(
          &loops_.emplace_back(std::make_unique<io_loop>(parts_, gate_, i))->context);
    }
    listener_ = std::make_unique<listener>(
        parts_.settings,
        std::move(contexts),
        counters_,
        [this](std::size_t thread, auto stream, admission standing, auto release) {
          on_connection(*loops_[thread], std::move(stream), standing, std::move(release));
        });
    if (auto opened = listener_->open(); !opened) return opened;
    auto& connections = parts_.counters.gauge("connections", "Client connections.");
    auto& controls = parts_.counters.gauge(
        "control_requests_in_flight",
        "Requests to the broker, publishes aside, without an answer.");
    parts_.counters.add_sampler([this, &connections, &controls] {
      connections.Set(static_cast<double>(listener_->connection_count()));
      controls.Set(static_cast<double>(gate_.in_flight()));
    });
    for (auto& loop : loops_) {
      asio::post(loop->context, [&hub = loop->hub] { hub.start(); });
      loop->thread = std::jthread{[&context = loop->context] { context.run(); }};
    }
    listener_->start();
    return {};
  }

  [[nodiscard]] std::uint16_t port() const override { return listener_->port(); }

  void drain(std::chrono::milliseconds timeout) override {
    draining_ = true;
    if (loops_.empty() || stopped_) return;
    loops_.front()->run([this] { listener_->stop(); });
    const auto spread = std::min(timeout * drain_spread_percent / 100, drain_spread_max);
    for (auto& loop : loops_) {
      asio::post(loop->context, [&hub = loop->hub, spread] { hub.drain(spread); });
    }
    std::unique_lock lock{mutex_};
    const bool empty =
        ended_.wait_for(lock, timeout, [this] { return listener_->served_count() == 0; });
    if (!empty) {
      log_->warn("drain: {} connections are still there", listener_->served_count());
    }
  }

  void stop() override {
    if (stopped_.exchange(true)) return;
    draining_ = true;
    if (listener_ && loops_.front()->thread.joinable()) {
      loops_.front()->run([this] { listener_->stop(); });
      for (auto& loop : loops_)
        loop->run([&hub = loop->hub] { hub.stop(); });
      wait_for_last_connection();
    }
    for (auto& loop : loops_) {
      loop->guard.reset();
      loop->context.stop();
      if (loop->thread.joinable()) loop->thread.join();
    }
  }

private:
  void on_connection(
      io_loop& loop,
      std::unique_ptr<transport> stream,
      admission standing,
      std::function<void()> release) {
    auto end = [this, release = std::move(release)] {
      release();
      const std::lock_guard lock{mutex_};
      ended_.notify_all();
    };
    if (draining_) {
      counters_.refused(refusal::draining);
      return end();
    }
    // A session factory can be copied, a transport cannot.
    auto held = std::make_shared<std::unique_ptr<transport>>(std::move(stream));
    open_connection(
        parts_.system,
        parts_.router,
        loop.view,
        [this, held, standing](connection_port& port) {
          return http_session::open(port, http_, std::move(*held), standing);
        },
        std::move(end));
  }

  [[nodiscard]] std::size_t member_count() const {
    std::size_t count = 0;
    for (const auto& loop : loops_)
      count += loop->hub.member_count();
    return count;
  }

  /// A loop must not stop before its actors have ended.
  void wait_for_last_connection() {
    std::unique_lock lock{mutex_};
    const bool empty = ended_.wait_for(lock, stop_time_max, [this] { return member_count() == 0; });
    if (!empty) log_->error("stop: {} connections did not end", member_count());
  }

  const gateway_parts parts_;
  const std::shared_ptr<spdlog::logger> log_ = log::channel("gateway");
  std::atomic<bool> draining_{false};
  std::atomic<bool> stopped_{false};
  http_metrics counters_;
  std::unique_ptr<token_verifier> verifier_;
  control_gate gate_{control_requests_max(parts_.settings.limits)};
  session_environment sessions_;
  http_environment http_;
  std::mutex mutex_;
  std::condition_variable ended_;
  std::vector<std::unique_ptr<io_loop>> loops_;
  std::unique_ptr<listener> listener_;
};

}  // namespace

result<std::unique_ptr<gateway>> gateway::start(gateway_parts parts) {
  auto made = std::make_unique<running_gateway>(std::move(parts));
  if (auto built = made->build(); !built) return std::unexpected{built.error()};
  return made;
}

}  // namespace callboard::gateway
