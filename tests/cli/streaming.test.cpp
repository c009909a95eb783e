// publish and subscribe through lost connections, refusals and drains.
#include "cli/client/raw_json.hpp"
#include "cli/run.hpp"
#include "cli/subscriber.hpp"

#include "tests/cli/tiny_server.hpp"
#include "tests/support/catch.hpp"

#include <array>
#include <map>
#include <sstream>

using namespace callboard;
using testing::tiny_connection;
using testing::tiny_server;

namespace {

struct outcome {
  int code = -1;
  std::string out;
  std::string err;
};

outcome call(std::vector<std::string> words, const std::string& input = {}) {
  constexpr auto families = std::to_array<cli::family>({cli::add_publish, cli::add_subscribe});
  words.insert(words.begin(), "callboard");
  std::vector<const char*> arguments;
  for (const auto& word : words)
    arguments.push_back(word.c_str());
  std::istringstream in{input};
  std::ostringstream out;
  std::ostringstream err;
  const cli::streams io{.in = in, .out = out, .err = err};
  const int code = cli::run(arguments, io, families);
  return {code, out.str(), err.str()};
}

std::string member(const std::string& object, std::string_view name) {
  const auto members = client::json_members(object);
  return members ? std::string{client::find_member(*members, name)} : std::string{};
}

std::string event_id(const std::string& publish_frame) {
  return client::json_text(member(member(publish_frame, "event"), "id"));
}

void send_event(const tiny_connection& c, int seq) {
  const auto n = std::to_string(seq);
  c.write_frame(
      1,
      R"({"op":"event","sub":1,"topic":"a","seq":)" + n + R"(,"cursor":"e:)" + n
          + R"(","event":{"id":")" + n + R"(","data":1.50}})");
}

int lines_of(const std::string& text) {
  return static_cast<int>(std::ranges::count(text, '\n'));
}

}  // namespace

TEST_CASE("lines are published over one WebSocket and each is answered", "[cli]") {
  std::vector<std::string> frames;
  tiny_server server{[&](tiny_connection& c) {
    (void)c.upgrade("callboard.v1.json");
    c.write_frame(1, R"({"op":"welcome"})");
    int opcode = 0;
    for (auto frame = c.read_frame(opcode); opcode == 1; frame = c.read_frame(opcode)) {
      frames.push_back(frame);
      c.write_frame(
          1,
          R"({"op":"ok","id":)" + member(frame, "id") + R"(,"topic":"a","seq":)"
              + std::to_string(frames.size()) + R"(,"cursor":"e:1","duplicate":false})");
    }
    c.write_frame(8, std::string("\x03\xe8", 2));
  }};
  const auto done = call(
      {"publish", "a", "--server", server.url(), "--type", "t"},
      "{\"n\":1.50}\n\n{\"specversion\":\"1.0\",\"id\":\"own\",\"source\":\"s\",\"type\":\"x\"}"
      "\n7");
  INFO(done.err);
  CHECK(done.code == 0);
  CHECK(lines_of(done.out) == 3);
  REQUIRE(frames.size() == 3);
  CHECK(member(member(frames[0], "event"), "data") == R"({"n":1.50})");
  CHECK(member(member(frames[0], "event"), "type") == "\"t\"");
  CHECK(event_id(frames[1]) == "own");
  CHECK_THAT(done.out, Catch::Contains(R"({"id":"own","topic":"a","seq":2,)"));
}

TEST_CASE("what was not answered is sent again with the same ids", "[cli]") {
  std::map<std::string, int> seen;
  int connection = 0;
  tiny_server server{[&](tiny_connection& c) {
    (void)c.upgrade("callboard.v1.json");
    ++connection;
    int opcode = 0;
    int answered = 0;
    for (auto frame = c.read_frame(opcode); opcode == 1; frame = c.read_frame(opcode)) {
      ++seen[event_id(frame)];
      // The first connection takes everything and answers one.
      if (connection == 1 && answered++ == 1) return;
      c.write_frame(1, R"({"op":"ok","id":)" + member(frame, "id") + R"(,"seq":1})");
    }
    c.write_frame(8, std::string("\x03\xe8", 2));
  }};
  const auto done =
      call({"publish", "a", "--server", server.url(), "--retry-for", "20"}, "1\n2\n3\n4\n");
  INFO(done.err);
  CHECK(done.code == 0);
  CHECK(lines_of(done.out) == 4);
  CHECK(seen.size() == 4);
  CHECK(server.accepted() == 2);
}

