// Task queues: enqueue, lease and complete as fast as it goes, from enqueue to lease at a fixed
// rate, and a backlog that is filled, restarted on and drained.
#include "cli/client/raw_json.hpp"

#include "bench/calls.hpp"
#include "bench/workers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <thread>

namespace callboard::bench {

namespace {

/// Of the rows that measure speed.
constexpr std::uint64_t speed_tasks = 20'000;
constexpr std::uint32_t tasks_per_lease = 20;
constexpr std::uint32_t worker_connections = 8;
constexpr std::uint64_t usual_rate = 500;
/// What the server still holds of requests that are answered is let go by then.
constexpr auto settle_time = std::chrono::seconds{2};

std::uint64_t per_second(std::uint64_t count, std::int64_t took_ns) {
  return static_cast<std::uint64_t>(
      static_cast<double>(count) * 1e9 / static_cast<double>(std::max<std::int64_t>(1, took_ns)));
}

class queue_load {
public:
  queue_load(session& with, const bench_options& options)
      : with_{with},
        options_{options},
        connections_{options.connections == 0 ? 64 : options.connections},
        queue_{with.new_topic("queue")} {}

  result<void> run(measurements& rows) {
    options_.say("queue: over HTTP");
    if (auto done = by_http(rows); !done) return done;
    options_.say("queue: over WebSocket");
    if (auto done = by_websocket(rows); !done) return done;
    options_.say("queue: from enqueue to lease");
    if (auto done = at_rate(rows); !done) return done;
    options_.say(fmt::format("queue: a backlog of {} tasks", options_.tasks));
    return backlog(rows);
  }

private:
  [[nodiscard]] std::string path(std::string_view rest) const {
    return with_.api().tenant_path(fmt::format("/queues/{}{}", queue_, rest));
  }

  measurement row(const char* what, std::uint64_t count, std::int64_t took_ns) const {
    measurement made{"queue"};
    made.text("what", what).number("tasks", count).number("bytes", options_.size);
    if (took_ns != 0) made.number("tasks_per_s", per_second(count, took_ns));
    return made;
  }

  /// How long it took.
  result<std::int64_t> enqueue(std::uint64_t count, histogram& times) {
    const auto target = path("/tasks");
    std::string refusal;
    const auto began = now_ns();
    auto done = make_calls(
        with_,
        count,
        connections_,
        [&](std::uint64_t k) {
          return call{
              .target = target, .body = R"({"payload":)" + task_payload(k, options_.size) + "}"};
        },
        [&](std::uint64_t, const http_caller::answer& answer, std::int64_t took) {
          times.record(took);
          if (answer.status != 201) refusal = answer.body;
        });
    if (!done) return std::unexpected{done.error()};
    if (!refusal.empty()) return fail(errc::bad_request, "a task was refused: " + refusal);
    return now_ns() - began;
  }

  result<void> by_http(measurements& rows) {
    histogram times;
    auto enqueued = enqueue(speed_tasks, times);
    if (!enqueued) return std::unexpected{enqueued.error()};
    rows.push_back(row("http enqueue", speed_tasks, *enqueued).latency("", times));

    std::vector<std::string> leases;
    const auto ask = fmt::format(R"({{"max":{},"lease_ms":600000}})", tasks_per_lease);
    times.clear();
    auto began = now_ns();
    auto leased = make_calls(
        with_,
        speed_tasks / tasks_per_lease,
        connections_,
        [&](std::uint64_t) { return call{.target = path("/lease"), .body = ask}; },
        [&](std::uint64_t, const http_caller::answer& answer, std::int64_t took) {
          times.record(took);
          const auto members = client::json_members(answer.body);
          const auto tasks = members ? client::json_elements(client::find_member(*members, "tasks"))
                                     : std::nullopt;
          if (!tasks) return;
          for (const auto task : *tasks)
            leases.emplace_back(lease_of(task));
        });
    if (!leased) return leased;
    rows.push_back(
        row("http lease, 20 at a time", leases.size(), now_ns() - began).latency("", times));

    std::uint64_t completed = 0;
    times.clear();
    began = now_ns();
    auto ended = make_calls(
        with_,
        leases.size(),
        connections_,
        [&](std::uint64_t k) {
          return call{
              .target = with_.api().tenant_path(
                  fmt::format("/leases/{}/complete", leases[static_cast<std::size_t>(k)])),
              .body = "{}"};
        },
        [&](std::uint64_t, const http_caller::answer& answer, std::int64_t took) {
          times.record(took);
          completed += answer.status < 300 ? 1 : 0;
        });
    if (!ended) return ended;
    rows.push_back(row("http complete", completed, now_ns() - began).latency("", times));
    // Leases come out uneven, so that some calls may have found nothing left to take.
    auto rest = workers::connect(with_, queue_, 1, 100);
    if (!rest) return std::unexpected{rest.error()};
    return drain_queue(*rest, speed_tasks - completed);
  }

  result<void> by_websocket(measurements& rows) {
    histogram times;
    if (auto filled = enqueue(speed_tasks, times); !filled) return std::unexpected{filled.error()};
    const auto began = now_ns();
    auto all = workers::connect(with_, queue_, worker_connections, options_.window);
    if (!all) return std::unexpected{all.error()};
    if (auto drained = drain_queue(*all, speed_tasks); !drained) return drained;
    rows.push_back(row("websocket lease and complete", speed_tasks, now_ns() - began));
    return {};
  }

