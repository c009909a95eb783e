// Durable publish: C connections, each with a window of unanswered events, as fast as it goes; then
// the same load at half that rate, at intended times, for the latency that a user would see.
#include "bench/session.hpp"
#include "bench/time.hpp"

#include <algorithm>
#include <map>

namespace callboard::bench {

namespace {

/// How often due events are looked for in rate mode; bounds what batching adds to a latency.
constexpr std::int64_t tick_ns = 200'000;
/// Operations in flight of one connection in rate mode; the server's bound is 1,024.
constexpr std::uint64_t rate_in_flight_max = 1000;
constexpr std::size_t frame_bytes_max = 512 << 10;

class publisher {
public:
  publisher(peer connection, wire format) : peer_{std::move(connection)}, format_{format} {}

  peer& socket() { return peer_; }

  [[nodiscard]] std::uint64_t in_flight() const { return next_op_ - 1 - answered_; }

  /// Adds one event that was due at `due_ns`.
  void add(publish_writer& writer, std::uint64_t index, std::int64_t due_ns) {
    const auto op = next_op_++;
    due_[op & (due_.size() - 1)] = due_ns;
    writer.append(batch_, op, index);
    if (format_ == wire::json || batch_.size() > frame_bytes_max) seal();
  }

  /// Ends the frame that was being filled and sends.
  void flush() {
    seal();
    peer_.flush();
  }

  /// The answer to `op`: when its event was due.
  std::int64_t take_answer(std::uint64_t op) {
    ++answered_;
    return due_[op & (due_.size() - 1)];
  }

private:
  void seal() {
    if (batch_.empty()) return;
    peer_.queue(
        format_ == wire::proto ? client::ws_opcode::binary : client::ws_opcode::text, batch_);
    batch_.clear();
  }

  peer peer_;
  wire format_;
  std::string batch_;
  std::uint64_t next_op_ = 1;
  std::uint64_t answered_ = 0;
  std::vector<std::int64_t> due_ = std::vector<std::int64_t>(4096);
};

struct load_result {
  histogram times;
  std::uint64_t acked = 0;
  std::map<std::string, std::uint64_t> refused;
  double seconds = 0;
  cpu_share cpu;
};

class load {
public:
  load(session& with, const bench_options& options)
      : session_{with}, options_{options}, ids_{with.new_ids()} {
    for (std::uint32_t i = 0; i < std::max(1U, options.topics); ++i) {
      writers_.emplace_back(
          options.format, ids_, with.new_topic("publish"), options.size, options.durability);
    }
  }

  result<void> connect() {
    for (std::uint32_t i = 0; i < options_.connections; ++i) {
      auto connected = session_.connect(options_.format);
      if (!connected) return std::unexpected{connected.error()};
      poller_.add(connected->fd(), i);
      publishers_.emplace_back(std::move(*connected), options_.format);
    }
    return {};
  }

  /// Keeps every window full.
  result<load_result> run_window() {
    return run(
        [this](std::size_t i, std::int64_t now) {
          auto& p = publishers_[i];
          while (p.in_flight() < options_.window)
            add(p, now);
          p.flush();
        },
        [](std::int64_t) { return std::int64_t{50'000'000}; });
  }

  /// `rate` events a second over all connections, each at its time.
  result<load_result> run_rate(double rate) {
    const auto began = now_ns();
    std::uint64_t sent = 0;
    const auto due_at = [=](std::uint64_t k) {
      return began + static_cast<std::int64_t>(static_cast<double>(k) * 1e9 / rate);
    };
    return run(
        [](std::size_t, std::int64_t) {},
        [=, this](std::int64_t now) mutable {
          for (auto due = due_at(sent); due <= now; due = due_at(++sent)) {
            auto& p = publishers_[sent % publishers_.size()];
            // Late events keep the time they were due at.
            if (p.in_flight() >= rate_in_flight_max) break;
            add(p, due);
          }
          for (auto& p : publishers_)
            p.flush();
          return std::max(tick_ns, due_at(sent) - now);
        });
  }

private:
  void add(publisher& p, std::int64_t due_ns) {
    p.add(writers_[next_index_ % writers_.size()], next_index_, due_ns);
    ++next_index_;
  }