TEST_CASE("overload is waited out, other refusals are told and exit with 1", "[cli]") {
  std::map<std::string, int> seen;
  tiny_server server{[&](tiny_connection& c) {
    (void)c.upgrade("callboard.v1.json");
    int opcode = 0;
    for (auto frame = c.read_frame(opcode); opcode == 1; frame = c.read_frame(opcode)) {
      const auto id = member(frame, "id");
      const bool is_bad = member(member(frame, "event"), "data") == "2";
      if (is_bad) {
        c.write_frame(
            1, R"({"op":"error","id":)" + id + R"(,"code":"invalid_event","detail":"no"})");
      } else if (++seen[event_id(frame)] == 1) {
        c.write_frame(
            1,
            R"({"op":"error","id":)" + id
                + R"(,"code":"overloaded","detail":"busy","retry_after_ms":10})");
      } else {
        c.write_frame(1, R"({"op":"ok","id":)" + id + R"(,"seq":1})");
      }
    }
    c.write_frame(8, std::string("\x03\xe8", 2));
  }};
  // Lines are numbered as an editor does, also behind blank and repeated ones.
  const auto done = call({"publish", "a", "--server", server.url()}, "1\n\nno\n2\n3\n");
  CHECK(done.code == 1);
  CHECK(lines_of(done.out) == 2);
  CHECK_THAT(done.err, Catch::Contains("invalid_event: line 4: no (event "));
  CHECK_THAT(done.err, Catch::Contains("invalid_json: line 3: not JSON, skipped: no\n"));
  CHECK(seen.size() == 2);
}

TEST_CASE("a server that has no room for the moment is tried again, with the same ids", "[cli]") {
  std::map<std::string, int> seen;
  int connection = 0;
  tiny_server server{[&](tiny_connection& c) {
    if (++connection == 1) {
      (void)c.read_head();
      c.write(testing::json_response(
          R"({"code":"too_many_connections","detail":"full","retry_after_ms":10})",
          "503 Service Unavailable"));
      return;
    }
    (void)c.upgrade("callboard.v1.json");
    int opcode = 0;
    for (auto frame = c.read_frame(opcode); opcode == 1; frame = c.read_frame(opcode)) {
      ++seen[event_id(frame)];
      // Too many connections of this tenant.
      if (connection == 2) return c.write_frame(8, std::string("\x11\x4D") + "full");
      c.write_frame(1, R"({"op":"ok","id":)" + member(frame, "id") + R"(,"seq":1})");
    }
    c.write_frame(8, std::string("\x03\xe8", 2));
  }};
  const auto done = call({"publish", "a", "--server", server.url()}, "1\n2\n3\n");
  INFO(done.err);
  CHECK(done.code == 0);
  CHECK(lines_of(done.out) == 3);
  CHECK(seen.size() == 3);
  CHECK(server.accepted() == 3);
}

