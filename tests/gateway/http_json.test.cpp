// How deep the JSON of requests may be and which numbers it may have: what is let in here is let in
// everywhere behind.
#include "gateway/json_text.hpp"

#include "tests/gateway/http_fixture.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/deep_json.hpp"

#include <fmt/format.h>

#include <callboard/json_text.hpp>

using namespace callboard;
using namespace callboard::testing;

namespace {

struct way_in {
  std::string method;
  std::string path;
  /// What is around the value, which is all of it where these are empty.
  std::string before;
  std::string after;
};

const std::vector<way_in> ways{
    {"POST", "/workflows", R"({"type":"t","id":"w1","input":)", "}"},
    {"POST", "/workflows/w1/signals/go", "", ""},
    {"POST", "/agents/counter/a/add", "", ""},
    {"POST", "/queues/llm/tasks", R"({"payload":)", "}"},
    {"PUT", "/queues/llm/dead/7", R"({"payload":)", "}"},
    {"POST", "/leases/l1/complete", R"({"result":)", "}"},
    {"POST", "/workflows/w1/commands/1/resolve", R"({"result":)", "}"}};

answer send(raw_client& client, const way_in& way, const std::string& value) {
  const auto body = way.before + value + way.after;
  return client.ask(fmt::format(
      "{} /v1/tenants/acme{} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{}",
      way.method,
      way.path,
      body.size(),
      body));
}

}  // namespace

TEST_CASE_METHOD(http_fixture, "values of every way in have a depth", "[gateway][json]") {
  auto client = connect();
  for (const auto& way : ways) {
    INFO(way.path);
    const std::size_t around = way.before.empty() ? 0 : 1;
    CHECK(send(client, way, deep_text(json_depth_max - around)).status < 300);
    const auto refused = send(client, way, deep_text(json_depth_max - around + 1));
    CHECK(refused.status == 400);
    CHECK_THAT(
        refused.body,
        Catch::Contains("invalid_json") && Catch::Contains("nested deeper than 64 levels at byte"));
    const auto far_deeper = send(client, way, deep_text(10'000));
    CHECK(far_deeper.status == 400);
  }
}

TEST_CASE_METHOD(http_fixture, "values of every way in are numbers of doubles", "[gateway][json]") {
  auto client = connect();
  for (const auto& way : ways) {
    INFO(way.path);
    CHECK(send(client, way, "[1e308, 123456789012345678901234567890]").status < 300);
    for (const auto* number : {"1e400", "-1e400", R"({"a":[1e309]})", "1e99999999999999"}) {
      const auto refused = send(client, way, number);
      CHECK(refused.status == 400);
      CHECK_THAT(
          refused.body,
          Catch::Contains("invalid_json") && Catch::Contains("no double holds the number before"));
    }
  }
}

TEST_CASE_METHOD(http_fixture, "keys that are no UTF-8 are refused", "[gateway][json]") {
  auto client = connect();
  const auto send_with = [&](std::string_view key) {
    return client
        .ask(fmt::format(
            "POST /v1/tenants/acme/workflows/w1/signals/go HTTP/1.1\r\nHost: h\r\n"
            "Idempotency-Key: {}\r\nContent-Length: 1\r\n\r\n1",
            key))
        .status;
  };
  CHECK(send_with("k\u00e4") < 300);
  CHECK(send_with("k\xe4") == 400);
}

TEST_CASE("what is only handed through keeps its numbers", "[gateway][json]") {
  CHECK(gateway::check_json("[1e400]"));
  CHECK_FALSE(gateway::check_value("[1e400]"));
  CHECK(gateway::check_json(deep_text(json_depth_max)));
  CHECK_FALSE(gateway::check_json(deep_text(json_depth_max + 1)));
  CHECK(gateway::check_value(deep_text(json_depth_max, "1.5e3")));
}
