#include "cli/run.hpp"

#include <CLI/CLI.hpp>
#include <ostream>

#ifndef CALLBOARD_VERSION
#  define CALLBOARD_VERSION "0.0.0"
#endif

namespace callboard::cli {

namespace {

void add_global_options(CLI::App& app, context& run) {
  const std::string group = "Options of every command";
  app.add_option("--server", run.server, "URL of the server")
      ->envname("CALLBOARD_SERVER")
      ->type_name("URL")
      ->capture_default_str()
      ->group(group);
  app.add_option("--tenant", run.tenant, "tenant to act in")
      ->envname("CALLBOARD_TENANT")
      ->type_name("NAME")
      ->capture_default_str()
      ->group(group);
  app.add_option("--token", run.token, "access token")
      ->envname("CALLBOARD_TOKEN")
      ->type_name("TOKEN")
      ->group(group);
  app.add_option("--output", run.output, "table or json")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str()
      ->group(group);
  app.add_option("--tls-ca", run.tls_ca_file, "PEM file of the authority to trust for https")
      ->type_name("FILE")
      ->group(group);
  app.add_flag("--tls-insecure", run.tls_insecure, "accept any certificate")->group(group);
}

}  // namespace

int run(
    std::span<const char* const> arguments,
    const streams& io,
    std::span<const family> families,
    const runtime::workflow_registry* workflows) {
  context run{io, workflows};
  CLI::App app{"Durable topics for AI workflows: one program that serves, publishes, subscribes."};
  app.name("callboard");
  app.set_version_flag("--version", std::string{"callboard "} + CALLBOARD_VERSION);
  app.footer("Example:\n  callboard dev\n  callboard subscribe orders --from first\n"
             "  callboard publish orders '{\"total\":12.5}'\n\n"
             "Exit codes: 0 done, 1 refused, 2 wrong usage, 3 unreachable.");
  app.require_subcommand(1);
  app.fallthrough();
  add_global_options(app, run);
  for (const auto add : families)
    add(app, run);
  try {
    app.parse(static_cast<int>(arguments.size()), arguments.data());
  } catch (const CLI::ParseError& stop) {
    const bool is_help = stop.get_exit_code() == 0;
    app.exit(stop, io.out, io.err);
    return static_cast<int>(is_help ? exit_code::done : exit_code::usage);
  }
  const auto code = run.action ? run.action() : exit_code::usage;
  io.out.flush();
  return static_cast<int>(code);
}

}  // namespace callboard::cli
