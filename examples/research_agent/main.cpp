// Research in parallel: a child workflow for each angle of a subject, each against the clock; a
// model makes one report of what came in time, and an agent keeps the reports on the subject.
//
//   build/research_agent dev --set models.order=openai …   (docs/guide/model-calls.md)
//   curl -s 'localhost:8700/v1/tenants/default/workflows?wait_ms=25000' -d '{"type":"research",
//     "id":"r1","input":{"subject":"lamps","angles":["history","physics"],"patience_ms":10000}}'
//   curl -s localhost:8700/v1/tenants/default/agents/notebook/lamps/last -d null
#include <callboard/node.hpp>

#include "examples/research_agent/research.hpp"

int main(int argc, char** argv) {
  using namespace research;
  return callboard::node{}.add<study>().add<reader>().add<notebook>().main(argc, argv);
}
