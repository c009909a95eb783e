// The program `callboard`. It has no workflows of its own but those that it measures itself with.
#include "cli/five_steps.hpp"

#include <callboard/node.hpp>

int main(int argc, char** argv) {
  return callboard::node{}.add<callboard::cli::five_steps>().main(argc, argv);
}
