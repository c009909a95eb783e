#include "cli/serve.hpp"

#include "base/log.hpp"
#include "cli/families.hpp"
#include "node/module_loader.hpp"
#include "node/node.hpp"
#include "runtime/workflow/workflow_registry.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <ostream>

namespace callboard::cli {

namespace {

/// Removed with all it holds when the node has stopped.
class temporary_folder {
public:
  [[nodiscard]] static result<std::unique_ptr<temporary_folder>> make() {
    auto pattern = (std::filesystem::temp_directory_path() / "callboard-dev-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) {
      return fail(errc::io_error, "cannot make a folder for the data: " + pattern);
    }
    return std::unique_ptr<temporary_folder>{new temporary_folder{pattern}};
  }

  ~temporary_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  temporary_folder(const temporary_folder&) = delete;
  temporary_folder& operator=(const temporary_folder&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }

private:
  explicit temporary_folder(std::string path) : path_{std::move(path)} {}

  std::string path_;
};

void print_ready(std::ostream& out, const std::string& url) {
  out << "ready " << url << std::endl;
}

void print_hints(std::ostream& err, const std::string& url, const std::string& data_dir) {
  const auto topic = url + "/v1/tenants/default/topics/hello/events";
  const auto socket = "ws" + url.substr(4) + "/v1/tenants/default/ws";
  err << "\nA node for trying things out: no authentication, only this machine, data in "
      << data_dir
      << "\n\n"
         "  # publish\n"
         "  curl -s "
      << topic
      << " -H 'content-type: application/json' -d '{\"greeting\":\"hello\"}'\n"
         "  # follow as server-sent events\n"
         "  curl -sN "
      << topic
      << "?from=first -H 'accept: text/event-stream'\n"
         "  # follow over a WebSocket\n"
         "  websocat --protocol callboard.v1.json "
      << socket
      << "\n"
         "    {\"op\":\"subscribe\",\"id\":1,\"topic\":\"hello\",\"from\":\"first\"}\n"
         "  # or with this program\n"
         "  callboard subscribe hello --from first --server "
      << url
      << "\n"
         "  callboard publish hello '{\"greeting\":\"hello\"}' --server "
      << url << "\n\nEnd it with Ctrl-C.\n"
      << std::endl;
}

/// The program's own classes and those of `modules`.
result<runtime::workflow_registry>
load_classes(const context& run, const std::vector<std::string>& modules) {
  auto all = run.workflows == nullptr ? runtime::workflow_registry{} : *run.workflows;
  for (const auto& one : modules) {
    if (auto loaded = node::load_module(one, all); !loaded) {
      return std::unexpected{loaded.error()};
    }
  }
  return all;
}

exit_code serve(const context& run, serve_options options, serve_mode mode) {
  const auto classes = load_classes(run, options.modules);
  if (!classes) return run.refuse(classes.error());
  std::unique_ptr<temporary_folder> folder;
  const bool is_dev = mode == serve_mode::development;
  if (is_dev && options.data_dir.empty()) {
    auto made = temporary_folder::make();
    if (!made) return run.refuse(made.error());
    folder = std::move(*made);
    options.data_dir = folder->path();
  }
  auto settings = serve_settings(options, mode);
  if (!settings) return run.misuse(settings.error().detail);
  log::configure(settings->log);
  auto served = node::run_until_signal(
      *settings,
      [&](const std::string& url) {
        print_ready(run.io.out, url);
        if (is_dev) print_hints(run.io.err, url, settings->storage.data_dir);
      },
      &*classes);
  if (!served) return run.refuse(served.error());
  if (*served == node::run_end::code_left_running) {
    folder.reset();
    run.io.out.flush();
    std::_Exit(static_cast<int>(exit_code::done));
  }
  return exit_code::done;
}

void add_options(CLI::App& command, serve_options& o) {
  command.add_option("--config", o.config_file, "TOML file with settings")->type_name("FILE");
  command.add_option("--data", o.data_dir, "folder of the journal")->type_name("DIR");
  command.add_option("--listen", o.listen, "address and port; port 0 = any free one")
      ->type_name("ADDR:PORT");
  command.add_option("--set", o.assignments, "one setting; may be given many times")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  command.add_option("--load", o.modules, "shared library with workflows and agents; many times")
      ->type_name("LIBRARY")
      ->allow_extra_args(false);
}

}  // namespace

void add_serve(CLI::App& app, context& run) {
  auto production = std::make_shared<serve_options>();
  auto& serve_command = add_command(
      app,
      run,
      "serve",
      "run one node; prints one line `ready URL` when it takes traffic; SIGTERM drains it",
      "callboard serve --data /var/lib/callboard --set "
      "auth.hs256_secret_file=/etc/callboard/secret",
      [&run, production] { return serve(run, *production, serve_mode::production); });
  add_options(serve_command, *production);
  serve_command.add_flag(
      "--allow-plaintext",
      production->allow_plaintext,
      "listen on other addresses than loopback without TLS");
  auto development = std::make_shared<serve_options>();
  auto& dev_command = add_command(
      app,
      run,
      "dev",
      "run one node to try things out: no authentication, only this machine, data in a temporary "
      "folder",
      "callboard dev --listen 127.0.0.1:8700",
      [&run, development] { return serve(run, *development, serve_mode::development); });
  add_options(dev_command, *development);
}

}  // namespace callboard::cli
