// callboard publish TOPIC [DATA]
#include "cli/client/raw_json.hpp"
#include "cli/families.hpp"
#include "cli/line_publisher.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <ostream>

namespace callboard::cli {

namespace {

struct single_options {
  publish_options all;
  std::string data;
  std::string id;
  bool is_text = false;
  std::optional<std::uint64_t> expected_seq;
};

bool is_cloud_event(const std::string& json) {
  const auto members = client::json_members(json);
  return members && !client::find_member(*members, "specversion").empty();
}

exit_code publish_one(const context& run, const single_options& o) {
  auto body = o.is_text ? client::json_quoted(o.data) : o.data;
  if (!client::is_json(body)) {
    return run.misuse("DATA is not JSON; put strings in quotes, or use --text");
  }
  return run.with_server([&](client::api& api) -> result<void> {
    client::http_request request;
    request.method = "POST";
    auto query = std::string{"?"};
    const auto add = [&](std::string_view name, const std::string& value) {
      if (value.empty()) return;
      query += fmt::format("{}={}&", name, client::percent_encoded(value));
    };
    const bool is_event = is_cloud_event(body);
    if (!is_event) {
      add("type", o.all.type);
      add("source", o.all.source);
      add("subject", o.all.subject);
    }
    add("durability", o.all.durability);
    query.pop_back();
    request.target = api.topic_path(o.all.topic, "/events" + query);
    request.headers.emplace_back(
        "Content-Type", is_event ? "application/cloudevents+json" : "application/json");
    if (!o.id.empty()) request.headers.emplace_back("Idempotency-Key", o.id);
    if (o.expected_seq) {
      request.headers.emplace_back("Callboard-Expected-Seq", std::to_string(*o.expected_seq));
    }
    request.body = std::move(body);
    auto response = api.call(std::move(request));
    if (!response) return std::unexpected{response.error()};
    run.io.out << response->body << '\n';
    return {};
  });
}

}  // namespace

void add_publish(CLI::App& app, context& run) {
  auto o = std::make_shared<single_options>();
  auto data = std::make_shared<CLI::Option*>(nullptr);
  auto& command = add_command(
      app,
      run,
      "publish",
      "publish an event, or each JSON line of standard input; answers are JSON lines",
      "callboard publish orders '{\"total\":12.5}' --type order.placed\n"
      "  generate-events | callboard publish orders",
      [&run, o, data] {
        if ((*data)->count() != 0) return publish_one(run, *o);
        auto who = run.account();
        if (!who) return run.misuse(who.error().detail);
        return line_publisher{run, std::move(*who), o->all}.publish_all();
      });
  command.add_option("topic", o->all.topic, "name of the topic")->required()->type_name("TOPIC");
  *data = command.add_option("data", o->data, "JSON value, or a CloudEvent")->type_name("DATA");
  command.add_option("--type", o->all.type, "CloudEvents type")->capture_default_str();
  command.add_option("--source", o->all.source, "CloudEvents source")->capture_default_str();
  command.add_option("--subject", o->all.subject, "CloudEvents subject");
  command.add_option("--durability", o->all.durability, "what an ack has to stand for")
      ->check(CLI::IsMember({"written", "synced", "replicated"}));
  command.add_option("--id", o->id, "event id; the same id again answers the first seq")
      ->needs(*data);
  command.add_option("--expected-seq", o->expected_seq, "refuse unless this is the last seq")
      ->needs(*data);
  command.add_flag("--text", o->is_text, "DATA is text, not JSON")->needs(*data);
  command
      .add_option(
          "--in-flight",
          o->all.in_flight_max,
          "lines published before the first answer; 1 keeps their order also through refusals")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command
      .add_option(
          "--retry-for",
          o->all.retry_for_s,
          "seconds to go on trying when the server cannot be reached any more; refusals that pass "
          "are waited out")
      ->capture_default_str();
}

}  // namespace callboard::cli
