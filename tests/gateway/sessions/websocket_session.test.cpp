// A WebSocket session between a socket in memory and a broker that does what the test says.
#include "gateway/websocket_session.hpp"

#include "actors/router.hpp"

#include "tests/actors/relay/fixture.hpp"
#include "tests/support/catch.hpp"

#include <boost/asio/post.hpp>

#include <deque>

using namespace callboard;
using namespace callboard::gateway;
using callboard::testing::quiet_system;
using callboard::testing::silent_router;

namespace {

/// What both ends of the socket in memory share; outlives the session.
struct wire {
  std::string to_server;
  std::string from_server;
  std::size_t writes = 0;
  bool blocked = false;
  bool closed = false;
  bool peer_gone = false;
};

class memory_transport final : public transport {
public:
  memory_transport(boost::asio::io_context& loop, wire& shared) : loop_{loop}, wire_{shared} {}

  void async_read_some(boost::asio::mutable_buffer into, on_transfer then) override {
    into_ = into;
    reader_ = std::move(then);
    pump();
  }

  void async_write(std::vector<boost::asio::const_buffer> buffers, on_transfer then) override {
    ++wire_.writes;
    std::size_t size = 0;
    for (const auto& one : buffers) {
      wire_.from_server.append(static_cast<const char*>(one.data()), one.size());
      size += one.size();
    }
    writer_ = [then = std::move(then), size]() mutable { then({}, size); };
    release();
  }

  void async_shutdown(std::move_only_function<void()> then) override {
    boost::asio::post(loop_, std::move(then));
  }

  void close() override {
    wire_.closed = true;
    if (reader_) finish_read(boost::asio::error::operation_aborted, 0);
  }

  boost::asio::io_context& context() override { return loop_; }

  const std::string& peer() const override { return peer_; }

  /// Bytes came, or the peer went.
  void pump() {
    if (!reader_) return;
    if (wire_.peer_gone) return finish_read(boost::asio::error::eof, 0);
    if (wire_.to_server.empty()) return;
    const auto count = std::min(wire_.to_server.size(), into_.size());
    std::copy_n(wire_.to_server.data(), count, static_cast<char*>(into_.data()));
    wire_.to_server.erase(0, count);
    finish_read({}, count);
  }

  void release() {
    if (wire_.blocked || !writer_) return;
    boost::asio::post(loop_, std::exchange(writer_, nullptr));
  }

private:
  void finish_read(boost::system::error_code failed, std::size_t count) {
    boost::asio::post(loop_, [then = std::exchange(reader_, nullptr), failed, count]() mutable {
      then(failed, count);
    });
  }

  boost::asio::io_context& loop_;
  wire& wire_;
  boost::asio::mutable_buffer into_;
  on_transfer reader_;
  std::move_only_function<void()> writer_;
  std::string peer_ = "memory";
};

struct one_client : quiet_system, connection_port {
  silent_router router;
  config settings;
  manual_clock time;
  metrics counters;
  byte_budget budget{1 << 20};
  std::string node = "n1";
  actors::relay_hub hub{{system, router, loop, settings, time, counters}};
  io_thread here{loop, hub};
  session_environment environment{settings, time, counters, budget, nullptr, node};
  wire socket;
  memory_transport* stream = nullptr;
  std::shared_ptr<session> current;
  std::uint64_t correlations = 0;
  bool ended = false;
  std::vector<actors::publish_batch> published;
  std::vector<actors::control_request> controls;
  std::optional<error> refuse;
  std::string name = "c1";

  ~one_client() override {
    if (!ended && current) current->on_stop();
    run();
    current.reset();
    run();
    hub.stop();
    router.forget();
    run();
  }

  result<void> publish(actors::publish_batch batch) override {
    if (refuse) return std::unexpected{*refuse};
    published.push_back(std::move(batch));
    return {};
  }

  result<void> control(actors::control_request request) override {
    controls.push_back(std::move(request));
    return {};
  }

