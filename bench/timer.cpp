// Sleeping workflows: what one costs in memory, how long a restart takes with them, and how late
// they wake.
#include "cli/client/raw_json.hpp"

#include "bench/calls.hpp"

#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <thread>

namespace callboard::bench {

namespace {

/// They wake within this time of each other at least, and no more of them in a second than a node
/// wakes with ease: lateness is to show the timers and not a queue of wakes.
constexpr std::uint64_t spread_ms_min = 10'000;
constexpr std::uint64_t wakes_per_s = 2000;
/// How many are started in a second at least; decides when the first one is due.
constexpr std::uint64_t starts_per_s_min = 2000;
constexpr std::chrono::seconds settle_time{30};

std::int64_t wall_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

/// What a sleeper gives: how many ms late it was.
std::optional<std::int64_t> lateness_of(const std::string& body) {
  const auto members = client::json_members(body);
  if (!members) return std::nullopt;
  const auto text = client::find_member(*members, "result");
  std::int64_t late = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), late);
  if (parsed.ec != std::errc{}) return std::nullopt;
  return late;
}

}  // namespace

result<measurements> run_timer(const bench_options& options) {
  auto with = session::open(options);
  if (!with) return std::unexpected{with.error()};
  const auto count = options.workflows == 0 ? 20'000 : options.workflows;
  const auto connections = options.connections == 0 ? 64 : options.connections;
  const auto path = (*with)->api().tenant_path("/workflows");
  const auto before = (*with)->server_rss();
  const auto spread_ms = std::max(spread_ms_min, count * 1000 / wakes_per_s);
  const auto first_due =
      wall_ms() + static_cast<std::int64_t>(45'000 + count * 1000 / starts_per_s_min);
  const auto due_of = [&](std::uint64_t k) {
    return first_due + static_cast<std::int64_t>(k % spread_ms);
  };
  std::uint64_t started = 0;
  options.say(fmt::format("timer: starting {} workflows that sleep", count));
  const auto began = now_ns();
  auto put_to_sleep = make_calls(
      **with,
      count,
      connections,
      [&](std::uint64_t k) {
        return call{
            .target = path,
            .body = fmt::format(
                R"({{"type":"bench.sleeper","id":"sleeper-{}","input":{}}})", k, due_of(k))};
      },
      [&](std::uint64_t, const http_caller::answer& answer, std::int64_t) {
        started += answer.status == 201 ? 1 : 0;
      });
  if (!put_to_sleep) return std::unexpected{put_to_sleep.error()};
  const auto seconds = static_cast<double>(now_ns() - began) / 1e9;
  // They leave memory when they have waited for a second, the journal rests after ten, and the
  // allocator gives back what is free some seconds later.
  std::this_thread::sleep_for(settle_time);
  const auto asleep = (*with)->server_rss();
  double ready_s = 0;
  std::uint64_t after_restart = 0;
  if ((*with)->owns_server()) {
    options.say("timer: restarting the server");
    if (auto again = (*with)->restart(); !again) return std::unexpected{again.error()};
    ready_s = static_cast<double>((*with)->server().ready_after_ns()) / 1e9;
    std::this_thread::sleep_for(std::chrono::seconds{3});
    after_restart = (*with)->server_rss();
  }
  while (wall_ms() < due_of(spread_ms - 1) + 2000)
    std::this_thread::sleep_for(std::chrono::milliseconds{100});
  options.say("timer: reading how late they were");
  histogram late;
  std::uint64_t woken = 0;
  auto asked = make_calls(
      **with,
      count,
      connections,
      [&](std::uint64_t k) {
        return call{
            .method = "GET",
            .target = fmt::format("{}/sleeper-{}/result?wait_ms=10000", path, k),
            .body = {}};
      },
      [&](std::uint64_t, const http_caller::answer& answer, std::int64_t) {
        const auto found = lateness_of(answer.body);
        if (!found) return;
        ++woken;
        late.record(*found * 1'000'000);
      });
  if (!asked) return std::unexpected{asked.error()};
  measurement row{"timer"};
  row.number("workflows", count)
      .number("started", started)
      .number("starts_per_s", static_cast<std::uint64_t>(static_cast<double>(started) / seconds))
      .number("server_rss_mib", asleep >> 20)
      .real(
          "bytes_per_sleeper",
          static_cast<double>(asleep > before ? asleep - before : 0)
              / static_cast<double>(std::max<std::uint64_t>(1, started)))
      .real("ready_again_s", ready_s)
      .number("rss_after_restart_mib", after_restart >> 20)
      .number("woken", woken)
      .latency("late_", late);
  return measurements{std::move(row)};
}

}  // namespace callboard::bench
