// callboard presence show
#include "cli/families.hpp"
#include "cli/output.hpp"

#include <CLI/CLI.hpp>
#include <memory>

namespace callboard::cli {

void add_presence(CLI::App& app, context& run) {
  auto& family = add_family(app, "presence", "who is here", "callboard presence show lobby");
  auto topic = std::make_shared<std::string>();
  add_command(
      family,
      run,
      "show",
      "members present on a topic",
      "callboard presence show lobby --output json",
      [&run, topic] {
        return run.with_server([&](client::api& api) -> result<void> {
          auto body =
              api.call("GET", api.tenant_path("/presence/" + client::percent_encoded(*topic)));
          if (!body) return std::unexpected{body.error()};
          print_list(
              run,
              *body,
              "members",
              {{"MEMBER", "member"},
               {"PRESENT", "present"},
               {"VERSION", "version"},
               {"STATE", "state"}});
          return {};
        });
      })
      .add_option("topic", *topic, "name of the topic")
      ->required()
      ->type_name("TOPIC");
}

}  // namespace callboard::cli
