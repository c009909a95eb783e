// callboard workflow start|show|list|result|explain|signal|cancel|terminate|history; the rest is in
// workflow_repair.cpp
#include "cli/client/raw_json.hpp"
#include "cli/families.hpp"
#include "cli/number_range.hpp"
#include "cli/object_text.hpp"
#include "cli/output.hpp"
#include "cli/workflow_output.hpp"
#include "cli/workflow_pages.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <ostream>

namespace callboard::cli {

namespace {

/// The server waits no longer in one call.
constexpr std::uint32_t wait_ms_max = 60'000;

struct workflow_options {
  std::string id;
  std::uint32_t wait_ms = 0;
  // start
  std::string type;
  std::string correlation_id;
  std::string mirror;
  /// Of `start` and `signal`.
  std::string json;
  bool is_text = false;
  // signal and cancel
  std::string signal;
  std::string key;
  std::string reason;
  // list and history
  std::string status;
  std::string from = "first";
  std::uint32_t limit = 0;
  bool is_stuck = false;
};

std::string
workflow_path(const client::api& api, const workflow_options& o, std::string_view rest = {}) {
  return api.tenant_path("/workflows/" + client::percent_encoded(o.id) + std::string{rest});
}

/// What was given as INPUT or PAYLOAD; empty if nothing was.
std::string json_of(const workflow_options& o) {
  return o.is_text ? client::json_quoted(o.json) : o.json;
}

bool is_sound(const workflow_options& o) {
  return o.is_text || o.json.empty() || client::is_json(o.json);
}

std::string wait_query(const workflow_options& o) {
  return o.wait_ms == 0 ? std::string{} : fmt::format("?wait_ms={}", o.wait_ms);
}

client::http_request request_of(std::string method, std::string target, const workflow_options& o) {
  client::http_request request;
  request.method = std::move(method);
  request.target = std::move(target);
  request.timeout += std::chrono::milliseconds{o.wait_ms};
  return request;
}

// -- one workflow ------------------------------------------------------------------------------

result<void> start(const context& run, client::api& api, const workflow_options& o) {
  object_text body;
  body.text("type", o.type);
  if (!o.id.empty()) body.text("id", o.id);
  if (!o.json.empty() || o.is_text) body.raw("input", json_of(o));
  if (!o.correlation_id.empty()) body.text("correlation_id", o.correlation_id);
  if (!o.mirror.empty()) body.text("mirror", o.mirror);
  auto request = request_of("POST", api.tenant_path("/workflows" + wait_query(o)), o);
  request.headers.emplace_back("Content-Type", "application/json");
  request.body = body.str();
  auto response = api.call(std::move(request));
  if (!response) return std::unexpected{response.error()};
  print_workflow(run, response->body);
  return {};
}

result<void> show(const context& run, client::api& api, const workflow_options& o) {
  auto body = api.call("GET", workflow_path(api, o));
  if (!body) return std::unexpected{body.error()};
  print_workflow(run, *body);
  return {};
}

result<void> show_result(const context& run, client::api& api, const workflow_options& o) {
  auto response = api.call(request_of("GET", workflow_path(api, o, "/result" + wait_query(o)), o));
  if (!response) return std::unexpected{response.error()};
  print_object(run, response->body);
  return {};
}

result<void> send_signal(const context& run, client::api& api, const workflow_options& o) {
  const auto path = workflow_path(api, o, "/signals/" + client::percent_encoded(o.signal));
  auto request = request_of("POST", path, o);
  request.headers.emplace_back("Content-Type", "application/json");
  if (!o.key.empty()) request.headers.emplace_back("Idempotency-Key", o.key);
  request.body = json_of(o);
  auto response = api.call(std::move(request));
  if (!response) return std::unexpected{response.error()};
  print_object(run, response->body);
  return {};
}

result<void>
end(const context& run, client::api& api, const workflow_options& o, std::string_view how) {
  object_text body;
  if (!o.reason.empty()) body.text("reason", o.reason);
  auto answer = api.call("POST", workflow_path(api, o, how), body.str());
  if (!answer) return std::unexpected{answer.error()};
  print_object(run, *answer);
  return {};
}

result<void> cancel(const context& run, client::api& api, const workflow_options& o) {
  return end(run, api, o, "/cancel");
}

result<void> terminate(const context& run, client::api& api, const workflow_options& o) {
  return end(run, api, o, "/terminate");
}

result<void> explain(const context& run, client::api& api, const workflow_options& o) {
  auto body = api.call("GET", workflow_path(api, o, "/explain"));
  if (!body) return std::unexpected{body.error()};
  print_explanation(run, *body);
  return {};
}

// -- pages -------------------------------------------------------------------------------------

result<void> list(const context& run, client::api& api, const workflow_options& o) {
  auto body = all_workflows(
      api, {.type = o.type, .status = o.status, .is_stuck = o.is_stuck, .limit = o.limit});
  if (!body) return std::unexpected{body.error()};
  print_list(
      run,
      *body,
      "workflows",
      {{"ID", "id"},
       {"TYPE", "type"},
       {"VERSION", "version"},
       {"RUN", "run"},
       {"STATUS", "status"},
       {"EVENTS", "history_size"},
       {"BYTES", "history_bytes"},
       {"STARTED MS", "started_ms"},
       {"ENDED MS", "ended_ms"},
       {"ERROR", "error.message"},
       {"STUCK", "stuck.message"}});
  return {};
}

result<void> history(const context& run, client::api& api, const workflow_options& o) {
  auto body = whole_history(api, o.id, o.from, o.limit);
  if (!body) return std::unexpected{body.error()};
  print_list(
      run,
      *body,
      "events",
      {{"SEQ", "seq"},
       {"TIME", "event.time"},
       {"RUN", "event.run"},
       {"COMMAND", "event.command"},
       {"TYPE", "event.type"},
       {"DATA", "event.data"}});
  return {};
}

// -- the commands ------------------------------------------------------------------------------

using workflow_work = result<void> (*)(const context&, client::api&, const workflow_options&);

struct description {
  std::string name;
  std::string what;
  std::string example;
  workflow_work work;
};

std::pair<CLI::App&, std::shared_ptr<workflow_options>>
add_one(CLI::App& family, context& run, const description& d) {
  auto o = std::make_shared<workflow_options>();
  auto& command = add_command(family, run, d.name, d.what, d.example, [&run, o, work = d.work] {
    if (!is_sound(*o)) {
      return run.misuse("what was given is not JSON; put strings in quotes, or use --text");
    }
    return run.with_server([&](client::api& api) { return work(run, api, *o); });
  });
  return {command, o};
}

std::pair<CLI::App&, std::shared_ptr<workflow_options>>
add_with_id(CLI::App& family, context& run, const description& d) {
  auto [command, o] = add_one(family, run, d);
  command.add_option("id", o->id, "id of the workflow")->required()->type_name("ID");
  return {command, o};
}

void add_wait(CLI::App& command, workflow_options& o) {
  command.add_option("--wait-ms", o.wait_ms, "wait so long for the end")
      ->check(CLI::Range(std::uint32_t{1}, wait_ms_max));
}

void add_start(CLI::App& family, context& run) {
  auto [command, o] = add_one(
      family,
      run,
      {"start",
       "start a workflow; the same start again answers with the same one",
       "callboard workflow start order '{\"item\":\"lamp\",\"total\":40}' --id o1 --wait-ms 5000",
       start});
  command.add_option("type", o->type, "type of the workflow")->required()->type_name("TYPE");
  auto* input = command.add_option("input", o->json, "JSON value; null by default");
  input->type_name("INPUT");
  command.add_option("--id", o->id, "id of the workflow; made if there is none");
  command.add_option("--correlation-id", o->correlation_id, "stands in every event of its channel");
  command.add_option("--mirror", o->mirror, "topic that gets its workflow.update events, too")
      ->type_name("TOPIC");
  command.add_flag("--text", o->is_text, "INPUT is text, not JSON")->needs(input);
  add_wait(command, *o);
}

void add_signal(CLI::App& family, context& run) {
  auto [command, o] = add_with_id(
      family,
      run,
      {"signal",
       "send a signal to a workflow",
       "callboard workflow signal o1 approve true --key approval-17",
       send_signal});
  command.add_option("name", o->signal, "name of the signal")->required()->type_name("NAME");
  auto* payload = command.add_option("payload", o->json, "JSON value; null by default");
  payload->type_name("PAYLOAD");
  command.add_option("--key", o->key, "a signal with the key of an earlier one is not sent again");
  command.add_flag("--text", o->is_text, "PAYLOAD is text, not JSON")->needs(payload);
}

void add_pages(CLI::App& family, context& run) {
  auto [list_command, l] = add_one(
      family,
      run,
      {"list", "list workflows", "callboard workflow list --type order --status running", list});
  list_command.add_option("--type", l->type, "only those of this type");
  list_command.add_option("--status", l->status, "only those that are so")
      ->check(CLI::IsMember({"running", "completed", "failed", "cancelled", "blocked"}));
  list_command.add_flag(
      "--stuck", l->is_stuck, "only those that nothing would ever wake, and why; agents, too");
  list_command.add_option("--limit", l->limit, "list at most so many")->check(at_least_one);
  auto [history_command, h] = add_with_id(
      family,
      run,
      {"history",
       "the events of a workflow's channel",
       "callboard workflow history o1 --output json",
       history});
  history_command.add_option("--from", h->from, "where to begin: first, a seq or a cursor")
      ->capture_default_str();
  history_command.add_option("--limit", h->limit, "at most so many")->check(at_least_one);
}

}  // namespace

void add_workflow(CLI::App& app, context& run) {
  auto& family = add_family(
      app, "workflow", "durable workflows of the tenant", "callboard workflow start order");
  add_start(family, run);
  add_with_id(
      family,
      run,
      {"show",
       "status, input, result and commands of a workflow",
       "callboard workflow show o1",
       show});
  auto [result_command, r] = add_with_id(
      family,
      run,
      {"result",
       "how a workflow ended; exits with 0 also if it failed or still runs",
       "callboard workflow result o1 --wait-ms 10000 --output json",
       show_result});
  add_wait(result_command, *r);
  add_signal(family, run);
  auto [cancel_command, c] = add_with_id(
      family,
      run,
      {"cancel",
       "cancel a workflow; its compensations still run",
       "callboard workflow cancel o1 --reason 'changed my mind'",
       cancel});
  cancel_command.add_option("--reason", c->reason, "why, for its history");
  auto [terminate_command, t] = add_with_id(
      family,
      run,
      {"terminate",
       "end a workflow where it stands: nothing is undone, no code runs",
       "callboard workflow terminate o1 --reason 'its code is gone for good'",
       terminate});
  terminate_command.add_option("--reason", t->reason, "why, for its history");
  add_with_id(
      family,
      run,
      {"explain",
       "what a workflow waits for, since when, and what will wake it",
       "callboard workflow explain o1",
       explain});
  add_pages(family, run);
  add_workflow_repair(family, run);
}

}  // namespace callboard::cli
