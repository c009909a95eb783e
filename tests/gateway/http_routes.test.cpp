// What each endpoint asks of the broker and says to the client.
#include "gateway/event_codec.hpp"
#include "gateway/origin.hpp"
#include "proto/event.pb.h"

#include "tests/gateway/guarded_fixture.hpp"
#include "tests/support/catch.hpp"

#include <fmt/format.h>

using namespace callboard;
using namespace callboard::testing;
using namespace std::chrono_literals;

namespace {

constexpr std::string_view tenant = "/v1/tenants/acme";

bool is_node_path(std::string_view path) {
  return path.starts_with("/v1/") || path == "/livez" || path == "/readyz" || path == "/metrics";
}

std::string request(
    std::string_view method,
    std::string_view path,
    std::string_view body = {},
    std::string_view headers = {}) {
  return fmt::format(
      "{} {}{} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n{}\r\n{}",
      method,
      is_node_path(path) ? "" : tenant,
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

v1::Event event_of(const runtime::encoded_event& encoded) {
  v1::Event event;
  const auto bytes = runtime::event_proto(encoded.stored);
  REQUIRE(event.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
  return event;
}

}  // namespace

TEST_CASE_METHOD(http_fixture, "every CloudEvents mode is understood", "[gateway][routes]") {
  auto client = connect();
  const std::string event = R"({"specversion":"1.0","id":"1","source":"/s","type":"t","data":1})";
  const auto path = "/topics/a.b/events?type=q.t&source=/q";
  CHECK(client.ask(request("POST", path, "[1]")).status == 200);
  CHECK(
      client
          .ask(request(
              "POST", path, event, "Content-Type: Application/CloudEvents+JSON; charset=utf-8\r\n"))
          .status
      == 200);
  const auto batch = client.ask(request(
      "POST",
      path,
      "[" + event + "," + event + "]",
      "Content-Type: application/cloudevents-batch+json\r\n"));
  CHECK(batch.status == 200);
  CHECK_THAT(batch.body, Catch::StartsWith(R"({"results":[{"topic":"a.b","seq":3,)"));
  CHECK(
      client
          .ask(request(
              "POST",
              path,
              "hi",
              "ce-specversion: 1.0\r\nce-id: 9\r\nce-source: /s\r\nCE-Type: t\r\nContent-Type: "
              "text/plain\r\n"))
          .status
      == 200);
  CHECK(
      client.ask(request("POST", path, event, "Content-Type: application/cloudevents+avro\r\n"))
          .status
      == 415);
  CHECK(
      client
          .ask(request("POST", path, "a=1", "Content-Type: application/x-www-form-urlencoded\r\n"))
          .status
      == 415);
  CHECK(client.ask(request("POST", path, "{}", "Content-Encoding: gzip\r\n")).status == 415);
  run([this] {
    REQUIRE(published.size() == 4);
    CHECK(event_of(published[0].requests[0].events[0]).type() == "q.t");
    CHECK(event_of(published[0].requests[0].events[0]).source() == "/q");
    CHECK(event_of(published[1].requests[0].events[0]).id() == "1");
    CHECK(published[2].requests[0].events.size() == 2);
    CHECK(event_of(published[3].requests[0].events[0]).text() == "hi");
    CHECK(published[3].charge.size() >= published[3].requests[0].events[0].stored.size());
  });
}

TEST_CASE_METHOD(http_fixture, "publish options reach the broker", "[gateway][routes]") {
  auto client = connect();
  CHECK(
      client
          .ask(request(
              "POST",
              "/topics/t/events?durability=written",
              "1",
              "Callboard-Expected-Seq: 7\r\nIdempotency-Key: bare\r\n"))
          .status
      == 200);
  run([this] {
    const auto& sent = published.back().requests[0];
    CHECK(sent.expected == sequence{7});
    CHECK(sent.level == durability::written);
    CHECK_FALSE(sent.ephemeral);
    CHECK(event_of(sent.events[0]).id() == "bare");
    on_publish = [](const auto&) {
      return std::optional<result<actors::publish_outcome>>{actors::publish_outcome{}};
    };
  });
  const auto ephemeral =
      client.ask(request("POST", "/topics/t/events?ephemeral=true", "1", "Idempotency-Key: e\r\n"));
  CHECK(ephemeral.body == R"({"topic":"t","ephemeral":true,"duplicate":false,"id":"e"})");
  for (const auto* bad :
       {"/topics/t/events?durability=maybe",
        "/topics/t/events?ephemeral=perhaps",
        "/topics/*/events"}) {
    CHECK(client.ask(request("POST", bad, "1")).status == 400);
  }
  CHECK(
      client.ask(request("POST", "/topics/t/events", "1", "Callboard-Expected-Seq: x\r\n")).status
      == 400);
  CHECK(
      client.ask(request("POST", "/topics/t/events", "1", "Idempotency-Key: \"\"\r\n")).status
      == 400);
}

TEST_CASE_METHOD(
    http_fixture, "refusals of the broker become their statuses", "[gateway][routes]") {
  const std::pair<errc, unsigned> vectors[] = {
      {errc::sequence_conflict, 409},
      {errc::id_conflict, 409},
      {errc::storage_full, 507},
      {errc::outcome_unknown, 503},
      {errc::not_enough_replicas, 503},
      {errc::overloaded, 429},
      {errc::draining, 503},
      {errc::internal, 500}};
  auto client = connect();
  for (const auto& [refused_with, status] : vectors) {
    const auto code = refused_with;
    run([this, code] {
      on_publish = [code](const auto&) {
        return std::optional<result<actors::publish_outcome>>{fail(code, "why", 1500)};
      };
    });
    const auto got = client.ask(request("POST", "/topics/t/events", "1"));
    CHECK(got.status == status);
    CHECK(got.headers.at("content-type") == "application/problem+json");
    CHECK_THAT(got.body, Catch::Contains(fmt::format("\"code\":\"{}\"", name_of(code))));
    if (is_retryable(code)) CHECK(got.headers.at("retry-after") == "2");
  }
}

TEST_CASE_METHOD(http_fixture, "history is a page of events", "[gateway][routes]") {
  run([this] {
    on_control = [](const auto&) {
      auto batch = std::make_shared<runtime::event_batch>();
      batch->epoch = "e9";
      auto event = gateway::decode_plain("[1]", {.id = "x"});
      batch->events.push_back({sequence{4}, time_ms{1ms}, event->event.stored});
      return std::optional<result<actors::control_answer>>{
          actors::control_answer{actors::event_page{
              .batch = batch,
              .first_seq = sequence{2},
              .last_seq = sequence{9},
              .next_from = sequence{5}}}};
    };
  });
  auto client = connect();
  const auto got = client.ask(request("GET", "/topics/t/events?from=4&limit=5000"));
  CHECK(
      got.body
      == R"({"events":[{"seq":4,"cursor":"e9:4","event":{"specversion":"1.0","id":"x","source":"/callboard",)"
         R"("type":"callboard.event","time":"1970-01-01T00:00:00.001Z","data":[1]}}],"epoch":"e9","first_seq":2,)"
         R"("last_seq":9,"next_from":5})");
  const auto read = last<actors::read_events>(*this);
  CHECK(read.events_max == 1000);
  CHECK(std::get<runtime::from_seq>(read.from).seq == sequence{4});
  CHECK(client.ask(request("GET", "/topics/t/events?limit=0")).status == 400);
  CHECK(client.ask(request("GET", "/topics/t/events?from=never")).status == 400);
  run([this] {
    on_control = [](const auto&) {
      return std::optional<result<actors::control_answer>>{
          fail(errc::cursor_expired, "first is 7")};
    };
  });
  CHECK(client.ask(request("GET", "/topics/t/events?from=e1:3")).status == 410);
}

TEST_CASE_METHOD(http_fixture, "topics are made, shown, listed and deleted", "[gateway][routes]") {
  auto client = connect();
  run([this] {
    on_control = [](const auto&) {
      actors::topic_description topic;
      topic.topic = "t";
      topic.epoch = "e";
      topic.created = true;
      return std::optional<result<actors::control_answer>>{actors::control_answer{topic}};
    };
  });
  const auto made = client.ask(request(
      "PUT",
      "/topics/t",
      R"({"kind":"durable","lane":"bulk","retention":{"max_age_s":1,"max_bytes":2,"max_events":3},"dedupe_window_s":4,"hold_for_groups":true})"));
  CHECK(made.status == 201);
  CHECK_THAT(made.body, Catch::Contains(R"("lane":"interactive")"));
  const auto patch = last<actors::put_topic>(*this).patch;
  CHECK(patch.lane == runtime::topic_lane::bulk);
  CHECK(patch.retention_bytes == 2);
  CHECK(patch.dedupe_window_s == 4);
  CHECK(patch.hold_for_groups == true);
  for (const auto* bad :
       {R"({"kind":"other"})",
        R"({"retention":5})",
        R"({"retention":{"max":1}})",
        R"({"unknown":1})",
        R"({"dedupe_window_s":-1})",
        "[]",
        "{"}) {
    INFO(bad);
    CHECK(client.ask(request("PUT", "/topics/t", bad)).status == 400);
  }
  run([this] {
    on_control = [](const auto&) {
      return std::optional<result<actors::control_answer>>{actors::control_answer{actors::done{}}};
    };
  });
  const auto gone = client.ask(request("DELETE", "/topics/t"));
  CHECK(gone.status == 204);
  CHECK_FALSE(gone.headers.contains("content-length"));
  (void)last<actors::delete_topic>(*this);
  run([this] {
    on_control = [](const auto&) {
      return std::optional<result<actors::control_answer>>{
          actors::control_answer{actors::topic_list{.next_after = "z"}}};
    };
  });
  CHECK(
      client.ask(request("GET", "/topics?after=x&limit=5&runs=true")).body
      == R"({"topics":[],"next_after":"z"})");
  const auto list = last<actors::list_topics>(*this);
  CHECK(list.after == "x");
  CHECK(list.limit == 5);
  CHECK(list.with_run_channels);
}

TEST_CASE_METHOD(http_fixture, "groups are made, fetched from and acked", "[gateway][routes]") {
  auto client = connect();
  CHECK(
      client
          .ask(request(
              "PUT",
              "/topics/t/groups/g",
              R"({"hold_ms":500,"ordered_by_subject":true,"from":"now"})"))
          .status
      == 204);
  const auto put = last<actors::put_group>(*this);
  CHECK(put.hold_ms == 500);
  CHECK(std::holds_alternative<runtime::from_now>(put.from));
  CHECK(
      client
          .ask(request(
              "POST", "/topics/t/groups/g/ack", R"({"deliveries":["a","b"],"up_to_seq":5})"))
          .status
      == 204);
  CHECK(last<actors::ack_deliveries>(*this).tokens.size() == 2);
  CHECK(last<actors::ack_deliveries>(*this).up_to == sequence{5});
  CHECK(
      client
          .ask(request(
              "POST",
              "/topics/t/groups/g/nack",
              R"({"deliveries":["a"],"delay_ms":9,"error":"no"})"))
          .status
      == 204);
  CHECK(last<actors::nack_deliveries>(*this).delay_ms == 9);
  CHECK(client.ask(request("DELETE", "/topics/t/groups/g/members/m%201")).status == 204);
  CHECK(last<actors::leave_group>(*this).member == "m 1");
  CHECK(client.ask(request("POST", "/topics/t/groups/g/ack", "{}")).status == 400);
  CHECK(
      client.ask(request("POST", "/topics/t/groups/g/nack", R"({"deliveries":[1]})")).status
      == 400);
  CHECK(client.ask(request("GET", "/topics/t/groups/g/ack")).status == 405);
  run([this] {
    on_control = [](const auto&) {
      auto event = gateway::decode_plain("1", {.id = "x"});
      actors::delivery_list list{.epoch = "e"};
      list.deliveries.push_back({"tok", 2, {sequence{3}, time_ms{0ms}, event->event.stored}});
      return std::optional<result<actors::control_answer>>{actors::control_answer{list}};
    };
  });
  const auto got = client.ask(
      request("POST", "/topics/t/groups/g/fetch", R"({"member":"m","max":5,"wait_ms":99999999})"));
  CHECK_THAT(
      got.body,
      Catch::StartsWith(
          R"({"epoch":"e","deliveries":[{"delivery":"tok","attempt":2,"seq":3,"cursor":"e:3","event":{)"));
  CHECK(last<actors::fetch_deliveries>(*this).wait_ms == settings.groups.fetch_wait_ms_max);
}

TEST_CASE_METHOD(http_fixture, "a poller that goes away leaves its group", "[gateway][routes]") {
  run([this] { on_control = [](const auto&) { return std::nullopt; }; });
  auto client = connect();
  client.send(request("POST", "/topics/t/groups/g/fetch", R"({"member":"m","wait_ms":20000})"));
  REQUIRE(eventually([this] { return asked.size() == 1; }));
  const auto poll = last<actors::fetch_deliveries>(*this).poll;
  CHECK(poll != 0);
  client.close();
  REQUIRE(eventually([this] { return asked.size() == 2; }));
  CHECK(last<actors::leave_group>(*this).member == "m");
  // It has seen nothing of what it may have been given just now.
  CHECK(last<actors::leave_group>(*this).unseen == std::vector{poll});
  CHECK(eventually([this] { return ports.empty(); }));
}

TEST_CASE_METHOD(http_fixture, "who polls in vain has seen no task", "[gateway][routes]") {
  run([this] { on_control = [](const auto&) { return std::nullopt; }; });
  auto client = connect();
  client.send(request("POST", "/queues/q/lease", R"({"worker":"w","wait_ms":1000})"));
  REQUIRE(eventually([this] { return asked.size() == 1; }));
  const auto worker = last<actors::lease_tasks>(*this).lease.worker;
  const auto poll = last<actors::lease_tasks>(*this).lease.poll;
  CHECK(poll != 0);
  SECTION("its client goes away") {
    client.close();
  }
  SECTION("nobody answers in time") {
    advance(std::chrono::milliseconds{settings.limits.request_timeout_ms + 1001});
  }
  SECTION("the node goes") {
    drain(0ms);
    advance(1ms);
  }
  REQUIRE(eventually([this] { return asked.size() == 2; }));
  CHECK(last<actors::leave_queue>(*this).worker == worker);
  CHECK(last<actors::leave_queue>(*this).unseen == std::vector{poll});
}

TEST_CASE_METHOD(
    http_fixture, "leases whose answer is not taken are given back", "[gateway][routes]") {
  // More than sockets hold, so that the answer stays in the middle.
  actors::leased_tasks list;
  const shared_bytes payload{'"' + std::string(1 << 20, 'x') + '"'};
  for (int i = 0; i < 32; ++i) {
    auto& task = list.tasks.emplace_back();
    task.lease = "l" + std::to_string(i);
    task.payload = payload;
  }
  answer_leases(list);
  auto client = connect();
  client.send(request("POST", "/queues/q/lease", R"({"worker":"w","max":32,"wait_ms":1000})"));
  REQUIRE(eventually([this] { return asked.size() == 1; }));
  const auto worker = last<actors::lease_tasks>(*this).lease.worker;
  SECTION("when the time to write it is over") {
    advance(std::chrono::milliseconds{settings.limits.request_timeout_ms + 1});
  }
  SECTION("when the connection breaks") {
    advance(1ms);
    client.close();
  }
  REQUIRE(eventually([this] { return asked.size() == 2; }));
  CHECK(last<actors::leave_queue>(*this).worker == worker);
  CHECK(last<actors::leave_queue>(*this).unseen.empty());
  CHECK(eventually([this] { return ports.empty(); }));
}

TEST_CASE_METHOD(http_fixture, "presence is shown, joined and left", "[gateway][routes]") {
  auto client = connect();
  CHECK(client.ask(request("PUT", "/presence/t/ada", R"({ "a": 1 })")).status == 204);
  CHECK(last<actors::presence_join>(*this).state == R"({"a":1})");
  CHECK(client.ask(request("DELETE", "/presence/t/ada")).status == 204);
  (void)last<actors::presence_leave>(*this);
  CHECK(client.ask(request("PUT", "/presence/t/ada", "[]")).status == 400);
  CHECK(
      client.ask(request("PUT", "/presence/t/ada", "{\"a\":\"" + std::string(5000, 'x') + "\"}"))
          .status
      == 413);
  run([this] {
    on_control = [](const auto&) {
      actors::presence_members members{.members = {{"ada\"", "", 3, false}}, .version = 8};
      return std::optional<result<actors::control_answer>>{actors::control_answer{members}};
    };
  });
  CHECK(
      client.ask(request("GET", "/presence/t")).body
      == R"({"members":[{"member":"ada\"","state":{},"version":3,"present":false}],"version":8})");
}

