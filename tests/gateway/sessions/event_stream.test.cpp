// Event streams: what comes, from where, what ids say, and how they end.
#include "tests/gateway/sessions/fixture.hpp"

using namespace callboard;
using namespace callboard::gateway;
using namespace std::chrono_literals;
using callboard::testing::one_client;
using Catch::Contains;

namespace {

struct stream_client : one_client {
  std::string last_event_id;

  void open(const std::string& topic) {
    // The stream before this one may have ended.
    ended = false;
    auto request = request_for("topics/" + topic + "/events");
    if (!last_event_id.empty()) request.headers = {{"last-event-id", last_event_id}};
    start_event_stream(*this, environment, new_stream(), std::move(request), topic);
    run();
  }

  /// Opens and takes the head of the answer off.
  void begin(const std::string& topic) {
    open(topic);
    CHECK_THAT(take_text(), Contains("200 OK") && Contains("text/event-stream"));
  }

  /// The list of topics that a pattern waits for.
  void list(const std::map<std::string, std::uint64_t>& topics) {
    REQUIRE_FALSE(router.controls.empty());
    const auto& [request, hub] = router.controls.back();
    REQUIRE(std::holds_alternative<actors::list_topics>(request.body));
    actors::topic_list all;
    for (const auto& [name, last] : topics) {
      actors::topic_description one;
      one.topic = name;
      one.epoch = "e";
      one.first_seq = sequence{1};
      one.last_seq = sequence{last};
      all.topics.push_back(std::move(one));
    }
    asker = hub;
    self->send(hub, actors::box(actors::control_reply{request.correlation, std::move(all)}));
    run();
  }

  /// A topic of the pattern wakes up.
  void wake(const std::string& name, std::uint64_t last_seq) {
    self->send(
        asker, actors::box(actors::topic_active{topic_named(name), "e", sequence{last_seq}}));
    run();
    attach(name, last_seq);
  }

  ~stream_client() override { asker = {}; }

  caf::actor asker;
};

}  // namespace

TEST_CASE_METHOD(stream_client, "events come with cursor, type and data", "[sse]") {
  open("open.t");
  attach("open.t", 3);
  const auto text = take_text();
  CHECK(text.starts_with("HTTP/1.1 200 OK\r\n"));
  CHECK_THAT(text, Contains("Cache-Control: no-store\r\n") && Contains("retry: 2000\n"));
  CHECK_THAT(text, Contains("id: e:3\n\n"));
  deliver("open.t", 4, "{\"n\":1}");
  const auto event = take_text();
  CHECK_THAT(event, Contains("id: e:4\nevent: ") && Contains("\ndata: {\"specversion\":\"1.0\""));
  CHECK(event.ends_with("\n\n"));
  deliver("open.t", 0, "2", true);
  CHECK_THAT(take_text(), !Contains("id:") && Contains("\"data\":2"));
}

TEST_CASE_METHOD(
    stream_client, "Last-Event-ID goes before cursor, and cursor before from", "[sse]") {
  SECTION("a cursor") {
    last_event_id = "e:3";
  }
  SECTION("a bare seq") {
    last_event_id = "3";
  }
  SECTION("the id of a pattern's stream") {
    last_event_id = "open.t/e:3";
  }
  SECTION("in the query") {
    query["cursor"] = "e:3";
  }
  SECTION("inclusive in the query") {
    query["from"] = "4";
  }
  if (!last_event_id.empty()) query["cursor"] = "other:1";
  if (!query.contains("from")) query["from"] = "first";
  begin("open.t");
  attach("open.t", 3);
  CHECK_THAT(take_text(), Contains("id: e:3\n\n"));
  deliver("open.t", 4, "1");
  CHECK_THAT(take_text(), Contains("id: e:4\n"));
}

TEST_CASE_METHOD(stream_client, "a cursor that cannot be honoured is told at once", "[sse]") {
  last_event_id = "a:7";
  begin("open.t");
  attach("open.t", 3);
  const auto text = take_text();
  CHECK_THAT(text, Contains("event: callboard.gap\n") && Contains(R"("recovered":false)"));
  CHECK_THAT(text, Contains("id: e:0\n") && Contains(R"("first_seq":1)"));
}

