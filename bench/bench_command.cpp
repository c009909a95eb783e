// callboard bench publish|latency|fanout|idle|replay|start|workflow|timer|queue|recovery|all
#include "cli/families.hpp"
#include "cli/number_range.hpp"

#include "bench/machine.hpp"
#include "bench/session.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <ostream>

namespace callboard::cli {

namespace {

using bench::bench_options;
using workload = result<bench::measurements> (*)(const bench_options&);

struct command_options {
  bench_options bench;
  bool as_json = false;
  bool no_machine = false;
};

void print_machine(const context& run, const command_options& o) {
  if (o.no_machine) return;
  const auto here = bench::describe_machine(bench::data_folder(o.bench).string());
  if (run.wants_json()) {
    run.io.out << fmt::format(R"({{"machine":{}}})", bench::json_of(here)) << std::endl;
  } else {
    run.io.out << bench::shown(here) << '\n' << std::endl;
  }
}

exit_code run_workload(const context& run, const bench_options& options, workload work) {
  auto rows = work(options);
  if (!rows) return run.refuse(rows.error());
  if (!run.wants_json()) run.io.out << bench::shown(*rows) << '\n';
  for (const auto& row : *rows)
    run.io.out << row.json() << '\n';
  if (!run.wants_json()) run.io.out << '\n';
  run.io.out.flush();
  return exit_code::done;
}

/// The server comes from --server or CALLBOARD_SERVER, if one of them was given.
result<void> name_server(const context& run, const CLI::App& app, bench_options& options) {
  options.say = [&run](const std::string& what) {
    if (run.io.err_is_terminal) run.io.err << what << std::endl;
  };
  if (app.get_option("--server")->count() == 0) return {};
  auto who = run.account();
  if (!who) return std::unexpected{who.error()};
  options.server = std::move(*who);
  return {};
}

exit_code run_all(const context& run, const bench_options& options) {
  const auto with = [&](auto change) {
    auto changed = options;
    change(changed);
    return changed;
  };
  const std::pair<bench_options, workload> all[] = {
      {options, bench::run_publish},
      {with([](auto& o) { o.format = bench::wire::json; }), bench::run_publish},
      {with([](auto& o) { o.topics = 64; }), bench::run_publish},
      {with([](auto& o) { o.format = bench::wire::json; }), bench::run_latency},
      {with([](auto& o) { o.format = bench::wire::json; }), bench::run_fanout},
      {options, bench::run_idle},
      {options, bench::run_replay},
      {options, bench::run_start},
      {options, bench::run_workflow},
      {options, bench::run_timer},
      {options, bench::run_queue},
      {options, bench::run_recovery}};
  auto worst = exit_code::done;
  for (const auto& [chosen, work] : all) {
    const bool restarts = work == bench::run_start || work == bench::run_recovery;
    if (chosen.server && restarts) continue;
    if (const auto code = run_workload(run, chosen, work); code != exit_code::done) worst = code;
  }
  return worst;
}

void add_common(CLI::App& command, command_options& o) {
  auto& b = o.bench;
  command
      .add_option("--data", b.data_dir, "where the server keeps its data; decides what fsync costs")
      ->type_name("DIR");
  command.add_option("--set", b.assignments, "setting of the server; may be given many times")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  command.add_option(
      "--server-pid", b.server_pid, "process of --server, to read its CPU and memory");
  command.add_option("--size", b.size, "bytes of an event's data")
      ->check(CLI::Range(2, 900'000))
      ->capture_default_str();
  command.add_option("--durability", b.durability, "what an ack has to stand for")
      ->check(CLI::IsMember({"written", "synced"}));
  command.add_flag("--no-machine", o.no_machine, "leave the line about the machine out");
}

void add_timing(CLI::App& command, bench_options& b) {
  command.add_option("--seconds", b.seconds, "how long to measure")
      ->check(at_least_one)
      ->capture_default_str();
  command.add_option("--warmup", b.warmup_s, "seconds before that")->capture_default_str();
}

/// Adds a workload; the caller adds its own options to what is returned.
std::pair<CLI::App&, std::shared_ptr<command_options>> add_workload(
    CLI::App& family,
    CLI::App& app,
    context& run,
    const std::string& name,
    const std::string& description,
    const std::string& example,
    workload work,
    bench::wire usual = bench::wire::proto) {
  auto o = std::make_shared<command_options>();
  auto& command =
      add_command(family, run, name, description, example, [&run, &app, o, work, usual] {
        const auto other = usual == bench::wire::proto ? bench::wire::json : bench::wire::proto;
        o->bench.format = o->as_json ? other : usual;
        if (auto named = name_server(run, app, o->bench); !named) {
          return run.misuse(named.error().detail);
        }
        print_machine(run, *o);
        return work == nullptr ? run_all(run, o->bench) : run_workload(run, o->bench, work);
      });
  add_common(command, *o);
  return {command, o};
}

/// Workloads of runs and tasks.
void add_durable_work(CLI::App& family, CLI::App& app, context& run) {
  auto [workflow, w] = add_workload(
      family,
      app,
      run,
      "workflow",
      "workflows of five local steps, from the start to the answer with their result",
      "callboard bench workflow --workflows 2000 --connections 64",
      bench::run_workflow);
  workflow.add_option("--workflows", w->bench.workflows, "how many; default 20000");
  workflow.add_option("--connections", w->bench.connections, "at the same time; default 64");

  auto [timer, t] = add_workload(
      family,
      app,
      run,
      "timer",
      "memory of sleeping workflows, and how late they wake",
      "callboard bench timer --workflows 100000",
      bench::run_timer);
  timer.add_option("--workflows", t->bench.workflows, "how many; default 20000");
  timer.add_option("--connections", t->bench.connections, "that start them; default 64");

  auto [queue, q] = add_workload(
      family,
      app,
      run,
      "queue",
      "enqueue, lease and complete tasks; memory with a backlog, and a restart on it",
      "callboard bench queue --tasks 1000000",
      bench::run_queue);
  add_timing(queue, q->bench);
  queue.add_option("--tasks", q->bench.tasks, "the backlog")->capture_default_str();
  queue.add_option("--connections", q->bench.connections, "that enqueue; default 64");
  queue.add_option("--window", q->bench.window, "tasks in hand of each worker")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  queue.add_option("--rate", q->bench.rate, "tasks a second from enqueue to lease; default 500");

  auto [recovery, y] = add_workload(
      family,
      app,
      run,
      "recovery",
      "kill -9 in the middle of workflows, and how fast histories are replayed",
      "callboard bench recovery --workflows 2000",
      bench::run_recovery);
  recovery.add_option("--workflows", y->bench.workflows, "in flight; default 2000");
  recovery.add_option("--steps", y->bench.steps, "of the long run that is replayed")
      ->check(at_least_one)
      ->capture_default_str();
  recovery.add_option("--connections", y->bench.connections, "that start them; default 64");
}

}  // namespace

void add_bench(CLI::App& app, context& run) {
  auto& family = add_family(
      app,
      "bench",
      "measure a node from a process of its own; starts one on empty data unless --server is given",
      "callboard bench publish --seconds 10");
  using enum bench::wire;

  auto [publish, p] = add_workload(
      family,
      app,
      run,
      "publish",
      "durable publish, then its latency at half load",
      "callboard bench publish --connections 8 --window 64 --size 256",
      bench::run_publish);
  add_timing(publish, p->bench);
  publish.add_option("--connections", p->bench.connections, "publishers; default 8");
  publish.add_option("--window", p->bench.window, "unanswered events of each")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  publish.add_option("--topics", p->bench.topics, "spread over so many topics")
      ->capture_default_str();
  publish.add_option("--rate", p->bench.rate, "only at this rate, in events a second");
  publish.add_flag("--json", p->as_json, "JSON frames instead of Protobuf");

  auto [latency, l] = add_workload(
      family,
      app,
      run,
      "latency",
      "from publish to WebSocket delivery at a fixed rate",
      "callboard bench latency --rate 2000",
      bench::run_latency,
      json);
  l->bench.seconds = 10;
  l->bench.warmup_s = 2;
  add_timing(latency, l->bench);
  latency.add_option("--rate", l->bench.rate, "events a second; default 2000");
  latency.add_flag("--proto", l->as_json, "Protobuf deliveries instead of JSON");

  auto [fanout, f] = add_workload(
      family,
      app,
      run,
      "fanout",
      "one durable topic to many WebSockets, faster and faster",
      "callboard bench fanout --connections 1000",
      bench::run_fanout,
      json);
  f->bench.seconds = 4;
  add_timing(fanout, f->bench);
  fanout.add_option("--connections", f->bench.connections, "subscribers; default 1000, then 5000");
  fanout.add_option("--rates", f->bench.rates, "messages a second to try")->delimiter(',');
  fanout.add_flag("--proto", f->as_json, "Protobuf deliveries instead of JSON");

  auto [idle, i] = add_workload(
      family,
      app,
      run,
      "idle",
      "server memory of an idle WebSocket",
      "callboard bench idle --connections 5000",
      bench::run_idle);
  idle.add_option("--connections", i->bench.connections, "default 5000");

  auto [replay, r] = add_workload(
      family,
      app,
      run,
      "replay",
      "read a topic's history back after a restart",
      "callboard bench replay --events 500000",
      bench::run_replay);
  replay.add_option("--events", r->bench.events, "how many")
      ->check(at_least_one)
      ->capture_default_str();

  auto [start, s] = add_workload(
      family,
      app,
      run,
      "start",
      "from exec to ready, empty and with 100,000 topics",
      "callboard bench start --topics 100000",
      bench::run_start);
  s->bench.topics = 100'000;
  start.add_option("--topics", s->bench.topics, "how many")->capture_default_str();
  start.add_option("--repeats", s->bench.repeats, "starts on empty data")->capture_default_str();

  add_durable_work(family, app, run);

  auto [all, a] = add_workload(
      family,
      app,
      run,
      "all",
      "every workload, one after another",
      "callboard bench all --data /var/tmp",
      nullptr);
  add_timing(all, a->bench);
  // Without a workload: all of them.
  family.require_subcommand(0, 1);
  family.callback([&run, &app, &family, a] {
    if (!family.get_subcommands().empty()) return;
    run.action = [&run, &app, a] {
      if (auto named = name_server(run, app, a->bench); !named) {
        return run.misuse(named.error().detail);
      }
      print_machine(run, *a);
      return run_all(run, a->bench);
    };
  });
}

}  // namespace callboard::cli
