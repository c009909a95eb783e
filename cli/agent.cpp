// callboard agent call|show|explain|list
#include "cli/client/raw_json.hpp"
#include "cli/families.hpp"
#include "cli/number_range.hpp"
#include "cli/output.hpp"
#include "cli/workflow_output.hpp"
#include "cli/workflow_pages.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <utility>

namespace callboard::cli {

namespace {

struct agent_options {
  std::string type;
  std::string key;
  std::string message;
  std::string payload;
  std::string id;
  bool is_text = false;
  bool is_async = false;
  std::uint32_t wait_ms = 30'000;
  std::uint32_t limit = 0;
};

/// The server waits no longer in one call.
constexpr std::uint32_t wait_ms_max = 60'000;

std::string agent_path(const client::api& api, const agent_options& o) {
  return api.tenant_path(
      "/agents/" + client::percent_encoded(o.type) + "/" + client::percent_encoded(o.key));
}

result<void> call(const context& run, client::api& api, const agent_options& o) {
  client::http_request request;
  request.method = "POST";
  request.target = fmt::format(
      "{}/{}?wait_ms={}", agent_path(api, o), client::percent_encoded(o.message), o.wait_ms);
  request.headers.emplace_back("Content-Type", "application/json");
  if (!o.id.empty()) request.headers.emplace_back("Idempotency-Key", o.id);
  if (o.is_async) request.headers.emplace_back("Prefer", "respond-async");
  request.body = o.is_text ? client::json_quoted(o.payload) : o.payload;
  request.timeout += std::chrono::milliseconds{o.wait_ms};
  auto response = api.call(std::move(request));
  if (!response) return std::unexpected{response.error()};
  print_object(run, response->body);
  return {};
}

result<void> show(const context& run, client::api& api, const agent_options& o) {
  auto body = api.call("GET", agent_path(api, o));
  if (!body) return std::unexpected{body.error()};
  const auto members = client::json_members(*body);
  if (run.wants_json() || !members) {
    print_object(run, *body);
    return {};
  }
  std::string brief;
  for (const auto& [name, value] : *members) {
    if (name == "steps" || name == "input") continue;
    brief += fmt::format("{}{}:{}", brief.empty() ? "" : ",", client::json_quoted(name), value);
  }
  print_object(run, "{" + brief + "}");
  return {};
}

/// An agent is a workflow of its own kind.
result<void> explain(const context& run, client::api& api, const agent_options& o) {
  const auto id = client::percent_encoded(fmt::format("agent.{}.{}", o.type, o.key));
  auto body = api.call("GET", api.tenant_path("/workflows/" + id + "/explain"));
  if (!body) return std::unexpected{body.error()};
  print_explanation(run, *body);
  return {};
}

result<void> list(const context& run, client::api& api, const agent_options& o) {
  auto body = all_workflows(api, {.type = "agent:" + o.type, .limit = o.limit});
  if (!body) return std::unexpected{body.error()};
  print_list(
      run,
      *body,
      "workflows",
      {{"KEY", "key"},
       {"STATUS", "status"},
       {"VERSION", "version"},
       {"RUN", "run"},
       {"EVENTS", "history_size"},
       {"BYTES", "history_bytes"},
       {"STARTED MS", "started_ms"},
       {"ERROR", "error.message"},
       {"STUCK", "stuck.message"}});
  return {};
}

using agent_work = result<void> (*)(const context&, client::api&, const agent_options&);

std::pair<CLI::App&, std::shared_ptr<agent_options>> add_one(
    CLI::App& family,
    context& run,
    const std::string& name,
    const std::string& what,
    const std::string& example,
    agent_work work) {
  auto o = std::make_shared<agent_options>();
  auto& command = add_command(family, run, name, what, example, [&run, o, work] {
    if (!o->is_text && !o->payload.empty() && !client::is_json(o->payload)) {
      return run.misuse("what was given is not JSON; put strings in quotes, or use --text");
    }
    return run.with_server([&](client::api& api) { return work(run, api, *o); });
  });
  command.add_option("type", o->type, "class of the agent")->required()->type_name("TYPE");
  return {command, o};
}

std::pair<CLI::App&, std::shared_ptr<agent_options>> add_with_key(
    CLI::App& family,
    context& run,
    const std::string& name,
    const std::string& what,
    const std::string& example,
    agent_work work) {
  auto [command, o] = add_one(family, run, name, what, example, work);
  command.add_option("key", o->key, "which one")->required()->type_name("KEY");
  return {command, o};
}

}  // namespace

void add_agent(CLI::App& app, context& run) {
  auto& family =
      add_family(app, "agent", "agents of the tenant", "callboard agent call counter likes add 5");
  auto [command, o] = add_with_key(
      family,
      run,
      "call",
      "hand an agent a message and wait for its reply",
      "callboard agent call counter likes add 5",
      call);
  command.add_option("message", o->message, "name of the message")
      ->required()
      ->type_name("MESSAGE");
  auto* payload = command.add_option("payload", o->payload, "JSON value; null by default");
  payload->type_name("PAYLOAD");
  command.add_flag("--text", o->is_text, "PAYLOAD is text, not JSON")->needs(payload);
  command
      .add_option("--key", o->id, "a message with the id of an earlier one is not handled again")
      ->type_name("ID");
  command.add_flag("--async", o->is_async, "do not wait for the reply");
  command.add_option("--wait-ms", o->wait_ms, "how long to wait")
      ->check(CLI::Range(std::uint32_t{1}, wait_ms_max))
      ->capture_default_str();
  add_with_key(
      family, run, "show", "the state of an agent", "callboard agent show counter likes", show);
  add_with_key(
      family,
      run,
      "explain",
      "what an agent does now, since when, and how many messages wait",
      "callboard agent explain counter likes",
      explain);
  auto [list_command, l] =
      add_one(family, run, "list", "the agents of a class", "callboard agent list counter", list);
  list_command.add_option("--limit", l->limit, "list at most so many")->check(at_least_one);
}

}  // namespace callboard::cli
