// Model calls of workflows in the real program (examples/assistant), against a provider that does
// what it is told: streamed, refused, killed and cancelled in the middle.
#include "tests/e2e/event_contract.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/certificate.hpp"
#include "tests/support/chat_provider.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/http2_front.hpp"
#include "tests/support/temp_dir.hpp"

#include <cstdlib>

namespace {

using namespace callboard::testing;

constexpr auto secret = "sk-a-key-that-nobody-may-see";

class assistant_node {
public:
  assistant_node() { begin({"models.main.base_url=" + provider.base_url()}); }

  server_process& server() { return *server_; }

  [[nodiscard]] broker client() { return broker{server_->where()}; }

  int start(std::string_view id, std::string_view question = "What is a lamp?") {
    return client()
        .post(
            "/workflows",
            R"({"type":"assistant","id":")" + std::string{id} + R"(","input":")"
                + std::string{question} + R"("})")
        .status;
  }

  json::value result(std::string_view id) {
    return client().get("/workflows/" + std::string{id} + "/result?wait_ms=20000").json();
  }

  [[nodiscard]] std::vector<json::object> stored(std::string_view id, std::string_view type) {
    std::vector<json::object> found;
    for (const auto& one : client().history("workflow." + std::string{id})) {
      if (text_of(one.event, "type") == type) found.push_back(one.event);
    }
    return found;
  }

  chat_provider provider;

protected:
  struct begun_later {};

  explicit assistant_node(begun_later) {}

  void begin(std::vector<std::string> settings) {
    ::setenv("ASSISTANT_KEY", secret, 1);
    server_options options;
    for (const auto* one :
         {"models.order=main",
          "models.main.default_model=test-model",
          "models.main.api_key_env=ASSISTANT_KEY",
          "models.main.backoff_min_ms=10",
          "models.main.backoff_max_ms=50",
          "models.main.use_proxy=false"}) {
      settings.emplace_back(one);
    }
    for (const auto& one : settings)
      options.arguments.insert(options.arguments.end(), {"--set", one});
    server_.emplace(std::move(options));
  }

private:
  std::optional<server_process> server_;
};

enum class believes : std::uint8_t { system, own };

/// Its provider is behind a proxy that speaks HTTP/2 and has a certificate that no system knows.
class fronted_node : public assistant_node {
public:
  explicit fronted_node(believes authority) : assistant_node{begun_later{}} {
    std::vector<std::string> settings{"models.main.base_url=" + front_.base_url()};
    if (authority == believes::own) {
      settings.push_back("models.main.ca_file=" + certificate_.certificate_file);
    }
    begin(std::move(settings));
  }

  [[nodiscard]] const http2_front& front() const { return front_; }

private:
  temp_dir folder_;
  chat_provider_options certificate_ = made_in(folder_.str());
  http2_front front_{provider, certificate_};

  static chat_provider_options made_in(const std::string& folder) {
    chat_provider_options out{folder + "/cert.pem", folder + "/key.pem"};
    make_certificate(out.certificate_file, out.key_file);
    return out;
  }
};

/// Watches a channel that may not be there yet.
class watcher {
public:
  watcher(assistant_node& node, std::string_view id, std::string_view from = "first")
      : client_{node.server().where()} {
    client_.ask({{"op", "subscribe"}, {"topic", "workflow." + std::string{id}}, {"from", from}});
  }

  /// The next event, stored or not.
  json::object next() { return client_.next_op("event").at("event").as_object(); }

  /// Passes over others.
  json::object next_of(std::string_view type) {
    for (;;) {
      auto event = next();
      if (text_of(event, "type") == type) return event;
    }
  }

private:
  websocket_client client_;
};

const json::object& data_of(const json::object& event) {
  return event.at("data").as_object();
}

chat_reply endless_reply(const std::vector<std::string>& texts) {
  auto reply = streamed_reply(texts);
  reply.pieces.resize(texts.size() + 1);
  reply.hold_end = true;
  return reply;
}

}  // namespace

