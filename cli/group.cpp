// callboard group list|show|create|set|delete|fetch|ack|nack
#include "cli/client/raw_json.hpp"
#include "cli/families.hpp"
#include "cli/object_text.hpp"
#include "cli/output.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <ostream>
#include <unistd.h>

namespace callboard::cli {

namespace {

struct group_options {
  std::string topic;
  std::string group;
  // settings
  std::optional<std::uint32_t> hold_ms;
  std::optional<std::uint32_t> deliveries_max;
  std::optional<std::uint32_t> in_flight_max;
  std::optional<std::uint32_t> backoff_min_ms;
  std::optional<std::uint32_t> backoff_max_ms;
  std::optional<bool> ordered_by_subject;
  std::optional<std::string> dead_letter_topic;
  std::string from;
  // deliveries
  std::string member = fmt::format("cli-{}", ::getpid());
  std::uint32_t max = 10;
  std::uint32_t wait_ms = 0;
  bool ack = false;
  std::vector<std::string> deliveries;
  std::optional<std::uint64_t> up_to_seq;
  std::optional<std::uint32_t> delay_ms;
  std::string error;
};

std::string group_path(const client::api& api, const group_options& o, std::string_view rest = {}) {
  return api.topic_path(o.topic, "/groups/" + client::percent_encoded(o.group) + std::string{rest});
}

std::string settings_json(const group_options& o) {
  object_text body;
  body.number("hold_ms", o.hold_ms);
  body.number("deliveries_max", o.deliveries_max);
  body.number("in_flight_max", o.in_flight_max);
  body.number("backoff_min_ms", o.backoff_min_ms);
  body.number("backoff_max_ms", o.backoff_max_ms);
  if (o.ordered_by_subject)
    body.raw("ordered_by_subject", *o.ordered_by_subject ? "true" : "false");
  if (o.dead_letter_topic) body.text("dead_letter_topic", *o.dead_letter_topic);
  if (!o.from.empty()) body.text("from", o.from);
  return body.str();
}

using group_work = result<void> (*)(const context&, client::api&, const group_options&);

/// One command on a topic and, but for `list`, a group of it.
std::pair<CLI::App&, std::shared_ptr<group_options>> add_one(
    CLI::App& family,
    context& run,
    const std::string& name,
    const std::string& description,
    const std::string& example,
    group_work work) {
  auto o = std::make_shared<group_options>();
  auto& command = add_command(family, run, name, description, example, [&run, o, work] {
    return run.with_server([&](client::api& api) { return work(run, api, *o); });
  });
  command.add_option("topic", o->topic, "name of the topic")->required()->type_name("TOPIC");
  if (name != "list") {
    command.add_option("group", o->group, "name of the group")->required()->type_name("GROUP");
  }
  return {command, o};
}

result<void> list(const context& run, client::api& api, const group_options& o) {
  auto body = api.call("GET", api.topic_path(o.topic, "/groups"));
  if (!body) return std::unexpected{body.error()};
  print_list(
      run,
      *body,
      "groups",
      {{"GROUP", "group"},
       {"FLOOR", "floor"},
       {"LAST", "last_seq"},
       {"LAG", "lag"},
       {"IN FLIGHT", "in_flight"},
       {"PARKED", "parked"},
       {"DEAD", "dead_lettered"},
       {"MISSED", "missed"},
       {"MEMBERS", "members"}});
  return {};
}

result<void> show(const context& run, client::api& api, const group_options& o) {
  auto body = api.call("GET", group_path(api, o));
  if (!body) return std::unexpected{body.error()};
  print_object(run, *body);
  return {};
}

result<void> put(const context& run, client::api& api, const group_options& o) {
  auto body = api.call("PUT", group_path(api, o), settings_json(o));
  if (!body) return std::unexpected{body.error()};
  print_object(run, *body);
  return {};
}

result<void> change(const context& run, client::api& api, const group_options& o) {
  if (auto found = api.call("GET", group_path(api, o)); !found) {
    return std::unexpected{found.error()};
  }
  return put(run, api, o);
}

result<void> remove(const context& run, client::api& api, const group_options& o) {
  auto body = api.call("DELETE", group_path(api, o));
  if (!body) return std::unexpected{body.error()};
  if (!run.wants_json()) run.io.out << "deleted " << o.group << '\n';
  return {};
}

result<void> post(
    const context& run,
    client::api& api,
    const group_options& o,
    std::string_view rest,
    std::string json) {
  auto body = api.call("POST", group_path(api, o, rest), std::move(json));
  if (!body) return std::unexpected{body.error()};
  print_object(run, *body);
  return {};
}

/// Prints one JSON line for each delivery; with `--ack` they are acked once printed.
result<void> fetch(const context& run, client::api& api, const group_options& o) {
  object_text ask;
  ask.text("member", o.member);
  ask.raw("max", std::to_string(o.max));
  ask.raw("wait_ms", std::to_string(o.wait_ms));
  client::http_request request;
  request.method = "POST";
  request.target = group_path(api, o, "/fetch");
  request.headers.emplace_back("Content-Type", "application/json");
  request.body = ask.str();
  request.timeout += std::chrono::milliseconds{o.wait_ms};
  auto response = api.call(std::move(request));
  if (!response) return std::unexpected{response.error()};
  const auto members = client::json_members(response->body);
  const auto list =
      members ? client::json_elements(client::find_member(*members, "deliveries")) : std::nullopt;
  if (!list) return fail(errc::invalid_json, "the server's answer has no list of deliveries");
  std::vector<std::string> tokens;
  for (const auto delivery : *list) {
    run.io.out << delivery << '\n';
    tokens.push_back(shown_at(delivery, "delivery"));
  }
  run.io.out.flush();
  if (!o.ack || tokens.empty()) return {};
  object_text acks;
  acks.list("deliveries", tokens);
  auto acked = api.call("POST", group_path(api, o, "/ack"), acks.str());
  if (!acked) return std::unexpected{acked.error()};
  return {};
}

result<void> ack(const context& run, client::api& api, const group_options& o) {
  object_text body;
  if (!o.deliveries.empty()) body.list("deliveries", o.deliveries);
  body.number("up_to_seq", o.up_to_seq);
  return post(run, api, o, "/ack", body.str());
}

result<void> nack(const context& run, client::api& api, const group_options& o) {
  object_text body;
  body.list("deliveries", o.deliveries);
  body.number("delay_ms", o.delay_ms);
  if (!o.error.empty()) body.text("error", o.error);
  return post(run, api, o, "/nack", body.str());
}

void add_settings(CLI::App& command, group_options& o) {
  command.add_option("--hold-ms", o.hold_ms, "time for an ack before an event is redelivered");
  command.add_option("--deliveries-max", o.deliveries_max, "deliveries before the dead letters");
  command.add_option("--in-flight-max", o.in_flight_max, "deliveries waiting for their acks");
  command.add_option("--backoff-min-ms", o.backoff_min_ms, "first wait after a nack");
  command.add_option("--backoff-max-ms", o.backoff_max_ms, "longest wait after a nack");
  command.add_option(
      "--ordered-by-subject", o.ordered_by_subject, "true: events of one subject in order");
  command.add_option("--dead-letter-topic", o.dead_letter_topic, "where given-up events go");
}

void add_deliveries(CLI::App& family, context& run) {
  auto [fetch_command, f] = add_one(
      family,
      run,
      "fetch",
      "take deliveries; prints them as JSON lines",
      "callboard group fetch orders billing --max 5 --wait-ms 1000 --ack",
      fetch);
  fetch_command.add_option("--member", f->member, "name of this consumer")->capture_default_str();
  fetch_command.add_option("--max", f->max, "how many at most")->capture_default_str();
  fetch_command.add_option("--wait-ms", f->wait_ms, "wait for the first so long");
  fetch_command.add_flag("--ack", f->ack, "ack them once they are printed");
  auto [ack_command, a] = add_one(
      family,
      run,
      "ack",
      "acknowledge deliveries",
      "callboard group ack orders billing --up-to-seq 41",
      ack);
  ack_command.add_option("deliveries", a->deliveries, "tokens of deliveries")->type_name("TOKEN");
  ack_command.add_option("--up-to-seq", a->up_to_seq, "everything up to this seq");
  auto [nack_command, n] = add_one(
      family,
      run,
      "nack",
      "give deliveries back",
      "callboard group nack orders billing TOKEN --delay-ms 500",
      nack);
  nack_command.add_option("deliveries", n->deliveries, "tokens of deliveries")
      ->required()
      ->type_name("TOKEN");
  nack_command.add_option("--delay-ms", n->delay_ms, "not before; else the group's backoff");
  nack_command.add_option("--error", n->error, "why, for the history of attempts");
}

}  // namespace

void add_group(CLI::App& app, context& run) {
  auto& family = add_family(
      app, "group", "consumer groups of a topic", "callboard group create orders billing");
  add_one(family, run, "list", "list groups of a topic", "callboard group list orders", list);
  add_one(
      family,
      run,
      "show",
      "settings and position of a group",
      "callboard group show orders billing",
      show);
  auto [create_command, c] = add_one(
      family,
      run,
      "create",
      "make a group",
      "callboard group create orders billing --from first",
      put);
  create_command.add_option("--from", c->from, "where it begins: now, first, a seq or a cursor");
  add_settings(create_command, *c);
  auto [set_command, s] = add_one(
      family,
      run,
      "set",
      "change settings of a group",
      "callboard group set orders billing --hold-ms 60000",
      change);
  add_settings(set_command, *s);
  add_one(
      family,
      run,
      "delete",
      "delete a group and its position",
      "callboard group delete orders billing",
      remove);
  add_deliveries(family, run);
}

}  // namespace callboard::cli