TEST_CASE("a line above what the server takes is refused, and the others are stored", "[cli]") {
  tiny_server server{[&](tiny_connection& c) {
    (void)c.upgrade("callboard.v1.json");
    c.write_frame(1, R"({"op":"welcome","limits":{"frame_bytes_max":100000}})");
    int opcode = 0;
    for (auto frame = c.read_frame(opcode); opcode == 1; frame = c.read_frame(opcode)) {
      CHECK(frame.size() <= 100'000);
      c.write_frame(1, R"({"op":"ok","id":)" + member(frame, "id") + R"(,"seq":1})");
    }
    c.write_frame(8, std::string("\x03\xe8", 2));
  }};
  const auto input = "1\n\"" + std::string(100'000, 'x') + "\"\n2\n";
  const auto done = call({"publish", "a", "--server", server.url()}, input);
  CHECK(done.code == 1);
  CHECK(lines_of(done.out) == 2);
  CHECK_THAT(done.err, Catch::Contains("too_large: line 2: ") && Catch::Contains("100000 B"));
}

TEST_CASE("a server that closes for what it was sent is not sent it again", "[cli]") {
  tiny_server server{[&](tiny_connection& c) {
    (void)c.upgrade("callboard.v1.json");
    int opcode = 0;
    (void)c.read_frame(opcode);
    c.write_frame(8, std::string("\x03\xf1") + "too big");
  }};
  const auto done = call({"publish", "a", "--server", server.url()}, "1\n");
  CHECK(done.code == 1);
  CHECK_THAT(done.err, Catch::Contains("too_large") && Catch::Contains("1009 too big"));
  CHECK(server.accepted() == 1);
}

TEST_CASE("a server that answers nothing is given up, however often it is there", "[cli]") {
  tiny_server server{[&](tiny_connection& c) {
    (void)c.upgrade("callboard.v1.json");
    int opcode = 0;
    (void)c.read_frame(opcode);
  }};
  const auto done = call({"publish", "a", "--server", server.url(), "--retry-for", "1"}, "1\n");
  CHECK(done.code != 0);
  CHECK_THAT(done.err, Catch::Contains("trying again") && Catch::Contains("1 have no answer"));
}

TEST_CASE("a publish that ends early says how many events are stored", "[cli]") {
  tiny_server server{[&](tiny_connection& c) {
    (void)c.upgrade("callboard.v1.json");
    int opcode = 0;
    const auto frame = c.read_frame(opcode);
    c.write_frame(1, R"({"op":"ok","id":)" + member(frame, "id") + R"(,"seq":1})");
    (void)c.read_frame(opcode);
    c.write_frame(8, std::string("\x11\x31") + "too old");
  }};
  std::vector<std::string> words{"publish", "a", "--server", server.url(), "--in-flight", "1"};
  const auto told = call(words, "1\nnot JSON\n2\n");
  CHECK(told.code == 1);
  CHECK(lines_of(told.out) == 1);
  CHECK_THAT(
      told.err,
      Catch::Contains("unauthorized")
          && Catch::Contains("1 are stored, 1 were refused, 1 have no"));
  words.insert(words.end(), {"--output", "json"});
  const auto shown = call(words, "1\n2\n");
  CHECK_THAT(shown.err, Catch::Contains(R"({"stored":1,"refused":0,"unanswered":1})"));
}

TEST_CASE("a subscription prints events as they came and stops at its limit", "[cli]") {
  std::string subscribe;
  tiny_server server{[&](tiny_connection& c) {
    (void)c.upgrade("callboard.v1.json");
    int opcode = 0;
    subscribe = c.read_frame(opcode);
    c.write_frame(1, R"({"op":"ok","id":1,"sub":1,"epoch":"e","cursor":"e:0","recovered":true})");
    send_event(c, 1);
    c.write_frame(
        1,
        R"({"op":"events","sub":1,"topic":"a","events":[{"seq":2,"cursor":"e:2","event":{}},)"
        R"({"seq":3,"cursor":"e:3","event":{}}]})");
    (void)c.read_frame(opcode);
    c.write_frame(8, std::string("\x03\xe8", 2));
  }};
  const auto done =
      call({"subscribe", "a", "--from", "1", "--limit", "2", "--server", server.url()});
  INFO(done.err);
  CHECK(done.code == 0);
  CHECK(
      done.out
      == "{\"topic\":\"a\",\"seq\":1,\"cursor\":\"e:1\",\"event\":{\"id\":\"1\",\"data\":1.50}}\n"
         "{\"topic\":\"a\",\"seq\":2,\"cursor\":\"e:2\",\"event\":{}}\n");
  CHECK(subscribe == R"({"op":"subscribe","id":1,"topic":"a","from":1})");
}

TEST_CASE("after a lost connection and after a drain it resumes by cursor", "[cli]") {
  std::vector<std::string> from;
  tiny_server server{[&](tiny_connection& c) {
    (void)c.upgrade("callboard.v1.json");
    int opcode = 0;
    from.push_back(member(c.read_frame(opcode), "from"));
    c.write_frame(1, R"({"op":"ok","id":1,"sub":1,"epoch":"e","cursor":"e:4","recovered":true})");
    if (from.size() == 1) return;
    send_event(c, 3 + static_cast<int>(from.size()));
    if (from.size() == 2) {
      c.write_frame(1, R"({"op":"goaway","reconnect_after_ms":1})");
      (void)c.read_frame(opcode);
      return;
    }
    (void)c.read_frame(opcode);
  }};
  const auto done = call({"subscribe", "a", "--limit", "2", "--server", server.url()});
  INFO(done.err);
  CHECK(done.code == 0);
  CHECK(from == std::vector<std::string>{R"("now")", R"("e:4")", R"("e:5")"});
  CHECK(lines_of(done.out) == 2);
}

TEST_CASE("a server that says nothing any more is lost", "[cli]") {
  std::vector<std::string> from;
  tiny_server server{[&](tiny_connection& c) {
    (void)c.upgrade("callboard.v1.json");
    c.write_frame(1, R"({"op":"welcome","limits":{"ping_interval_ms":60}})");
    int opcode = 0;
    from.push_back(member(c.read_frame(opcode), "from"));
    c.write_frame(1, R"({"op":"ok","id":1,"sub":1,"epoch":"e","cursor":"e:4","recovered":true})");
    if (from.size() == 2) send_event(c, 5);
    (void)c.read_frame(opcode);
  }};
  const auto done = call({"subscribe", "a", "--limit", "1", "--server", server.url()});
  INFO(done.err);
  CHECK(done.code == 0);
  CHECK(from == std::vector<std::string>{R"("now")", R"("e:4")"});
}

TEST_CASE("a gap is told and a refused subscription exits with 1", "[cli]") {
  int connection = 0;
  tiny_server server{[&](tiny_connection& c) {
    (void)c.upgrade("callboard.v1.json");
    int opcode = 0;
    (void)c.read_frame(opcode);
    if (++connection == 1) {
      c.write_frame(
          1,
          R"({"op":"ok","id":1,"sub":1,"cursor":"e:9","recovered":false,"reason":"trimmed",)"
          R"("first_seq":10})");
      send_event(c, 10);
    } else {
      c.write_frame(1, R"({"op":"error","id":1,"code":"forbidden","detail":"not yours"})");
    }
    (void)c.read_frame(opcode);
  }};
  const auto gap =
      call({"subscribe", "a", "--from", "e:1", "--limit", "1", "--server", server.url()});
  CHECK(gap.code == 0);
  CHECK_THAT(gap.err, Catch::Contains("trimmed") && Catch::Contains("10"));
  const auto refused = call({"subscribe", "a", "--server", server.url()});
  CHECK(refused.code == 1);
  CHECK_THAT(refused.err, Catch::Contains("forbidden: not yours"));
}

TEST_CASE("an event stream resumes with Last-Event-ID", "[cli]") {
  std::vector<std::string> heads;
  tiny_server server{[&](tiny_connection& c) {
    heads.push_back(c.read_head());
    const auto n = std::to_string(heads.size());
    c.write(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
        "id: e:"
        + n + "\ndata: {\"n\":" + n + "}\n\n");
  }};
  const auto done = call(
      {"subscribe", "a", "--sse", "--from", "first", "--limit", "2", "--server", server.url()});
  INFO(done.err);
  CHECK(done.code == 0);
  REQUIRE(heads.size() == 2);
  CHECK_THAT(heads[0], Catch::Contains("/topics/a/events?from=first "));
  CHECK_THAT(heads[0], !Catch::Contains("Last-Event-ID"));
  CHECK_THAT(heads[1], Catch::Contains("Last-Event-ID: e:1\r\n"));
  CHECK_THAT(done.out, Catch::Contains(R"({"topic":"a","seq":2,"cursor":"e:2","event":{"n":2}})"));
}

TEST_CASE("an event stream of a pattern names topics, and notices are no events", "[cli]") {
  tiny_server server{[&](tiny_connection& c) {
    (void)c.read_head();
    c.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
            "id: a.x/e:1,a.y/e:2\nevent: callboard.subscribed\ndata: {\"cursors\":{}}\n\n"
            "event: callboard.gap\ndata: {\"recovered\":false}\n\n"
            "id: a.y/e:3,a.x/e:1\nevent: callboard.event\ndata: {\"specversion\":\"1.0\"}\n\n");
  }};
  const auto done = call({"subscribe", "a.*", "--sse", "--limit", "1", "--server", server.url()});
  CHECK(done.code == 0);
  CHECK(
      done.out
      == R"({"topic":"a.y","seq":3,"cursor":"e:3","event":{"specversion":"1.0"}})"
         "\n");
  CHECK_THAT(done.err, Catch::Contains("callboard.gap") && Catch::Contains("recovered"));
}

TEST_CASE("events of a stream that are not stored have no seq, and no place of others", "[cli]") {
  const auto [topic, line] = GENERATE(
      std::pair{std::string{"a"}, R"({"topic":"a","event":{"n":2}})"},
      std::pair{std::string{"a.*"}, R"({"event":{"n":2}})"});
  tiny_server server{[](tiny_connection& c) {
    (void)c.read_head();
    c.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
            "id: e:7\n\ndata: {\"n\":2}\n\n"
            "id: e:7/1.1.0\nevent: model.delta\ndata: {\"n\":3}\n\n");
  }};
  const auto one = call({"subscribe", topic, "--sse", "--limit", "1", "--server", server.url()});
  CHECK(one.out == line + std::string{"\n"});
  if (topic != "a") return;
  const auto two = call({"subscribe", topic, "--sse", "--limit", "2", "--server", server.url()});
  CHECK(
      two.out
      == line + std::string{"\n"} + R"({"topic":"a","cursor":"e:7/1.1.0","event":{"n":3}})" + "\n");
}