TEST_CASE("a streamed answer is shown piece by piece, then recorded", "[e2e][model]") {
  assistant_node node;
  auto reply = streamed_reply({"A lamp ", "gives ", "light."});
  reply.drip = milliseconds{60};
  node.provider.script({reply});
  watcher channel{node, "m1"};
  REQUIRE(node.start("m1") == 201);

  const auto reset = channel.next_of("model.reset");
  CHECK(number_of(data_of(reset), "step") == 1);
  CHECK(number_of(data_of(reset), "attempt") == 1);
  CHECK(number_of(data_of(reset), "round") == 1);
  auto client = node.client();
  event_contract contract{client.http()};
  CHECK(contract.fault_of(reset) == "");
  std::string text;
  std::uint64_t deltas = 0;
  for (;;) {
    const auto event = channel.next();
    INFO(json::serialize(event));
    CHECK(contract.fault_of(event) == "");
    if (text_of(event, "type") == "task.completed") {
      const auto& result = data_of(event).at("result").as_object();
      CHECK(text_of(result, "text") == "A lamp gives light.");
      CHECK(text_of(result, "model") == "test-model");
      CHECK(number_of(result.at("usage"), "total") == 12);
      CHECK(number_of(data_of(event), "attempt") == 1);
      break;
    }
    REQUIRE(text_of(event, "type") == "model.delta");
    CHECK(number_of(data_of(event), "index") == deltas++);
    text += text_of(data_of(event), "text");
  }
  CHECK(text == "A lamp gives light.");
  CHECK(deltas >= 2);
  const auto ended = node.result("m1");
  CHECK(text_of(ended, "status") == "completed");
  CHECK(text_of(ended.at("result"), "answer") == "A lamp gives light.");
  // The history has the result and nothing of the stream; nobody but the provider saw the key.
  CHECK(node.stored("m1", "model.delta").empty());
  CHECK(node.stored("m1", "task.started").size() == 1);
  CHECK(node.provider.queries().at(0).header("authorization") == "Bearer " + std::string{secret});
  CHECK_FALSE(node.server().log().contains(secret));
}

TEST_CASE("a provider with an authority of its own is believed by ca_file", "[e2e][model]") {
  fronted_node node{believes::own};
  auto reply = streamed_reply({"A lamp ", "gives ", "light."});
  reply.drip = milliseconds{60};
  node.provider.script({reply});
  watcher channel{node, "m1"};
  REQUIRE(node.start("m1") == 201);
  std::string text = text_of(data_of(channel.next_of("model.delta")), "text");
  text += text_of(data_of(channel.next_of("model.delta")), "text");
  CHECK(std::string_view{"A lamp gives light."}.starts_with(text));
  const auto ended = node.result("m1");
  CHECK(text_of(ended, "status") == "completed");
  CHECK(text_of(ended.at("result"), "answer") == "A lamp gives light.");
  REQUIRE(eventually([&] { return node.front().ended().size() == 1; }));
  CHECK(node.front().ended()[0].protocol == "h2");
}

TEST_CASE("a provider whose certificate nobody knows is not asked", "[e2e][model]") {
  fronted_node node{believes::system};
  REQUIRE(node.start("m1") == 201);
  const auto ended = node.result("m1");
  CHECK(text_of(ended, "status") == "failed");
  INFO(json::serialize(ended));
  CHECK(text_of(ended.at("error"), "class") == "permanent");
  CHECK(node.provider.query_count() == 0);
}

TEST_CASE("a model's tools are steps of the run", "[e2e][model]") {
  assistant_node node;
  auto asks = streamed_reply({});
  asks.pieces.insert(
      asks.pieces.begin() + 1,
      chunk_of(R"({"tool_calls":[{"index":0,"id":"c1","type":"function","function":)"
               R"({"name":"price","arguments":"{\"item\":\"lamp\"}"}}]})"));
  node.provider.script({asks, streamed_reply({"40 EUR."})});
  REQUIRE(node.start("m2") == 201);
  const auto ended = node.result("m2");
  CHECK(text_of(ended.at("result"), "answer") == "40 EUR.");
  CHECK(number_of(ended.at("result"), "turns") == 2);
  const auto queries = node.provider.queries();
  REQUIRE(queries.size() == 2);
  CHECK(queries[1].body.contains("\"tool_call_id\":\"c1\""));
  CHECK(queries[0].header("idempotency-key") != queries[1].header("idempotency-key"));
}

