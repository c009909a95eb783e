// A support assistant for many companies at once, each a tenant: `./dev demo` plays with it, and
// docs/guide/support-assistant.md walks through it.
//
//   python3 examples/support_assistant/provider.py --port 8702 &
//   build/support_assistant dev --set models.order=test --set models.test.default_model=test \
//     --set models.test.base_url=http://127.0.0.1:8702/v1 &
//   python3 examples/support_assistant/worker.py --tenant acme &
//   curl -s localhost:8700/v1/tenants/acme/workflows -d '{"type":"support","id":"t1",
//     "input":{"customer":"ada","question":"Where is my lamp?"}}'
#include <callboard/node.hpp>

#include "examples/support_assistant/support.hpp"

int main(int argc, char** argv) {
  return callboard::node{}.add<support::ticket>().add<support::desk>().main(argc, argv);
}
