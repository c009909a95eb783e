// Fan-out: one publisher, N WebSocket subscribers of one durable topic. The rate goes up until it
// is not sustained: 99 % of the deliveries in time and their p99 below one second.
#include "bench/session.hpp"
#include "bench/time.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace callboard::bench {

namespace {

constexpr std::int64_t sustained_p99_ns = ns_per_s;

struct step_result {
  std::uint64_t published = 0;
  std::uint64_t expected = 0;
  std::uint64_t in_time = 0;
  std::uint64_t refused = 0;
  histogram times;
  cpu_share cpu;
  bool sustained = false;
};

class fanout_load {
public:
  fanout_load(session& with, const bench_options& options)
      : session_{with},
        options_{options},
        ids_{with.new_ids()},
        topic_{with.new_topic("fanout")},
        writer_{wire::proto, ids_, topic_, options.size, options.durability} {}

  result<void> connect() {
    auto publisher = session_.connect(wire::proto);
    if (!publisher) return std::unexpected{publisher.error()};
    publisher_.emplace(std::move(*publisher));
    poller_.add(publisher_->fd(), publisher_tag);
    subscribers_.reserve(options_.connections);
    for (std::uint32_t i = 0; i < options_.connections; ++i) {
      auto subscriber = session_.connect(options_.format);
      if (!subscriber) return std::unexpected{subscriber.error()};
      subscriber->queue(
          options_.format == wire::proto ? client::ws_opcode::binary : client::ws_opcode::text,
          subscribe_frame(options_.format, 1, topic_, "now"));
      subscriber->flush();
      poller_.add(subscriber->fd(), i);
      subscribers_.push_back(std::move(*subscriber));
    }
    const auto until = now_ns() + 60 * ns_per_s;
    while (confirmed_ < subscribers_.size() && now_ns() < until)
      turn(100'000'000);
    if (confirmed_ == subscribers_.size()) return {};
    return fail(
        errc::timeout,
        fmt::format("{} of {} subscriptions confirmed", confirmed_, subscribers_.size()));
  }

