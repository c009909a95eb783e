// callboard queue list|show|set|delete|push|task|lease|complete|fail|extend|cancel|purge|
// dead|redrive|abandon|edit|audit
#include "cli/client/raw_json.hpp"
#include "cli/families.hpp"
#include "cli/object_text.hpp"
#include "cli/output.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <deque>
#include <memory>
#include <optional>
#include <ostream>
#include <unistd.h>

namespace callboard::cli {

namespace {

constexpr std::uint32_t page_size = 1000;
/// A million tasks may take a minute.
constexpr std::chrono::minutes purge_patience{10};

struct queue_options {
  std::string queue;
  // settings
  std::optional<std::uint32_t> attempts_max;
  std::optional<std::uint32_t> backoff_min_ms;
  std::optional<std::uint32_t> backoff_max_ms;
  std::optional<std::uint32_t> dedupe_window_s;
  std::optional<std::uint32_t> concurrency;
  std::optional<std::uint32_t> key_concurrency;
  std::optional<std::uint32_t> aging_ms;
  std::optional<std::uint32_t> fairness_quantum;
  /// A setting, and how long one lease is wanted.
  std::optional<std::uint32_t> lease_ms;
  // tasks
  /// Payload or result.
  std::string json;
  bool is_text = false;
  std::string priority;
  std::optional<std::uint64_t> delay_ms;
  std::string dedupe_key;
  /// Of a task, or of dead letters that are meant.
  std::string fairness_key;
  std::uint64_t task = 0;
  // leases
  std::string lease;
  std::string worker = fmt::format("cli-{}", ::getpid());
  std::uint32_t max = 1;
  std::uint32_t wait_ms = 0;
  bool complete = false;
  std::string error;
  bool is_final = false;
  std::optional<std::uint64_t> retry_after_ms;
  // dead letters
  std::vector<std::uint64_t> tasks;
  bool all = false;
  bool with_dead = false;
  std::string error_contains;
  std::uint32_t limit = 100;
};

using queue_work = result<void> (*)(const context&, client::api&, const queue_options&);

struct description {
  std::string name;
  std::string what;
  std::string example;
  queue_work work;
};

enum class about : std::uint8_t { all, queue, lease };

std::string queue_path(const client::api& api, const queue_options& o, std::string_view rest = {}) {
  return api.tenant_path("/queues/" + client::percent_encoded(o.queue) + std::string{rest});
}

std::string json_of(const queue_options& o) {
  return o.is_text ? client::json_quoted(o.json) : o.json;
}

std::pair<CLI::App&, std::shared_ptr<queue_options>>
add_one(CLI::App& family, context& run, const description& d, about what) {
  auto o = std::make_shared<queue_options>();
  auto& command = add_command(family, run, d.name, d.what, d.example, [&run, o, work = d.work] {
    if (!o->is_text && !o->json.empty() && !client::is_json(o->json)) {
      return run.misuse("this is not JSON; with --text it is taken as a string");
    }
    return run.with_server([&](client::api& api) { return work(run, api, *o); });
  });
  if (what == about::queue) {
    command.add_option("queue", o->queue, "name of the queue")->required()->type_name("QUEUE");
  } else if (what == about::lease) {
    command.add_option("lease", o->lease, "lease of the task")->required()->type_name("LEASE");
  }
  return {command, o};
}

// -- queues -------------------------------------------------------------------------------------

/// All of them: one page after the other.
result<void> list(const context& run, client::api& api, const queue_options&) {
  std::string after;
  std::string all;
  do {
    auto body = api.call(
        "GET",
        api.tenant_path(
            fmt::format("/queues?limit={}&after={}", page_size, client::percent_encoded(after))));
    if (!body) return std::unexpected{body.error()};
    const auto members = client::json_members(*body);
    const auto queues =
        members ? client::json_elements(client::find_member(*members, "queues")) : std::nullopt;
    if (!queues) return fail(errc::invalid_json, "the server's answer has no list of queues");
    for (const auto queue : *queues) {
      if (!all.empty()) all += ',';
      all += queue;
    }
    after = shown_at(*body, "next_after");
  } while (!after.empty() && after != "-");
  print_list(
      run,
      R"({"queues":[)" + all + "]}",
      "queues",
      {{"QUEUE", "queue"}, {"DEPTH", "depth"}, {"IN FLIGHT", "in_flight"}, {"DEAD", "dead"}});
  return {};
}

result<void> print_answer(const context& run, const result<std::string>& body) {
  if (!body) return std::unexpected{body.error()};
  print_object(run, *body);
  return {};
}

result<void> show(const context& run, client::api& api, const queue_options& o) {
  return print_answer(run, api.call("GET", queue_path(api, o)));
}

result<void> set(const context& run, client::api& api, const queue_options& o) {
  object_text body;
  body.number("lease_ms", o.lease_ms);
  body.number("attempts_max", o.attempts_max);
  body.number("backoff_min_ms", o.backoff_min_ms);
  body.number("backoff_max_ms", o.backoff_max_ms);
  body.number("dedupe_window_s", o.dedupe_window_s);
  body.number("concurrency", o.concurrency);
  body.number("key_concurrency", o.key_concurrency);
  body.number("aging_ms", o.aging_ms);
  body.number("fairness_quantum", o.fairness_quantum);
  return print_answer(run, api.call("PUT", queue_path(api, o), body.str()));
}

result<void> remove(const context& run, client::api& api, const queue_options& o) {
  auto body = api.call("DELETE", queue_path(api, o));
  if (!body) return std::unexpected{body.error()};
  if (!run.wants_json()) run.io.out << "deleted " << o.queue << '\n';
  return {};
}

// -- tasks --------------------------------------------------------------------------------------

result<void> push(const context& run, client::api& api, const queue_options& o) {
  object_text body;
  body.raw("payload", json_of(o));
  if (!o.priority.empty()) body.text("priority", o.priority);
  body.number("delay_ms", o.delay_ms);
  if (!o.dedupe_key.empty()) body.text("dedupe_key", o.dedupe_key);
  if (!o.fairness_key.empty()) body.text("fairness_key", o.fairness_key);
  body.number("max_attempts", o.attempts_max);
  return print_answer(run, api.call("POST", queue_path(api, o, "/tasks"), body.str()));
}

result<void> show_task(const context& run, client::api& api, const queue_options& o) {
  return print_answer(run, api.call("GET", queue_path(api, o, fmt::format("/tasks/{}", o.task))));
}

result<void> cancel(const context& run, client::api& api, const queue_options& o) {
  auto body = api.call("DELETE", queue_path(api, o, fmt::format("/tasks/{}", o.task)));
  if (!body) return std::unexpected{body.error()};
  if (!run.wants_json()) run.io.out << "cancelled " << o.task << '\n';
  return {};
}

result<void> purge(const context& run, client::api& api, const queue_options& o) {
  client::http_request request;
  request.method = "POST";
  request.target = queue_path(api, o, "/purge");
  request.headers.emplace_back("Content-Type", "application/json");
  request.body = o.with_dead ? R"({"dead":true})" : "{}";
  request.timeout += purge_patience;
  auto response = api.call(std::move(request));
  if (!response) return std::unexpected{response.error()};
  print_object(run, response->body);
  return {};
}

result<void> end_lease(
    client::api& api, const std::string& lease, std::string_view how, const std::string& body) {
  auto answer = api.call(
      "POST",
      api.tenant_path(fmt::format("/leases/{}/{}", client::percent_encoded(lease), how)),
      body);
  if (!answer) return std::unexpected{answer.error()};
  return {};
}

/// Prints one JSON line for each task; with `--complete` they are completed once printed.
result<void> lease(const context& run, client::api& api, const queue_options& o) {
  object_text ask;
  ask.text("worker", o.worker);
  ask.raw("max", std::to_string(o.max));
  ask.number("lease_ms", o.lease_ms);
  ask.raw("wait_ms", std::to_string(o.wait_ms));
  client::http_request request;
  request.method = "POST";
  request.target = queue_path(api, o, "/lease");
  request.headers.emplace_back("Content-Type", "application/json");
  request.body = ask.str();
  request.timeout += std::chrono::milliseconds{o.wait_ms};
  auto response = api.call(std::move(request));
  if (!response) return std::unexpected{response.error()};
  const auto members = client::json_members(response->body);
  const auto tasks =
      members ? client::json_elements(client::find_member(*members, "tasks")) : std::nullopt;
  if (!tasks) return fail(errc::invalid_json, "the server's answer has no list of tasks");
  for (const auto task : *tasks)
    run.io.out << task << '\n';
  run.io.out.flush();
  if (!o.complete) return {};
  for (const auto task : *tasks) {
    auto done = end_lease(api, shown_at(task, "lease"), "complete", "{}");
    if (!done) return done;
  }
  return {};
}

result<void> complete(const context&, client::api& api, const queue_options& o) {
  object_text body;
  if (!o.json.empty() || o.is_text) body.raw("result", json_of(o));
  return end_lease(api, o.lease, "complete", body.str());
}

result<void> fail_task(const context& run, client::api& api, const queue_options& o) {
  object_text body;
  if (!o.error.empty()) body.text("error", o.error);
  if (o.is_final) body.raw("retryable", "false");
  body.number("retry_after_ms", o.retry_after_ms);
  const auto path = api.tenant_path("/leases/" + client::percent_encoded(o.lease) + "/fail");
  return print_answer(run, api.call("POST", path, body.str()));
}

result<void> extend(const context& run, client::api& api, const queue_options& o) {
  object_text body;
  body.number("lease_ms", o.lease_ms);
  const auto path = api.tenant_path("/leases/" + client::percent_encoded(o.lease) + "/extend");
  return print_answer(run, api.call("POST", path, body.str()));
}

// -- dead letters -------------------------------------------------------------------------------

result<void> dead(const context& run, client::api& api, const queue_options& o) {
  auto query = fmt::format("/dead?limit={}", o.limit);
  if (!o.fairness_key.empty()) query += "&fairness_key=" + client::percent_encoded(o.fairness_key);
  if (!o.error_contains.empty()) {
    query += "&error_contains=" + client::percent_encoded(o.error_contains);
  }
  auto body = api.call("GET", queue_path(api, o, query));
  if (!body) return std::unexpected{body.error()};
  print_list(
      run,
      *body,
      "tasks",
      {{"TASK", "task"},
       {"PRIORITY", "priority"},
       {"ATTEMPTS", "attempts"},
       {"ENQUEUED", "enqueued"},
       {"KEY", "fairness_key"},
       {"ERROR", "error"}});
  return {};
}

result<void>
change_dead(const context& run, client::api& api, const queue_options& o, std::string_view rest) {
  object_text body;
  if (!o.tasks.empty()) body.raw("tasks", fmt::format("[{}]", fmt::join(o.tasks, ",")));
  if (o.all) body.raw("all", "true");
  if (!o.fairness_key.empty()) body.text("fairness_key", o.fairness_key);
  if (!o.error_contains.empty()) body.text("error_contains", o.error_contains);
  return print_answer(run, api.call("POST", queue_path(api, o, rest), body.str()));
}

result<void> redrive(const context& run, client::api& api, const queue_options& o) {
  return change_dead(run, api, o, "/dead/redrive");
}

result<void> abandon(const context& run, client::api& api, const queue_options& o) {
  return change_dead(run, api, o, "/dead/abandon");
}

result<void> edit(const context& run, client::api& api, const queue_options& o) {
  object_text body;
  body.raw("payload", json_of(o));
  return print_answer(
      run, api.call("PUT", queue_path(api, o, fmt::format("/dead/{}", o.task)), body.str()));
}

/// The latest page is the last one, so all are asked for and `--limit` of them are kept.
result<void> audit(const context& run, client::api& api, const queue_options& o) {
  std::string after;
  std::deque<std::string> kept;
  do {
    auto query = fmt::format("/audit?limit={}", page_size);
    if (!after.empty()) query += "&after=" + after;
    auto body = api.call("GET", queue_path(api, o, query));
    if (!body) return std::unexpected{body.error()};
    const auto members = client::json_members(*body);
    const auto changes =
        members ? client::json_elements(client::find_member(*members, "changes")) : std::nullopt;
    if (!changes) return fail(errc::invalid_json, "the server's answer has no list of changes");
    for (const auto change : *changes) {
      kept.emplace_back(change);
      if (kept.size() > o.limit) kept.pop_front();
    }
    after = shown_at(*body, "next");
  } while (!after.empty() && after != "-");
  print_list(
      run,
      fmt::format(R"({{"changes":[{}]}})", fmt::join(kept, ",")),
      "changes",
      {{"TIME", "time"},
       {"WHO", "who"},
       {"ACTION", "action"},
       {"TASKS", "tasks"},
       {"UP TO", "up_to"}});
  return {};
}

// -- the commands -------------------------------------------------------------------------------

void add_queues(CLI::App& family, context& run) {
  add_one(family, run, {"list", "list task queues", "callboard queue list", list}, about::all);
  add_one(
      family,
      run,
      {"show", "settings, backlog and leases of a queue", "callboard queue show llm", show},
      about::queue);
  auto [command, o] = add_one(
      family,
      run,
      {"set",
       "make a queue or change its settings",
       "callboard queue set llm --lease-ms 60000",
       set},
      about::queue);
  command.add_option("--lease-ms", o->lease_ms, "length of a lease unless a worker asks otherwise");
  command.add_option("--attempts-max", o->attempts_max, "attempts before the dead letters");
  command.add_option("--backoff-min-ms", o->backoff_min_ms, "first wait after a failure");
  command.add_option("--backoff-max-ms", o->backoff_max_ms, "longest wait after a failure");
  command.add_option("--dedupe-window-s", o->dedupe_window_s, "how long dedupe keys are known");
  command.add_option("--concurrency", o->concurrency, "leases at a time; 0: no limit");
  command.add_option(
      "--key-concurrency", o->key_concurrency, "leases at a time of one fairness key; 0: no limit");
  command.add_option("--aging-ms", o->aging_ms, "wait that raises a task one class; 0: never");
  command.add_option("--fairness-quantum", o->fairness_quantum, "tasks of one key in its turn");
  add_one(
      family,
      run,
      {"delete", "delete a queue and its tasks", "callboard queue delete llm", remove},
      about::queue);
}

void add_tasks(CLI::App& family, context& run) {
  auto [push_command, p] = add_one(
      family,
      run,
      {"push", "enqueue a task", R"(callboard queue push llm '{"prompt":"hello"}')", push},
      about::queue);
  push_command.add_option("payload", p->json, "what to do, as JSON")
      ->required()
      ->type_name("PAYLOAD");
  push_command.add_flag("--text", p->is_text, "PAYLOAD is a string, not JSON");
  push_command.add_option("--priority", p->priority, "how urgent it is; normal unless said")
      ->check(CLI::IsMember({"control", "interactive", "normal", "bulk"}));
  push_command.add_option("--delay-ms", p->delay_ms, "not before so long from now");
  push_command.add_option("--dedupe-key", p->dedupe_key, "once per key within the queue's window");
  push_command.add_option("--fairness-key", p->fairness_key, "whose task it is, to share fairly");
  push_command.add_option("--max-attempts", p->attempts_max, "instead of the queue's attempts-max");
  auto [task_command, t] = add_one(
      family,
      run,
      {"task", "a task that has not ended", "callboard queue task llm 17", show_task},
      about::queue);
  task_command.add_option("task", t->task, "number of the task")->required()->type_name("TASK");
  auto [cancel_command, c] = add_one(
      family,
      run,
      {"cancel",
       "take out a task that has not ended, also from its worker",
       "callboard queue cancel llm 17",
       cancel},
      about::queue);
  cancel_command.add_option("task", c->task, "number of the task")->required()->type_name("TASK");
  auto [purge_command, u] = add_one(
      family,
      run,
      {"purge",
       "take out all tasks that wait; what workers have stays",
       "callboard queue purge llm --dead",
       purge},
      about::queue);
  purge_command.add_flag("--dead", u->with_dead, "the dead letters as well");
}

void add_leases(CLI::App& family, context& run) {
  auto [lease_command, l] = add_one(
      family,
      run,
      {"lease",
       "take tasks; prints them as JSON lines",
       "callboard queue lease llm --max 5 --wait-ms 10000 --complete",
       lease},
      about::queue);
  lease_command.add_option("--worker", l->worker, "name of this worker")->capture_default_str();
  lease_command.add_option("--max", l->max, "how many at most")->capture_default_str();
  lease_command.add_option("--lease-ms", l->lease_ms, "else the queue's");
  lease_command.add_option("--wait-ms", l->wait_ms, "wait for the first so long");
  lease_command.add_flag("--complete", l->complete, "complete them once they are printed");
  auto [complete_command, c] = add_one(
      family,
      run,
      {"complete", "a task is done", "callboard queue complete LEASE", complete},
      about::lease);
  complete_command.add_option("result", c->json, "what came of it, as JSON")->type_name("RESULT");
  complete_command.add_flag("--text", c->is_text, "RESULT is a string, not JSON");
  auto [fail_command, f] = add_one(
      family,
      run,
      {"fail", "an attempt failed", "callboard queue fail LEASE --error 'no such file'", fail_task},
      about::lease);
  fail_command.add_option("--error", f->error, "why, for the history of attempts");
  fail_command.add_flag("--final", f->is_final, "to the dead letters at once");
  fail_command.add_option(
      "--retry-after-ms", f->retry_after_ms, "not before; does not count as an attempt");
  auto [extend_command, e] = add_one(
      family,
      run,
      {"extend", "keep a lease for longer", "callboard queue extend LEASE", extend},
      about::lease);
  extend_command.add_option("--lease-ms", e->lease_ms, "from now on; else as long as before");
}

void add_filter(CLI::App& command, queue_options& o) {
  command.add_option("--fairness-key", o.fairness_key, "only tasks of this key");
  command.add_option("--error-contains", o.error_contains, "only those whose last error has this");
}

void add_dead(CLI::App& family, context& run) {
  auto [dead_command, d] = add_one(
      family,
      run,
      {"dead",
       "dead letters of a queue",
       "callboard queue dead llm --error-contains timeout",
       dead},
      about::queue);
  add_filter(dead_command, *d);
  dead_command.add_option("--limit", d->limit, "how many at most")->capture_default_str();
  auto [edit_command, e] = add_one(
      family,
      run,
      {"edit",
       "give a dead letter another payload, to be redriven then",
       R"(callboard queue edit llm 17 '{"prompt":"hello"}')",
       edit},
      about::queue);
  edit_command.add_option("task", e->task, "number of the task")->required()->type_name("TASK");
  edit_command.add_option("payload", e->json, "what to do, as JSON")
      ->required()
      ->type_name("PAYLOAD");
  edit_command.add_flag("--text", e->is_text, "PAYLOAD is a string, not JSON");
  auto [audit_command, a] = add_one(
      family,
      run,
      {"audit",
       "who cancelled, purged, redrove, edited or abandoned what, the latest last",
       "callboard queue audit llm --limit 20",
       audit},
      about::queue);
  audit_command.add_option("--limit", a->limit, "how many at most")->capture_default_str();
  for (const auto& one :
       {description{
            "redrive",
            "let dead letters be tried again",
            "callboard queue redrive llm --error-contains timeout",
            redrive},
        description{
            "abandon", "give dead letters up", "callboard queue abandon llm 17", abandon}}) {
    auto [command, o] = add_one(family, run, one, about::queue);
    command.add_option("tasks", o->tasks, "numbers of tasks")->type_name("TASK");
    command.add_flag("--all", o->all, "all of them");
    add_filter(command, *o);
  }
}

}  // namespace

void add_queue(CLI::App& app, context& run) {
  auto& family = add_family(
      app, "queue", "task queues, their tasks and dead letters", "callboard queue show llm");
  add_queues(family, run);
  add_tasks(family, run);
  add_leases(family, run);
  add_dead(family, run);
}

}  // namespace callboard::cli
