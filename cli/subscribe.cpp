// callboard subscribe TOPIC
#include "cli/families.hpp"
#include "cli/subscriber.hpp"

#include <CLI/CLI.hpp>
#include <memory>

namespace callboard::cli {

void add_subscribe(CLI::App& app, context& run) {
  auto o = std::make_shared<subscribe_options>();
  auto& command = add_command(
      app,
      run,
      "subscribe",
      "print the events of a topic or pattern as JSON lines; resumes by cursor after a restart",
      "callboard subscribe orders --from first --limit 10\n"
      "  callboard subscribe 'orders.>' --from now",
      [&run, o] {
        auto who = run.account();
        if (!who) return run.misuse(who.error().detail);
        if (o->over_sse) return subscribe_over_sse(run, std::move(*who), *o);
        return subscriber{run, std::move(*who), *o}.run_to_end();
      });
  command
      .add_option(
          "topic",
          o->topic,
          "topic, or a pattern with * and >; channels of runs match only patterns that begin with "
          "workflow.")
      ->required()
      ->type_name("TOPIC");
  command.add_option("--from", o->from, "now, first, a seq, a cursor, or time:RFC3339")
      ->capture_default_str();
  command.add_option("--limit", o->limit, "stop after so many events; 0 = never")
      ->capture_default_str();
  command.add_option("--wait", o->wait_s, "stop after so many seconds without an event; 0 = never")
      ->capture_default_str();
  command.add_option("--slow", o->slow, "what happens when this reader is too slow")
      ->check(CLI::IsMember({"lag", "latest", "drop", "disconnect"}));
  command.add_flag("--sse", o->over_sse, "over an HTTP event stream instead of a WebSocket");
  command
      .add_option(
          "--retry-for",
          o->retry_for_s,
          "seconds to go on trying when the server cannot be reached any more")
      ->capture_default_str();
}

}  // namespace callboard::cli
