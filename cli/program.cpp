// The whole command line with a program's own workflows: what `callboard` and programs on the
// public headers are made of.
#include "cli/run.hpp"
#include "runtime/workflow/workflow_registry.hpp"

#include <array>
#include <callboard/node.hpp>
#include <csignal>
#include <iostream>
#include <unistd.h>

namespace callboard {

int node::main(int argc, char** argv) {
  using namespace cli;
  // A reader that went away (`| head`) ends the program quietly, by the failed write.
  std::signal(SIGPIPE, SIG_DFL);
  runtime::workflow_registry workflows;
  for (auto& one : definitions_) {
    if (auto added = workflows.add(std::move(one)); !added) {
      std::cerr << added.error().detail << '\n';
      return static_cast<int>(exit_code::usage);
    }
  }
  constexpr auto families = std::to_array<family>(
      {add_serve,
       add_publish,
       add_subscribe,
       add_topic,
       add_group,
       add_binding,
       add_queue,
       add_presence,
       add_workflow,
       add_workflow_replay,
       add_agent,
       add_token,
       add_journal,
       add_backup,
       add_config,
       add_doctor,
       add_bench,
       add_completion});
  const streams io{
      .in = std::cin,
      .out = std::cout,
      .err = std::cerr,
      .in_fd = STDIN_FILENO,
      .err_is_terminal = ::isatty(STDERR_FILENO) == 1};
  return run({argv, static_cast<std::size_t>(argc)}, io, families, &workflows);
}

}  // namespace callboard
