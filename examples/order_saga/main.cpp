// An order as a saga: stock is reserved, a large order waits for a person, the card is charged, an
// invoice is written by a child workflow, and everything is undone if something fails or the order
// is cancelled.
//
//   build/order_saga dev
//   curl -s localhost:8700/v1/tenants/default/workflows \
//     -d '{"type":"order","id":"o1","input":{"item":"lamp","total":40}}'
//   curl -s 'localhost:8700/v1/tenants/default/workflows/o1/result?wait_ms=5000'
#include <callboard/node.hpp>

#include "examples/order_saga/order.hpp"

int main(int argc, char** argv) {
  using namespace order_saga;
  return callboard::node{}.add<order>().add<invoice>().add<reminder>().main(argc, argv);
}