TEST_CASE("a provider that asks to wait is asked again under the same key", "[e2e][model]") {
  assistant_node node;
  node.provider.script(
      {error_reply(429, "rate_limit_exceeded", "slow down", {{"Retry-After", "1"}}),
       streamed_reply({"Now."})});
  watcher channel{node, "m3"};
  const auto begin = std::chrono::steady_clock::now();
  REQUIRE(node.start("m3") == 201);
  CHECK(number_of(data_of(channel.next_of("model.reset")), "round") == 1);
  CHECK(number_of(data_of(channel.next_of("model.reset")), "round") == 2);
  CHECK(text_of(node.result("m3").at("result"), "answer") == "Now.");
  CHECK(std::chrono::steady_clock::now() - begin >= std::chrono::seconds{1});
  const auto counts = node.provider.counts();
  REQUIRE(counts.size() == 1);
  CHECK(counts.begin()->second == 2);
}

TEST_CASE("an attempt that failed is recorded and followed by another", "[e2e][model]") {
  assistant_node node;
  // More than the node tries by itself.
  node.provider.script(std::vector<chat_reply>(4, error_reply(500, "server_error", "broken")));
  REQUIRE(node.start("m4") == 201);
  CHECK(text_of(node.result("m4"), "status") == "completed");
  const auto failed = node.stored("m4", "task.failed");
  REQUIRE(failed.size() == 1);
  CHECK(number_of(data_of(failed[0]), "attempt") == 1);
  CHECK(text_of(data_of(failed[0]).at("error"), "class") == "retryable");
  CHECK(number_of(data_of(node.stored("m4", "task.completed").at(0)), "attempt") == 2);
  CHECK(node.provider.counts().size() == 1);
}

TEST_CASE("a refusal is final and says why", "[e2e][model]") {
  assistant_node node;
  node.provider.script({error_reply(429, "insufficient_quota", "no money left")});
  REQUIRE(node.start("m5") == 201);
  const auto ended = node.result("m5");
  CHECK(text_of(ended, "status") == "failed");
  CHECK(text_of(ended.at("error"), "class") == "quota");
  CHECK(text_of(ended.at("error"), "code") == "insufficient_quota");
  CHECK(
      text_of(ended.at("error"), "message")
      == "main: status 429 (insufficient_quota): no money left");
  CHECK(node.provider.query_count() == 1);
}

TEST_CASE("kill -9 in the middle of an answer: again, same key, recorded once", "[e2e][model]") {
  assistant_node node;
  node.provider.script({endless_reply({"Half an "}), streamed_reply({"A whole answer."})});
  REQUIRE(node.start("m6") == 201);
  {
    // As a delta or, for one who joins late, in a snapshot.
    watcher channel{node, "m6"};
    std::string seen;
    while (seen.empty()) {
      const auto event = channel.next();
      if (text_of(event, "type").starts_with("model.")) seen = text_of(data_of(event), "text");
    }
    CHECK(seen == "Half an ");
  }
  node.server().kill();
  node.server().start();
  watcher channel{node, "m6"};
  CHECK(text_of(node.result("m6").at("result"), "answer") == "A whole answer.");
  const auto counts = node.provider.counts();
  REQUIRE(counts.size() == 1);
  CHECK(counts.begin()->second == 2);
  const auto failed = node.stored("m6", "task.failed");
  REQUIRE(failed.size() == 1);
  CHECK(text_of(data_of(failed[0]).at("error"), "code") == "interrupted");
  const auto completed = node.stored("m6", "task.completed");
  REQUIRE(completed.size() == 1);
  CHECK(number_of(data_of(completed[0]), "attempt") == 2);
}

