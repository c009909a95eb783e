// Consumer groups over a WebSocket: who holds what, and how much more may come.
#include "tests/gateway/sessions/fixture.hpp"

#include <algorithm>
#include <set>

using namespace callboard;
using namespace callboard::gateway;
using namespace std::chrono_literals;
using callboard::testing::one_client;
using Catch::Contains;

namespace {

struct worker : one_client {
  void ask(const std::string& frame) {
    send(frame);
    work();
  }

  void consume(std::uint64_t credits) {
    ask(R"({"op":"consume","id":1,"topic":"open.t","group":"g","credits":)"
        + std::to_string(credits) + '}');
    CHECK(only_frame() == R"({"op":"ok","id":1})");
  }

  void ack(const std::string& what) {
    ask(R"({"op":"ack","id":2,"topic":"open.t","group":"g",)" + what + '}');
  }

  [[nodiscard]] std::uint32_t wanted() { return last_fetch().max; }

  const actors::fetch_deliveries& last_fetch() {
    for (auto at = controls.rbegin(); at != controls.rend(); ++at) {
      if (const auto* fetch = std::get_if<actors::fetch_deliveries>(&at->body)) return *fetch;
    }
    FAIL("nothing was fetched");
    return std::get<actors::fetch_deliveries>(controls.front().body);
  }

  [[nodiscard]] std::size_t fetches() const { return asked_count<actors::fetch_deliveries>(); }

  /// The group gives events `first` to `last`, with tokens "d1", "d2"...
  void give(std::uint64_t first, std::uint64_t last, const std::string& payload = "1") {
    actors::delivery_list list;
    list.epoch = "e";
    event_defaults defaults;
    for (auto seq = first; seq <= last; ++seq) {
      defaults.id = std::to_string(seq);
      const auto event = decode_plain(payload, defaults).value().event;
      list.deliveries.push_back(
          {"d" + std::to_string(seq), 1, {sequence{seq}, time.wall(), event.stored}});
    }
    reply<actors::fetch_deliveries>(std::move(list));
  }
};

}  // namespace

TEST_CASE_METHOD(worker, "a consumer holds at most its credits", "[ws][groups]") {
  begin();
  consume(3);
  CHECK(wanted() == 3);
  give(1, 2);
  CHECK_THAT(
      only_frame(),
      Contains(
          R"({"op":"deliveries","topic":"open.t","group":"g","deliveries":[{"delivery":"d1","attempt":1,"seq":1,"cursor":"e:1")"));
  CHECK(wanted() == 1);
  give(3, 3);
  CHECK(fetches() == 2);
  tick_after(1s);
  CHECK(fetches() == 2);

  SECTION("an ack of one brings one") {
    ack(R"("deliveries":["d2"])");
    CHECK(fetches() == 3);
    CHECK(wanted() == 1);
  }
  SECTION("an ack up to a seq brings as many as it acks, and not what is held above") {
    ack(R"("up_to_seq":2)");
    CHECK(fetches() == 3);
    CHECK(wanted() == 2);
  }
  SECTION("an ack up to a seq below brings none") {
    ack(R"("up_to_seq":0)");
    CHECK(fetches() == 2);
  }
  SECTION("the same ack twice, or of what somebody else holds, brings one") {
    ack(R"("deliveries":["d1"])");
    ack(R"("deliveries":["d1"])");
    ack(R"("deliveries":["other"])");
    CHECK(fetches() == 3);
    give(4, 4);
    CHECK(fetches() == 3);
  }
  SECTION("a nack brings as many as it gives back") {
    ask(R"({"op":"nack","id":3,"topic":"open.t","group":"g","deliveries":["d1","d3"],)"
        R"("delay_ms":50,"error":"no"})");
    const auto& nack = std::get<actors::nack_deliveries>(controls[controls.size() - 2].body);
    CHECK(nack.delay_ms == 50);
    CHECK(nack.error == "no");
    CHECK(wanted() == 2);
  }
  SECTION("an ack that was refused brings none") {
    refuse = error{errc::overloaded, "full", 10};
    ack(R"("deliveries":["d1"])");
    CHECK_THAT(frames().back(), Contains(R"("id":2,"code":"overloaded")"));
    refuse.reset();
    tick_after(1s);
    CHECK(fetches() == 2);
  }
  SECTION("fewer credits take effect when there are fewer in hand") {
    frames();
    consume(1);
    ack(R"("deliveries":["d1","d2"])");
    CHECK(fetches() == 2);
    ack(R"("deliveries":["d3"])");
    CHECK(wanted() == 1);
  }
}

