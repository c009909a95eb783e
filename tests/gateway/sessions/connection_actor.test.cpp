// The connection actor: how many questions the node lets through, and that it forgets none.
#include "actors/relay_hub.hpp"
#include "gateway/control_gate.hpp"
#include "gateway/sessions.hpp"

#include "tests/actors/relay/fixture.hpp"
#include "tests/support/catch.hpp"

using namespace callboard;
using namespace callboard::gateway;
using callboard::testing::quiet_system;
using callboard::testing::silent_router;

namespace {

struct deaf_session final : session {
  std::size_t replies = 0;

  void on_publish_replies(actors::publish_replies&) override {}

  void on_control_reply(actors::control_reply&) override { ++replies; }

  void on_drain(std::chrono::milliseconds) override {}

  void on_tick(boot_time) override {}

  void on_stop() override {}
};

struct gated_node : quiet_system {
  silent_router router;
  config settings;
  manual_clock time;
  metrics counters;
  actors::relay_hub hub{{system, router, loop, settings, time, counters}};
  control_gate gate{2};
  io_thread here{loop, hub, &gate};
  std::vector<connection_port*> ports;
  std::shared_ptr<deaf_session> heard = std::make_shared<deaf_session>();

  ~gated_node() {
    heard.reset();
    hub.stop();
    router.forget();
    run();
  }

  connection_port& connect() {
    open_connection(
        system,
        router,
        here,
        [this](connection_port& port) {
          ports.push_back(&port);
          return heard;
        },
        {});
    run();
    return *ports.back();
  }

  static result<void> ask(connection_port& port, actors::control_body body) {
    return port.control({port.next_correlation(), std::move(body)});
  }

  void answer(std::size_t index) {
    const auto& [request, to] = router.controls.at(index);
    self->send(
        to,
        actors::box(
            actors::control_reply{request.correlation, actors::control_answer{actors::done{}}}));
    run();
  }
};

}  // namespace

TEST_CASE_METHOD(gated_node, "questions beyond the node's bound are refused", "[connection]") {
  auto& a = connect();
  auto& b = connect();
  CHECK(ask(a, actors::get_topic{}).has_value());
  CHECK(ask(b, actors::get_topic{}).has_value());
  const auto refused = ask(b, actors::get_topic{});
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == errc::overloaded);
  CHECK(refused.error().retry_after_ms > 0);
  CHECK(router.controls.size() == 2);
  answer(0);
  CHECK(heard->replies == 1);
  CHECK(ask(b, actors::get_topic{}).has_value());
  CHECK_FALSE(ask(a, actors::get_topic{}).has_value());
}

TEST_CASE_METHOD(gated_node, "what gives work back always passes", "[connection]") {
  auto& port = connect();
  CHECK(ask(port, actors::get_topic{}).has_value());
  CHECK(ask(port, actors::get_topic{}).has_value());
  CHECK(ask(port, actors::ack_deliveries{}).has_value());
  CHECK(ask(port, actors::nack_deliveries{}).has_value());
  CHECK(ask(port, actors::leave_group{}).has_value());
  CHECK(ask(port, actors::presence_leave{}).has_value());
  CHECK(gate.in_flight() == 6);
  for (std::size_t i = 0; i < 6; ++i)
    answer(i);
  CHECK(gate.in_flight() == 0);
}

TEST_CASE_METHOD(gated_node, "places of a connection that ends are free again", "[connection]") {
  auto& port = connect();
  CHECK(ask(port, actors::get_topic{}).has_value());
  router.refuse = error{errc::draining, "no"};
  CHECK_FALSE(ask(port, actors::get_topic{}).has_value());
  router.refuse.reset();
  CHECK(gate.in_flight() == 1);
  port.close();
  run();
  CHECK(gate.in_flight() == 0);
  answer(0);  // too late: nobody is there
  CHECK(gate.in_flight() == 0);
}
