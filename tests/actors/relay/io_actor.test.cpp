// An actor on an event loop: order, bounds, bursts, and its end.
#include "actors/io_actor.hpp"

#include "tests/actors/relay/fixture.hpp"
#include "tests/support/catch.hpp"

#include <caf/exit_reason.hpp>

using namespace callboard;
using namespace callboard::testing;

namespace {

class listener final : public actors::io_actor {
public:
  std::vector<int> heard;
  int bursts = 0;
  bool ended_well = false;

  listener(caf::actor_config& setup, boost::asio::io_context& loop, std::size_t max)
      : io_actor{setup, loop, max} {}

  caf::behavior make_behavior() override {
    return {[this](int number) {
      heard.push_back(number);
      return number + 1;
    }};
  }

  void on_exit() override {
    io_actor::on_exit();
    ended_well = true;
  }

  void stop() { end({}); }

private:
  void after_messages() override { ++bursts; }
};

listener& inside(const caf::actor& handle) {
  return *static_cast<listener*>(caf::actor_cast<caf::abstract_actor*>(handle));
}

}  // namespace

TEST_CASE_METHOD(
    quiet_system, "messages of a burst are handled in order, in one turn", "[io_actor]") {
  auto actor = system.spawn<listener>(loop, actors::io_actor::unbounded);
  run();
  for (int i = 0; i < 5; ++i)
    caf::anon_send(actor, i);
  run();
  CHECK(inside(actor).heard == std::vector<int>{0, 1, 2, 3, 4});
  CHECK(inside(actor).bursts == 1);
  inside(actor).stop();
}

TEST_CASE_METHOD(quiet_system, "messages beyond the bound are refused, not kept", "[io_actor]") {
  auto actor = system.spawn<listener>(loop, 3);
  run();
  std::vector<caf::response_handle<caf::blocking_actor, caf::message, true>> asked;
  for (int i = 0; i < 5; ++i)
    asked.push_back(self->request(actor, caf::infinite, i));
  run();
  int answered = 0;
  int refused = 0;
  for (auto& one : asked) {
    one.receive([&](int) { ++answered; }, [&](caf::error&) { ++refused; });
  }
  CHECK(answered == 3);
  CHECK(refused == 2);
  CHECK(inside(actor).refused_count() == 2);
  caf::anon_send(actor, 9);
  run();
  CHECK(inside(actor).heard.back() == 9);
  inside(actor).stop();
}

TEST_CASE_METHOD(quiet_system, "an actor that ended refuses requests at once", "[io_actor]") {
  auto actor = system.spawn<listener>(loop, 3);
  run();
  inside(actor).stop();
  inside(actor).stop();
  CHECK(inside(actor).ended_well);
  auto asked = self->request(actor, caf::infinite, 1);
  run();
  bool down = false;
  asked.receive(
      [](int) {}, [&](caf::error& why) { down = why == caf::sec::request_receiver_down; });
  CHECK(down);
}

TEST_CASE_METHOD(quiet_system, "an exit message ends the actor past a full inbox", "[io_actor]") {
  auto actor = system.spawn<listener>(loop, 1);
  run();
  caf::anon_send(actor, 1);
  caf::anon_send(actor, 2);
  caf::anon_send_exit(actor, caf::exit_reason::user_shutdown);
  run();
  CHECK(inside(actor).ended_well);
  CHECK(inside(actor).heard == std::vector<int>{1});
}
