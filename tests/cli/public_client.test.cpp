// The public client (include/callboard/client.hpp) against a node that is played by the test.
#include "cli/client/raw_json.hpp"

#include "tests/cli/tiny_server.hpp"
#include "tests/support/catch.hpp"

#include <callboard/client.hpp>

using namespace std::chrono_literals;
using callboard::tenant_client;
using callboard::testing::tiny_connection;
using callboard::testing::tiny_server;
namespace client = callboard::client;

namespace {

tenant_client client_of(const tiny_server& server) {
  return *tenant_client::open({.server = server.url(), .tenant = "acme"});
}

std::string member(const std::string& object, std::string_view name) {
  const auto members = client::json_members(object);
  return members ? std::string{client::find_member(*members, name)} : std::string{};
}

/// Takes the subscription and gives its frame.
std::string take_subscription(tiny_connection& c, const std::string& limits = "{}") {
  (void)c.upgrade("callboard.v1.json");
  c.write_frame(1, R"({"op":"welcome","limits":)" + limits + "}");
  int opcode = 0;
  auto frame = c.read_frame(opcode);
  c.write_frame(1, R"({"op":"ok","id":1,"sub":1,"epoch":"e","cursor":"e:4","recovered":true})");
  return frame;
}

void send_event(const tiny_connection& c, int seq) {
  const auto n = std::to_string(seq);
  c.write_frame(
      1,
      R"({"op":"event","sub":1,"topic":"a","seq":)" + n + R"(,"cursor":"e:)" + n
          + R"(","event":{"id":")" + n + R"("}})");
}

void until_it_goes(tiny_connection& c) {
  int opcode = 0;
  do {
    (void)c.read_frame(opcode);
  } while (opcode != -1 && opcode != 8);
}

}  // namespace

TEST_CASE("a node that says nothing any more is lost, and another goes on", "[client]") {
  std::vector<std::string> from;
  tiny_server server{[&](tiny_connection& c) {
    from.push_back(member(take_subscription(c, R"({"ping_interval_ms":60})"), "from"));
    if (from.size() == 1) {
      for (int i = 0; i < 4; ++i)
        c.write_frame(9, {});
    } else {
      send_event(c, 5);
    }
    until_it_goes(c);
  }};
  auto live = client_of(server).subscribe("a");
  REQUIRE(live);
  const auto one = live->next(9s);
  REQUIRE((one && *one));
  CHECK((*one)->seq == 5);
  CHECK(from == std::vector<std::string>{R"("now")", R"("e:4")"});
}
