// callboard workflow replay: does this code, another program's or a module's fit what a workflow
// has recorded? The history comes from a running node or a file; no step runs and nothing is
// changed.
#include "cli/client/raw_json.hpp"
#include "cli/families.hpp"
#include "cli/number_range.hpp"
#include "cli/output.hpp"
#include "cli/workflow_pages.hpp"
#include "node/module_loader.hpp"
#include "runtime/workflow/run_check.hpp"
#include "runtime/workflow/run_codec.hpp"

#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <array>
#include <callboard/json_text.hpp>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <ostream>
#include <spawn.h>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

extern char** environ;

namespace callboard::cli {

namespace {

using boost::json::object;

struct replay_options {
  std::string id;
  std::string against = "here";
  /// Instead of a node's: a file with what `workflow history --output json` printed.
  std::string history_file;
  std::uint32_t version = 0;
};

result<std::string> read_file(const std::string& path) {
  std::ifstream file{path, std::ios::binary};
  if (!file) return fail(errc::io_error, fmt::format("cannot read {}", path));
  return std::string{std::istreambuf_iterator<char>{file}, {}};
}

boost::json::array words(const std::vector<std::string>& from) {
  boost::json::array list;
  for (const auto& one : from)
    list.emplace_back(one);
  return list;
}

json text_or_null(const std::string& text) {
  return text.empty() ? json{nullptr} : json(text);
}

boost::json::array described(const std::vector<runtime::changed_argument>& changed) {
  boost::json::array list;
  for (const auto& one : changed) {
    list.push_back(object{
        {"command", one.command},
        {"kind", runtime::name_of(one.kind)},
        {"name", one.name},
        {"member", one.member},
        {"recorded", text_or_null(one.recorded)},
        {"attempted", text_or_null(one.attempted)}});
  }
  return list;
}

object described(const runtime::replay_check& check, std::chrono::milliseconds took) {
  object out{
      {"fits", !check.mismatch},
      {"type", check.type},
      {"version", check.version},
      {"run", check.run},
      {"events", check.events},
      {"replay_ms", took.count()}};
  out["changed"] = described(check.changed);
  if (check.changed_omitted != 0) out["changed_omitted"] = check.changed_omitted;
  if (check.mismatch) {
    out["error"] = runtime::describe_failure(*check.mismatch);
    return out;
  }
  out["next"] = words(check.next);
  out["waits_for"] = words(check.open);
  if (check.end) out["end"] = name_of(*check.end);
  return out;
}

exit_code replay_here(
    const context& run,
    const replay_options& o,
    const runtime::workflow_registry& classes,
    const std::string& history) {
  const auto parsed = read_json(history);
  const auto* events =
      !parsed || !parsed->is_object() ? nullptr : parsed->get_object().if_contains("events");
  if (events == nullptr || !events->is_array()) {
    return run.misuse("the history is not what `workflow history --output json` prints");
  }
  auto shown = runtime::read_shown_history(events->get_array());
  if (!shown) return run.refuse(shown.error());
  const auto begun = std::chrono::steady_clock::now();
  const auto check = runtime::check_replay(classes, std::move(*shown), o.version);
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::steady_clock::now() - begun);
  if (!check) return run.refuse(check.error());
  print_object(run, boost::json::serialize(described(*check, took)));
  return check->mismatch ? exit_code::refused : exit_code::done;
}

/// The history in a file that goes with this object.
class history_file {
public:
  [[nodiscard]] static result<std::unique_ptr<history_file>> write(const std::string& text) {
    auto path = (std::filesystem::temp_directory_path() / "callboard-history-XXXXXX").string();
    const int descriptor = ::mkstemp(path.data());
    if (descriptor < 0) {
      return fail(errc::io_error, fmt::format("cannot make {}: {}", path, std::strerror(errno)));
    }
    ::close(descriptor);
    auto made = std::unique_ptr<history_file>{new history_file{path}};
    std::ofstream file{path, std::ios::binary};
    if (!(file << text << std::flush)) {
      return fail(errc::io_error, fmt::format("cannot write {}", path));
    }
    return made;
  }

  ~history_file() { ::unlink(path_.c_str()); }

  history_file(const history_file&) = delete;
  history_file& operator=(const history_file&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }

private:
  explicit history_file(std::string path) : path_{std::move(path)} {}