TEST_CASE_METHOD(worker, "a group that is full is asked when it says so", "[ws][groups]") {
  begin();
  consume(1);
  reply<actors::fetch_deliveries>(fail(errc::overloaded, "1000 fetches are waiting", 1000));
  tick_after(900ms);
  CHECK(fetches() == 1);
  tick_after(100ms);
  CHECK(fetches() == 2);
}

TEST_CASE_METHOD(
    worker, "deliveries that come when their time is over are given back", "[ws][groups]") {
  begin();
  consume(1);
  const auto fetched = last_fetch().group;
  const auto asked = std::ranges::find_if(controls, [](const auto& one) {
    return std::holds_alternative<actors::fetch_deliveries>(one.body);
  });
  const auto late = asked->correlation;
  tick_after(56s);
  frames();
  CHECK(fetches() == 2);
  actors::delivery_list list{.epoch = "e", .group = fetched};
  list.deliveries.push_back({"late", 1, {}});
  actors::control_reply told{late, actors::control_answer{list}};
  current->on_control_reply(told);
  run();
  CHECK(frames().empty());
  const auto& back = last_asked<actors::nack_deliveries>();
  CHECK(back.group == fetched);
  CHECK(back.kind == actors::nack_kind::put_back);
  CHECK(back.tokens == std::vector<std::string>{"late"});
}

TEST_CASE_METHOD(
    worker, "who does not read gets no more events than its output holds", "[ws][groups]") {
  settings.limits.output_bytes_max = 2000;
  begin();
  consume(10);
  CHECK(last_fetch().bytes_max > 0);
  CHECK(last_fetch().bytes_max <= 2000);
  const auto large = '"' + std::string(1500, 'x') + '"';
  const auto put_back = [this] {
    std::vector<std::string> back;
    for (const auto& one : controls) {
      const auto* declined = std::get_if<actors::nack_deliveries>(&one.body);
      if (declined == nullptr) continue;
      CHECK(declined->kind == actors::nack_kind::put_back);
      CHECK(declined->delay_ms == 0);
      back.insert(back.end(), declined->tokens.begin(), declined->tokens.end());
    }
    return back;
  };
  socket.blocked = true;
  give(1, 4, large);
  // Two are more than there is room for; the others are nobody's.
  CHECK(put_back() == std::vector<std::string>{"d3", "d4"});
  tick_after(1s);
  CHECK(fetches() == 1);
  // One that asks all the same is refused, and has no attempt either.
  ask(R"({"op":"fetch","id":4,"topic":"open.t","group":"g","max":2})");
  CHECK(fetches() == 2);
  give(5, 5, large);
  CHECK(put_back() == std::vector<std::string>{"d3", "d4", "d5"});
  socket.blocked = false;
  stream->release();
  run();
  const auto told = frames();
  REQUIRE(told.size() == 2);
  CHECK_THAT(told[0], Contains(R"("delivery":"d2")") && !Contains(R"("delivery":"d3")"));
  CHECK_THAT(told[1], Contains(R"("id":4,"code":"overloaded")"));
  // At once, not with the next tick.
  CHECK(fetches() == 3);
  CHECK(wanted() == 8);
}

TEST_CASE_METHOD(worker, "what was held too long may come again", "[ws][groups]") {
  begin();
  consume(1);
  actors::group_description group;
  group.settings.hold_ms = 5000;
  reply<actors::get_group>(group);
  give(1, 1);
  CHECK(fetches() == 1);
  tick_after(4s);
  CHECK(fetches() == 1);
  tick_after(1s);
  CHECK(fetches() == 2);
  CHECK(wanted() == 1);
}

TEST_CASE_METHOD(worker, "a consumer that cannot go on is told once", "[ws][groups]") {
  begin();
  consume(1);
  reply<actors::get_group>(fail(errc::group_not_found, "no group g"));
  reply<actors::fetch_deliveries>(fail(errc::group_not_found, "no group g"));
  CHECK_THAT(only_frame(), Contains(R"("code":"group_not_found","detail":"group g: no group g")"));
  tick_after(1s);
  CHECK(fetches() == 1);
}

