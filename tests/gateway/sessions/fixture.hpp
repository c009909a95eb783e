// A WebSocket or event stream session between a socket in memory and a broker that does what the
// test says.
#pragma once

#include "actors/relay_hub.hpp"
#include "gateway/auth.hpp"
#include "gateway/event_codec.hpp"
#include "gateway/sessions.hpp"
#include "gateway/websocket_wire.hpp"

#include "tests/actors/relay/fixture.hpp"
#include "tests/support/catch.hpp"

#include <boost/asio/post.hpp>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace callboard::testing {

using gateway::transport;

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
    writer_ = [then = std::move(then), size](boost::system::error_code failed) mutable {
      then(failed, failed ? 0 : size);
    };
    release();
  }

  void async_shutdown(std::move_only_function<void()> then) override {
    boost::asio::post(loop_, std::move(then));
  }

  void close() override {
    wire_.closed = true;
    if (reader_) finish_read(boost::asio::error::operation_aborted, 0);
    if (writer_) finish_write(boost::asio::error::operation_aborted);
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
    if (!wire_.blocked && writer_) finish_write({});
  }

private:
  void finish_read(boost::system::error_code failed, std::size_t count) {
    boost::asio::post(loop_, [then = std::exchange(reader_, nullptr), failed, count]() mutable {
      then(failed, count);
    });
  }

  void finish_write(boost::system::error_code failed) {
    boost::asio::post(
        loop_, [done = std::exchange(writer_, nullptr), failed]() mutable { done(failed); });
  }

  boost::asio::io_context& loop_;
  wire& wire_;
  boost::asio::mutable_buffer into_;
  on_transfer reader_;
  std::move_only_function<void(boost::system::error_code)> writer_;
  std::string peer_ = "memory";
};