TEST_CASE_METHOD(stream_client, "bad requests for a stream are refused over HTTP", "[sse]") {
  const auto refused = [&](const std::string& topic, unsigned status, const std::string& code) {
    INFO(topic << ' ' << last_event_id);
    open(topic);
    const auto text = take_text();
    CHECK(text.starts_with("HTTP/1.1 " + std::to_string(status)));
    CHECK_THAT(text, Contains("\"code\":\"" + code + '"'));
  };
  refused("closed", 403, "forbidden");
  refused(">", 403, "forbidden");
  last_event_id = "soon";
  refused("open.t", 400, "bad_request");
  last_event_id = "e:4";
  refused("open.*", 400, "bad_request");
  last_event_id = "other.t/e:4";
  refused("open.*", 400, "bad_request");
  refused("open.t", 400, "bad_request");
  CHECK(current == nullptr);
}

TEST_CASE_METHOD(
    stream_client, "each id of a pattern speaks for all its topics", "[sse][pattern]") {
  begin("open.*");
  list({{"open.a", 3}, {"open.b", 5}});
  const auto text = take_text();
  CHECK_THAT(text, Contains("id: open.a/e:3,open.b/e:5\nevent: callboard.subscribed\n"));
  wake("open.b", 5);
  deliver("open.b", 6, "1");
  CHECK_THAT(take_text(), Contains("id: open.b/e:6,open.a/e:3\nevent: "));
  wake("open.new", 0);
  deliver("open.new", 1, "1");
  CHECK_THAT(take_text(), Contains("id: open.new/e:1,open.a/e:3,open.b/e:6\n"));
}

TEST_CASE_METHOD(stream_client, "ephemeral events of a pattern say their topic", "[sse][pattern]") {
  begin("open.*");
  std::map<std::string, std::uint64_t> many;
  for (int i = 0; i < 200; ++i)
    many["open.topic-" + std::to_string(i)] = 1;
  list(many);
  wake("open.topic-7", 1);
  wake("open.topic-8", 1);
  (void)take_text();
  // Not in an id: those are long, and these have no place that one could resume after.
  for (const auto* topic : {"open.topic-7", "open.topic-8", "open.topic-7"}) {
    deliver(topic, 0, "1", true);
    const auto text = take_text();
    CHECK_THAT(text, Contains("\"callboardtopic\":\"" + std::string{topic} + '"'));
    CHECK_THAT(text, !Contains("id: "));
    CHECK(text.size() < 500);
  }
  deliver("open.topic-8", 2, "1");
  CHECK_THAT(
      take_text(),
      Contains("id: open.topic-8/e:2,open.topic-0/e:1,") && !Contains("callboardtopic"));
}

TEST_CASE_METHOD(stream_client, "an event stream of one topic does not name it", "[sse]") {
  begin("open.a");
  attach("open.a", 3);
  (void)take_text();
  deliver("open.a", 0, "1", true);
  CHECK_THAT(take_text(), Contains("data: ") && !Contains("callboardtopic"));
}

TEST_CASE_METHOD(
    stream_client, "a pattern resumes all topics that its id names", "[sse][pattern]") {
  last_event_id = "open.b/e:4,open.a/e:3";
  begin("open.*");
  list({{"open.a", 3}, {"open.b", 5}, {"open.c", 2}});
  const auto text = take_text();
  CHECK_THAT(text, Contains("id: open.a/e:3,open.b/e:4\nevent: callboard.subscribed"));
  CHECK_THAT(text, !Contains("callboard.gap"));
  // b goes on after 4; c was made while the client was away, and comes from its first event. Of a
  // there is nothing new.
  attach("open.b", 5);
  attach("open.c", 2);
  std::map<std::string, std::uint64_t> reads;
  for (const auto& [request, from] : router.controls) {
    const auto* read = std::get_if<actors::read_events>(&request.body);
    if (read == nullptr) continue;
    const auto* at = std::get_if<runtime::from_seq>(&read->from);
    reads[read->topic.topic.str()] = at != nullptr ? at->seq.raw() : 1;
  }
  CHECK(reads == std::map<std::string, std::uint64_t>{{"open.b", 5}, {"open.c", 1}});
}

TEST_CASE_METHOD(stream_client, "a pattern that had no topic misses none", "[sse][pattern]") {
  begin("open.*");
  list({});
  CHECK_THAT(take_text(), Contains("id: /\nevent: callboard.subscribed\n"));
  current->on_stop();
  run();
  last_event_id = "/";
  begin("open.*");
  list({{"open.a", 3}});
  CHECK_THAT(take_text(), Contains("id: /\nevent: callboard.subscribed\n"));
  CHECK(router.attached.size() == 1);
}

