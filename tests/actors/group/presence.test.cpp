// Presence through the real shard and topic, on virtual time, seen by a subscriber.
#include "proto/event.pb.h"

#include "tests/actors/group/group_client.hpp"

namespace callboard::testing {

namespace {

/// "joined ann" and so on, in order of arrival.
std::vector<std::string> seen(const received& by) {
  std::vector<std::string> all;
  for (const auto& batch : by.delivered) {
    for (const auto& one : batch->events) {
      v1::Event event;
      const auto bytes = runtime::event_proto(one.stored);
      REQUIRE(event.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
      REQUIRE(event.type().starts_with("presence."));
      CHECK(one.seq == sequence{});
      all.push_back(event.type().substr(9) + ' ' + event.subject());
    }
  }
  return all;
}

class presence_client : public group_client {
public:
  presence_client() {
    settings.topics.presence_lease_ms = 10'000;
    settings.topics.presence_grace_ms = 5'000;
    watcher = make_probe(watched);
  }

  void watch(const std::string& name) {
    router->attach({topic(name), 64}, watcher);
    settle();
  }

  [[nodiscard]] result<actors::control_answer>
  join(const std::string& name, const std::string& member, const std::string& state = "{}") {
    return ask_now(actors::presence_join{topic(name), member, state});
  }

  [[nodiscard]] std::vector<actors::presence_member> members(const std::string& name) {
    const auto answer = ask_now(actors::presence_list{topic(name)});
    REQUIRE(answer);
    return std::get<actors::presence_members>(*answer).members;
  }

  received watched;
  caf::actor watcher;
};

using texts = std::vector<std::string>;

}  // namespace

TEST_CASE_METHOD(presence_client, "joining makes the topic and is told", "[actors][presence]") {
  watch("room");
  REQUIRE(join("room", "ann", R"({"x":1})"));
  CHECK(seen(watched) == texts{"joined ann"});
  auto list = members("room");
  REQUIRE(list.size() == 1);
  CHECK(list[0].state == R"({"x":1})");
  CHECK(list[0].present);
  CHECK(list[0].version > 0);
  REQUIRE(join("room", "ann", R"({"x":2})"));
  REQUIRE(join("room", "ann", R"({"x":2})"));
  REQUIRE(ask_now(actors::presence_leave{topic("room"), "ann", false}));
  CHECK(seen(watched) == texts{"joined ann", "updated ann", "left ann"});
  CHECK(members("room").empty());
  // Nobody woke up for these.
  CHECK(members("nowhere").empty());
  CHECK(refusal(actors::presence_renew{topic("nowhere"), "ann"}) == errc::not_found);
  REQUIRE(ask_now(actors::presence_leave{topic("nowhere"), "ann", true}));
}

TEST_CASE_METHOD(presence_client, "a join is answered once durable", "[actors][presence]") {
  REQUIRE(join("room", "ann"));
  const auto id = ask(actors::presence_join{topic("room"), "bob", "{}"});
  const auto list = ask(actors::presence_list{topic("room")});
  run();
  CHECK_FALSE(got.answered.contains(id));
  CHECK_FALSE(got.answered.contains(list));
  settle();
  CHECK(got.answered.at(id));
  CHECK(std::get<actors::presence_members>(*got.answered.at(list)).members.size() == 2);
}

TEST_CASE_METHOD(presence_client, "a split within the grace is not told", "[actors][presence]") {
  watch("room");
  REQUIRE(join("room", "ann"));
  REQUIRE(ask_now(actors::presence_leave{topic("room"), "ann", true}));
  CHECK_FALSE(members("room").at(0).present);
  advance(4s);
  REQUIRE(ask_now(actors::presence_renew{topic("room"), "ann"}));
  CHECK(members("room").at(0).present);
  advance(9s);
  CHECK(seen(watched) == texts{"joined ann"});
  advance(7s);
  CHECK(seen(watched) == texts{"joined ann", "left ann"});
  advance(60s);
  CHECK(seen(watched) == texts{"joined ann", "left ann"});
}

TEST_CASE_METHOD(
    presence_client, "presence survives a failed append of its topic", "[actors][presence]") {
  watch("room");
  REQUIRE(join("room", "ann"));
  journal.fail_next({errc::outcome_unknown, "the fsync failed"});
  CHECK(refusal(actors::presence_join{topic("room"), "bob", "{}"}) == errc::outcome_unknown);
  settle();
  const auto list = members("room");
  REQUIRE(list.size() == 1);
  CHECK(list[0].member == "ann");
  // The topic was read again, too; a relay would see its end and attach anew.
  watch("room");
  REQUIRE(join("room", "bob"));
  REQUIRE(ask_now(actors::presence_renew{topic("room"), "ann"}));
  INFO(
      "attached " << watched.attached.size() << " skipped " << watched.skipped.size() << " gone "
                  << watched.gone);
  CHECK(seen(watched) == texts{"joined ann", "joined bob"});
}

TEST_CASE_METHOD(presence_client, "presence goes with its topic", "[actors][presence]") {
  REQUIRE(join("room", "ann"));
  REQUIRE(ask_now(actors::delete_topic{topic("room")}));
  CHECK(members("room").empty());
  REQUIRE(join("room", "bob"));
  CHECK(members("room").size() == 1);
}

TEST_CASE_METHOD(presence_client, "more members than allowed are refused", "[actors][presence]") {
  settings.topics.presence_members_max = 1;
  REQUIRE(join("room", "ann"));
  CHECK(refusal(actors::presence_join{topic("room"), "bob", "{}"}) == errc::overloaded);
  CHECK(refusal(actors::presence_join{topic("room"), "ann", "[]"}) == errc::bad_request);
}

TEST_CASE_METHOD(
    presence_client, "a join that a full disk refuses reloads nothing", "[actors][presence]") {
  REQUIRE(join("room", "ann"));
  int begun = 0;
  journal.on_activation([&] { ++begun; });
  journal.refuse_next({errc::storage_full, "the disk is nearly full", 1000});
  const auto refused = join("room", "bob");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::storage_full);
  settle();
  CHECK(begun == 0);
  CHECK(members("room").size() == 1);
}

TEST_CASE_METHOD(
    presence_client,
    "who leaves is let go on a full disk, whoever joins beside him",
    "[actors][presence]") {
  watch("room");
  for (const std::string member : {"ann", "bob", "cid", "dan"})
    REQUIRE(join("room", member));
  watched.delivered.clear();
  journal.fill_disk(true);
  // While the first is being written the others come together.
  const auto bob = ask(actors::presence_leave{topic("room"), "bob", false});
  run();
  const auto eve = ask(actors::presence_join{topic("room"), "eve", "{}"});
  const auto cid = ask(actors::presence_leave{topic("room"), "cid", false});
  const auto ann = ask(actors::presence_join{topic("room"), "ann", R"({"x":1})"});
  const auto dan = ask(actors::presence_join{topic("room"), "dan", ""});
  settle();
  CHECK(got.answered.at(bob));
  CHECK(got.answered.at(cid));
  CHECK(got.answered.at(dan));
  for (const auto id : {eve, ann}) {
    REQUIRE_FALSE(got.answered.at(id));
    CHECK(got.answered.at(id).error().code == errc::storage_full);
  }
  CHECK(seen(watched) == texts{"left bob", "left cid"});
  const auto there = members("room");
  REQUIRE(there.size() == 2);
  CHECK(there[0].member == "ann");
  CHECK(there[0].present);
  CHECK(there[0].state == "{}");
  CHECK(there[1].present);
  journal.fill_disk(false);
  CHECK(join("room", "eve"));
}

TEST_CASE_METHOD(
    presence_client,
    "who leaves is let go though the disk became full when others had joined beside him",
    "[actors][presence]") {
  watch("room");
  for (const std::string member : {"ann", "bob", "cid", "dan"})
    REQUIRE(join("room", member));
  watched.delivered.clear();
  const auto ann = ask(actors::presence_leave{topic("room"), "ann", false});
  run();
  const auto bob = ask(actors::presence_leave{topic("room"), "bob", false});
  const auto eve = ask(actors::presence_join{topic("room"), "eve", "{}"});
  const auto cid = ask(actors::presence_leave{topic("room"), "cid", false});
  run();
  journal.fill_disk(true);
  settle();
  for (const auto id : {ann, bob, cid})
    CHECK(got.answered.at(id));
  REQUIRE_FALSE(got.answered.at(eve));
  CHECK(got.answered.at(eve).error().code == errc::storage_full);
  CHECK(seen(watched) == texts{"left ann", "left bob", "left cid"});
  CHECK(members("room").size() == 1);
}

TEST_CASE_METHOD(
    presence_client,
    "who asks for what takes no space is not refused with a join beside him",
    "[actors][presence]") {
  for (const std::string member : {"ann", "bob", "cid"})
    REQUIRE(join("room", member));
  const auto bob = ask(actors::presence_leave{topic("room"), "bob", false});
  run();
  const auto eve = ask(actors::presence_join{topic("room"), "eve", "{}"});
  const auto ann = ask(actors::presence_join{topic("room"), "ann", "{}"});
  const auto cid = ask(actors::presence_join{topic("room"), "cid", R"({"x":1})"});
  const auto list = ask(actors::presence_list{topic("room")});
  run();
  journal.fill_disk(true);
  settle();
  CHECK(got.answered.at(bob));
  CHECK(got.answered.at(ann));
  for (const auto id : {eve, cid}) {
    REQUIRE_FALSE(got.answered.at(id));
    CHECK(got.answered.at(id).error().code == errc::storage_full);
  }
  REQUIRE(got.answered.at(list));
  const auto& there = std::get<actors::presence_members>(*got.answered.at(list)).members;
  REQUIRE(there.size() == 2);
  CHECK(there[0].member == "ann");
  CHECK(there[0].present);
  CHECK(there[1].member == "cid");
  CHECK(there[1].state == "{}");
}

TEST_CASE_METHOD(
    presence_client, "a state that a full disk refuses renews who is there", "[actors][presence]") {
  watch("room");
  REQUIRE(join("room", "ann"));
  journal.fill_disk(true);
  for (int i = 0; i < 10; ++i) {
    const auto next = R"({"x":)" + std::to_string(i) + "}";
    CHECK(refusal(actors::presence_join{topic("room"), "ann", next}) == errc::storage_full);
    advance(5s);
  }
  CHECK(seen(watched) == texts{"joined ann"});
  const auto there = members("room");
  REQUIRE(there.size() == 1);
  CHECK(there[0].present);
  CHECK(there[0].state == "{}");
}

TEST_CASE_METHOD(
    presence_client,
    "on a full disk a join that is wrong is told what is wrong with it",
    "[actors][presence]") {
  REQUIRE(join("room", "ann"));
  journal.fill_disk(true);
  CHECK(refusal(actors::presence_join{topic("room"), "bob", "[]"}) == errc::bad_request);
  CHECK(refusal(actors::presence_join{topic("room"), "ann", "[]"}) == errc::bad_request);
  const std::string large = '{' + std::string(5000, ' ') + '}';
  CHECK(refusal(actors::presence_join{topic("room"), "ann", large}) == errc::too_large);
}

TEST_CASE_METHOD(
    presence_client,
    "leaves wait until a disk that is out has space again, and cost nobody his lease",
    "[actors][presence]") {
  watch("room");
  for (const std::string member : {"ann", "bob", "cid"})
    REQUIRE(join("room", member));
  watched.delivered.clear();
  const auto are_present = [&] {
    std::string all;
    for (const auto& one : members("room"))
      all += one.member + (one.present ? "+" : "-");
    return all;
  };
  journal.fill_disk(true, true);
  CHECK(refusal(actors::presence_leave{topic("room"), "bob", false}) == errc::storage_full);
  REQUIRE(ask_now(actors::presence_leave{topic("room"), "dan", false}));
  REQUIRE(ask_now(actors::presence_leave{topic("room"), "cid", true}));
  CHECK(are_present() == "ann+bob+cid-");
  for (int i = 0; i < 4; ++i) {
    advance(2s);
    REQUIRE(ask_now(actors::presence_renew{topic("room"), "ann"}));
    advance(2s);
    CHECK(are_present().starts_with("ann+"));
  }
  CHECK(seen(watched).empty());
  journal.fill_disk(false);
  advance(1s);
  CHECK(seen(watched) == texts{"left cid", "left bob"});
  CHECK(are_present() == "ann+");
}

TEST_CASE_METHOD(
    presence_client,
    "a join that is refused when its room has been read leaves the others waiting",
    "[actors][presence]") {
  REQUIRE(ask_now(actors::put_topic{topic("room"), {}}));
  const auto ann = ask(actors::presence_join{topic("room"), "ann", "{}"});
  const auto bob = ask(actors::presence_join{topic("room"), "bob", "{}"});
  journal.refuse_next({errc::storage_full, "the disk is full", 1000});
  settle();
  REQUIRE_FALSE(got.answered.at(ann));
  CHECK(got.answered.at(ann).error().code == errc::storage_full);
  CHECK(got.answered.at(bob));
}

TEST_CASE_METHOD(
    presence_client,
    "a leave that a disk without any room refuses is told so",
    "[actors][presence]") {
  REQUIRE(join("room", "ann"));
  journal.refuse_next({errc::storage_full, "the disk is full", 1000});
  CHECK(refusal(actors::presence_leave{topic("room"), "ann", false}) == errc::storage_full);
  CHECK(members("room").size() == 1);
}

TEST_CASE_METHOD(
    presence_client,
    "joins that a full disk refuses give nobody another grace",
    "[actors][presence]") {
  watch("room");
  REQUIRE(join("room", "ann"));
  REQUIRE(join("room", "bob"));
  REQUIRE(ask_now(actors::presence_leave{topic("room"), "bob", true}));
  journal.fill_disk(true);
  for (int i = 0; i < 6; ++i) {
    CHECK_FALSE(join("room", "eve"));
    advance(1s);
  }
  CHECK(seen(watched) == texts{"joined ann", "joined bob", "left bob"});
  const auto there = members("room");
  REQUIRE(there.size() == 1);
  CHECK(there[0].present);
}

TEST_CASE_METHOD(
    presence_client,
    "presence of a topic that was deleted though that failed goes with it",
    "[actors][presence]") {
  REQUIRE(join("room", "ann"));
  REQUIRE(join("room", "bob"));
  journal.fail_next({errc::outcome_unknown, "the fsync failed"}, true);
  CHECK(refusal(actors::delete_topic{topic("room")}) == errc::outcome_unknown);
  SECTION("at once") {
    CHECK(members("room").empty());
  }
  SECTION("who leaves does not make it anew") {
    (void)ask_now(actors::presence_leave{topic("room"), "ann", false});
    advance(20s);
    CHECK(refusal(actors::get_topic{topic("room")}) == errc::topic_not_found);
  }
  SECTION("who joins makes another one") {
    REQUIRE(join("room", "cid"));
    CHECK(members("room").size() == 1);
  }
}

TEST_CASE_METHOD(
    presence_client, "a node that stood still has nobody leave", "[actors][presence]") {
  REQUIRE(join("room", "ann"));
  advance(8s);
  tick(1h);
  settle();
  advance(1s);
  REQUIRE(members("room").size() == 1);
  CHECK(members("room").front().present);
  advance(2s);
  REQUIRE(members("room").size() == 1);
  CHECK_FALSE(members("room").front().present);
}

TEST_CASE_METHOD(presence_client, "a change of presence makes no topic", "[actors][presence]") {
  REQUIRE(join("room", "ann"));
  const auto leaving = ask(actors::presence_leave{topic("room"), "ann", false});
  run();
  // Behind the record of the leave, and before it is told.
  (void)ask(actors::delete_topic{topic("room")});
  run();
  settle();
  advance(20s);
  CHECK(got.answered.contains(leaving));
  CHECK(refusal(actors::get_topic{topic("room")}) == errc::topic_not_found);
}

TEST_CASE_METHOD(
    presence_client,
    "a room that cannot be read again at once keeps who is there",
    "[actors][presence]") {
  REQUIRE(join("room", "ann"));
  const auto shard = shard_of("room");
  journal.fail_next({errc::outcome_unknown, "the fsync failed"});
  journal.refuse_reads(shard, error{errc::overloaded, "the store is being opened again", 100});
  CHECK_FALSE(join("room", "bob"));
  journal.refuse_reads(shard, std::nullopt);
  advance(2s);
  const auto there = members("room");
  REQUIRE(there.size() == 1);
  CHECK(there[0].member == "ann");
  CHECK(ask_now(actors::presence_renew{topic("room"), "ann"}));
}

}  // namespace callboard::testing