TEST_CASE("SIGTERM in the middle of an answer waits for nobody", "[e2e][model]") {
  assistant_node node;
  node.provider.script({endless_reply({"Half an "}), streamed_reply({"A whole answer."})});
  {
    // Gone before the node is: it waits for clients to leave.
    watcher channel{node, "m10"};
    REQUIRE(node.start("m10") == 201);
    (void)channel.next_of("model.delta");
  }
  CHECK(node.server().stop(std::chrono::seconds{10}) == 0);
  CHECK(eventually([&] { return node.provider.aborted() == 1; }));
  node.server().start();
  CHECK(text_of(node.result("m10").at("result"), "answer") == "A whole answer.");
  CHECK(node.provider.counts().size() == 1);
}

TEST_CASE("who joins in the middle gets the text so far, then the rest", "[e2e][model]") {
  assistant_node node;
  std::vector<std::string> pieces;
  std::string whole;
  for (int i = 0; i < 40; ++i) {
    pieces.push_back("piece " + std::to_string(i) + ", ");
    whole += pieces.back();
  }
  auto reply = streamed_reply(pieces);
  reply.drip = milliseconds{40};
  node.provider.script({reply});
  watcher first{node, "m9"};
  REQUIRE(node.start("m9") == 201);
  while (number_of(data_of(first.next_of("model.delta")), "index") < 3) {
  }
  // One from the start of the channel, then one that wants no history.
  for (const std::string from : {"first", "now"}) {
    watcher late{node, "m9", from};
    const auto snapshot = late.next_of("model.snapshot");
    auto client = node.client();
    CHECK(event_contract{client.http()}.fault_of(snapshot) == "");
    auto text = text_of(data_of(snapshot), "text");
    auto index = number_of(data_of(snapshot), "index");
    CHECK(text.starts_with("piece 0, piece 1, "));
    for (auto event = late.next(); text_of(event, "type") == "model.delta"; event = late.next()) {
      CHECK(number_of(data_of(event), "index") == ++index);
      text += text_of(data_of(event), "text");
      if (from == "first" && text.size() > whole.size() / 2) break;
    }
    CHECK(whole.starts_with(text));
    if (from == "now") CHECK(text == whole);
  }
  CHECK(text_of(node.result("m9").at("result"), "answer") == whole);
}

TEST_CASE("a page that is reloaded in the middle of an answer misses nothing", "[e2e][model]") {
  assistant_node node;
  std::vector<std::string> pieces;
  std::string whole;
  for (int i = 0; i < 40; ++i) {
    pieces.push_back("piece " + std::to_string(i) + ", ");
    whole += pieces.back();
  }
  auto reply = streamed_reply(pieces);
  reply.drip = milliseconds{40};
  node.provider.script({reply});
  REQUIRE(node.start("m11") == 201);
  const auto path = node.client().topic_path("workflow.m11", "/events");
  std::string text;
  std::uint64_t stored = 0;
  std::uint64_t index = 0;
  std::string last;
  // As an EventSource does it: the id of the last event that had one.
  const auto follow = [&](event_stream& stream, const auto& is_enough) {
    for (;;) {
      const auto event = stream.next();
      REQUIRE(event);
      if (!event->id.empty()) last = event->id;
      if (event->type.starts_with("callboard.")) continue;
      const auto body = json::parse(event->data).as_object();
      INFO(event->id << ' ' << event->data);
      if (!event->type.starts_with("model.")) {
        CHECK(event->id.ends_with(':' + std::to_string(++stored)));
      } else {
        const auto& data = data_of(body);
        CHECK(number_of(data, "step") == 1);
        if (event->type == "model.snapshot") {
          CHECK(number_of(data, "index") >= index);
          text = text_of(data, "text");
        } else if (event->type == "model.delta") {
          if (!text.empty()) CHECK(number_of(data, "index") == index + 1);
          text += text_of(data, "text");
        }
        if (event->type != "model.reset") index = number_of(data, "index");
        // What was stored before, and where in the answer this is.
        CHECK(event->id.ends_with(':' + std::to_string(stored) + "/1.1." + std::to_string(index)));
      }
      if (is_enough(event->type)) return;
    }
  };
  {
    event_stream stream{node.server().where(), path + "?from=first"};
    follow(stream, [&](const std::string&) { return index >= 3; });
    stream.cut();
  }
  CHECK(last.contains('/'));
  const auto reloaded_at = last;
  {
    event_stream stream{node.server().where(), path, {{"last-event-id", last}}};
    follow(stream, [](const std::string& type) { return type == "workflow.completed"; });
  }
  CHECK(text == whole);

  SECTION("when the answer is complete, only what was stored since is left to tell") {
    websocket_client client{node.server().where()};
    const auto answer =
        client.ask({{"op", "subscribe"}, {"topic", "workflow.m11"}, {"from", reloaded_at}});
    CHECK(flag_of(answer, "recovered"));
    const auto result = client.next_op("event");
    CHECK(text_of(result.at("event"), "type") == "task.completed");
    CHECK(number_of(result, "seq") == 3);
    CHECK(text_of(client.next_op("event").at("event"), "type") == "workflow.completed");
  }
}

