// Time from exec to taking traffic, on empty data and with many topics.
#include "bench/fill.hpp"
#include "bench/session.hpp"
#include "bench/time.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace callboard::bench {

namespace {

measurement
row_of(const char* what, std::int64_t took_ns, std::uint64_t rss, std::uint64_t topics) {
  measurement row{"start"};
  row.text("what", what)
      .number("topics", topics)
      .real("ms", static_cast<double>(took_ns) / 1e6, 1)
      .number("server_rss_mib", rss >> 20);
  return row;
}

}  // namespace

result<measurements> run_start(const bench_options& options) {
  if (options.server) return fail(errc::bad_request, "start measures a server of its own");
  measurements rows;
  std::vector<std::int64_t> times;
  std::uint64_t rss = 0;
  for (std::uint32_t i = 0; i < std::max(1U, options.repeats); ++i) {
    auto with = session::open(options);
    if (!with) return std::unexpected{with.error()};
    times.push_back((*with)->server().ready_after_ns());
    rss = (*with)->server_rss();
  }
  std::ranges::sort(times);
  rows.push_back(row_of("ready on empty data (median)", times[times.size() / 2], rss, 0));
  const std::uint64_t topics = options.topics > 1 ? options.topics : 100'000;
  auto with = session::open(options);
  if (!with) return std::unexpected{with.error()};
  const auto topic_of = [](std::uint64_t i) { return fmt::format("bench.start.{:06}", i); };
  for (const bool again : {false, true}) {
    options.say(fmt::format("start: one event to each of {} topics", topics));
    const auto began = now_ns();
    if (auto touched = touch_topics(**with, options, (*with)->new_ids(), topics, topic_of);
        !touched) {
      return std::unexpected{touched.error()};
    }
    rows.push_back(row_of(
        again ? "open all topics (one event each)" : "create all topics (one event each)",
        now_ns() - began,
        (*with)->server_rss(),
        topics));
    if (again) break;
    if (auto restarted = (*with)->restart(); !restarted) return std::unexpected{restarted.error()};
    rows.push_back(row_of(
        "ready on data with topics",
        (*with)->server().ready_after_ns(),
        (*with)->server_rss(),
        topics));
  }
  return rows;
}

}  // namespace callboard::bench