TEST_CASE_METHOD(
    stream_client, "an id that cannot name all topics is a gap, told", "[sse][pattern]") {
  last_event_id = "open.a/e:3,*";
  open("open.*");
  std::map<std::string, std::uint64_t> many;
  for (int i = 0; i < 600; ++i)
    many["open.topic-" + std::to_string(i)] = 1;
  auto text = take_text();
  CHECK_THAT(text, Contains("event: callboard.gap\ndata: {\"recovered\":false,\"reason\":"));
  list(many);
  CHECK_THAT(take_text(), Contains("id: *\nevent: callboard.subscribed\n"));
  wake("open.topic-7", 1);
  deliver("open.topic-7", 2, "1");
  CHECK_THAT(take_text(), Contains("id: open.topic-7/e:2,*\n"));
}

TEST_CASE_METHOD(
    stream_client, "a full output makes a pattern lag and catch up", "[sse][pattern]") {
  settings.limits.output_bytes_max = 4096;
  begin("open.*");
  list({{"open.a", 0}});
  wake("open.a", 0);
  take_text();
  socket.blocked = true;
  for (std::uint64_t seq = 1; seq <= 12; ++seq)
    deliver("open.a", seq, "\"" + std::string(900, 'x') + "\"");
  socket.blocked = false;
  stream->release();
  run();
  const auto text = take_text();
  std::size_t at = 0;
  for (std::uint64_t seq = 1; seq <= 12; ++seq) {
    const auto id = "id: open.a/e:" + std::to_string(seq) + '\n';
    const auto found = text.find(id);
    REQUIRE(found != std::string::npos);
    CHECK(found >= at);
    CHECK(text.find(id, found + 1) == std::string::npos);
    at = found;
  }
  CHECK_THAT(text, Contains("callboard.lagging") && Contains("callboard.caught_up"));
}

TEST_CASE_METHOD(
    stream_client, "notices for who does not read are counted, not kept", "[sse][pattern]") {
  settings.limits.output_bytes_max = 4096;
  settings.limits.pattern_topics_max = 1;
  begin("open.*");
  list({});
  take_text();
  socket.blocked = true;
  for (int i = 0; i < 1000; ++i) {
    const auto topic = topic_named("open.t" + std::to_string(i));
    self->send(asker, actors::box(actors::topic_active{topic, "e", sequence{1}}));
  }
  run();
  socket.blocked = false;
  stream->release();
  run();
  const auto text = take_text();
  CHECK(text.size() < 2 * 4096);
  CHECK_THAT(text, Contains("event: callboard.error\n"));
  CHECK_THAT(text, Contains("event: callboard.omitted\ndata: {\"notices\":9"));
}

TEST_CASE_METHOD(stream_client, "a stream that nothing is taken from ends", "[sse]") {
  begin("open.t");
  attach("open.t", 0);
  take_text();
  tick_after(300s);
  CHECK_FALSE(ended);
  socket.blocked = true;
  deliver("open.t", 1, "1");
  tick_after(100s);
  CHECK_FALSE(ended);
  tick_after(100s);
  CHECK(ended);
}

TEST_CASE_METHOD(stream_client, "a quiet stream has comments", "[sse]") {
  begin("open.t");
  attach("open.t", 0);
  take_text();
  tick_after(14s);
  CHECK(take_text().empty());
  tick_after(1s);
  CHECK(take_text() == ": \n\n");
}

TEST_CASE_METHOD(stream_client, "a stream says why it ends", "[sse]") {
  who.expires = time.wall() + 60s;
  begin("open.t");
  attach("open.t", 0);
  take_text();
  SECTION("the token ran out") {
    tick_after(61s);
    CHECK_THAT(
        take_text(), Contains("event: callboard.error\n") && Contains(R"("code":"unauthorized")"));
    CHECK(ended);
  }
  SECTION("the node drains") {
    current->on_drain(1000ms);
    tick_after(1s);
    const auto text = take_text();
    CHECK_THAT(text, Contains("retry: ") && Contains("event: callboard.goaway\n"));
    CHECK(ended);
  }
  SECTION("the client goes") {
    socket.peer_gone = true;
    work();
    CHECK(ended);
  }
}