  correlation_id next_correlation() override { return correlation_id{++correlations}; }

  void become(std::shared_ptr<session> next) override { current = std::move(next); }

  void close() override { ended = true; }

  io_thread& thread() override { return here; }

  const std::string& id() const override { return name; }

  /// Connects and takes the handshake's answer and `welcome` off.
  void connect() {
    upgrade_request request;
    request.tenant = tenant_name::trusted("acme");
    request.who.tenant = request.tenant;
    const auto all = topic_pattern::parse("open.>").value();
    request.who.publish = {all};
    request.who.subscribe = {all};
    request.head = "GET /v1/tenants/acme/ws HTTP/1.1\r\n";
    request.headers = {
        {"upgrade", "websocket"},
        {"connection", "Upgrade"},
        {"sec-websocket-version", "13"},
        {"sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="},
        {"sec-websocket-protocol", "bearer.secret, callboard.v1.json"}};
    auto made = std::make_unique<memory_transport>(loop, socket);
    stream = made.get();
    start_websocket(*this, environment, std::move(made), std::move(request));
    run();
  }

  void begin() {
    connect();
    socket.from_server.erase(0, socket.from_server.find("\r\n\r\n") + 4);
    REQUIRE(frames().size() == 1);
  }

  void send(const std::string& payload, unsigned char first = 0x81) {
    std::string frame(1, static_cast<char>(first));
    REQUIRE(payload.size() < 65536);
    frame += static_cast<char>(0xFEU);
    if (payload.size() < 126) {
      frame.back() = static_cast<char>(0x80U | payload.size());
    } else {
      frame += static_cast<char>(payload.size() >> 8U);
      frame += static_cast<char>(payload.size() & 0xFFU);
    }
    frame += std::string(4, '\0');
    socket.to_server += frame + payload;
  }

  void work() {
    if (stream != nullptr && !ended) stream->pump();
    run();
    while (!ended && !socket.to_server.empty()) {
      const auto before = socket.to_server.size();
      stream->pump();
      run();
      if (socket.to_server.size() == before) break;
    }
  }

  /// The frames the client got since the last call: text as it is, others as "#opcode payload".
  std::vector<std::string> frames() {
    std::vector<std::string> out;
    auto& bytes = socket.from_server;
    while (bytes.size() >= 2) {
      std::size_t size = static_cast<unsigned char>(bytes[1]);
      std::size_t head = 2;
      if (size == 126) {
        size = static_cast<std::size_t>(static_cast<unsigned char>(bytes[2])) << 8U
               | static_cast<unsigned char>(bytes[3]);
        head = 4;
      }
      const auto opcode = static_cast<unsigned>(bytes[0]) & 0x0FU;
      const auto payload = bytes.substr(head, size);
      out.push_back(opcode == 1 ? payload : '#' + std::to_string(opcode) + ' ' + payload);
      bytes.erase(0, head + size);
    }
    return out;
  }

  std::string only_frame() {
    const auto all = frames();
    REQUIRE(all.size() == 1);
    return all.front();
  }

  static unsigned close_code_of(const std::string& frame) {
    REQUIRE(frame.starts_with("#8 "));
    return static_cast<unsigned>(static_cast<unsigned char>(frame[3])) << 8U
           | static_cast<unsigned char>(frame[4]);
  }
};

using Catch::Contains;

}  // namespace

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
  SECTION("the client closes: echoed, and members leave at once") {
    send(R"({"op":"presence","id":1,"topic":"open.t","action":"join"})");
    send(std::string{"\x03\xE8", 2}, 0x88);
    work();
    CHECK(close_code_of(frames().back()) == 1000);
    const auto* leave = std::get_if<actors::presence_leave>(&controls.back().body);
    REQUIRE(leave != nullptr);
    CHECK_FALSE(leave->vanished);
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
  SECTION("silence") {
    time.advance(std::chrono::milliseconds{settings.limits.idle_timeout_ms + 1});
    current->on_tick(time.boot());
    CHECK(ended);
  }
}
