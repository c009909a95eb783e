// The program `callboard`. It has no workflows of its own but those that it measures itself with.
#include "cli/bench_workflows.hpp"

#include <callboard/node.hpp>

int main(int argc, char** argv) {
  return callboard::node{}
      .add<callboard::cli::five_steps>()
      .add<callboard::cli::sleeper>()
      .add<callboard::cli::paced_steps>()
      .add<callboard::cli::many_steps>()
      .main(argc, argv);
}