TEST_CASE("a frame's cursor resumes on another socket", "[e2e][model]") {
  assistant_node node;
  node.provider.script({endless_reply({"Half an "})});
  REQUIRE(node.start("m12") == 201);
  std::string cursor;
  {
    websocket_client client{node.server().where()};
    client.ask({{"op", "subscribe"}, {"topic", "workflow.m12"}, {"from", "first"}});
    json::object frame;
    do {
      frame = client.next_op("event");
    } while (text_of(frame.at("event"), "type") != "model.delta"
             && text_of(frame.at("event"), "type") != "model.snapshot");
    CHECK(flag_of(frame, "ephemeral"));
    cursor = text_of(frame, "cursor");
    client.cut();
  }
  CHECK(cursor.ends_with(":2/1.1.0"));
  websocket_client client{node.server().where()};
  const auto answer =
      client.ask({{"op", "subscribe"}, {"topic", "workflow.m12"}, {"from", cursor}});
  CHECK(flag_of(answer, "recovered"));
  const auto frame = client.next_op("event");
  CHECK(text_of(frame.at("event"), "type") == "model.snapshot");
  CHECK(text_of(data_of(frame.at("event").as_object()), "text") == "Half an ");
}

TEST_CASE("cancelling a run closes its call", "[e2e][model]") {
  assistant_node node;
  node.provider.script({endless_reply({"And then, "})});
  watcher channel{node, "m7"};
  REQUIRE(node.start("m7") == 201);
  CHECK(text_of(data_of(channel.next_of("model.delta")), "text") == "And then, ");
  REQUIRE(node.client().post("/workflows/m7/cancel", "").status == 200);
  CHECK(text_of(node.result("m7"), "status") == "cancelled");
  CHECK(eventually([&] { return node.provider.aborted() == 1; }));
  CHECK(node.stored("m7", "task.completed").empty());
  CHECK(node.stored("m7", "command.cancelled").size() == 1);
}

TEST_CASE("a node without its provider's key does not start, and says which", "[e2e][model]") {
  const auto tried = run_callboard(
      {"dev",
       "--listen",
       "127.0.0.1:0",
       "--set",
       "models.order=main",
       "--set",
       "models.main.base_url=http://127.0.0.1:1/v1",
       "--set",
       "models.main.api_key_env=NO_SUCH_VARIABLE"});
  CHECK(tried.status != 0);
  CHECK_THAT(tried.out + tried.err, Catch::Contains("NO_SUCH_VARIABLE"));
}

TEST_CASE("without providers a model call fails for good", "[e2e][model]") {
  const server_process node;
  broker client{node.where()};
  REQUIRE(
      client.post("/workflows", R"({"type":"assistant","id":"m8","input":"hi"})").status == 201);
  const auto ended = client.get("/workflows/m8/result?wait_ms=20000").json();
  CHECK(text_of(ended.at("error"), "code") == "no_model_provider");
  CHECK(text_of(ended.at("error"), "class") == "permanent");
}
