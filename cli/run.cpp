#include "cli/run.hpp"

#include "cli/number_range.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <ostream>
#include <string>
#include <string_view>

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

/// All options with numbers, whatever their help calls them, take only what is one.
void check_numbers(CLI::App& app) {
  constexpr std::array<std::string_view, 4> numbers{"UINT", "TASK", "SEQ", "INDEX"};
  for (auto* option : app.get_options()) {
    const auto type = option->get_type_name();
    const auto name = std::string_view{type}.substr(0, type.find(':'));
    if (std::ranges::find(numbers, name) != numbers.end()) option->check(whole_number);
  }
  for (auto* command : app.get_subcommands([](CLI::App*) { return true; }))
    check_numbers(*command);
}

bool asks_for_json(std::span<const char* const> arguments) {
  for (std::size_t i = 1; i < arguments.size(); ++i) {
    const std::string_view word = arguments[i];
    if (word == "--output=json") return true;
    if (word == "--output" && i + 1 < arguments.size()) {
      return std::string_view{arguments[i + 1]} == "json";
    }
  }
  return false;
}

/// What is wrong with a command line that was not understood, and where to look.
std::string mistake_in(const CLI::App& app, const CLI::ParseError& stop) {
  const auto* command = &app;
  auto name = app.get_name();
  for (auto chosen = app.get_subcommands(); !chosen.empty(); chosen = command->get_subcommands()) {
    command = chosen.back();
    name += ' ' + command->get_name();
  }
  const auto unknown = app.remaining(true);
  if (command->get_require_subcommand_min() != 0) {
    const auto see = fmt::format("; `{} --help` lists them", name);
    if (unknown.empty()) return fmt::format("`{}` needs a command{}", name, see);
    const auto* what = unknown.front().starts_with('-') ? "option" : "command";
    return fmt::format("'{}' is no {} of `{}`{}", unknown.front(), what, name, see);
  }
  const auto see = fmt::format("; `{} --help` shows how it is used", name);
  if (dynamic_cast<const CLI::ExtrasError*>(&stop) != nullptr) {
    return fmt::format("not expected: {}{}", fmt::join(unknown, " "), see);
  }
  const std::string_view why = stop.what();
  constexpr std::string_view no_number = "Could not convert: ";
  if (why.starts_with(no_number)) {
    return fmt::format("{} is no number that it may be{}", why.substr(no_number.size()), see);
  }
  return fmt::format("{}{}", why, see);
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
  check_numbers(app);
  try {
    app.parse(static_cast<int>(arguments.size()), arguments.data());
  } catch (const CLI::ParseError& stop) {
    if (stop.get_exit_code() == 0) {  // help, or the version
      app.exit(stop, io.out, io.err);
      return static_cast<int>(exit_code::done);
    }
    // The mistake may stand before what chooses the output.
    if (asks_for_json(arguments)) run.output = "json";
    return static_cast<int>(run.misuse(mistake_in(app, stop)));
  }
  const auto code = run.action ? run.action() : exit_code::usage;
  io.out.flush();
  return static_cast<int>(code);
}

}  // namespace callboard::cli
