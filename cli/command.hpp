// What every command has in common: where it reads and writes, whom it talks to, how it ends.
#pragma once

#include "base/error.hpp"
#include "cli/client/api.hpp"

#include <functional>
#include <iosfwd>
#include <string>
#include <string_view>

namespace CLI {
class App;
}  // namespace CLI

namespace callboard::runtime {
class workflow_registry;
}  // namespace callboard::runtime

namespace callboard::cli {

/// Exit codes of the program, the same for every command.
enum class exit_code : int {
  done = 0,
  /// The server (or the data directory) refused.
  refused = 1,
  usage = 2,
  unreachable = 3,
};

struct streams {
  std::istream& in;
  std::ostream& out;
  std::ostream& err;
  /// Descriptor behind `in`, so that a command can wait for input and the network at once; -1 if
  /// there is none.
  int in_fd = -1;
  /// Progress is shown only to people.
  bool err_is_terminal = false;
};

/// One run of the program: options that every command takes, and what the command line chose.
struct context {
  context(const streams& from, const runtime::workflow_registry* own) : io{from}, workflows{own} {}

  streams io;
  /// The workflow classes linked into this program; may be null.
  const runtime::workflow_registry* workflows;

  std::string server = "http://127.0.0.1:8700";
  std::string tenant = "default";
  std::string token;
  std::string output = "table";
  std::string tls_ca_file;
  bool tls_insecure = false;

  /// Set while the command line is parsed, run afterwards.
  std::function<exit_code()> action;

  [[nodiscard]] bool wants_json() const { return output == "json"; }

  /// The account that the options name. Errors: bad_request (malformed URL).
  [[nodiscard]] result<client::account> account() const;

  /// Prints what failed on stderr: a line for people, or with `--output json` an object of code,
  /// detail, the HTTP status if there was one, and when to try again.
  void report(const error& problem, unsigned status = 0) const;

  /// The same, and returns the exit code for it.
  exit_code refuse(const error& problem, unsigned status = 0) const;

  /// Prints a mistake of the user's, as `bad_request`, and returns `usage`.
  exit_code misuse(std::string_view what) const;

  /// Runs `work` with a connection to the server; handles a malformed URL and refusals.
  exit_code with_server(const std::function<result<void>(client::api&)>& work) const;
};

/// Adds a command that shows `example` in its help and runs `action` when it was chosen.
CLI::App& add_command(
    CLI::App& parent,
    context& run,
    const std::string& name,
    const std::string& description,
    const std::string& example,
    std::function<exit_code()> action);

/// Adds a command that only holds others.
CLI::App& add_family(
    CLI::App& parent,
    const std::string& name,
    const std::string& description,
    const std::string& example);

}  // namespace callboard::cli
