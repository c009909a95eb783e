// A program of your own with your workflows in it: everything that `callboard` can do, and a node
// of it runs the classes that were added.
//
//   int main(int argc, char** argv) {
//     return callboard::node{}.add<greeting>().main(argc, argv);
//   }
#pragma once

#include "callboard/agent.hpp"
#include "callboard/workflow.hpp"

#include <vector>

namespace callboard {

/// Lifecycle: `add`, then `main` once, from main and before any thread is started.
class node {
public:
  /// Registers a workflow or an agent class. Several versions of one type may be added: runs are
  /// pinned to the one they began with, new ones take the newest.
  template <class Workflow>
  node&& add() && {
    definitions_.push_back(Workflow::definition());
    return std::move(*this);
  }

  template <class Workflow>
  node& add() & {
    definitions_.push_back(Workflow::definition());
    return *this;
  }

  /// Runs the command line: `serve`, `dev`, and all the others. Returns the exit code.
  [[nodiscard]] int main(int argc, char** argv);

private:
  std::vector<workflow_definition> definitions_;
};

}  // namespace callboard