TEST_CASE_METHOD(http_fixture, "health and metrics need no token", "[gateway][routes]") {
  auto client = connect();
  CHECK(client.ask(request("GET", "/livez")).status == 200);
  CHECK(client.ask(request("GET", "/readyz")).body == R"({"status":"ready"})");
  not_ready = error{errc::storage_full, "disk"};
  const auto full = client.ask(request("GET", "/readyz"));
  CHECK(full.status == 503);
  CHECK_THAT(full.body, Catch::Contains(R"("code":"storage_full")"));
  not_ready.reset();
  draining = true;
  CHECK_THAT(client.ask(request("GET", "/readyz")).body, Catch::Contains("draining"));
  draining = false;
  auto again = connect();
  const auto text = again.ask(request("GET", "/metrics"));
  CHECK(text.headers.at("content-type") == "text/plain; version=0.0.4; charset=utf-8");
  CHECK_THAT(
      text.body,
      Catch::Contains(R"(callboard_http_requests_total{route="health",status="5xx"} 2)"));
  CHECK(again.ask(request("GET", "/v1/cluster")).body == R"({"mode":"single"})");
}

TEST_CASE_METHOD(http_fixture, "a backup answers when it is done", "[gateway][routes]") {
  auto client = connect();
  CHECK(
      client.ask(request("POST", "/v1/admin/backup", R"({"target":"/b"})")).body
      == R"({"target":"/b"})");
  CHECK(client.ask(request("POST", "/v1/admin/backup", "{}")).status == 400);
}

