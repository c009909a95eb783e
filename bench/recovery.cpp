// kill -9 in the middle of thousands of workflows, and how fast histories are replayed.
#include "cli/client/raw_json.hpp"

#include "bench/calls.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <thread>

namespace callboard::bench {

namespace {

/// Between the steps of a workflow, as `cli/bench_workflows.hpp` sleeps.
constexpr std::uint32_t step_ms = 2000;
constexpr std::uint32_t steps = 5;
/// Where each execution of a step leaves a line, known to the server by its environment.
constexpr const char* effects_variable = "CALLBOARD_BENCH_EFFECTS";
/// A file: once it is there, the steps that hold up runs end.
constexpr const char* release_variable = "CALLBOARD_BENCH_RELEASE";
/// Runs that are at work when the node is killed, so that all are replayed as it starts.
constexpr std::uint64_t runs_at_work = 10'000;
/// Small runs of the replay, each as long as one of the recovery.
constexpr std::uint64_t small_runs = 2000;
constexpr std::uint64_t small_run_steps = 5;
constexpr auto settle_time = std::chrono::seconds{2};

double milliseconds(std::int64_t ns) {
  return static_cast<double>(ns) / 1e6;
}

std::uint64_t per_second(std::uint64_t count, std::int64_t ns) {
  return static_cast<std::uint64_t>(
      static_cast<double>(count) * 1e9 / static_cast<double>(std::max<std::int64_t>(1, ns)));
}

/// Runs that ended, by the metrics of a server.
std::uint64_t ended_in(std::string_view metrics) {
  constexpr std::string_view name = "\ncallboard_workflow_runs_ended_total{";
  std::uint64_t ended = 0;
  for (auto at = metrics.find(name); at != std::string_view::npos;
       at = metrics.find(name, at + 1)) {
    const auto value = metrics.substr(metrics.find("} ", at) + 2);
    double number = 0;
    std::from_chars(value.data(), value.data() + value.size(), number);
    ended += static_cast<std::uint64_t>(number);
  }
  return ended;
}

std::uint64_t count_of(std::string_view text, std::string_view what) {
  std::uint64_t count = 0;
  for (auto at = text.find(what); at != std::string_view::npos; at = text.find(what, at + 1))
    ++count;
  return count;
}

std::uint64_t number_in(std::string_view body, std::string_view name) {
  const auto members = client::json_members(body);
  if (!members) return 0;
  const auto text = client::find_member(*members, name);
  std::uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

/// Lines by how often they are there.
std::map<std::string, std::uint64_t> read_effects(const std::string& file) {
  std::map<std::string, std::uint64_t> effects;
  std::ifstream from{file};
  for (std::string line; std::getline(from, line);)
    ++effects[line];
  return effects;
}

class recovery_load {
public:
  recovery_load(
      session& with, const bench_options& options, std::string effects, std::string release)
      : with_{with},
        options_{options},
        effects_{std::move(effects)},
        release_{std::move(release)},
        connections_{options.connections == 0 ? 64 : options.connections},
        count_{options.workflows == 0 ? 2000 : options.workflows} {}

  result<void> run(measurements& rows) {
    if (auto done = kill_and_recover(rows); !done) return done;
    if (auto done = replay(rows, "one long run", 1, options_.steps); !done) return done;
    auto done = replay(rows, "many small runs", small_runs, small_run_steps);
    return done ? replay_at_work(rows) : done;
  }

private:
  [[nodiscard]] std::string path(std::string_view rest) const {
    return with_.api().tenant_path(fmt::format("/workflows{}", rest));
  }

  /// Starts `bench.TYPE` workflows with the ids `prefix`-k.
  result<void> start(
      std::uint64_t count,
      std::string_view type,
      std::string_view prefix,
      const std::string& input) const {
    std::string refusal;
    auto done = make_calls(
        with_,
        count,
        connections_,
        [&](std::uint64_t k) {
          return call{
              .target = path(""),
              .body = fmt::format(
                  R"({{"type":"bench.{}","id":"{}-{}","input":{}}})", type, prefix, k, input)};
        },
        [&](std::uint64_t, const http_caller::answer& answer, std::int64_t) {
          if (answer.status != 201) refusal = answer.body;
        });
    if (!done) return done;
    if (!refusal.empty()) return fail(errc::bad_request, "a start was refused: " + refusal);
    return {};
  }

  /// GETs `rest` of each; `take(body)`.
  result<void> look(
      std::uint64_t count,
      std::string_view prefix,
      std::string_view rest,
      const std::function<void(const std::string&)>& take) const {
    return make_calls(
        with_,
        count,
        connections_,
        [&](std::uint64_t k) {
          return call{
              .method = "GET",
              .target = path(fmt::format("/{}-{}{}", prefix, k, rest)),
              .body = {}};
        },
        [&](std::uint64_t, const http_caller::answer& answer, std::int64_t) { take(answer.body); });
  }

  result<void> kill_and_recover(measurements& rows) {
    options_.say(fmt::format("recovery: {} workflows of {} steps", count_, steps));
    const auto started = now_ns();
    const auto input = fmt::format(R"({{"steps":{},"step_ms":{}}})", steps, step_ms);
    if (auto done = start(count_, "paced_steps", "paced", input); !done) return done;
    const auto all_started = now_ns();
    // In the middle: some have done two steps, some three, and all but a few are asleep.
    const auto kill_at = started + std::int64_t{step_ms} * 1'000'000 * 5 / 2;
    if (now_ns() < kill_at) {
      std::this_thread::sleep_for(std::chrono::nanoseconds{kill_at - now_ns()});
    }
    std::uint64_t ended_before = 0;
    auto looked = look(count_, "paced", "/result", [&](const std::string& body) {
      ended_before += body.contains(R"("status":"completed")") ? 1 : 0;
    });
    if (!looked) return looked;
    options_.say("recovery: kill -9");
    const auto killed = now_ns();
    if (auto again = with_.crash(); !again) return again;
    std::uint64_t completed = 0;
    auto awaited = look(count_, "paced", "/result?wait_ms=60000", [&](const std::string& body) {
      const bool is_right = body.contains(R"("result":15)");
      completed += is_right && body.contains(R"("status":"completed")") ? 1 : 0;
    });
    if (!awaited) return awaited;
    const auto took = now_ns() - killed;
    // The last one to be started has the most to do yet.
    const auto floor =
        std::max<std::int64_t>(0, all_started + std::int64_t{steps} * step_ms * 1'000'000 - killed);
    std::uint64_t recorded_twice = 0;
    auto checked = look(count_, "paced", "/history?limit=1000", [&](const std::string& body) {
      const auto recorded = count_of(body, R"("type":"task.completed")");
      recorded_twice += recorded > steps ? recorded - steps : 0;
    });
    if (!checked) return checked;
    std::uint64_t repeated = 0;
    const auto effects = read_effects(effects_);
    for (const auto& [line, times] : effects)
      repeated += times - 1;
    measurement row{"recovery"};
    row.text("what", "kill -9")
        .number("workflows", count_)
        .number("in_flight", count_ - ended_before)
        .number("completed", completed)
        .number("lost", count_ - completed)
        .number("recorded_twice", recorded_twice)
        .number("steps_run_again", repeated)
        .number("steps_not_run", count_ * steps - std::min(count_ * steps, effects.size()))
        .real("recovery_ms", milliseconds(took), 0)
        .real("floor_ms", milliseconds(floor), 0)
        .real("beyond_ms", milliseconds(took - floor), 0)
        .real("ready_ms", milliseconds(with_.server().ready_after_ns()), 0);
    rows.push_back(std::move(row));
    return {};
  }

  /// Runs that wait for a signal, loaded after a restart by the signal that ends them.
  result<void>
  replay(measurements& rows, const char* what, std::uint64_t runs, std::uint64_t steps_each) const {
    options_.say(fmt::format("recovery: replay of {}", what));
    const auto prefix = with_.new_topic("replay");
    if (auto done = start(runs, "many_steps", prefix, std::to_string(steps_each)); !done) {
      return done;
    }
    std::uint64_t records = 0;
    if (auto done = await_steps(runs, prefix, steps_each, records); !done) return done;
    if (auto again = with_.restart(); !again) return again;
    std::this_thread::sleep_for(settle_time);
    with_.begin_cpu();
    const auto began = now_ns();
    auto told = make_calls(
        with_,
        runs,
        connections_,
        [&](std::uint64_t k) {
          return call{.target = path(fmt::format("/{}-{}/signals/go", prefix, k)), .body = "null"};
        },
        [](std::uint64_t, const http_caller::answer&, std::int64_t) {});
    if (!told) return told;
    std::uint64_t completed = 0;
    auto ended = look(runs, prefix, "/result?wait_ms=60000", [&](const std::string& body) {
      completed += body.contains(R"("status":"completed")") ? 1 : 0;
    });
    if (!ended) return ended;
    const auto took = now_ns() - began;
    const auto cpu = with_.end_cpu();
    std::uint64_t replay_ms = 0;
    auto shown = look(runs, prefix, "", [&](const std::string& body) {
      replay_ms += number_in(body, "replay_ms");
    });
    if (!shown) return shown;
    measurement row{"recovery"};
    row.text("what", what)
        .number("workflows", runs)
        .number("completed", completed)
        .number("lost", runs - completed)
        .number("records", records)
        .real("recovery_ms", milliseconds(took), 0)
        .number("replay_ms", replay_ms)
        .number("records_per_s", per_second(records, took))
        .real("server_cpu", cpu.server_cores);
    rows.push_back(std::move(row));
    return {};
  }

  /// Runs in the middle of a step when the node is killed: each is replayed by the start, begins
  /// the step again and ends.
  result<void> replay_at_work(measurements& rows) const {
    options_.say(fmt::format("recovery: replay of {} runs at work", runs_at_work));
    const auto prefix = with_.new_topic("held");
    const auto input = std::to_string(small_run_steps);
    if (auto done = start(runs_at_work, "held_steps", prefix, input); !done) return done;
    std::uint64_t records = 0;
    if (auto done = await_steps(runs_at_work, prefix, small_run_steps, records); !done) return done;
    if (!std::ofstream{release_}) return fail(errc::io_error, "cannot write " + release_);
    if (auto again = with_.crash(); !again) return again;
    with_.begin_cpu();
    const auto ready = now_ns();
    // The shards are at work before the node takes traffic.
    const auto early = ended_runs();
    if (!early) return std::unexpected{early.error()};
    if (auto done = await_ends(runs_at_work); !done) return done;
    const auto took = now_ns() - ready;
    const auto cpu = with_.end_cpu();
    std::uint64_t completed = 0;
    auto looked = look(runs_at_work, prefix, "/result", [&](const std::string& body) {
      const bool is_right = body.contains(R"("result":15)");
      completed += is_right && body.contains(R"("status":"completed")") ? 1 : 0;
    });
    if (!looked) return looked;
    measurement row{"recovery"};
    row.text("what", "runs at work")
        .number("workflows", runs_at_work)
        .number("completed", completed)
        .number("lost", runs_at_work - completed)
        .number("records", records)
        .real("ready_ms", milliseconds(with_.server().ready_after_ns()), 0)
        .number("ended_before_ready", *early)
        .real("recovery_ms", milliseconds(took), 0)
        .number("records_per_s", per_second(records * (runs_at_work - *early) / runs_at_work, took))
        .real("server_cpu", cpu.server_cores);
    rows.push_back(std::move(row));
    return {};
  }

  /// Runs that the server has seen end.
  result<std::uint64_t> ended_runs() const {
    std::uint64_t ended = 0;
    auto asked = make_calls(
        with_,
        1,
        1,
        [](std::uint64_t) { return call{.method = "GET", .target = "/metrics", .body = {}}; },
        [&](std::uint64_t, const http_caller::answer& answer, std::int64_t) {
          ended = ended_in(answer.body);
        });
    if (!asked) return std::unexpected{asked.error()};
    return ended;
  }

  result<void> await_ends(std::uint64_t runs) const {
    constexpr auto patience = std::chrono::minutes{10};
    const auto give_up = now_ns() + std::chrono::nanoseconds{patience}.count();
    for (;;) {
      const auto ended = ended_runs();
      if (!ended) return std::unexpected{ended.error()};
      if (*ended >= runs) return {};
      if (now_ns() > give_up) return fail(errc::timeout, "the runs do not come to their end");
      std::this_thread::sleep_for(std::chrono::milliseconds{5});
    }
  }

  /// Until each has done its steps; sums up the length of their histories.
  result<void> await_steps(
      std::uint64_t runs,
      const std::string& prefix,
      std::uint64_t steps_each,
      std::uint64_t& records) const {
    constexpr auto patience = std::chrono::minutes{10};
    const auto give_up = now_ns() + std::chrono::nanoseconds{patience}.count();
    for (;;) {
      std::uint64_t ready = 0;
      records = 0;
      auto looked = look(runs, prefix, "", [&](const std::string& body) {
        records += number_in(body, "history_size");
        // The last command is the wait for the signal.
        ready += number_in(body, "commands") > steps_each ? 1 : 0;
      });
      if (!looked || ready == runs) return looked;
      if (now_ns() > give_up) return fail(errc::timeout, "the steps do not come to their end");
      std::this_thread::sleep_for(std::chrono::milliseconds{200});
    }
  }

  session& with_;
  const bench_options& options_;
  std::string effects_;
  std::string release_;
  std::uint32_t connections_;
  std::uint64_t count_;
};

}  // namespace

result<measurements> run_recovery(const bench_options& options) {
  if (options.server) return fail(errc::bad_request, "recovery kills a server of its own");
  const auto effects =
      (data_folder(options) / fmt::format("callboard-bench-effects-{}", now_ns())).string();
  const auto release = effects + ".release";
  ::setenv(effects_variable, effects.c_str(), 1);
  ::setenv(release_variable, release.c_str(), 1);
  auto with = session::open(options);
  if (!with) return std::unexpected{with.error()};
  measurements rows;
  recovery_load load{**with, options, effects, release};
  auto done = load.run(rows);
  ::unsetenv(effects_variable);
  ::unsetenv(release_variable);
  std::error_code ignored;
  std::filesystem::remove(effects, ignored);
  std::filesystem::remove(release, ignored);
  if (!done) return std::unexpected{done.error()};
  return rows;
}

}  // namespace callboard::bench
