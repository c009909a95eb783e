// The program `callboard`.
#include "cli/run.hpp"

#include <array>
#include <csignal>
#include <iostream>
#include <unistd.h>

int main(int argc, char** argv) {
  using namespace callboard::cli;
  // A reader that went away (`| head`) ends the program quietly, by the failed write.
  std::signal(SIGPIPE, SIG_DFL);
  constexpr auto families = std::to_array<family>(
      {add_serve,
       add_publish,
       add_subscribe,
       add_topic,
       add_group,
       add_presence,
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
  return run({argv, static_cast<std::size_t>(argc)}, io, families);
}