TEST_CASE_METHOD(http_fixture, "upgrades are handed on with what was read", "[gateway][routes]") {
  auto client = connect();
  const std::string head = "GET /v1/tenants/acme/ws?a=1 HTTP/1.1\r\nHost: h\r\nConnection: "
                           "Upgrade\r\nUpgrade: websocket\r\n\r\n";
  client.send(head + "early");
  CHECK(client.is_closed());
  auto seen = take_upgrade();
  REQUIRE(seen.request.has_value());
  CHECK(seen.request->head == head);
  CHECK(seen.request->leftover == "early");
  CHECK(seen.request->query.at("a") == "1");
  CHECK(seen.request->tenant.str() == "acme");
  auto stream = connect();
  stream.send(request("GET", "/topics/a.%3E/events", "", "Accept: text/event-stream\r\n"));
  CHECK(stream.is_closed());
  CHECK(take_upgrade().topic == "a.>");
  auto plain = connect();
  CHECK(plain.ask(request("GET", "/v1/tenants/acme/ws")).status == 426);
}

TEST_CASE("pages of other origins are kept out", "[gateway][routes]") {
  http_fixture fixture{[](config& c) { c.listen.allowed_origins = {"https://app.example"}; }};
  auto client = fixture.connect();
  const auto allowed =
      client.ask(request("POST", "/topics/t/events", "1", "Origin: https://app.example\r\n"));
  CHECK(allowed.status == 200);
  CHECK(allowed.headers.at("access-control-allow-origin") == "https://app.example");
  CHECK(allowed.headers.at("vary") == "Origin");
  CHECK(
      client.ask(request("POST", "/topics/t/events", "1", "Origin: https://evil.example\r\n"))
          .status
      == 403);
  CHECK(client.ask(request("POST", "/topics/t/events", "1", "Origin: null\r\n")).status == 403);
  CHECK(
      client
          .ask(request(
              "GET",
              "/topics/t/events",
              "",
              "Accept: text/event-stream\r\nOrigin: https://evil.example\r\n"))
          .status
      == 403);
  const auto readable =
      client.ask(request("GET", "/livez", "", "Origin: https://evil.example\r\n"));
  CHECK(readable.status == 200);
  CHECK_FALSE(readable.headers.contains("access-control-allow-origin"));
  // A foreign name that resolves to this machine is no same host on a node without tokens.
  CHECK(client.ask(request("POST", "/topics/t/events", "1", "Origin: http://h\r\n")).status == 403);
  const auto preflight = client.ask(request(
      "OPTIONS",
      "/topics/t/events",
      "",
      "Origin: https://app.example\r\nAccess-Control-Request-Method: POST\r\n"));
  CHECK(preflight.status == 204);
  CHECK(preflight.headers.at("access-control-allow-methods") == "GET, HEAD, POST, OPTIONS");
}

