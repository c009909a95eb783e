// A client that finds nobody.
#include <callboard/client.hpp>

int main() {
  auto acme = callboard::tenant_client::open({.server = "http://127.0.0.1:1", .tenant = "acme"});
  if (!acme) return 1;
  return acme->publish("orders", {.type = "order.placed"}) ? 1 : 0;
}
