// Groups and presence over a restart of the node, on the real journal.
#include "tests/actors/topic/broker_fixture.hpp"
#include "tests/support/eventually.hpp"

namespace callboard::testing {

namespace {

using seq_list = std::vector<std::uint64_t>;

class restart_fixture : public broker_fixture {
public:
  template <class Answer>
  [[nodiscard]] Answer get(actors::control_body body) {
    auto answer = ask(std::move(body));
    if (!answer) FAIL(answer.error().detail);
    REQUIRE(std::holds_alternative<Answer>(*answer));
    return std::get<Answer>(*answer);
  }

  [[nodiscard]] seq_list fetch(const std::string& member, std::uint32_t max, std::uint32_t wait) {
    last =
        get<actors::delivery_list>(actors::fetch_deliveries{which, member, max, wait}).deliveries;
    seq_list seqs;
    for (const auto& one : last)
      seqs.push_back(one.event.seq.raw());
    return seqs;
  }

  [[nodiscard]] std::vector<actors::presence_member> members() {
    return get<actors::presence_members>(actors::presence_list{topic("room")}).members;
  }

  const actors::group_ref which{topic("orders"), group_name::parse("billing").value()};
  std::vector<actors::delivery> last;
};

}  // namespace

TEST_CASE_METHOD(restart_fixture, "a group is as it was after a restart", "[actors][group]") {
  for (int i = 1; i <= 6; ++i)
    REQUIRE(publish("orders", {"e" + std::to_string(i)}));
  (void)get<actors::group_description>(actors::put_group{.group = which, .hold_ms = 1500});
  CHECK(fetch("a", 4, 0) == seq_list{1, 2, 3, 4});
  // 2 is acked, 3 comes again later, 1 and 4 are held when the node ends.
  const auto acked = get<actors::ack_result>(actors::ack_deliveries{which, {last[1].token}, {}});
  CHECK(acked.lost.empty());
  (void)get<actors::ack_result>(actors::nack_deliveries{which, {last[2].token}, 60'000, "not now"});
  const auto held = last[0].token;
  restart();
  auto described = get<actors::group_description>(actors::get_group{which});
  CHECK(described.settings.hold_ms == 1500);
  CHECK(described.floor == sequence{0});
  CHECK(described.lag == 5);
  CHECK(described.in_flight == 2);
  CHECK(described.parked == 1);
  // The token that was given out before is still good.
  CHECK(get<actors::ack_result>(actors::ack_deliveries{which, {held}, {}}).lost.empty());
  CHECK(fetch("b", 10, 0) == seq_list{5, 6});
  (void)get<actors::ack_result>(actors::ack_deliveries{which, {last[0].token, last[1].token}, {}});
  CHECK(fetch("b", 10, 10'000) == seq_list{4});
  CHECK(last[0].attempt == 2);
  described = get<actors::group_description>(actors::get_group{which});
  CHECK(described.floor == sequence{2});
}

TEST_CASE_METHOD(restart_fixture, "a deleted group stays deleted", "[actors][group]") {
  REQUIRE(publish("orders", {"e1"}));
  (void)get<actors::group_description>(actors::put_group{.group = which});
  (void)get<actors::done>(actors::delete_group{which});
  restart();
  CHECK(ask(actors::get_group{which}).error().code == errc::group_not_found);
}

TEST_CASE_METHOD(restart_fixture, "retention waits for the slowest group", "[actors][group]") {
  actors::put_topic put{.topic = topic("orders")};
  put.patch.retention_events = 2;
  put.patch.hold_for_groups = true;
  settings.topics.retention_check_ms = 10;
  restart();
  (void)get<actors::topic_description>(put);
  (void)get<actors::group_description>(actors::put_group{.group = which});
  for (int i = 1; i <= 6; ++i)
    REQUIRE(publish("orders", {"e" + std::to_string(i)}));
  CHECK(fetch("a", 3, 0) == seq_list{1, 2, 3});
  (void)get<actors::ack_result>(actors::ack_deliveries{which, {}, sequence{3}});
  REQUIRE(eventually([&] {
    return get<actors::topic_description>(actors::get_topic{topic("orders")}).first_seq
           == sequence{4};
  }));
  CHECK(fetch("a", 10, 0) == seq_list{4, 5, 6});
  (void)get<actors::ack_result>(actors::ack_deliveries{which, {}, sequence{6}});
  REQUIRE(eventually([&] {
    return get<actors::topic_description>(actors::get_topic{topic("orders")}).first_seq
           == sequence{5};
  }));
}

TEST_CASE_METHOD(
    restart_fixture,
    "after a restart members are unknown, then back or gone",
    "[actors][presence]") {
  settings.topics.presence_grace_ms = 1500;
  (void)get<actors::done>(actors::presence_join{topic("room"), "ann", R"({"x":1})"});
  (void)get<actors::done>(actors::presence_join{topic("room"), "bob", "{}"});
  const auto version = members().at(0).version;
  restart();
  auto list = members();
  REQUIRE(list.size() == 2);
  CHECK_FALSE(list[0].present);
  CHECK_FALSE(list[1].present);
  CHECK(list[0].version == version);
  CHECK(list[0].state == R"({"x":1})");
  (void)get<actors::done>(actors::presence_renew{topic("room"), "ann"});
  CHECK(members().at(0).present);
  REQUIRE(eventually([&] { return members().size() == 1; }));
  CHECK(members().at(0).member == "ann");
  // Versions only grow, over restarts as well.
  (void)get<actors::done>(actors::presence_join{topic("room"), "cyd", "{}"});
  CHECK(members().at(1).version > version);
}

}  // namespace callboard::testing