TEST_CASE("without tokens the same host is one that names this machine", "[gateway][routes]") {
  const auto standing = [](const std::string& authority, bool trusted_local) {
    const auto origin = "http://" + authority;
    return gateway::standing_of(&origin, &authority, {}, trusted_local);
  };
  for (const std::string name :
       {"localhost:8700", "127.0.0.1:8700", "127.0.0.1", "127.9.9.9", "[::1]:8700"}) {
    INFO(name);
    CHECK(standing(name, true) == gateway::origin_standing::same_host);
  }
  // Names and addresses that others own, some of which look like ours.
  for (const std::string name :
       {"127.evil.example", "127.0.0.1.evil.example:8700", "127.", "126.0.0.1", "h", "[::2]"}) {
    INFO(name);
    CHECK(standing(name, true) == gateway::origin_standing::denied);
    CHECK(standing(name, false) == gateway::origin_standing::same_host);
  }
}

TEST_CASE("tokens open what they name and nothing else", "[gateway][routes]") {
  guarded_fixture fixture;
  const auto token = fixture.token_of({.publish = {"orders.>"}, .subscribe = {"orders.*"}});
  const auto with = "Authorization: Bearer " + token + "\r\n";
  auto client = fixture.connect();
  const auto nobody = client.ask(request("POST", "/topics/orders.1/events", "1"));
  CHECK(nobody.status == 401);
  CHECK_THAT(nobody.headers.at("www-authenticate"), Catch::StartsWith("Bearer"));
  CHECK(
      client.ask(request("POST", "/topics/orders.1/events", "1", "Authorization: Basic eDp5\r\n"))
          .status
      == 401);
  CHECK(
      client.ask(request("POST", "/topics/orders.1/events?access_token=" + token, "1")).status
      == 401);
  CHECK(client.ask(request("POST", "/topics/orders.1/events", "1", with)).status == 200);
  CHECK(client.ask(request("POST", "/topics/news/events", "1", with)).status == 403);
  CHECK(
      client.ask(request("POST", "/v1/tenants/other/topics/orders.1/events", "1", with)).status
      == 403);
  CHECK(client.ask(request("GET", "/topics/orders.1.2/events", "", with)).status == 403);
  CHECK(client.ask(request("PUT", "/topics/orders.1", "", with)).status == 403);
  CHECK(client.ask(request("PUT", "/topics/orders.1/groups/g", "", with)).status == 204);
  CHECK(client.ask(request("POST", "/v1/admin/backup", R"({"target":"/b"})", with)).status == 403);
  CHECK(client.ask(request("GET", "/livez")).status == 200);
  fixture.advance(91s);
  auto later = fixture.connect();
  CHECK(later.ask(request("POST", "/topics/orders.1/events", "1", with)).status == 401);
  auto stream = fixture.connect();
  CHECK(
      stream
          .ask(request(
              "GET", "/topics/orders.%3E/events", "", "Accept: text/event-stream\r\n" + with))
          .status
      == 401);
}