  /// `rate` messages a second.
  result<step_result> step(std::uint64_t rate) {
    step_ = {};
    first_index_ = next_index_;
    const auto total = rate * options_.seconds;
    const auto began = now_ns() + 5'000'000;
    for (std::uint64_t k = 0; k < total; ++k) {
      due_.push_back(began + static_cast<std::int64_t>(k * 1'000'000'000 / rate));
    }
    step_.published = total;
    step_.expected = total * subscribers_.size();
    const auto end = began + options_.seconds * ns_per_s;
    in_time_until_ = end + sustained_p99_ns;
    session_.begin_cpu();
    bool measured = false;
    const auto give_up = end + 15 * ns_per_s;
    while (delivered_ < step_.expected && now_ns() < give_up && !broken_) {
      const auto now = now_ns();
      while (next_index_ < due_.size() && due_[next_index_] <= now) {
        batch_.clear();
        writer_.append(batch_, next_index_ + 1, next_index_);
        publisher_->queue(client::ws_opcode::binary, batch_);
        ++next_index_;
      }
      publisher_->flush();
      if (!measured && now >= end) {
        measured = true;
        step_.cpu = session_.end_cpu();
      }
      turn(next_index_ < due_.size() ? due_[next_index_] - now : 20'000'000);
    }
    if (broken_) return fail(errc::unreachable, "the server closed a connection");
    if (!measured) step_.cpu = session_.end_cpu();
    delivered_ = 0;
    step_.sustained =
        step_.in_time * 100 >= step_.expected * 99 && step_.times.percentile(99) < sustained_p99_ns;
    return std::move(step_);
  }

private:
  static constexpr std::uint64_t publisher_tag = ~0ULL;

  void turn(std::int64_t wait_ns) {
    poller_.wait(std::max<std::int64_t>(wait_ns, 0), [&](std::uint64_t tag, std::uint32_t) {
      const bool is_publisher = tag == publisher_tag;
      auto& from = is_publisher ? *publisher_ : subscribers_[static_cast<std::size_t>(tag)];
      received_ns_ = now_ns();
      const auto& visit = is_publisher ? publisher_visit_ : subscriber_visit_;
      const auto format = is_publisher ? wire::proto : options_.format;
      const bool open = from.receive(
          [&](std::string_view message) { (void)visit_message(format, message, ids_, visit); });
      if (!open) broken_ = true;
    });
  }

  void take_event(std::uint64_t index) {
    if (index < first_index_ || index >= due_.size()) return;
    ++delivered_;
    if (received_ns_ <= in_time_until_) ++step_.in_time;
    step_.times.record(received_ns_ - due_[index]);
  }

  session& session_;
  const bench_options& options_;
  event_ids ids_;
  std::string topic_;
  publish_writer writer_;
  std::string batch_;
  std::optional<peer> publisher_;
  std::vector<peer> subscribers_;
  poller poller_;
  std::vector<std::int64_t> due_;
  std::uint64_t first_index_ = 0;
  std::uint64_t next_index_ = 0;
  std::uint64_t confirmed_ = 0;
  std::uint64_t delivered_ = 0;
  std::int64_t received_ns_ = 0;
  std::int64_t in_time_until_ = 0;
  bool broken_ = false;
  step_result step_;
  const answer_visitor publisher_visit_{
      .on_done = {},
      .on_refused = [this](std::uint64_t, std::string_view) { ++step_.refused; },
      .on_event = {}};
  const answer_visitor subscriber_visit_{
      .on_done = [this](std::uint64_t) { ++confirmed_; },
      .on_refused = [this](std::uint64_t, std::string_view) { broken_ = true; },
      .on_event = [this](std::uint64_t index) { take_event(index); }};
};

/// Messages a second for so many connections.
std::vector<std::uint64_t> rates_for(const bench_options& options) {
  if (!options.rates.empty()) return options.rates;
  std::vector<std::uint64_t> rates;
  for (const std::uint64_t thousand :
       {10, 50, 100, 150, 200, 250, 300, 350, 400, 450, 500, 600, 700, 800, 900, 1000}) {
    rates.push_back(std::max<std::uint64_t>(1, thousand * 1000 / options.connections));
  }
  return rates;
}

result<measurements> fan_out_to(const bench_options& options) {
  auto with = session::open(options);
  if (!with) return std::unexpected{with.error()};
  fanout_load load{**with, options};
  options.say(fmt::format("fanout: connecting {} subscribers", options.connections));
  if (auto connected = load.connect(); !connected) return std::unexpected{connected.error()};
  measurements rows;
  int failures = 0;
  for (const auto rate : rates_for(options)) {
    options.say(fmt::format("fanout: {} messages/s to {}", rate, options.connections));
    auto step = load.step(rate);
    if (!step) return std::unexpected{step.error()};
    measurement row{"fanout"};
    row.number("connections", options.connections)
        .text("delivered_as", options.format == wire::proto ? "proto" : "json")
        .number("bytes", options.size)
        .number("messages_per_s", rate)
        .number("deliveries_per_s", step->in_time / options.seconds)
        .text("sustained", step->sustained ? "yes" : "no")
        .latency("", step->times)
        .number("refused", step->refused)
        .real("server_cpu", step->cpu.server_cores)
        .real("generator_cpu", step->cpu.generator_cores)
        .number("server_rss_mib", (*with)->server_rss() >> 20);
    rows.push_back(std::move(row));
    failures = step->sustained ? 0 : failures + 1;
    if (failures == 2) break;
  }
  return rows;
}

}  // namespace

result<measurements> run_fanout(const bench_options& options) {
  auto each = options;
  if (each.seconds == 0) each.seconds = 4;
  if (options.connections != 0) return fan_out_to(each);
  measurements all;
  for (const std::uint32_t connections : {1000U, 5000U}) {
    each.connections = connections;
    auto rows = fan_out_to(each);
    if (!rows) return rows;
    all.insert(all.end(), rows->begin(), rows->end());
  }
  return all;
}

}  // namespace callboard::bench
