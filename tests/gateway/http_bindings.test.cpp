// Bindings over HTTP: what is asked of the broker, what is shown, and who may.

#include "tests/gateway/guarded_fixture.hpp"
#include "tests/support/catch.hpp"

#include <fmt/format.h>

using namespace callboard;
using namespace callboard::testing;
using namespace std::chrono_literals;

namespace {

std::string request(
    std::string_view method,
    std::string_view path,
    std::string_view body = {},
    std::string_view headers = {}) {
  return fmt::format(
      "{} /v1/tenants/acme/topics/orders.1/bindings{} HTTP/1.1\r\nHost: h\r\n"
      "Content-Length: {}\r\n{}\r\n{}",
      method,
      path,
      body.size(),
      headers,
      body);
}

template <class T>
T last(http_fixture& fixture) {
  std::optional<T> found;
  fixture.run([&] {
    if (fixture.asked.empty()) return;
    if (const auto* body = std::get_if<T>(&fixture.asked.back())) found = *body;
  });
  REQUIRE(found.has_value());
  return *found;
}

constexpr std::string_view queue_rule = R"({"target":{"queue":{"queue":"llm"}}})";
constexpr std::string_view workflow_rule = R"({"target":{"workflow":{"type":"t"}}})";
constexpr std::string_view signal_rule = R"({"target":{"signal":{"workflow":"w","name":"s"}}})";
constexpr std::string_view agent_rule =
    R"({"target":{"agent":{"type":"desk","key":"{id}","message":"m"}}})";

struct asking_fixture : guarded_fixture {
  /// The status of a request with such a token.
  int ask_as(
      gateway::token_claims claims,
      std::string_view method,
      std::string_view path,
      std::string_view body = {}) {
    auto client = connect();
    return static_cast<int>(
        client.ask(request(method, path, body, bearer_of(std::move(claims)))).status);
  }
};

}  // namespace

TEST_CASE_METHOD(http_fixture, "a binding is put on a group of its own", "[gateway][binding]") {
  auto client = connect();
  CHECK(
      client
          .ask(request(
              "PUT",
              "/start",
              R"({"target":{"workflow":{"type":"t"}},"filter":{"type":"a.*"},"from":"first"})"))
          .status
      == 204);
  const auto put = last<actors::put_group>(*this);
  CHECK(put.group.group.str() == "~start");
  CHECK(put.binding == R"({"filter":{"type":"a.*"},"target":{"workflow":{"type":"t"}}})");
  CHECK(std::holds_alternative<runtime::from_first>(put.from));
  CHECK(client.ask(request("PUT", "/start", queue_rule)).status == 204);
  CHECK(std::holds_alternative<runtime::from_now>(last<actors::put_group>(*this).from));
  for (const auto* body :
       {"",
        "{}",
        "[",
        R"({"target":{"queue":{}}})",
        R"({"target":{"queue":{"queue":"q"}},"x":1})",
        R"({"target":{"queue":{"queue":"q"}},"from":"yesterday"})"}) {
    INFO(body);
    CHECK(client.ask(request("PUT", "/start", body)).status == 400);
  }
  CHECK(client.ask(request("PUT", "/a.b", queue_rule)).status == 400);
  CHECK(client.ask(request("POST", "/start", queue_rule)).status == 405);

  CHECK(client.ask(request("GET", "")).status == 204);
  CHECK(last<actors::list_bindings>(*this).topic.topic.str() == "orders.1");
  CHECK(client.ask(request("GET", "/start")).status == 204);
  CHECK(last<actors::get_binding>(*this).group.group.str() == "~start");
  CHECK(client.ask(request("DELETE", "/start")).status == 204);
  CHECK(last<actors::delete_binding>(*this).group.group.str() == "~start");
  CHECK(client.ask(request("GET", "/start/dead?from=7&limit=5")).status == 204);
  const auto list = last<actors::list_binding_dead>(*this);
  CHECK(list.events_max == 5);
  CHECK(std::get<runtime::from_seq>(list.from).seq == sequence{7});
  CHECK(client.ask(request("GET", "/start/dead?from=now")).status == 400);
  CHECK(client.ask(request("POST", "/start/dead/redrive")).status == 204);
  CHECK(last<actors::redrive_binding>(*this).group.group.str() == "~start");
  CHECK(last<actors::redrive_binding>(*this).filter.is_all());
  CHECK(client.ask(request("GET", "/start/dead/redrive")).status == 405);
  const auto some = R"({"seqs":[3,5],"error_contains":"gone"})";
  CHECK(client.ask(request("POST", "/start/dead/redrive", some)).status == 204);
  const auto redrive = last<actors::redrive_binding>(*this);
  CHECK(redrive.filter.seqs == std::vector{sequence{3}, sequence{5}});
  CHECK(redrive.filter.error_contains == "gone");
  CHECK(client.ask(request("POST", "/start/dead/abandon", R"({"type":"t"})")).status == 204);
  CHECK(last<actors::abandon_binding_dead>(*this).filter.type == "t");
  CHECK(client.ask(request("POST", "/start/dead/abandon", R"({"all":true})")).status == 204);
  CHECK(last<actors::abandon_binding_dead>(*this).filter.is_all());
  for (const auto body : {"{}", R"({"all":true,"type":"t"})", R"({"seqs":["x"]})"}) {
    INFO(body);
    CHECK(client.ask(request("POST", "/start/dead/abandon", body)).status == 400);
  }
  CHECK(client.ask(request("PUT", "/start/dead/7", R"({"data":{"n":1}})")).status == 204);
  const auto edit = last<actors::edit_binding_dead>(*this);
  CHECK(edit.seq == sequence{7});
  CHECK(edit.data == R"({"n":1})");
  CHECK(client.ask(request("PUT", "/start/dead/7", R"({"data":null})")).status == 204);
  for (const auto body : {"", "{}", R"({"data":1,"x":2})"}) {
    INFO(body);
    CHECK(client.ask(request("PUT", "/start/dead/7", body)).status == 400);
  }
  CHECK(client.ask(request("PUT", "/start/dead/0", R"({"data":1})")).status == 400);
  CHECK(client.ask(request("POST", "/start/dead/7", R"({"data":1})")).status == 405);
  // A list that came out empty is not all of them.
  for (const auto body :
       {R"({"seqs":[]})", R"({"all":false})", R"({"type":""})", R"({"all":true,"seqs":[3]})"}) {
    INFO(body);
    CHECK(client.ask(request("POST", "/start/dead/redrive", body)).status == 400);
  }
  CHECK(client.ask(request("POST", "/start/dead/redrive", "{}")).status == 204);
  CHECK(client.ask(request("GET", "/start/other")).status == 404);
}