TEST_CASE("a token without repair may signal a workflow and no more", "[gateway][routes]") {
  guarded_fixture fixture;
  for (const bool repair : {true, false}) {
    const auto with = fixture.bearer_of(
        {.publish = {"workflow.>"}, .subscribe = {"workflow.>"}, .repair = repair});
    auto client = fixture.connect();
    const auto status = [&](std::string_view path, std::string_view body) {
      return client.ask(request("POST", path, body, with)).status;
    };
    CHECK(status("/workflows/w1/signals/approve", "true") == 204);
    CHECK(status("/workflows/w1/cancel", "") == 204);
    CHECK(last<actors::cancel_workflow>(fixture).who == "ada");
    const auto repaired = repair ? 204U : 403U;
    CHECK(status("/workflows/w1/terminate", R"({"reason":"x"})") == repaired);
    if (repair) CHECK(last<actors::terminate_workflow>(fixture).who == "ada");
    CHECK(status("/workflows/w1/restart", R"({"from":"1"})") == repaired);
    if (repair) CHECK(last<actors::restart_workflow>(fixture).order.who == "ada");
    CHECK(status("/workflows/w1/fork", R"({"id":"w2"})") == repaired);
    if (repair) CHECK(last<actors::fork_workflow>(fixture).order.who == "ada");
    CHECK(status("/workflows/w1/commands/1/skip", "") == repaired);
    if (repair) CHECK(last<actors::resolve_command>(fixture).how == "skipped");
    if (repair) CHECK(last<actors::resolve_command>(fixture).who == "ada");
    CHECK(status("/workflows/w1/commands/2/resolve", R"({"result":1})") == repaired);
    if (repair) CHECK(last<actors::resolve_command>(fixture).how == "resolved");
    if (repair) CHECK(last<actors::resolve_command>(fixture).who == "ada");
  }
}