  /// `refill(connection, now)` after its answers; `tick(now)` in each round: how long to wait.
  template <class Refill, class Tick>
  result<load_result> run(Refill refill, Tick tick) {
    load_result out;
    const auto began = now_ns();
    const auto measured_from = began + options_.warmup_s * ns_per_s;
    const auto until = measured_from + options_.seconds * ns_per_s;
    bool measuring = false;
    std::size_t current = 0;
    std::int64_t now = began;
    const answer_visitor visit{
        .on_done =
            [&](std::uint64_t op) {
              const auto due = publishers_[current].take_answer(op);
              if (!measuring) return;
              ++out.acked;
              out.times.record(now - due);
            },
        .on_refused =
            [&](std::uint64_t op, std::string_view code) {
              publishers_[current].take_answer(op);
              ++out.refused[std::string{code}];
            },
        .on_event = {}};
    for (std::size_t i = 0; i < publishers_.size(); ++i)
      refill(i, began);
    bool broken = false;
    while (now < until && !broken) {
      const auto wait = std::min(tick(now), until - now);
      poller_.wait(wait, [&](std::uint64_t tag, std::uint32_t) {
        current = static_cast<std::size_t>(tag);
        auto& socket = publishers_[current].socket();
        now = now_ns();
        const bool open = socket.receive([&](std::string_view message) {
          if (!visit_message(options_.format, message, ids_, visit)) broken = true;
        });
        if (!open) broken = true;
        refill(current, now);
      });
      now = now_ns();
      if (!measuring && now >= measured_from) {
        measuring = true;
        session_.begin_cpu();
      }
      for (auto& p : publishers_) {
        if (p.socket().queued_bytes() != 0) p.socket().flush();
      }
    }
    if (broken) return fail(errc::unreachable, "the server closed a publisher's connection");
    out.seconds = static_cast<double>(now - measured_from) / 1e9;
    out.cpu = session_.end_cpu();
    drain(visit, current);
    return out;
  }

  /// Takes the answers that are still out, so that the next run begins with none.
  void drain(const answer_visitor& visit, std::size_t& current) {
    const auto until = now_ns() + 10 * ns_per_s;
    const auto is_busy = [](const publisher& p) { return p.in_flight() != 0; };
    const answer_visitor quiet{
        .on_done = [&](std::uint64_t op) { publishers_[current].take_answer(op); },
        .on_refused = visit.on_refused,
        .on_event = {}};
    while (std::ranges::any_of(publishers_, is_busy) && now_ns() < until) {
      poller_.wait(10'000'000, [&](std::uint64_t tag, std::uint32_t) {
        current = static_cast<std::size_t>(tag);
        publishers_[current].socket().receive([&](std::string_view message) {
          (void)visit_message(options_.format, message, ids_, quiet);
        });
      });
      for (auto& p : publishers_)
        p.flush();
    }
  }

  session& session_;
  const bench_options& options_;
  event_ids ids_;
  std::vector<publish_writer> writers_;
  std::vector<publisher> publishers_;
  poller poller_;
  std::uint64_t next_index_ = 0;
};

measurement
row_of(const bench_options& o, std::string mode, const load_result& r, std::uint64_t rss) {
  measurement row{"publish"};
  std::uint64_t refused = 0;
  for (const auto& [code, count] : r.refused)
    refused += count;
  row.text("mode", mode)
      .text("frames", o.format == wire::proto ? "proto" : "json")
      .text("durability", o.durability.empty() ? "synced" : o.durability)
      .number("bytes", o.size)
      .number("connections", o.connections)
      .number("window", o.window)
      .number("topics", o.topics)
      .number("events_per_s", static_cast<std::uint64_t>(static_cast<double>(r.acked) / r.seconds))
      .latency("", r.times)
      .number("refused", refused)
      .real("server_cpu", r.cpu.server_cores)
      .real("generator_cpu", r.cpu.generator_cores)
      .number("server_rss_mib", rss >> 20);
  return row;
}

}  // namespace

result<measurements> run_publish(const bench_options& given) {
  auto options = given;
  if (options.connections == 0) options.connections = 8;
  auto with = session::open(options);
  if (!with) return std::unexpected{with.error()};
  load generator{**with, options};
  if (auto connected = generator.connect(); !connected) return std::unexpected{connected.error()};
  measurements rows;
  auto half = static_cast<double>(options.rate);
  if (options.rate == 0) {
    options.say("publish: windows full");
    auto full = generator.run_window();
    if (!full) return std::unexpected{full.error()};
    rows.push_back(row_of(options, "window", *full, (*with)->server_rss()));
    half = static_cast<double>(full->acked) / full->seconds / 2;
  }
  if (half < 1) return fail(errc::timeout, "nothing was acked");
  options.say("publish: at intended times");
  auto paced = generator.run_rate(half);
  if (!paced) return std::unexpected{paced.error()};
  rows.push_back(
      row_of(options, options.rate == 0 ? "half load" : "rate", *paced, (*with)->server_rss()));
  return rows;
}

}  // namespace callboard::bench