TEST_CASE("an event of a pattern that is not stored is printed with its topic", "[cli]") {
  tiny_server server{[](tiny_connection& c) {
    (void)c.read_head();
    c.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
            "id: a.x/e:1\nevent: t\ndata: {\"specversion\":\"1.0\"}\n\n"
            "event: t\ndata: {\"specversion\":\"1.0\",\"callboardtopic\":\"a.y\"}\n\n");
  }};
  const std::string stored =
      R"({"topic":"a.x","seq":1,"cursor":"e:1","event":{"specversion":"1.0"}})";
  const std::string passing =
      R"({"topic":"a.y","event":{"specversion":"1.0","callboardtopic":"a.y"}})";
  const auto form = GENERATE("table", "json");
  const auto done = call(
      {"subscribe", "a.*", "--sse", "--limit", "2", "--server", server.url(), "--output", form});
  INFO(done.err);
  CHECK(done.out == stored + '\n' + passing + '\n');
}

TEST_CASE("close codes that refuse exit with 1 and say why", "[cli]") {
  const auto [close_frame, code] = GENERATE(
      std::pair{std::string{"\x11\x31no token"}, "unauthorized"},
      std::pair{std::string{"\x11\x33not yours"}, "forbidden"},
      std::pair{std::string{"\x11\x4Dtoo many"}, "too_many_connections"});
  tiny_server server{[frame = close_frame](tiny_connection& c) {
    (void)c.upgrade("callboard.v1.json");
    c.write_frame(8, frame);
    int opcode = 0;
    (void)c.read_frame(opcode);
  }};
  const auto refused = call({"subscribe", "a", "--server", server.url()});
  CHECK(refused.code == 1);
  CHECK_THAT(refused.err, Catch::Contains(code) && Catch::Contains(close_frame.substr(2)));
}

