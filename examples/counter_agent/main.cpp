// A node with the agent of counter.hpp.
//
//   build/counter_agent dev
//   curl -d 5 localhost:8700/v1/tenants/default/agents/counter/likes/add
//   curl localhost:8700/v1/tenants/default/agents/counter/likes
#include <callboard/node.hpp>

#include "examples/counter_agent/counter.hpp"

int main(int argc, char** argv) {
  return callboard::node{}.add<counter>().main(argc, argv);
}
