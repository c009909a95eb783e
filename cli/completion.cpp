// callboard completion bash|zsh|fish: scripts made from the commands themselves, so that they
// cannot fall behind.
#include "cli/families.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <ostream>

namespace callboard::cli {

namespace {

/// One node of the tree of commands.
struct entry {
  /// "topic list"; empty for the program itself.
  std::string path;
  /// Subcommands, with descriptions.
  std::vector<std::pair<std::string, std::string>> commands;
  std::vector<std::pair<std::string, std::string>> options;
};

void collect(const CLI::App& app, const std::string& path, std::vector<entry>& all) {
  entry here{.path = path, .commands = {}, .options = {}};
  for (const auto* option : app.get_options()) {
    for (const auto& name : option->get_lnames()) {
      here.options.emplace_back("--" + name, option->get_description());
    }
  }
  const auto subcommands = app.get_subcommands([](const CLI::App*) { return true; });
  for (const auto* sub : subcommands) {
    here.commands.emplace_back(sub->get_name(), sub->get_description());
  }
  all.push_back(std::move(here));
  for (const auto* sub : subcommands) {
    collect(*sub, path.empty() ? sub->get_name() : path + " " + sub->get_name(), all);
  }
}

std::string names_of(const std::vector<std::pair<std::string, std::string>>& items) {
  std::string out;
  for (const auto& [name, description] : items) {
    if (!out.empty()) out += ' ';
    out += name;
  }
  return out;
}

/// Words to offer after each path of commands, as branches of a shell `case`.
std::string cases(const std::vector<entry>& all) {
  std::string out;
  const auto global = names_of(all.front().options);
  for (const auto& e : all) {
    auto words = names_of(e.commands);
    const auto options = e.path.empty() ? std::string{} : names_of(e.options);
    for (const auto* more : {&options, &global}) {
      if (!words.empty() && !more->empty()) words += ' ';
      words += *more;
    }
    out += fmt::format("    \"{}\") words=\"{}\" ;;\n", e.path, words);
  }
  return out;
}

std::string known_paths(const std::vector<entry>& all) {
  std::string out;
  for (const auto& e : all) {
    if (!e.path.empty()) out += fmt::format("    \"{}\") path=$next ;;\n", e.path);
  }
  return out;
}

std::string bash_script(const std::vector<entry>& all) {
  return fmt::format(
      R"(# bash completion of callboard; load it with: source <(callboard completion bash)
_callboard() {{
  local path= next word words=
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    next="${{path:+$path }}$word"
    case "$next" in
{}    esac
  done
  case "$path" in
{}  esac
  COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
  [[ ${{#COMPREPLY[@]}} -gt 0 ]] || COMPREPLY=($(compgen -f -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o filenames -F _callboard callboard
)",
      known_paths(all),
      cases(all));
}

std::string zsh_script(const std::vector<entry>& all) {
  return fmt::format(
      R"(#compdef callboard
# zsh completion of callboard; load it with: source <(callboard completion zsh)
_callboard() {{
  local path_of_command= next word words_to_offer words
  local -a given
  given=("${{(@)words[2,CURRENT-1]}}")
  local path=
  for word in $given; do
    next="${{path:+$path }}$word"
    case "$next" in
{}    esac
  done
  case "$path" in
{}  esac
  compadd -- ${{=words}} || _files
}}
compdef _callboard callboard
)",
      known_paths(all),
      cases(all));
}

/// A single-quoted string of fish.
std::string fish_quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out + "'";
}

std::string fish_script(const std::vector<entry>& all) {
  std::string out =
      "# fish completion of callboard; load it with: callboard completion fish | source\n"
      "function __callboard_path_is\n"
      "    set -l path\n"
      "    for word in (commandline -opc)[2..-1]\n"
      "        string match -q -- '-*' $word; and continue\n"
      "        contains -- \"$path $word\" $__callboard_paths; and set path \"$path $word\"\n"
      "    end\n"
      "    test \"$path\" = \"$argv[1]\"\n"
      "end\n"
      "set -g __callboard_paths";
  for (const auto& e : all) {
    if (!e.path.empty()) out += " ' " + e.path + "'";
  }
  out += '\n';
  for (const auto& e : all) {
    const auto where =
        fish_quoted(fmt::format("__callboard_path_is \"{}\"", e.path.empty() ? "" : " " + e.path));
    for (const auto& [name, description] : e.commands) {
      out += fmt::format(
          "complete -c callboard -f -n {} -a {} -d {}\n", where, name, fish_quoted(description));
    }
    for (const auto& [name, description] : e.options) {
      const auto condition = e.path.empty() ? std::string{} : " -n " + where;
      out += fmt::format(
          "complete -c callboard{} -l {} -d {}\n",
          condition,
          name.substr(2),
          fish_quoted(description));
    }
  }
  return out;
}

}  // namespace

void add_completion(CLI::App& app, context& run) {
  auto shell = std::make_shared<std::string>();
  add_command(
      app,
      run,
      "completion",
      "print a completion script for a shell",
      "source <(callboard completion bash)",
      [&app, &run, shell] {
        std::vector<entry> all;
        collect(app, {}, all);
        if (*shell == "bash") run.io.out << bash_script(all);
        if (*shell == "zsh") run.io.out << zsh_script(all);
        if (*shell == "fish") run.io.out << fish_script(all);
        return exit_code::done;
      })
      .add_option("shell", *shell, "bash, zsh or fish")
      ->required()
      ->type_name("SHELL")
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
}

}  // namespace callboard::cli