TEST_CASE("a pattern resumes from the cursor of each topic", "[cli]") {
  client::pattern_place places{"now"};
  CHECK(places.members() == R"("from":"now")");
  places.begin(R"({"a.x":"e:7"})", "");
  places.pass("a.y", "f:1");
  places.pass("a.y", "f:2");
  // An ephemeral event has no cursor and moves nothing.
  places.pass("a.y", "");
  CHECK(places.members() == R"("cursors":{"a.x":"e:7","a.y":"f:2"})");
  // There was no topic: all of what is there later is new.
  client::pattern_place early{"now"};
  early.begin("{}", "");
  CHECK(early.members() == R"("cursors":{})");
  // More topics than the answer names.
  client::pattern_place many{"now"};
  many.begin(R"({"a.x":"e:7"})", "time:T");
  CHECK(many.members() == R"("from":"time:T","cursors":{"a.x":"e:7"})");
}

TEST_CASE("topics are forgotten once all of theirs is older than a mark", "[cli]") {
  client::pattern_place places{"first"};
  places.begin("{}", "");
  places.pass("a.x", "e:1");
  places.mark("time:1");
  places.pass("a.y", "e:1");
  places.mark("time:2");
  CHECK(places.members() == R"("from":"time:2","cursors":{"a.y":"e:1"})");
  places.mark("time:3");
  CHECK(places.members() == R"("from":"time:3","cursors":{})");
}

TEST_CASE("an error that names a topic of a pattern does not end it", "[cli]") {
  tiny_server server{[&](tiny_connection& c) {
    (void)c.upgrade("callboard.v1.json");
    int opcode = 0;
    (void)c.read_frame(opcode);
    c.write_frame(1, R"({"op":"ok","id":1,"sub":1,"cursors":{},"complete":true})");
    c.write_frame(
        1, R"({"op":"error","sub":1,"topic":"a.x","code":"too_many_subscriptions","detail":"no"})");
    send_event(c, 1);
    (void)c.read_frame(opcode);
  }};
  const auto done = call({"subscribe", "a.*", "--limit", "1", "--server", server.url()});
  CHECK(done.code == 0);
  CHECK(lines_of(done.out) == 1);
  CHECK_THAT(done.err, Catch::Contains("a.x"));
}

TEST_CASE("an error that names the only topic ends the subscription", "[cli]") {
  tiny_server server{[&](tiny_connection& c) {
    (void)c.upgrade("callboard.v1.json");
    int opcode = 0;
    (void)c.read_frame(opcode);
    c.write_frame(1, R"({"op":"ok","id":1,"sub":1,"cursor":"e:0"})");
    c.write_frame(1, R"({"op":"error","sub":1,"topic":"a.x","code":"quarantined","detail":"no"})");
    (void)c.read_frame(opcode);
  }};
  const auto done = call({"subscribe", "a.x", "--wait", "5", "--server", server.url()});
  CHECK(done.code == 1);
  CHECK_THAT(done.err, Catch::Contains("quarantined"));
}