  std::string path_;
};

struct program_end {
  std::string output;
  int status = 0;
};

/// Runs `words`, the first of which is a path, and reads what it prints; its errors are shown.
result<program_end> run_program(std::vector<std::string> words) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return fail(errc::io_error, fmt::format("cannot make a pipe: {}", std::strerror(errno)));
  }
  std::vector<char*> arguments;
  for (auto& word : words)
    arguments.push_back(word.data());
  arguments.push_back(nullptr);
  ::posix_spawn_file_actions_t actions{};
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  pid_t child = 0;
  const int failed =
      ::posix_spawn(&child, words.front().c_str(), &actions, nullptr, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  program_end end;
  std::array<char, 4096> piece{};
  while (failed == 0) {
    const auto count = ::read(ends[0], piece.data(), piece.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    end.output.append(piece.data(), static_cast<std::size_t>(count));
  }
  ::close(ends[0]);
  if (failed != 0) {
    return fail(
        errc::not_found, fmt::format("cannot run {}: {}", words.front(), std::strerror(failed)));
  }
  while (::waitpid(child, &end.status, 0) < 0 && errno == EINTR) {
  }
  return end;
}

/// Errors: wrong_kind, for whatever takes the words of `callboard` for something else.
result<void> check_program(const std::string& path) {
  const auto end = run_program({path, "--version"});
  if (!end) return std::unexpected{end.error()};
  if (end->output.starts_with("callboard ")) return {};
  return fail(
      errc::wrong_kind,
      fmt::format(
          "{} is no program of Callboard: give --against a program whose main is "
          "callboard::node's, "
          "or a module (a file that ends with .so)",
          path));
}

/// The same command in another program, which has the classes.
exit_code replay_there(const context& run, const replay_options& o, const std::string& history) {
  if (auto sound = check_program(o.against); !sound) return run.refuse(sound.error());
  const auto file = history_file::write(history);
  if (!file) return run.refuse(file.error());
  std::vector<std::string> words{
      o.against, "--output", "json", "workflow", "replay", o.id, "--history", (*file)->path()};
  if (o.version != 0) {
    words.emplace_back("--code-version");
    words.push_back(std::to_string(o.version));
  }
  const auto end = run_program(std::move(words));
  if (!end) return run.refuse(end.error());
  const auto answer = read_json(end->output);
  const auto* fits =
      !answer || !answer->is_object() ? nullptr : answer->get_object().if_contains("fits");
  if (fits == nullptr || !fits->is_bool()) {
    const bool has_refused =
        WIFEXITED(end->status) && WEXITSTATUS(end->status) == static_cast<int>(exit_code::refused);
    // It has said why.
    if (has_refused && end->output.empty()) return exit_code::refused;
    return run.refuse(
        {errc::wrong_kind,
         fmt::format("{} did not answer whether the history fits", o.against),
         0});
  }
  print_object(run, boost::json::serialize(*answer));
  return fits->get_bool() ? exit_code::done : exit_code::refused;
}

exit_code replay(const context& run, const replay_options& o) {
  result<std::string> history;
  if (!o.history_file.empty()) {
    history = read_file(o.history_file);
  } else {
    const auto who = run.account();
    if (!who) return run.misuse(who.error().detail);
    client::api api{*who};
    history = whole_history(api, o.id);
    if (!history) return run.refuse(history.error(), api.refusal());
  }
  if (!history) return run.refuse(history.error());
  const auto own = run.workflows == nullptr ? runtime::workflow_registry{} : *run.workflows;
  if (o.against == "here") return replay_here(run, o, own, *history);
  if (!o.against.ends_with(".so")) return replay_there(run, o, *history);
  runtime::workflow_registry classes;
  if (auto loaded = node::load_module(o.against, classes); !loaded) {
    return run.refuse(loaded.error());
  }
  return replay_here(run, o, classes, *history);
}

}  // namespace

void add_workflow_replay(CLI::App& app, context& run) {
  auto o = std::make_shared<replay_options>();
  auto& command = add_command(
      *app.get_subcommand("workflow"),
      run,
      "replay",
      "does code fit what a workflow has recorded? Runs no step, changes nothing; exits with 1 if "
      "not",
      "callboard workflow replay o1 --against build/order_saga",
      [&run, o] { return replay(run, *o); });
  command.add_option("id", o->id, "id of the workflow")->required()->type_name("ID");
  command
      .add_option(
          "--against",
          o->against,
          "`here` (the classes of this program), another program on callboard::node, or a module")
      ->type_name("here|PROGRAM|LIBRARY.so")
      ->capture_default_str();
  command
      .add_option(
          "--history",
          o->history_file,
          "file with the output of `workflow history --output json`, instead of a node")
      ->type_name("FILE");
  command
      .add_option("--code-version", o->version, "version of the class; without it, the run's own")
      ->check(at_least_one);
}

}  // namespace callboard::cli
