// Publish to delivery: events at intended times on one WebSocket, delivered on another.
#include "bench/session.hpp"
#include "bench/time.hpp"

#include <algorithm>

namespace callboard::bench {

namespace {

struct latency_run {
  histogram acks;
  histogram deliveries;
  std::uint64_t delivered = 0;
  std::uint64_t refused = 0;
};

/// Waits until the subscription is confirmed.
result<void>
subscribe(peer& subscriber, wire format, const std::string& topic, const event_ids& ids) {
  subscriber.queue(
      format == wire::proto ? client::ws_opcode::binary : client::ws_opcode::text,
      subscribe_frame(format, 1, topic, "now"));
  subscriber.flush();
  bool confirmed = false;
  std::string refusal;
  const answer_visitor visit{
      .on_done = [&](std::uint64_t op) { confirmed = confirmed || op == 1; },
      .on_refused = [&](std::uint64_t, std::string_view code) { refusal = code; },
      .on_event = {}};
  poller wait;
  wait.add(subscriber.fd(), 0);
  const auto until = now_ns() + 10 * ns_per_s;
  while (!confirmed && refusal.empty() && now_ns() < until) {
    wait.wait(100'000'000, [&](std::uint64_t, std::uint32_t) {
      subscriber.receive(
          [&](std::string_view message) { (void)visit_message(format, message, ids, visit); });
    });
  }
  if (confirmed) return {};
  return fail(errc::bad_request, "the subscription was not confirmed: " + refusal);
}

class latency_load {
public:
  latency_load(session& with, const bench_options& options, std::uint64_t rate)
      : options_{options},
        rate_{rate},
        ids_{with.new_ids()},
        topic_{with.new_topic("latency")},
        writer_{wire::proto, ids_, topic_, options.size, options.durability} {}

  result<latency_run> run(peer& publisher, peer& subscriber) {
    if (auto ready = subscribe(subscriber, options_.format, topic_, ids_); !ready) {
      return std::unexpected{ready.error()};
    }
    poller wait;
    wait.add(publisher.fd(), 0);
    wait.add(subscriber.fd(), 1);
    warm_ = options_.warmup_s * rate_;
    const auto total = warm_ + options_.seconds * rate_;
    const auto began = now_ns() + 10'000'000;
    due_.clear();
    for (std::uint64_t k = 0; k < total; ++k) {
      due_.push_back(began + static_cast<std::int64_t>(k * 1'000'000'000 / rate_));
    }
    const auto give_up = due_.back() + 5 * ns_per_s;
    std::uint64_t sent = 0;
    bool open = true;
    while (open && (answered_ < total || seen_ < total) && now_ns() < give_up) {
      auto now = now_ns();
      while (sent < total && due_[sent] <= now) {
        batch_.clear();
        writer_.append(batch_, sent + 1, sent);
        publisher.queue(client::ws_opcode::binary, batch_);
        ++sent;
      }
      publisher.flush();
      const auto pause = sent < total ? due_[sent] - now_ns() : 10'000'000;
      wait.wait(std::max<std::int64_t>(pause, 0), [&](std::uint64_t tag, std::uint32_t) {
        open = take(tag == 0 ? publisher : subscriber, tag == 0) && open;
      });
    }
    if (!open) return fail(errc::unreachable, "the server closed the connection");
    return std::move(out_);
  }

private:
  bool take(peer& from, bool is_publisher) {
    const auto now = now_ns();
    const answer_visitor visit{
        .on_done =
            [&](std::uint64_t op) {
              if (!is_publisher || op == 0 || op > due_.size()) return;
              ++answered_;
              if (op > warm_) out_.acks.record(now - due_[op - 1]);
            },
        .on_refused =
            [&](std::uint64_t, std::string_view) {
              ++answered_;
              // What was refused will not be delivered either.
              ++seen_;
              ++out_.refused;
            },
        .on_event =
            [&](std::uint64_t index) {
              if (index >= due_.size()) return;
              ++seen_;
              if (index < warm_) return;
              ++out_.delivered;
              out_.deliveries.record(now - due_[index]);
            }};
    const auto format = is_publisher ? wire::proto : options_.format;
    return from.receive(
        [&](std::string_view message) { (void)visit_message(format, message, ids_, visit); });
  }

  const bench_options& options_;
  std::uint64_t rate_;
  event_ids ids_;
  std::string topic_;
  publish_writer writer_;
  std::string batch_;
  std::vector<std::int64_t> due_;
  std::uint64_t warm_ = 0;
  std::uint64_t answered_ = 0;
  std::uint64_t seen_ = 0;
  latency_run out_;
};

}  // namespace

result<measurements> run_latency(const bench_options& options) {
  auto with = session::open(options);
  if (!with) return std::unexpected{with.error()};
  const auto rate = options.rate == 0 ? 2000 : options.rate;
  auto publisher = (*with)->connect(wire::proto);
  if (!publisher) return std::unexpected{publisher.error()};
  auto subscriber = (*with)->connect(options.format);
  if (!subscriber) return std::unexpected{subscriber.error()};
  options.say("latency: publishing at intended times");
  latency_load load{**with, options, rate};
  (*with)->begin_cpu();
  auto run = load.run(*publisher, *subscriber);
  if (!run) return std::unexpected{run.error()};
  const auto cpu = (*with)->end_cpu();
  measurement row{"latency"};
  row.text("delivered_as", options.format == wire::proto ? "proto" : "json")
      .text("durability", options.durability.empty() ? "synced" : options.durability)
      .number("events_per_s", rate)
      .number("bytes", options.size)
      .number("delivered", run->delivered)
      .latency("delivery_", run->deliveries)
      .latency("ack_", run->acks)
      .number("refused", run->refused)
      .real("server_cpu", cpu.server_cores)
      .real("generator_cpu", cpu.generator_cores);
  return measurements{std::move(row)};
}

}  // namespace callboard::bench