  /// Tasks are due at fixed times and wait here for a free connection, if need be: that counts.
  result<void> at_rate(measurements& rows) {
    const auto rate = options_.rate == 0 ? usual_rate : options_.rate;
    const auto warm = rate * options_.warmup_s;
    const auto total = warm + rate * options_.seconds;
    auto all = workers::connect(with_, queue_, 1, options_.window);
    if (!all) return std::unexpected{all.error()};
    std::vector<http_caller> callers;
    std::deque<std::size_t> idle;
    poller wait;
    for (std::uint32_t i = 0; i < connections_; ++i) {
      auto connected = http_caller::connect(with_.api());
      if (!connected) return std::unexpected{connected.error()};
      wait.add(connected->fd(), i);
      idle.push_back(callers.size());
      callers.push_back(std::move(*connected));
    }
    all->watch(wait, callers.size());
    const auto began = now_ns() + 10'000'000;
    const auto due = [&](std::uint64_t k) {
      return began + static_cast<std::int64_t>(k * 1'000'000'000 / rate);
    };
    histogram late;
    bool is_open = true;
    std::uint64_t sent = 0;
    const auto on_task = [&](std::uint64_t k) {
      if (k >= warm && k < total) late.record(now_ns() - due(k));
    };
    const auto target = path("/tasks");
    http_caller::answer answer;
    const auto give_up = due(total) + 30 * ns_per_s;
    while (is_open && all->completed() < total && now_ns() < give_up) {
      while (sent < total && due(sent) <= now_ns() && !idle.empty()) {
        const auto body = R"({"payload":)" + task_payload(sent, options_.size) + "}";
        callers[idle.front()].send("POST", target, body);
        idle.pop_front();
        ++sent;
      }
      const auto pause = sent < total && !idle.empty() ? due(sent) - now_ns() : 10'000'000;
      wait.wait(std::max<std::int64_t>(pause, 0), [&](std::uint64_t tag, std::uint32_t) {
        const auto at = static_cast<std::size_t>(tag);
        if (at >= callers.size()) {
          is_open = all->take(at - callers.size(), on_task) && is_open;
          return;
        }
        const auto got = callers[at].receive(answer);
        if (got == http_caller::progress::closed) is_open = false;
        if (got == http_caller::progress::answered) idle.push_back(at);
      });
    }
    if (!is_open) return fail(errc::unreachable, "the server closed a connection");
    if (all->completed() < total) {
      return fail(
          errc::timeout, fmt::format("{} of {} tasks were completed", all->completed(), total));
    }
    rows.push_back(
        row("from enqueue to lease, at a rate", late.count(), ns_per_s * options_.seconds)
            .latency("", late));
    return {};
  }

  [[nodiscard]] std::uint64_t settled_rss() const {
    std::this_thread::sleep_for(settle_time);
    return with_.server_rss();
  }

  result<void> backlog(measurements& rows) {
    const auto before = settled_rss();
    histogram times;
    auto filled = enqueue(options_.tasks, times);
    if (!filled) return std::unexpected{filled.error()};
    const auto with_backlog = settled_rss();
    rows.push_back(row("backlog filled", options_.tasks, *filled)
                       .latency("", times)
                       .number("rss_before_mib", before >> 20)
                       .number("rss_after_mib", with_backlog >> 20));
    if (with_.owns_server()) {
      options_.say("queue: restarting the server");
      if (auto again = with_.restart(); !again) return again;
      const auto ready_ns = with_.server().ready_after_ns();
      auto first = lease_one();
      if (!first) return std::unexpected{first.error()};
      rows.push_back(row("restart on the backlog", options_.tasks, 0)
                         .real("ready_s", static_cast<double>(ready_ns) / 1e9)
                         .real("first_lease_ms", static_cast<double>(*first) / 1e6, 1)
                         .number("rss_after_mib", settled_rss() >> 20));
    }
    options_.say("queue: draining");
    const auto rss_before = with_.server_rss();
    std::uint64_t rss_max = rss_before;
    const auto began = now_ns();
    auto all = workers::connect(with_, queue_, worker_connections, options_.window);
    if (!all) return std::unexpected{all.error()};
    auto drained = drain_queue(
        *all, options_.tasks, {}, [&] { rss_max = std::max(rss_max, with_.server_rss()); });
    if (!drained) return drained;
    const auto took = now_ns() - began;
    rows.push_back(row("backlog drained", options_.tasks, took)
                       .number("rss_before_mib", rss_before >> 20)
                       .number("rss_max_mib", rss_max >> 20)
                       .number("rss_after_mib", settled_rss() >> 20));
    return {};
  }

  /// The task goes back: its worker says that it failed, for no fault of the task's.
  result<std::int64_t> lease_one() {
    auto api = client::api{with_.api().who()};
    const auto began = now_ns();
    auto body = api.call("POST", path("/lease"), R"({"max":1,"lease_ms":60000})");
    if (!body) return std::unexpected{body.error()};
    const auto took = now_ns() - began;
    const auto lease = lease_of(*body);
    if (lease.empty()) return fail(errc::corruption, "the backlog is gone: " + *body);
    auto back = api.call(
        "POST",
        api.tenant_path(fmt::format("/leases/{}/fail", lease)),
        R"({"retryable":true,"retry_after_ms":1})");
    if (!back) return std::unexpected{back.error()};
    return took;
  }

  session& with_;
  const bench_options& options_;
  std::uint32_t connections_;
  std::string queue_;
};

}  // namespace

result<measurements> run_queue(const bench_options& options) {
  auto with = session::open(options);
  if (!with) return std::unexpected{with.error()};
  measurements rows;
  queue_load load{**with, options};
  if (auto done = load.run(rows); !done) return std::unexpected{done.error()};
  return rows;
}

}  // namespace callboard::bench
