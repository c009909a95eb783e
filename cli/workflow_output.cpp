#include "cli/workflow_output.hpp"

#include "cli/client/raw_json.hpp"
#include "cli/object_text.hpp"

#include <ostream>

namespace callboard::cli {

void print_with_list(
    const context& run,
    const std::string& body,
    std::string_view name,
    const std::vector<column>& columns) {
  const auto members = client::json_members(body);
  if (run.wants_json() || !members) return print_object(run, body);
  object_text rest;
  for (const auto& [member, value] : *members) {
    if (member != name) rest.raw(member, std::string{value});
  }
  print_object(run, rest.str());
  const auto list = client::json_elements(client::find_member(*members, name));
  if (!list || list->empty()) return;
  run.io.out << '\n';
  print_list(run, body, name, columns);
}

void print_workflow(const context& run, const std::string& body) {
  print_with_list(
      run,
      body,
      "steps",
      {{"COMMAND", "command"},
       {"KIND", "kind"},
       {"NAME", "name"},
       {"STATUS", "status"},
       {"ATTEMPTS", "attempts"},
       {"STARTED MS", "started_ms"},
       {"ENDED MS", "ended_ms"},
       {"DUE MS", "due_ms"},
       {"ERROR", "error.message"}});
}

void print_explanation(const context& run, const std::string& body) {
  print_with_list(
      run,
      body,
      "waiting_for",
      {{"COMMAND", "command"},
       {"WAITS FOR", "for"},
       {"STATUS", "status"},
       {"SINCE MS", "since_ms"},
       {"ATTEMPTS", "attempts"},
       {"DUE MS", "due_ms"},
       {"ERROR", "error.message"}});
}

}  // namespace callboard::cli
