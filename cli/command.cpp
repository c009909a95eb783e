#include "cli/command.hpp"

#include "cli/object_text.hpp"

#include <CLI/CLI.hpp>
#include <ostream>

namespace callboard::cli {

result<client::account> context::account() const {
  auto endpoint = client::endpoint::parse(server);
  if (!endpoint) return std::unexpected{endpoint.error()};
  endpoint->tls_ca_file = tls_ca_file;
  endpoint->tls_insecure = tls_insecure;
  return client::account{.server = std::move(*endpoint), .tenant = tenant, .token = token};
}

void context::report(const error& problem, unsigned status) const {
  if (wants_json()) {
    object_text shown;
    shown.text("code", std::string{name_of(problem.code)});
    shown.text("detail", problem.detail);
    if (status != 0) shown.raw("status", std::to_string(status));
    if (problem.retry_after_ms != 0) {
      shown.raw("retry_after_ms", std::to_string(problem.retry_after_ms));
    }
    io.err << shown.str() << std::endl;
    return;
  }
  io.err << "callboard: " << name_of(problem.code) << ": " << problem.detail;
  if (problem.retry_after_ms != 0) io.err << " (retry after " << problem.retry_after_ms << " ms)";
  io.err << std::endl;
}

exit_code context::refuse(const error& problem, unsigned status) const {
  report(problem, status);
  return problem.code == errc::unreachable ? exit_code::unreachable : exit_code::refused;
}

exit_code context::misuse(std::string_view what) const {
  if (wants_json()) {
    report({errc::bad_request, std::string{what}, 0});
  } else {
    io.err << "callboard: " << what << std::endl;
  }
  return exit_code::usage;
}

exit_code context::with_server(const std::function<result<void>(client::api&)>& work) const {
  auto who = account();
  if (!who) return misuse(who.error().detail);
  client::api api{std::move(*who)};
  if (auto outcome = work(api); !outcome) return refuse(outcome.error(), api.refusal());
  return exit_code::done;
}

CLI::App& add_command(
    CLI::App& parent,
    context& run,
    const std::string& name,
    const std::string& description,
    const std::string& example,
    std::function<exit_code()> action) {
  auto* command = parent.add_subcommand(name, description);
  command->footer("Example:\n  " + example);
  command->callback([&run, action = std::move(action)] { run.action = action; });
  return *command;
}

CLI::App& add_family(
    CLI::App& parent,
    const std::string& name,
    const std::string& description,
    const std::string& example) {
  auto* family = parent.add_subcommand(name, description);
  family->footer("Example:\n  " + example);
  family->require_subcommand(1);
  return *family;
}

}  // namespace callboard::cli
