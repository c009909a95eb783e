// The JSON session: operations, answers, events, and each way to end.
#include "tests/gateway/sessions/fixture.hpp"

using namespace callboard;
using namespace callboard::gateway;
using callboard::testing::one_client;

using Catch::Contains;

TEST_CASE_METHOD(one_client, "the handshake chooses a protocol and does not echo tokens", "[ws]") {
  connect();
  CHECK_THAT(socket.from_server, Contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
  CHECK_THAT(socket.from_server, Contains("Sec-WebSocket-Protocol: callboard.v1.json"));
  CHECK_THAT(socket.from_server, !Contains("secret"));
  CHECK_THAT(socket.from_server, Contains(R"({"op":"welcome","connection":"c1","node":"n1")"));
  CHECK(socket.writes == 1);
}

TEST_CASE_METHOD(one_client, "publishes of one read go to the broker as one batch", "[ws]") {
  begin();
  for (int i = 1; i <= 3; ++i) {
    send(
        R"({"op":"publish","id":)" + std::to_string(i)
        + R"(,"topic":"open.t","event":{"data":1}})");
  }
  work();
  REQUIRE(published.size() == 1);
  REQUIRE(published[0].requests.size() == 3);
  CHECK(budget.used() > 0);
  actors::publish_replies replies;
  for (std::size_t i = 0; i < 3; ++i) {
    replies.replies.push_back(
        {published[0].requests[i].correlation,
         actors::publish_outcome{
             sequence{i + 1}, std::make_shared<const std::string>("e"), durability::synced, {}}});
  }
  published.clear();
  CHECK(budget.used() == 0);
  const auto writes = socket.writes;
  current->on_publish_replies(replies);
  run();
  const auto told = frames();
  REQUIRE(told.size() == 3);
  CHECK_THAT(told[2], Contains(R"("id":3,"topic":"open.t","seq":3,"cursor":"e:3")"));
  CHECK_THAT(told[2], Contains(R"("durability":"synced")"));
  CHECK(socket.writes == writes + 1);
}

TEST_CASE_METHOD(one_client, "what the broker refuses is answered to each request", "[ws]") {
  begin();
  refuse = error{errc::overloaded, "full", 70};
  send(R"({"op":"publish","id":1,"topic":"open.t","event":{"data":1}})");
  send(R"({"op":"publish","id":2,"topic":"open.t","event":{"data":1}})");
  work();
  const auto told = frames();
  REQUIRE(told.size() == 2);
  CHECK_THAT(told[1], Contains(R"("op":"error","id":2,"code":"overloaded")"));
  CHECK_THAT(told[1], Contains(R"("retry_after_ms":70)"));
}

TEST_CASE_METHOD(one_client, "bad frames are named and leave the connection usable", "[ws]") {
  begin();
  const std::vector<std::pair<std::string, std::string>> samples{
      {"{", "invalid_json"},
      {R"([1])", "invalid_json"},
      {R"({"op":"dance","id":1})", "bad_request"},
      {R"({"id":1})", "bad_request"},
      {R"({"op":"subscribe","id":1})", "bad_request"},
      {R"({"op":"subscribe","id":1,"topic":"a..b"})", "invalid_name"},
      {R"({"op":"subscribe","id":1,"topic":"open.t","from":"soon"})", "bad_request"},
      {R"({"op":"subscribe","id":1,"topic":"open.t","slow":"later"})", "bad_request"},
      {R"({"op":"subscribe","id":1,"topic":"open.*","from":7})", "bad_request"},
      {R"({"op":"subscribe","id":1,"topic":"closed"})", "forbidden"},
      {R"({"op":"publish","id":1,"topic":"closed","event":{}})", "forbidden"},
      {R"({"op":"publish","id":1,"topic":"open.t"})", "bad_request"},
      {R"({"op":"publish","id":1,"topic":"open.t","event":{"id":}})", "invalid_json"},
      {R"({"op":"unsubscribe","id":1,"sub":9})", "not_found"},
  };
  for (const auto& [frame, code] : samples) {
    INFO(frame);
    send(frame);
    work();
    CHECK_THAT(only_frame(), Contains("\"code\":\"" + code + '"'));
  }
  send(R"({"op":"ping","id":"still"})");
  work();
  CHECK(only_frame() == R"({"op":"pong","id":"still"})");
}

TEST_CASE_METHOD(one_client, "requests in flight have a bound and a time", "[ws]") {
  settings.limits.requests_in_flight_max = 1;
  begin();
  send(R"({"op":"publish","id":1,"topic":"open.t","event":{}})");
  send(R"({"op":"publish","id":2,"topic":"open.t","event":{}})");
  work();
  CHECK_THAT(only_frame(), Contains(R"("id":2,"code":"overloaded")"));
  time.advance(std::chrono::milliseconds{settings.limits.request_timeout_ms + 1});
  send("", 0x8A);
  work();
  current->on_tick(time.boot());
  run();
  const auto told = frames();
  REQUIRE_FALSE(told.empty());
  CHECK_THAT(told[0], Contains(R"("id":1,"code":"timeout")"));
}

TEST_CASE_METHOD(one_client, "events reach the client; a full output makes it lag", "[ws]") {
  settings.limits.output_bytes_max = 4096;
  begin();
  send(R"({"op":"subscribe","id":1,"topic":"open.t","from":"now"})");
  work();
  REQUIRE(router.attached.size() == 1);
  const auto relay = router.attached[0].second;
  const topic_ref topic{tenant_name::trusted("acme"), topic_name::trusted("open.t")};
  self->send(
      relay,
      actors::box(actors::relay_attached{
          .topic = topic,
          .exists = true,
          .ephemeral = false,
          .epoch = "e",
          .entity = {},
          .first_seq = sequence{1},
          .last_seq = sequence{}}));
  run();
  CHECK(
      only_frame()
      == R"({"op":"ok","id":1,"sub":1,"topic":"open.t","epoch":"e","seq":0,"cursor":"e:0","recovered":true})");

  const auto publish = [&](std::uint64_t seq) {
    auto batch = std::make_shared<runtime::event_batch>();
    batch->topic = topic;
    batch->epoch = "e";
    event_defaults defaults;
    defaults.id = std::to_string(seq);
    const auto event = decode_plain("\"" + std::string(900, 'x') + "\"", defaults).value().event;
    batch->events.push_back({sequence{seq}, time.wall(), event.stored});
    self->send(relay, actors::box(actors::deliver{std::move(batch)}));
  };
  publish(1);
  run();
  CHECK_THAT(
      only_frame(), Contains(R"({"op":"event","sub":1,"topic":"open.t","seq":1,"cursor":"e:1")"));

  socket.blocked = true;
  for (std::uint64_t seq = 2; seq <= 12; ++seq)
    publish(seq);
  run();
  socket.blocked = false;
  stream->release();
  run();
  std::string all;
  for (const auto& frame : frames())
    all += frame;
  std::size_t at = 0;
  for (std::uint64_t seq = 2; seq <= 12; ++seq) {
    const auto found = all.find("\"seq\":" + std::to_string(seq) + ',');
    REQUIRE(found != std::string::npos);
    CHECK(found > at);
    CHECK(all.find("\"seq\":" + std::to_string(seq) + ',', found + 1) == std::string::npos);
    at = found;
  }
  CHECK_THAT(all, Contains(R"({"op":"lagging","sub":1)"));
  CHECK_THAT(all, Contains(R"({"op":"caught_up","sub":1)"));
}

TEST_CASE_METHOD(one_client, "each way to end has its close code", "[ws]") {
  begin();
  SECTION("the client closes: echoed, and members are unknown first") {
    send(R"({"op":"presence","id":1,"topic":"open.t","action":"join"})");
    send(std::string{"\x03\xE8", 2}, 0x88);
    work();
    CHECK(close_code_of(frames().back()) == 1000);
    const auto* leave = std::get_if<actors::presence_leave>(&controls.back().body);
    REQUIRE(leave != nullptr);
    // They may be here with another connection, too.
    CHECK(leave->vanished);
    CHECK(ended);
  }
  SECTION("the client vanishes: members are unknown first") {
    send(R"({"op":"presence","id":1,"topic":"open.t","action":"join"})");
    work();
    socket.peer_gone = true;
    work();
    CHECK(std::get<actors::presence_leave>(controls.back().body).vanished);
    CHECK(ended);
  }
  SECTION("binary where text is due") {
    send("x", 0x82);
    work();
    CHECK(close_code_of(frames().back()) == 1003);
  }
  SECTION("reserved bits") {
    send("x", 0xB1);
    work();
    CHECK(close_code_of(frames().back()) == 1002);
    CHECK(ended);
  }
  SECTION("the node drains") {
    current->on_drain(std::chrono::milliseconds{0});
    run();
    const auto told = frames();
    REQUIRE(told.size() == 2);
    CHECK_THAT(told[0], Contains(R"("op":"goaway","reconnect_after_ms":)"));
    CHECK(close_code_of(told[1]) == 1001);
  }
  SECTION("the node drains: members are unknown first") {
    send(R"({"op":"presence","id":1,"topic":"open.t","action":"join"})");
    work();
    current->on_drain(std::chrono::milliseconds{0});
    tick_after(std::chrono::seconds{6});
    CHECK(close_code_of(frames().back()) == 1001);
    send(std::string{"\x03\xE9", 2}, 0x88);
    work();
    CHECK(last_asked<actors::presence_leave>().vanished);
    CHECK(ended);
  }
  SECTION("silence") {
    time.advance(std::chrono::milliseconds{settings.limits.idle_timeout_ms + 1});
    current->on_tick(time.boot());
    CHECK(ended);
  }
}

TEST_CASE_METHOD(
    one_client, "a pattern says since when by the time of events, not the clock", "[ws][pattern]") {
  settings.limits.pattern_topics_max = 1;
  router.now = time_ms{std::chrono::hours{1}};
  begin();
  send(R"({"op":"subscribe","id":1,"topic":"open.*"})");
  work();
  REQUIRE(router.controls.size() == 1);
  actors::topic_list known;
  for (const auto* name : {"open.a", "open.b"}) {
    known.topics.emplace_back().topic = name;
    known.topics.back().epoch = "e";
  }
  const auto& [request, hub_actor] = router.controls[0];
  self->send(hub_actor, actors::box(actors::control_reply{request.correlation, known}));
  run();
  const auto told = frames();
  REQUIRE_FALSE(told.empty());
  CHECK_THAT(told.back(), Contains(R"("complete":false,"since":"time:1970-01-01T00:59:00)"));
}