struct one_client : quiet_system, gateway::connection_port {
  silent_router router;
  config settings;
  manual_clock time;
  metrics counters;
  byte_budget budget{1 << 20};
  std::string node = "n1";
  actors::relay_hub hub{{system, router, loop, settings, time, counters}};
  gateway::io_thread here{loop, hub};
  gateway::session_environment environment{settings, time, counters, budget, nullptr, node};
  wire socket;
  memory_transport* stream = nullptr;
  std::shared_ptr<gateway::session> current;
  std::uint64_t correlations = 0;
  bool ended = false;
  std::vector<actors::publish_batch> published;
  std::vector<actors::control_request> controls;
  std::optional<error> refuse;
  std::string own_id = "c1";

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
    if (refuse) return std::unexpected{*refuse};
    controls.push_back(std::move(request));
    return {};
  }

  correlation_id next_correlation() override { return correlation_id{++correlations}; }

  void become(std::shared_ptr<gateway::session> next) override { current = std::move(next); }

  void close() override { ended = true; }

  gateway::io_thread& thread() override { return here; }

  const std::string& id() const override { return own_id; }

  // What the client asks for and may do.
  std::string subprotocol = "callboard.v1.json";
  std::map<std::string, std::string> query;
  gateway::principal who = somebody();
  std::optional<error> refused;

  static gateway::principal somebody() {
    gateway::principal made;
    made.tenant = tenant_name::trusted("acme");
    const auto all = topic_pattern::parse("open.>").value();
    made.publish = {all};
    made.subscribe = {all};
    return made;
  }

  [[nodiscard]] gateway::upgrade_request request_for(std::string path) const {
    gateway::upgrade_request request;
    request.tenant = who.tenant;
    request.who = who;
    request.query = query;
    request.head = "GET /v1/tenants/acme/" + path + " HTTP/1.1\r\n";
    return request;
  }

  std::unique_ptr<memory_transport> new_stream() {
    auto made = std::make_unique<memory_transport>(loop, socket);
    stream = made.get();
    return made;
  }

  /// Asks for a WebSocket.
  void connect() {
    auto request = request_for("ws");
    request.headers = {
        {"upgrade", "websocket"},
        {"connection", "Upgrade"},
        {"sec-websocket-version", "13"},
        {"sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="},
        {"sec-websocket-protocol", "bearer.secret, " + subprotocol}};
    request.refused = refused;
    start_websocket(*this, environment, new_stream(), std::move(request));
    run();
  }

  /// Connects and takes the handshake's answer and `welcome` off.
  void begin() {
    connect();
    socket.from_server.erase(0, socket.from_server.find("\r\n\r\n") + 4);
    REQUIRE(frames().size() == 1);
  }

  /// The head of the answer to the handshake; frames follow.
  std::string take_head() {
    const auto end = socket.from_server.find("\r\n\r\n") + 4;
    auto head = socket.from_server.substr(0, end);
    socket.from_server.erase(0, end);
    return head;
  }

  /// Everything that came since the last call, as it is.
  std::string take_text() { return std::exchange(socket.from_server, {}); }

  void tick_after(std::chrono::milliseconds passed) {
    time.advance(passed);
    current->on_tick(time.boot());
    run();
  }

  /// The last question to the broker, which must be of this kind.
  template <class Body>
  const Body& last_asked() {
    REQUIRE_FALSE(controls.empty());
    const auto* body = std::get_if<Body>(&controls.back().body);
    REQUIRE(body != nullptr);
    return *body;
  }

  template <class Body>
  [[nodiscard]] std::size_t asked_count() const {
    return static_cast<std::size_t>(std::ranges::count_if(
        controls, [](const auto& one) { return std::holds_alternative<Body>(one.body); }));
  }

  /// The broker's answer to the last question of this kind.
  template <class Body>
  void reply(result<actors::control_answer> outcome) {
    const auto asked = std::find_if(controls.rbegin(), controls.rend(), [](const auto& one) {
      return std::holds_alternative<Body>(one.body);
    });
    REQUIRE(asked != controls.rend());
    actors::control_reply told{asked->correlation, std::move(outcome)};
    current->on_control_reply(told);
    run();
  }

  /// Answers all publishes so far, seqs from `seq` on.
  void commit(std::uint64_t seq) {
    actors::publish_replies replies;
    for (auto& batch : std::exchange(published, {})) {
      for (const auto& request : batch.requests) {
        actors::publish_outcome outcome;
        outcome.first_seq = sequence{seq};
        outcome.epoch = std::make_shared<const std::string>("e");
        outcome.reached = request.level;
        seq += request.events.size();
        replies.replies.push_back({request.correlation, outcome});
      }
    }
    current->on_publish_replies(replies);
    run();
  }

  static topic_ref topic_named(const std::string& name) {
    return {tenant_name::trusted("acme"), topic_name::trusted(name)};
  }

  /// The relay that was attached to a topic last.
  caf::actor relay_of(const std::string& name) {
    for (auto at = router.attached.rbegin(); at != router.attached.rend(); ++at) {
      if (at->first.topic == topic_named(name)) return at->second;
    }
    FAIL("nobody attached to " << name);
    return {};
  }

  /// The topic tells its relay where it stands.
  void attach(const std::string& name, std::uint64_t last_seq, std::uint64_t first_seq = 1) {
    self->send(
        relay_of(name),
        actors::box(actors::relay_attached{
            .topic = topic_named(name),
            .exists = true,
            .ephemeral = false,
            .epoch = "e",
            .entity = {},
            .first_seq = sequence{first_seq},
            .last_seq = sequence{last_seq}}));
    run();
  }

  void deliver(
      const std::string& name, std::uint64_t seq, const std::string& json, bool ephemeral = false) {
    auto batch = std::make_shared<runtime::event_batch>();
    batch->topic = topic_named(name);
    batch->epoch = "e";
    batch->ephemeral = ephemeral;
    gateway::event_defaults defaults;
    defaults.id = std::to_string(seq);
    const auto event = gateway::decode_plain(json, defaults).value().event;
    batch->events.push_back({sequence{seq}, time.wall(), event.stored});
    self->send(relay_of(name), actors::box(actors::deliver{std::move(batch)}));
    run();
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

}  // namespace callboard::testing
