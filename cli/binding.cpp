// callboard binding list|show|put|delete|dead|redrive|abandon|edit
#include "cli/client/raw_json.hpp"
#include "cli/families.hpp"
#include "cli/object_text.hpp"
#include "cli/output.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <memory>
#include <optional>
#include <ostream>
#include <utility>

namespace callboard::cli {

namespace {

struct binding_options {
  std::string topic;
  std::string binding;
  // filter
  std::string type;
  std::string subject;
  std::string from;
  // target: one of the four
  std::string workflow;
  std::string signal;
  std::string agent;
  std::string queue;
  // and what belongs to it
  std::string id;
  std::string key;
  std::string message;
  std::string priority;
  std::string fairness_key;
  bool takes_event = false;
  // dead letters
  std::uint32_t limit = 100;
  std::optional<std::uint64_t> from_seq;
  std::vector<std::uint64_t> seqs;
  std::string error_contains;
  bool all = false;
  std::uint64_t seq = 0;
  /// JSON, or text if it `is_text`.
  std::string data;
  bool is_text = false;
};

std::string
binding_path(const client::api& api, const binding_options& o, std::string_view rest = {}) {
  return api.topic_path(
      o.topic, "/bindings/" + client::percent_encoded(o.binding) + std::string{rest});
}

/// For CLI11: a filter that is left empty by mistake must not become none.
std::string not_empty(const std::string& text) {
  return text.empty() ? "must not be empty" : "";
}

void add_text(object_text& to, std::string_view name, const std::string& value) {
  if (!value.empty()) to.text(name, value);
}

std::string target_json(const binding_options& o) {
  object_text inner;
  object_text target;
  if (!o.workflow.empty()) {
    inner.text("type", o.workflow);
    add_text(inner, "id", o.id);
    if (o.takes_event) inner.text("input", "event");
    target.raw("workflow", inner.str());
  } else if (!o.signal.empty()) {
    inner.text("workflow", o.id);
    inner.text("name", o.signal);
    target.raw("signal", inner.str());
  } else if (!o.agent.empty()) {
    inner.text("type", o.agent);
    inner.text("key", o.key);
    inner.text("message", o.message);
    target.raw("agent", inner.str());
  } else {
    inner.text("queue", o.queue);
    add_text(inner, "priority", o.priority);
    add_text(inner, "fairness_key", o.fairness_key);
    target.raw("queue", inner.str());
  }
  return target.str();
}

std::string rule_json(const binding_options& o) {
  object_text filter;
  add_text(filter, "type", o.type);
  add_text(filter, "subject", o.subject);
  object_text body;
  body.raw("filter", filter.str());
  body.raw("target", target_json(o));
  add_text(body, "from", o.from);
  return body.str();
}

using binding_work = result<void> (*)(const context&, client::api&, const binding_options&);

/// One command on a topic and, but for `list`, a binding of it.
std::pair<CLI::App&, std::shared_ptr<binding_options>> add_one(
    CLI::App& family,
    context& run,
    const std::string& name,
    const std::string& description,
    const std::string& example,
    binding_work work) {
  auto o = std::make_shared<binding_options>();
  auto& command = add_command(family, run, name, description, example, [&run, o, work] {
    if (!o->is_text && !o->data.empty() && !client::is_json(o->data)) {
      return run.misuse("this is not JSON; with --text it is taken as a string");
    }
    return run.with_server([&](client::api& api) { return work(run, api, *o); });
  });
  command.add_option("topic", o->topic, "name of the topic")->required()->type_name("TOPIC");
  if (name != "list") {
    command.add_option("binding", o->binding, "name of the binding")
        ->required()
        ->type_name("BINDING");
  }
  return {command, o};
}

result<void> list(const context& run, client::api& api, const binding_options& o) {
  auto body = api.call("GET", api.topic_path(o.topic, "/bindings"));
  if (!body) return std::unexpected{body.error()};
  print_list(
      run,
      *body,
      "bindings",
      {{"BINDING", "binding"},
       {"TYPE", "filter.type"},
       {"SUBJECT", "filter.subject"},
       {"POSITION", "position"},
       {"LAG", "lag"},
       {"IN FLIGHT", "in_flight"},
       {"DEAD", "dead"},
       {"EVER DEAD", "dead_lettered"},
       {"MISSED", "missed"}});
  return {};
}

result<void> show(const context& run, client::api& api, const binding_options& o) {
  auto body = api.call("GET", binding_path(api, o));
  if (!body) return std::unexpected{body.error()};
  print_object(run, *body);
  return {};
}

result<void> put(const context& run, client::api& api, const binding_options& o) {
  auto body = api.call("PUT", binding_path(api, o), rule_json(o));
  if (!body) return std::unexpected{body.error()};
  print_object(run, *body);
  return {};
}

result<void> remove(const context& run, client::api& api, const binding_options& o) {
  auto body = api.call("DELETE", binding_path(api, o));
  if (!body) return std::unexpected{body.error()};
  if (!run.wants_json()) run.io.out << "deleted " << o.binding << '\n';
  return {};
}

result<void> dead(const context& run, client::api& api, const binding_options& o) {
  auto query = fmt::format("/dead?limit={}", o.limit);
  if (o.from_seq) query += fmt::format("&from={}", *o.from_seq);
  auto body = api.call("GET", binding_path(api, o, query));
  if (!body) return std::unexpected{body.error()};
  print_list(
      run,
      *body,
      "events",
      {{"SEQ", "seq"},
       {"EVENT", "event.deadletterid"},
       {"TYPE", "event.type"},
       {"SUBJECT", "event.subject"},
       {"HISTORY", "event.deadletterhistory"}});
  return {};
}

/// Gives the answer, which is shown.
result<std::string>
change_dead(const context& run, client::api& api, const binding_options& o, std::string_view rest) {
  object_text body;
  if (!o.seqs.empty()) body.raw("seqs", fmt::format("[{}]", fmt::join(o.seqs, ",")));
  if (o.all) body.raw("all", "true");
  add_text(body, "error_contains", o.error_contains);
  add_text(body, "type", o.type);
  add_text(body, "subject", o.subject);
  auto answered = api.call("POST", binding_path(api, o, rest), body.str());
  if (answered) print_object(run, *answered);
  return answered;
}

std::uint64_t number_in(const std::string& answer, std::string_view name) {
  const auto members = client::json_members(answer);
  const auto text = members ? client::find_member(*members, name) : std::string_view{};
  std::uint64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

result<void> redrive(const context& run, client::api& api, const binding_options& o) {
  const auto answer = change_dead(run, api, o, "/dead/redrive");
  if (!answer) return std::unexpected{answer.error()};
  if (number_in(*answer, "redriving") != 0) return {};
  if (const auto refused = number_in(*answer, "refused"); refused != 0) {
    return fail(errc::wrong_kind, fmt::format("the target refused all {}", refused));
  }
  return {};
}

result<void> abandon(const context& run, client::api& api, const binding_options& o) {
  const auto answer = change_dead(run, api, o, "/dead/abandon");
  return answer ? result<void>{} : std::unexpected{answer.error()};
}

result<void> edit(const context& run, client::api& api, const binding_options& o) {
  object_text body;
  body.raw("data", o.is_text ? client::json_quoted(o.data) : o.data);
  auto answered = api.call("PUT", binding_path(api, o, fmt::format("/dead/{}", o.seq)), body.str());
  if (!answered) return std::unexpected{answered.error()};
  print_object(run, *answered);
  return {};
}

/// `redrive` and `abandon`.
void add_dead_change(
    CLI::App& family,
    context& run,
    const std::string& name,
    const std::string& description,
    binding_work work) {
  auto [command, o] = add_one(
      family,
      run,
      name,
      description,
      fmt::format("callboard binding {} orders start 7 8", name),
      work);
  command.add_option("seqs", o->seqs, "of the dead letters, as `binding dead` lists them")
      ->type_name("SEQ");
  command.add_flag("--all", o->all, "all of them");
  command.add_option("--error-contains", o->error_contains, "only those whose history has this")
      ->check(not_empty);
  command.add_option("--type", o->type, "only events of this type")->check(not_empty);
  command.add_option("--subject", o->subject, "only events of this subject")->check(not_empty);
}

void add_put(CLI::App& family, context& run) {
  auto [command, o] = add_one(
      family,
      run,
      "put",
      "make a binding or change its rule; names may have {id} {source} {type} {subject} {data.a.b}",
      "callboard binding put orders start --type 'order.placed' --workflow order --id "
      "'order-{data.order_id}'",
      put);
  command.add_option("--type", o->type, "only events of this type; may end in *");
  command.add_option("--subject", o->subject, "only events of this subject; may end in *");
  command.add_option("--from", o->from, "where a new one begins: now, first, a seq or a cursor");
  auto& target = *command.add_option_group("target", "what to do for each matching event");
  target.add_option("--workflow", o->workflow, "start a workflow of this type");
  target.add_option("--signal", o->signal, "send this signal to the workflow --id");
  target.add_option("--agent", o->agent, "call an agent of this type, with --key and --message");
  target.add_option("--queue", o->queue, "enqueue a task in this queue");
  target.require_option(1);
  auto* id = command.add_option("--id", o->id, "id of the workflow");
  target.get_option("--signal")->needs(id);
  auto* key = command.add_option("--key", o->key, "key of the agent");
  auto* message = command.add_option("--message", o->message, "message to the agent");
  target.get_option("--agent")->needs(key)->needs(message);
  command.add_flag("--whole-event", o->takes_event, "the workflow's input is the whole event");
  command.add_option("--priority", o->priority, "of the task: control|interactive|normal|bulk");
  command.add_option("--fairness-key", o->fairness_key, "of the task");
}

}  // namespace

void add_binding(CLI::App& app, context& run) {
  auto& family = add_family(
      app,
      "binding",
      "what is done for each event of a topic",
      "callboard binding put orders start --workflow order");
  add_one(family, run, "list", "list bindings of a topic", "callboard binding list orders", list);
  add_one(
      family,
      run,
      "show",
      "rule and position of a binding",
      "callboard binding show orders start",
      show);
  add_put(family, run);
  add_one(
      family,
      run,
      "delete",
      "delete a binding with its dead letters",
      "callboard binding delete orders start",
      remove);
  auto [dead_command, d] = add_one(
      family,
      run,
      "dead",
      "events that the target refused",
      "callboard binding dead orders start",
      dead);
  dead_command.add_option("--limit", d->limit, "how many at most")->capture_default_str();
  dead_command.add_option("--from", d->from_seq, "from this seq of the dead letters on");
  add_dead_change(
      family, run, "redrive", "try the dead letters again, all or those that are named", redrive);
  add_dead_change(
      family, run, "abandon", "give dead letters up: those that are named, or --all", abandon);
  auto [edit_command, e] = add_one(
      family,
      run,
      "edit",
      "give a dead letter other data, to be redriven then; prints its new seq",
      "callboard binding edit orders start 7 '{\"total\":40}'",
      edit);
  edit_command.add_option("seq", e->seq, "of the dead letter, as `binding dead` lists it")
      ->required()
      ->type_name("SEQ");
  edit_command.add_option("data", e->data, "what the event shall have, as JSON")
      ->required()
      ->type_name("DATA");
  edit_command.add_flag("--text", e->is_text, "DATA is a string, not JSON");
}

}  // namespace callboard::cli