TEST_CASE("the audit of a queue is given who the token is of", "[gateway][routes]") {
  guarded_fixture fixture;
  for (const std::string who : {"ada", "bob"}) {
    const auto with = fixture.bearer_of({.subject = who, .work = {"llm"}});
    auto client = fixture.connect();
    const auto ask = [&](std::string_view method, std::string_view path, std::string_view body) {
      INFO(method << " " << path << " " << body);
      CHECK(client.ask(request(method, path, body, with)).status == 204);
    };
    for (const auto* path : {"/queues/llm/dead/redrive", "/queues/llm/dead/abandon"}) {
      ask("POST", path, R"({"tasks":[7]})");
      CHECK(last<actors::change_dead>(fixture).change.who == who);
      ask("POST", path, R"({"all":true})");
      CHECK(last<actors::change_dead_where>(fixture).who == who);
    }
    ask("PUT", "/queues/llm/dead/7", R"({"payload":1})");
    CHECK(last<actors::change_dead>(fixture).change.who == who);
    ask("DELETE", "/queues/llm/tasks/7", "");
    CHECK(last<actors::cancel_task>(fixture).who == who);
    ask("POST", "/queues/llm/purge", "");
    CHECK(last<actors::purge_queue>(fixture).who == who);
  }
}

TEST_CASE_METHOD(
    http_fixture, "what is asked of workflows and queues must make sense", "[gateway][routes]") {
  auto client = connect();
  CHECK(client.ask(request("GET", "/workflows?status=failed")).status == 204);
  CHECK(last<actors::list_workflows>(*this).status == "failed");
  for (const auto* status : {"bogus", "continued", ""}) {
    INFO(status);
    CHECK(client.ask(request("GET", fmt::format("/workflows?status={}", status))).status == 400);
  }
  CHECK(client.ask(request("PUT", "/queues/llm/dead/7", R"({"payload":null})")).status == 204);
  CHECK(last<actors::change_dead>(*this).change.payload.view() == "null");
  CHECK(client.ask(request("PUT", "/queues/llm/dead/7", "{}")).status == 400);
  // A worker need not know how much of it is kept.
  const std::string text(5000, 'x');
  CHECK(
      client.ask(request("POST", "/leases/1.2.3/fail", fmt::format(R"({{"error":"{}"}})", text)))
          .status
      == 204);
  CHECK(last<actors::fail_task>(*this).fail.error == text);
}
