// callboard workflow restart|fork|skip|resolve: what went wrong is put right by hand.
#include "cli/client/raw_json.hpp"
#include "cli/families.hpp"
#include "cli/number_range.hpp"
#include "cli/object_text.hpp"
#include "cli/output.hpp"
#include "cli/workflow_output.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>

namespace callboard::cli {

namespace {

struct repair_options {
  std::string id;
  std::string from;
  std::string reason;
  std::string new_id;
  std::optional<std::uint32_t> version;
  std::uint32_t command = 0;
  std::string result;
  std::string error_code;
  std::string error_class;
  std::string error_message;
  bool is_text = false;
  bool without_signals = false;
};

result<std::string>
post(client::api& api, const repair_options& o, const std::string& rest, object_text body) {
  if (!o.reason.empty()) body.text("reason", o.reason);
  const auto path = api.tenant_path("/workflows/" + client::percent_encoded(o.id) + rest);
  return api.call("POST", path, body.str());
}

/// By what answers with the workflow as it is now.
result<void> print_begun(const context& run, const result<std::string>& answer) {
  if (!answer) return std::unexpected{answer.error()};
  print_workflow(run, *answer);
  return {};
}

result<void> print_ended(const context& run, const result<std::string>& answer) {
  if (!answer) return std::unexpected{answer.error()};
  print_object(run, *answer);
  return {};
}

/// Of a restart or a fork.
void add_how(object_text& body, const repair_options& o) {
  body.number("version", o.version);
  if (o.without_signals) body.raw("without_signals", "true");
}

result<void> restart(const context& run, client::api& api, const repair_options& o) {
  object_text body;
  body.text("from", o.from);
  add_how(body, o);
  return print_begun(run, post(api, o, "/restart", std::move(body)));
}

result<void> fork(const context& run, client::api& api, const repair_options& o) {
  object_text body;
  body.text("id", o.new_id);
  if (!o.from.empty()) body.text("from", o.from);
  add_how(body, o);
  return print_begun(run, post(api, o, "/fork", std::move(body)));
}

result<void> skip(const context& run, client::api& api, const repair_options& o) {
  return print_ended(run, post(api, o, fmt::format("/commands/{}/skip", o.command), {}));
}

result<void> resolve(const context& run, client::api& api, const repair_options& o) {
  object_text body;
  if (o.error_code.empty() && (!o.result.empty() || o.is_text)) {
    body.raw("result", o.is_text ? client::json_quoted(o.result) : o.result);
  } else if (!o.error_code.empty()) {
    object_text why;
    if (!o.error_class.empty()) why.text("class", o.error_class);
    why.text("code", o.error_code);
    why.text("message", o.error_message);
    body.raw("error", why.str());
  }
  const auto rest = fmt::format("/commands/{}/resolve", o.command);
  return print_ended(run, post(api, o, rest, std::move(body)));
}

using repair_work = result<void> (*)(const context&, client::api&, const repair_options&);

std::pair<CLI::App&, std::shared_ptr<repair_options>> add_one(
    CLI::App& family,
    context& run,
    const std::string& name,
    const std::string& what,
    const std::string& example,
    repair_work work) {
  auto o = std::make_shared<repair_options>();
  auto& command = add_command(family, run, name, what, example, [&run, o, work] {
    if (!o->result.empty() && !o->is_text && !client::is_json(o->result)) {
      return run.misuse("what was given is not JSON; put strings in quotes, or use --text");
    }
    return run.with_server([&](client::api& api) { return work(run, api, *o); });
  });
  command.add_option("id", o->id, "id of the workflow")->required()->type_name("ID");
  command.add_option("--reason", o->reason, "why, for its history");
  return {command, o};
}

void add_how(CLI::App& command, repair_options& o) {
  command.add_option("--code-version", o.version, "version of the workflow class to go on with")
      ->check(at_least_one);
  command.add_flag(
      "--without-signals", o.without_signals, "leave out what was signalled behind the command");
}

void add_command_index(CLI::App& command, repair_options& o) {
  command
      .add_option("command", o.command, "index of an open command, as `workflow explain` lists it")
      ->required()
      ->type_name("INDEX")
      ->check([](const std::string& text) {
        return text != "0" ? std::string{}
                           : "commands are numbered from 1; `workflow explain` lists those that "
                             "are open and can be ended by hand";
      });
}

}  // namespace

void add_workflow_repair(CLI::App& family, context& run) {
  auto [restart_command, r] = add_one(
      family,
      run,
      "restart",
      "begin the next run of a workflow with what was recorded before a command",
      "callboard workflow restart o1 --from charge --reason 'the bank is back'",
      restart);
  restart_command.add_option("--from", r->from, "index of a command, or the name of its last")
      ->required()
      ->type_name("COMMAND");
  add_how(restart_command, *r);
  auto [fork_command, f] = add_one(
      family,
      run,
      "fork",
      "begin another workflow with what was recorded, all of it or before a command",
      "callboard workflow fork o1 --id o1-again --from charge",
      fork);
  fork_command.add_option("--id", f->new_id, "id of the new workflow")->required();
  fork_command.add_option("--from", f->from, "index of a command, or the name of its last")
      ->type_name("COMMAND");
  add_how(fork_command, *f);
  auto [skip_command, s] = add_one(
      family,
      run,
      "skip",
      "end an open command with null as its result",
      "callboard workflow skip o1 3 --reason 'done by hand'",
      skip);
  add_command_index(skip_command, *s);
  auto [resolve_command, e] = add_one(
      family,
      run,
      "resolve",
      "end an open command with a result or a failure",
      "callboard workflow resolve o1 3 --result '{\"receipt\":17}' --reason 'asked the bank'",
      resolve);
  add_command_index(resolve_command, *e);
  auto* result = resolve_command.add_option("--result", e->result, "JSON value");
  auto* failed = resolve_command.add_option("--error", e->error_code, "code of a failure");
  resolve_command.add_option("--message", e->error_message, "of the failure, for people")
      ->needs(failed);
  resolve_command
      .add_option("--class", e->error_class, "retryable, rate, quota, permanent (default) or bug")
      ->check(CLI::IsMember({"retryable", "rate", "quota", "permanent", "bug"}))
      ->needs(failed);
  resolve_command.add_flag("--text", e->is_text, "the result is text, not JSON")->needs(result);
  result->excludes(failed);
}

}  // namespace callboard::cli