TEST_CASE_METHOD(
    asking_fixture,
    "who makes a binding must be allowed to do what it does",
    "[gateway][binding]") {
  using claims = gateway::token_claims;
  const std::vector<std::string> reads{"orders.*"};
  const auto put = [&](const claims& who, std::string_view rule) {
    return ask_as(who, "PUT", "/b", rule);
  };
  const claims reader{.subscribe = reads};
  for (const auto rule : {queue_rule, workflow_rule, signal_rule, agent_rule})
    CHECK(put(reader, rule) == 403);

  const claims worker{.subscribe = reads, .work = {"llm"}};
  CHECK(put(worker, queue_rule) == 204);
  CHECK(put(worker, workflow_rule) == 403);
  CHECK(put({.work = {"llm"}}, queue_rule) == 403);
  CHECK(put({.subscribe = reads, .work = {"mail"}}, queue_rule) == 403);

  const claims starter{.publish = {"workflow.>"}, .subscribe = reads};
  CHECK(put(starter, workflow_rule) == 204);
  CHECK(put(starter, signal_rule) == 204);
  CHECK(put(starter, agent_rule) == 204);
  CHECK(put(starter, queue_rule) == 403);
  const claims some{.publish = {"workflow.*", "workflow.w"}, .subscribe = reads};
  CHECK(put(some, workflow_rule) == 403);
  CHECK(put(some, signal_rule) == 403);

  CHECK(put({.publish = {"workflow.agent.desk.>"}, .subscribe = reads}, agent_rule) == 204);
  CHECK(put({.publish = {"workflow.agent.till.>"}, .subscribe = reads}, agent_rule) == 403);

  for (const auto rule : {queue_rule, workflow_rule, signal_rule, agent_rule})
    CHECK(put({.admin = true}, rule) == 204);

  // Other data could make it do what only a publish could.
  const auto edit = [&](const claims& who) {
    return ask_as(who, "PUT", "/b/dead/7", R"({"data":1})");
  };
  CHECK(edit(reader) == 403);
  CHECK(edit({.publish = {"orders.>"}, .subscribe = reads}) == 204);
  CHECK(edit({.publish = {"orders.>"}}) == 403);
  CHECK(edit({.admin = true}) == 204);

  // To look, and to drive again what somebody has bound, takes the right to read.
  for (const auto& [method, path] :
       {std::pair{"GET", "/b"},
        std::pair{"GET", ""},
        std::pair{"DELETE", "/b"},
        std::pair{"GET", "/b/dead"},
        std::pair{"POST", "/b/dead/redrive"}}) {
    INFO(method << path);
    CHECK(ask_as(reader, method, path) == 204);
    CHECK(ask_as({.admin = true}, method, path) == 204);
    CHECK(ask_as({.publish = {">"}, .subscribe = {"news"}}, method, path) == 403);
  }
}

TEST_CASE_METHOD(
    asking_fixture,
    "what is done to a binding's dead letters is given who the token is of",
    "[gateway][binding]") {
  for (const std::string who : {"ada", "bob"}) {
    const gateway::token_claims claims{.subject = who, .admin = true};
    CHECK(ask_as(claims, "POST", "/b/dead/redrive") == 204);
    CHECK(last<actors::redrive_binding>(*this).who == who);
    CHECK(ask_as(claims, "POST", "/b/dead/redrive", R"({"seqs":[7]})") == 204);
    CHECK(last<actors::redrive_binding>(*this).who == who);
    CHECK(ask_as(claims, "POST", "/b/dead/abandon", R"({"seqs":[7]})") == 204);
    CHECK(last<actors::abandon_binding_dead>(*this).who == who);
    CHECK(ask_as(claims, "PUT", "/b/dead/7", R"({"data":1})") == 204);
    CHECK(last<actors::edit_binding_dead>(*this).who == who);
  }
}