TEST_CASE_METHOD(worker, "a consumer survives a busy broker", "[ws][groups]") {
  begin();
  consume(1);
  reply<actors::fetch_deliveries>(fail(errc::overloaded, "later"));
  CHECK(frames().empty());
  tick_after(1s);
  CHECK(fetches() == 2);
}

TEST_CASE_METHOD(worker, "what a connection holds is given back when it ends", "[ws][groups]") {
  begin();
  consume(2);
  give(1, 1);
  ask(R"({"op":"fetch","id":3,"topic":"open.t","group":"g","max":1,"wait_ms":1000})");
  std::set<std::uint64_t> under_way;
  for (const auto& one : controls) {
    const auto* fetch = std::get_if<actors::fetch_deliveries>(&one.body);
    if (fetch != nullptr) under_way.insert(fetch->poll);
  }
  REQUIRE(under_way.size() == 3);
  socket.peer_gone = true;
  work();
  CHECK(ended);
  const auto& leave = last_asked<actors::leave_group>();
  // What it was given first the client knows.
  for (const auto poll : under_way) {
    const bool is_unseen = std::ranges::find(leave.unseen, poll) != leave.unseen.end();
    CHECK(is_unseen == (poll != *under_way.begin()));
  }
  CHECK(leave.member == "c1");
  CHECK(leave.group.group.str() == "g");
}

TEST_CASE_METHOD(worker, "a fetch is answered with its deliveries", "[ws][groups]") {
  begin();
  ask(R"({"op":"fetch","id":4,"topic":"open.t","group":"g","max":2,"wait_ms":100})");
  CHECK(last_fetch().max == 2);
  CHECK(last_fetch().wait_ms == 100);
  give(1, 2);
  CHECK_THAT(only_frame(), Contains(R"({"op":"ok","id":4,"deliveries":[{"delivery":"d1")"));
}

TEST_CASE_METHOD(worker, "group operations are checked first", "[ws][groups]") {
  begin();
  const std::vector<std::pair<std::string, std::string>> samples{
      {R"({"op":"consume","id":1,"topic":"closed","group":"g","credits":1})", "forbidden"},
      {R"({"op":"consume","id":1,"topic":"open.t","group":"g g","credits":1})", "invalid_name"},
      {R"({"op":"consume","id":1,"topic":"open.t","group":"g"})", "bad_request"},
      {R"({"op":"fetch","id":1,"topic":"open.t","group":"g","max":1001})", "bad_request"},
      {R"({"op":"ack","id":1,"topic":"open.t","group":"g"})", "bad_request"},
      {R"({"op":"ack","id":1,"topic":"closed","group":"g","up_to_seq":1})", "forbidden"},
      {R"({"op":"nack","id":1,"topic":"open.t","group":"g","deliveries":[]})", "bad_request"},
  };
  for (const auto& [frame, code] : samples) {
    INFO(frame);
    ask(frame);
    CHECK_THAT(only_frame(), Contains("\"code\":\"" + code + '"'));
  }
  CHECK(controls.empty());
}

TEST_CASE_METHOD(worker, "a connection takes from so many groups and no more", "[ws][groups]") {
  settings.limits.subscriptions_max = 2;
  begin();
  const auto fetch = [this](const std::string& group) {
    ask(R"({"op":"fetch","id":1,"topic":"open.t","group":")" + group + R"(","max":1})");
  };
  for (const auto* group : {"a", "b", "a"})
    fetch(group);
  CHECK(frames().empty());
  CHECK(fetches() == 3);
  fetch("c");
  CHECK_THAT(only_frame(), Contains("too_many_subscriptions"));
  ask(R"({"op":"consume","id":2,"topic":"open.t","group":"d","credits":1})");
  CHECK_THAT(only_frame(), Contains("too_many_subscriptions"));
  CHECK(fetches() == 3);
  ask(R"({"op":"consume","id":3,"topic":"open.t","group":"b","credits":1})");
  CHECK(only_frame() == R"({"op":"ok","id":3})");
  socket.peer_gone = true;
  work();
  CHECK(asked_count<actors::leave_group>() == 2);
}
