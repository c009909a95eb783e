// The program `callboard`. It has no workflows of its own but those that it measures itself with.
#include "cli/bench_workflows.hpp"

#include <callboard/node.hpp>

/// Read by jemalloc where it is linked (cli/CMakeLists.txt): a thread of its own gives back what is
/// free also while nobody allocates, so that a node at rest is small.
extern "C" {
extern const char* malloc_conf;
const char* malloc_conf = "background_thread:true,dirty_decay_ms:5000,muzzy_decay_ms:0";
}

int main(int argc, char** argv) {
  return callboard::node{}
      .add<callboard::cli::five_steps>()
      .add<callboard::cli::sleeper>()
      .add<callboard::cli::paced_steps>()
      .add<callboard::cli::many_steps>()
      .add<callboard::cli::held_steps>()
      .main(argc, argv);
}
