// callboard backup create|restore
#include "cli/client/raw_json.hpp"
#include "cli/families.hpp"
#include "cli/output.hpp"
#include "storage/offline.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <ostream>

namespace callboard::cli {

namespace {

exit_code create(const context& run, const std::string& target) {
  return run.with_server([&](client::api& api) -> result<void> {
    client::http_request request;
    request.method = "POST";
    request.target = "/v1/admin/backup";
    request.headers.emplace_back("Content-Type", "application/json");
    // The folder is on the node's machine, most often this one.
    request.body = fmt::format(
        R"({{"target":{}}})", client::json_quoted(std::filesystem::absolute(target).string()));
    request.timeout = std::chrono::hours{24};
    if (run.io.err_is_terminal) run.io.err << "copying while the node serves…" << std::endl;
    auto response = api.call(std::move(request));
    if (!response) return std::unexpected{response.error()};
    print_object(run, response->body);
    return {};
  });
}

exit_code restore(const context& run, const std::string& from, const std::string& data_dir) {
  progress_line shown{run, "restoring"};
  auto info = storage::restore_backup(
      from, data_dir, [&](std::uint64_t done, std::uint64_t total) { shown.update(done, total); });
  if (!info) return run.refuse(info.error());
  print_object(
      run,
      fmt::format(
          R"({{"data":{},"bytes":{},"files":{}}})",
          client::json_quoted(data_dir),
          info->bytes,
          info->files));
  return exit_code::done;
}

}  // namespace

void add_backup(CLI::App& app, context& run) {
  auto& family = add_family(
      app, "backup", "copies of a node's data", "callboard backup create /backups/callboard");
  auto target = std::make_shared<std::string>();
  add_command(
      family,
      run,
      "create",
      "copy a serving node's data to a folder on its machine",
      "callboard backup create /backups/callboard",
      [&run, target] { return create(run, *target); })
      .add_option("target", *target, "new folder, or that of an earlier backup")
      ->required()
      ->type_name("DIR");
  auto from = std::make_shared<std::string>();
  auto data = std::make_shared<std::string>();
  auto& command = add_command(
      family,
      run,
      "restore",
      "make a data folder from a backup; old cursors are told apart",
      "callboard backup restore /backups/callboard --data /var/lib/callboard",
      [&run, from, data] { return restore(run, *from, *data); });
  command.add_option("from", *from, "folder of the backup")->required()->type_name("DIR");
  command.add_option("--data", *data, "new or empty folder")->required()->type_name("DIR");
}

}  // namespace callboard::cli
