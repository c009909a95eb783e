// callboard topic list|show|create|set|delete
#include "cli/client/raw_json.hpp"
#include "cli/families.hpp"
#include "cli/number_range.hpp"
#include "cli/output.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <ostream>

namespace callboard::cli {

namespace {

struct topic_options {
  std::string topic;
  std::uint32_t limit = 0;
  bool with_runs = false;
  std::optional<std::string> kind;
  std::optional<std::string> lane;
  std::optional<std::uint64_t> max_age_s;
  std::optional<std::uint64_t> max_bytes;
  std::optional<std::uint64_t> max_events;
  std::optional<std::uint32_t> dedupe_window_s;
  std::optional<bool> hold_for_groups;
};

constexpr std::uint32_t page_size = 1000;

/// The settings that were given, as the body of PUT.
std::string settings_json(const topic_options& o) {
  std::string retention;
  std::string body;
  const auto append = [](std::string& to, std::string_view name, const std::string& value) {
    if (!to.empty()) to += ',';
    to += fmt::format(R"("{}":{})", name, value);
  };
  if (o.max_age_s) append(retention, "max_age_s", std::to_string(*o.max_age_s));
  if (o.max_bytes) append(retention, "max_bytes", std::to_string(*o.max_bytes));
  if (o.max_events) append(retention, "max_events", std::to_string(*o.max_events));
  if (o.kind) append(body, "kind", client::json_quoted(*o.kind));
  if (o.lane) append(body, "lane", client::json_quoted(*o.lane));
  if (!retention.empty()) append(body, "retention", "{" + retention + "}");
  if (o.dedupe_window_s) append(body, "dedupe_window_s", std::to_string(*o.dedupe_window_s));
  if (o.hold_for_groups) append(body, "hold_for_groups", *o.hold_for_groups ? "true" : "false");
  return "{" + body + "}";
}

/// Follows the pages of the list and joins them into one `{"topics":[…]}`.
result<std::string> all_topics(client::api& api, const topic_options& o) {
  std::string joined;
  std::string after;
  std::uint64_t count = 0;
  for (;;) {
    auto target = fmt::format("/topics?limit={}", o.limit != 0 ? o.limit : page_size);
    if (o.with_runs) target += "&runs=true";
    if (!after.empty()) target += "&after=" + client::percent_encoded(after);
    auto body = api.call("GET", api.tenant_path(target));
    if (!body) return body;
    const auto members = client::json_members(*body);
    if (!members) return fail(errc::invalid_json, "the server's list is not a JSON object");
    const auto elements = client::json_elements(client::find_member(*members, "topics"));
    if (!elements) return fail(errc::invalid_json, "the server's answer has no list of topics");
    for (const auto element : *elements) {
      if (o.limit != 0 && count == o.limit) break;
      if (count++ != 0) joined += ',';
      joined += element;
    }
    const auto next = client::json_text(client::find_member(*members, "next_after"));
    if (next.empty() || next == after || (o.limit != 0 && count >= o.limit)) break;
    after = next;
  }
  return R"({"topics":[)" + joined + "]}";
}

void add_settings(CLI::App& command, topic_options& o) {
  command.add_option("--kind", o.kind, "durable or ephemeral")
      ->check(CLI::IsMember({"durable", "ephemeral"}));
  command.add_option("--lane", o.lane, "interactive or bulk")
      ->check(CLI::IsMember({"interactive", "bulk"}));
  command.add_option("--max-age", o.max_age_s, "seconds after which events go; 0 = never");
  command.add_option("--max-bytes", o.max_bytes, "size of the topic; 0 = unlimited");
  command.add_option("--max-events", o.max_events, "number of events kept; 0 = unlimited");
  command.add_option("--dedupe-window", o.dedupe_window_s, "seconds an event id is remembered");
  command.add_option(
      "--hold-for-groups",
      o.hold_for_groups,
      "true: retention waits for the slowest consumer group");
}

void add_put(
    CLI::App& family,
    context& run,
    const std::string& name,
    const std::string& description,
    const std::string& example,
    bool must_exist) {
  auto o = std::make_shared<topic_options>();
  auto& command = add_command(family, run, name, description, example, [&run, o, must_exist] {
    return run.with_server([&](client::api& api) -> result<void> {
      if (must_exist) {
        if (auto found = api.call("GET", api.topic_path(o->topic)); !found) {
          return std::unexpected{found.error()};
        }
      }
      auto body = api.call("PUT", api.topic_path(o->topic), settings_json(*o));
      if (!body) return std::unexpected{body.error()};
      print_object(run, *body);
      return {};
    });
  });
  command.add_option("topic", o->topic, "name of the topic")->required()->type_name("TOPIC");
  add_settings(command, *o);
}

void add_list(CLI::App& family, context& run) {
  auto o = std::make_shared<topic_options>();
  auto& command = add_command(
      family, run, "list", "list topics", "callboard topic list --output json", [&run, o] {
        return run.with_server([&](client::api& api) -> result<void> {
          auto body = all_topics(api, *o);
          if (!body) return std::unexpected{body.error()};
          print_list(
              run,
              *body,
              "topics",
              {{"TOPIC", "topic"},
               {"KIND", "kind"},
               {"LANE", "lane"},
               {"FIRST", "first_seq"},
               {"LAST", "last_seq"},
               {"EVENTS", "events"},
               {"BYTES", "bytes"},
               {"EPOCH", "epoch"}});
          return {};
        });
      });
  command.add_option("--limit", o->limit, "list at most so many")->check(at_least_one);
  command.add_flag("--runs", o->with_runs, "with the channels of workflow runs");
}

}  // namespace

void add_topic(CLI::App& app, context& run) {
  auto& family = add_family(app, "topic", "topics of the tenant", "callboard topic list");
  add_list(family, run);
  auto shown = std::make_shared<std::string>();
  add_command(
      family,
      run,
      "show",
      "settings and position of a topic",
      "callboard topic show orders",
      [&run, shown] {
        return run.with_server([&](client::api& api) -> result<void> {
          auto body = api.call("GET", api.topic_path(*shown));
          if (!body) return std::unexpected{body.error()};
          print_object(run, *body);
          return {};
        });
      })
      .add_option("topic", *shown, "name of the topic")
      ->required()
      ->type_name("TOPIC");
  add_put(
      family,
      run,
      "create",
      "make a topic",
      "callboard topic create orders --max-age 86400 --lane interactive",
      false);
  add_put(
      family,
      run,
      "set",
      "change settings of a topic",
      "callboard topic set orders --max-events 1000",
      true);
  auto deleted = std::make_shared<std::string>();
  add_command(
      family,
      run,
      "delete",
      "delete a topic and its events",
      "callboard topic delete orders",
      [&run, deleted] {
        return run.with_server([&](client::api& api) -> result<void> {
          auto body = api.call("DELETE", api.topic_path(*deleted));
          if (!body) return std::unexpected{body.error()};
          if (!run.wants_json()) run.io.out << "deleted " << *deleted << '\n';
          return {};
        });
      })
      .add_option("topic", *deleted, "name of the topic")
      ->required()
      ->type_name("TOPIC");
}

}  // namespace callboard::cli
