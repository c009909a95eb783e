// callboard config check|show
#include "base/config.hpp"

#include "cli/client/raw_json.hpp"
#include "cli/families.hpp"
#include "cli/output.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <ostream>

namespace callboard::cli {

namespace {

/// A bar would end the cell of a table.
std::string cell(std::string text) {
  for (std::size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2) {
    text.insert(at, "\\");
  }
  return text;
}

void print_markdown(std::ostream& out, const std::vector<setting_info>& settings) {
  out << "# Configuration\n\n"
         "Every setting of a node. Printed by `callboard config show --markdown`. Settings come "
         "from the TOML\nfile of `--config`, then from `--set key=value`, which wins; "
         "`callboard config check FILE` reads a\nfile as a node would.\n";
  std::string section;
  for (const auto& s : settings) {
    const auto dot = s.key.rfind('.');
    if (const auto name = s.key.substr(0, dot); name != section) {
      section = name;
      out << fmt::format("\n## [{}]\n\n| key | default | meaning |\n|---|---|---|\n", section);
    }
    out << fmt::format(
        "| `{}` | `{}` | {} |\n", s.key.substr(dot + 1), cell(s.default_value), cell(s.meaning));
  }
}

void print_settings(const context& run, const std::vector<setting_info>& settings, bool changed) {
  if (run.wants_json()) {
    std::string out;
    for (const auto& s : settings) {
      if (changed && s.value == s.default_value) continue;
      out += out.empty() ? "" : ",";
      out += fmt::format(
          R"({{"key":{},"value":{},"default":{},"meaning":{}}})",
          client::json_quoted(s.key),
          client::json_quoted(s.value),
          client::json_quoted(s.default_value),
          client::json_quoted(s.meaning));
    }
    run.io.out << R"({"settings":[)" << out << "]}\n";
    return;
  }
  table rows{{"SETTING", "VALUE", "DEFAULT", "MEANING"}};
  for (const auto& s : settings) {
    if (changed && s.value == s.default_value) continue;
    rows.add({s.key, s.value, s.default_value, s.meaning});
  }
  run.io.out << rows.render();
}

exit_code check(const context& run, const std::string& file) {
  auto loaded = load_config(file);
  if (!loaded) return run.refuse(loaded.error());
  if (auto sound = check_config(*loaded); !sound) return run.refuse(sound.error());
  for (const auto& doubt : doubts_about(*loaded))
    run.io.err << "warning: " << doubt << std::endl;
  if (!run.wants_json()) run.io.out << file << " is sound; it changes:\n";
  print_settings(run, list_settings(*loaded), true);
  return exit_code::done;
}

}  // namespace

void add_config(CLI::App& app, context& run) {
  auto& family =
      add_family(app, "config", "settings of a node", "callboard config check callboard.toml");
  auto file = std::make_shared<std::string>();
  add_command(
      family,
      run,
      "check",
      "read a settings file as a node would",
      "callboard config check callboard.toml",
      [&run, file] { return check(run, *file); })
      .add_option("file", *file, "TOML file")
      ->required()
      ->type_name("FILE");
  auto from = std::make_shared<std::string>();
  auto markdown = std::make_shared<bool>(false);
  auto& show = add_command(
      family,
      run,
      "show",
      "list every setting, its value and its meaning",
      "callboard config show --config callboard.toml",
      [&run, from, markdown] {
        config settings;
        if (!from->empty()) {
          auto loaded = load_config(*from);
          if (!loaded) return run.refuse(loaded.error());
          settings = std::move(*loaded);
        }
        if (*markdown) {
          if (settings.models.providers.empty()) {
            settings.models.providers.push_back({.name = "NAME"});
          }
          print_markdown(run.io.out, list_settings(settings));
        } else {
          print_settings(run, list_settings(settings), false);
        }
        return exit_code::done;
      });
  show.add_option("--config", *from, "TOML file")->type_name("FILE");
  show.add_flag("--markdown", *markdown, "as docs/configuration.md");
}

}  // namespace callboard::cli
