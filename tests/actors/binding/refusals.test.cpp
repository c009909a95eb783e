// What an agent answers to the events of a binding: what it refuses is a dead letter, and is called
// again when that is redriven.
#include "runtime/workflow/run_codec.hpp"

#include "tests/actors/binding/bound_node.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <callboard/agent.hpp>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace callboard::testing {

using namespace actors;
using namespace std::chrono_literals;

namespace {

/// Is told how much it may have, and takes no more.
struct till : agent<till, std::int64_t> {
  static constexpr std::string_view type = "till";

  static void handlers(handler_table<till>& on) {
    on.message("allow", &till::allow).message("take", &till::take);
  }

  flow<std::int64_t> allow(context&, std::int64_t more) {
    state() += more;
    co_return state();
  }

  flow<std::int64_t> take(context& ctx, json event) {
    const auto wait_ms = event.as_object().contains("wait_ms") ? event.at("wait_ms").as_int64() : 0;
    if (wait_ms != 0) co_await ctx.sleep(std::chrono::milliseconds{wait_ms}).required();
    if (state() == 0)
      throw run_failed{failure{failure_class::permanent, "empty", "nothing is left"}};
    co_return --state();
  }
};

struct till_node : bound_node {
  explicit till_node(config with = {}) : bound_node{std::move(with)} {
    REQUIRE(code.add(till::definition()));
    bind(R"({"target":{"agent":{"type":"till","key":"{data.to}","message":"take"}}})");
  }

  void publish_data(int n, const std::string& data) {
    const sample_event event{
        .id = fmt::format("e{}", n), .type = "t", .subject = "s", .json = data};
    auto request = make_request(0, {"x"});
    request.events = {{sample_event::stored(event.event())}};
    const auto sent = broker.publish("orders", std::move(request));
    broker.run();
    broker.journal.commit();
    broker.run();
    REQUIRE(broker.got.published.at(sent));
  }

  static call_agent message(const std::string& key, const std::string& name, std::string payload) {
    call_agent call;
    call.topic = virtual_broker::topic("workflow.agent.till." + key);
    call.type = "agent:till";
    call.message = name;
    call.payload = std::move(payload);
    call.id = name;
    return call;
  }

  void allow(const std::string& key, int count) {
    (void)get<workflow_answer>(message(key, "allow", std::to_string(count)));
    broker.advance(100ms);
  }

  /// How often it was asked to take, and did.
  std::pair<int, int> taken(const std::string& key) {
    const auto page = get<event_page>(read_events{
        .topic = virtual_broker::topic("workflow.agent.till." + key),
        .from = runtime::from_first{},
        .events_max = 1000});
    int calls = 0;
    int done = 0;
    for (const auto& one : page.batch->events) {
      const auto event = runtime::decode_run_event(one).value();
      if (event.what != command_kind::reply || event.kind != runtime::run_event_kind::issued)
        continue;
      const auto& reply = event.data.as_object();
      if (!runtime::is_binding_event_id(binding().group, reply.at("id").as_string())) continue;
      ++calls;
      done += reply.contains("result") ? 1 : 0;
    }
    return {calls, done};
  }

  std::string history(std::uint64_t seq) {
    for (const auto& one : get<event_page>(list_binding_dead{binding()}).batch->events) {
      if (one.seq.raw() == seq) {
        return runtime::bound_event::read(one.stored, one.time)->history_at_death();
      }
    }
    return {};
  }
};

using seqs = std::vector<std::uint64_t>;
using counts = std::pair<int, int>;

}  // namespace

TEST_CASE(
    "what an agent refuses is a dead letter, and a redrive calls it again", "[actors][binding]") {
  till_node here;
  here.publish_data(1, R"({"to":"a"})");
  here.broker.advance(2s);
  REQUIRE(here.dead() == seqs{1});
  CHECK_THAT(here.history(1), Catch::Contains("agent_failed: empty: nothing is left"));
  CHECK(here.taken("a") == counts{1, 0});
  const bool is_by_hand = GENERATE(false, true);
  redrive_binding redrive{here.binding(), {}, "ann"};
  const auto again = [&](std::uint64_t seq) {
    if (is_by_hand) redrive.filter.seqs = {sequence{seq}};
    const auto told = here.get<binding_redrive>(redrive);
    here.broker.advance(2s);
    return told;
  };
  auto told = again(1);
  if (is_by_hand) {
    CHECK(told.refused == 1);
    CHECK(told.last_error == "agent_failed: empty: nothing is left");
  }
  REQUIRE(here.dead() == seqs{2});
  CHECK_THAT(here.history(2), Catch::Contains(R"("redrive":1)"));
  CHECK(here.taken("a") == counts{2, 0});
  here.allow("a", 1);
  told = again(2);
  CHECK(told.events == 1);
  CHECK(here.dead().empty());
  CHECK(here.taken("a") == counts{3, 1});
}

TEST_CASE("a refusal is told once wherever the node dies", "[actors][binding]") {
  enum class step : std::uint8_t { call, redrive, redrive_by_hand };
  for (const auto what : {step::call, step::redrive, step::redrive_by_hand}) {
    for (int commits = 0; commits < 12; ++commits) {
      INFO("step " << static_cast<int>(what) << ", dies after commit " << commits);
      till_node here;
      redrive_binding redrive{here.binding(), {}, "ann"};
      if (what == step::redrive_by_hand) redrive.filter.type = "t";
      here.publish_data(1, R"({"to":"a"})");
      if (what != step::call) {
        here.broker.advance(2s);
        REQUIRE(here.dead() == seqs{1});
        here.broker.ask(redrive);
      }
      for (int i = 0; i < commits; ++i) {
        here.broker.run();
        here.broker.journal.commit();
      }
      here.broker.crash();
      here.broker.advance(5s);
      // A redrive by hand is over with its request.
      CHECK(here.dead().size() == 1);
      CHECK(here.taken("a").first <= (what == step::call ? 1 : 2));
      here.allow("a", 5);
      for (int i = 0; i < 3; ++i) {
        (void)here.get<binding_redrive>(redrive);
        here.broker.advance(5s);
      }
      CHECK(here.dead().empty());
      CHECK(here.taken("a").second == 1);
    }
  }
}

TEST_CASE("an event that comes back is not handled again by an agent", "[actors][binding]") {
  // Its channel has the reply still, or has let go of it.
  const bool is_kept = GENERATE(true, false);
  int dead = 0;
  for (int commits = 0; commits < 8; ++commits) {
    INFO("kept " << is_kept << ", fails behind commit " << commits);
    config with;
    with.workflows.agent_messages = 10;
    with.workflows.agent_events_kept = is_kept ? 5000 : 5;
    with.topics.retention_check_ms = 10;
    till_node here{with};
    here.allow("a", 1000);
    here.publish_data(1, R"({"to":"a"})");
    for (int i = 0; i < commits; ++i) {
      here.broker.run();
      here.broker.journal.commit(1);
    }
    // It is on disk, but nobody is told so.
    here.broker.run();
    here.broker.journal.fail_next({errc::outcome_unknown, "who knows", 0}, true);
    here.broker.settle();
    // Before the binding asks again the agent forgets the reply.
    for (int n = 0; n < 300; ++n) {
      auto other = till_node::message("a", "allow", "0");
      other.id = fmt::format("other{}", n);
      (void)here.broker.ask(other);
      if (n % 100 == 99) here.broker.settle();
    }
    for (int i = 0; i < 3; ++i) {
      here.broker.tick(11ms);
      here.broker.settle();
    }
    here.broker.advance(20s);
    CHECK_THAT(here.shown("agent.till.a"), Catch::Contains(R"("state":999,"steps")"));
    CHECK(here.get<group_description>(get_binding{here.binding()}).lag == 0);
    if (here.dead().empty()) continue;
    ++dead;
    CHECK_THAT(here.history(1), Catch::Contains("agent_failed: reply_forgotten: "));
  }
  CHECK((dead == 0) == is_kept);
}

TEST_CASE("an agent that is slow holds up only its own events", "[actors][binding]") {
  till_node here;
  for (int n = 0; n < 300; ++n)
    here.publish_data(n, fmt::format(R"({{"to":"slow{}","wait_ms":200000}})", n));
  here.publish_data(300, R"({"to":"slow0"})");
  here.publish_data(301, R"({"to":"quick"})");
  here.broker.advance(40s);
  CHECK(here.taken("quick") == counts{1, 0});
  CHECK(here.dead() == seqs{1});
  // However many there are, and wherever the node dies: what they refuse is heard in the end.
  if (GENERATE(false, true)) here.broker.crash();
  here.broker.advance(480s);
  CHECK(here.taken("slow0") == counts{2, 0});
  CHECK(here.taken("slow299") == counts{1, 0});
  CHECK(here.get<group_description>(get_binding{here.binding()}).dead == 302);
}

TEST_CASE("what a slow agent has answered and forgotten is not asked again", "[actors][binding]") {
  till_node here;
  for (int n = 0; n < 400; ++n)
    here.publish_data(n, fmt::format(R"({{"to":"slow{}","wait_ms":60000}})", n));
  // Others talk with some of them until they have gone on as new.
  const std::vector<std::string> busy{"slow0", "slow30", "slow60", "slow90", "slow120"};
  here.broker.advance(61s);
  for (int n = 0; n < 200; ++n) {
    for (const auto& key : busy) {
      auto other = till_node::message(key, "allow", "1");
      other.id = fmt::format("other{}", n);
      (void)here.broker.ask(other);
    }
  }
  here.broker.advance(2s);
  if (GENERATE(false, true)) here.broker.crash();
  here.broker.advance(300s);
  for (const auto& key : busy)
    CHECK(here.taken(key) == counts{1, 0});
  const auto bound = here.get<group_description>(get_binding{here.binding()});
  CHECK(bound.dead == 400);
  CHECK(bound.lag == 0);
}

TEST_CASE("what comes behind slow agents does not have them asked again", "[actors][binding]") {
  config with;
  with.groups.ack_span_max = 900;
  till_node here{with};
  for (int n = 0; n < 400; ++n)
    here.publish_data(n, fmt::format(R"({{"to":"slow{}","wait_ms":60000}})", n));
  here.broker.advance(15s);
  // The group's floor goes past those that wait.
  here.allow("quick", 10'000);
  for (int n = 400; n < 1400; ++n)
    here.publish_data(n, R"({"to":"quick"})");
  here.broker.advance(46s);
  for (int n = 0; n < 200; ++n) {
    for (const auto* key : {"slow0", "slow30", "slow60", "slow90", "slow120"}) {
      auto other = till_node::message(key, "allow", "1");
      other.id = fmt::format("other{}", n);
      (void)here.broker.ask(other);
    }
  }
  here.broker.advance(1s);
  here.publish_data(1400, R"({"to":"quick"})");
  here.broker.advance(240s);
  for (const auto* key : {"slow0", "slow30", "slow60", "slow90", "slow120"})
    CHECK(here.taken(key) == counts{1, 0});
  const auto bound = here.get<group_description>(get_binding{here.binding()});
  CHECK(bound.dead == 400);
  CHECK(bound.lag == 0);
}

TEST_CASE("events for an agent wait while its class is not here", "[actors][binding]") {
  till_node here;
  here.allow("a", 5);
  here.code = {};
  here.broker.crash();
  here.publish_data(1, R"({"to":"a"})");
  here.publish_data(2, R"({"to":"a"})");
  // Whom nobody has called there is no agent for.
  here.publish_data(3, R"({"to":"b"})");
  here.broker.advance(2s);
  CHECK(here.dead() == seqs{1});
  CHECK_THAT(here.history(1), Catch::Contains("agent_not_found: this node has no agent type"));
  REQUIRE(here.code.add(till::definition()));
  here.broker.crash();
  here.broker.advance(15s);
  CHECK(here.dead() == seqs{1});
  CHECK(here.taken("a") == counts{2, 2});
}

TEST_CASE("a redrive by hand of what takes long is one call", "[actors][binding]") {
  till_node here;
  here.publish_data(1, R"({"to":"a","wait_ms":20000})");
  here.broker.advance(22s);
  REQUIRE(here.dead() == seqs{1});
  const bool is_refused = GENERATE(false, true);
  if (!is_refused) here.allow("a", 5);
  redrive_binding redrive{here.binding(), {}, "ann"};
  redrive.filter.seqs = {sequence{1}};
  const auto asked = here.broker.ask(redrive);
  here.broker.advance(4s);
  REQUIRE(here.broker.got.answered.contains(asked));
  CHECK(std::get<binding_redrive>(here.broker.got.answered.at(asked).value()).events == 1);
  // It stays what it is until the agent has answered.
  CHECK(here.dead() == seqs{1});
  const bool is_killed = GENERATE(false, true);
  if (is_killed) here.broker.crash();
  here.broker.advance(20s);
  if (is_killed) {
    // Whoever redrives it then hears what was answered.
    CHECK(here.dead() == seqs{1});
    for (int n = 0; !is_refused && n < 200; ++n) {
      auto other = till_node::message("a", "allow", "1");
      other.id = fmt::format("other{}", n);
      (void)here.get<workflow_answer>(other);
    }
    // It leaves memory, and forgets.
    here.broker.advance(3s);
    const auto told = here.get<binding_redrive>(redrive);
    CHECK(told.events == (is_refused ? 0 : 1));
    CHECK(told.refused == (is_refused ? 1 : 0));
  }
  CHECK(here.dead() == (is_refused ? seqs{2} : seqs{}));
  if (is_refused) CHECK_THAT(here.history(2), Catch::Contains(R"("redrive":1)"));
  CHECK(here.taken("a") == counts{2, is_refused ? 0 : 1});
}

TEST_CASE("a late answer is that of no letter that came after", "[actors][binding]") {
  till_node here;
  here.publish_data(1, R"({"to":"a","wait_ms":20000})");
  here.broker.advance(22s);
  REQUIRE(here.dead() == seqs{1});
  const bool is_refused = GENERATE(false, true);
  const bool is_deleted_alone = GENERATE(false, true);
  INFO("refused: " << is_refused << ", only the letters were deleted: " << is_deleted_alone);
  if (!is_refused) here.allow("a", 5);
  CHECK(
      here.get<binding_redrive>(redrive_binding{here.binding(), {.seqs = {sequence{1}}}, "ann"})
          .events
      == 1);
  const auto letters = virtual_broker::topic("orders.binding.b.dead");
  if (is_deleted_alone) {
    (void)here.get<done>(delete_topic{letters});
    here.publish_data(2, R"({"to":"b"})");
  } else {
    (void)here.get<done>(delete_binding{here.binding()});
    CHECK_FALSE(here.broker.ask_now(get_topic{letters}));
    here.bind(R"({"target":{"agent":{"type":"till","key":"{data.to}","message":"take"}}})");
  }
  here.broker.advance(1s);
  REQUIRE(here.dead() == seqs{1});
  // Makes the group that knows which were settled.
  CHECK(
      here.get<binding_redrive>(redrive_binding{here.binding(), {.type = "none"}, "ann"}).events
      == 0);
  here.broker.advance(25s);
  CHECK(here.taken("a") == counts{2, is_refused ? 0 : 1});
  CHECK(here.dead() == seqs{1});
}

TEST_CASE("a late refusal does not make a topic that was deleted", "[actors][binding]") {
  till_node here;
  here.publish_data(1, R"({"to":"a","wait_ms":20000})");
  here.broker.advance(22s);
  (void)here.get<binding_redrive>(redrive_binding{here.binding(), {.seqs = {sequence{1}}}, "ann"});
  const bool is_binding = GENERATE(false, true);
  const auto letters = virtual_broker::topic("orders.binding.b.dead");
  if (is_binding) (void)here.get<done>(delete_binding{here.binding()});
  if (!is_binding) (void)here.get<done>(delete_topic{letters});
  here.broker.advance(25s);
  CHECK(here.taken("a") == counts{2, 0});
  CHECK_FALSE(here.broker.ask_now(get_topic{letters}));
}

TEST_CASE("a late answer is heard though asking for it has failed once", "[actors][binding]") {
  till_node here;
  here.publish_data(1, R"({"to":"a","wait_ms":20000})");
  here.broker.advance(22s);
  const bool is_refused = GENERATE(false, true);
  if (!is_refused) here.allow("a", 5);
  const redrive_binding redrive{here.binding(), {.seqs = {sequence{1}}}, "ann"};
  CHECK(here.get<binding_redrive>(redrive).events == 1);
  // The record of the agent's answer.
  here.broker.journal.fail_next(error{errc::io_error, "the disk", 0});
  here.broker.advance(60s);
  CHECK(here.taken("a") == counts{2, is_refused ? 0 : 1});
  CHECK(here.dead() == (is_refused ? seqs{2} : seqs{}));
}

TEST_CASE("letters that wait for slow agents do not hold up others", "[actors][binding]") {
  config with;
  with.limits.dead_changes_max = 2;
  till_node here{with};
  for (const auto* key : {"a", "b"})
    here.publish_data(*key, fmt::format(R"({{"to":"{}","wait_ms":30000}})", key));
  here.broker.advance(31s);
  for (const auto* key : {"c", "d", "e"})
    here.publish_data(*key, fmt::format(R"({{"to":"{}"}})", key));
  here.broker.advance(2s);
  REQUIRE(here.dead() == seqs{1, 2, 3, 4, 5});
  for (const auto* key : {"c", "d", "e"})
    here.allow(key, 1);
  const redrive_binding redrive{here.binding(), {.type = "t"}, "ann"};
  for (const std::uint64_t count : {2, 2, 1, 0}) {
    const auto told = here.get<binding_redrive>(redrive);
    CHECK(told.events == count);
    CHECK(told.more == (count == 2));
  }
  CHECK(here.dead() == seqs{1, 2});
  // One that is given up meanwhile does not come back when it is answered.
  CHECK(
      here.get<dead_change_count>(
              abandon_binding_dead{here.binding(), {.seqs = {sequence{2}}}, "ann"})
          .changed
      == 1);
  here.broker.advance(35s);
  CHECK(here.taken("a") == counts{2, 0});
  CHECK(here.taken("b") == counts{2, 0});
  CHECK(here.dead() == seqs{6});
}

TEST_CASE(
    "a backlog that no agent has seen is not looked for in its channel", "[actors][binding]") {
  till_node here;
  constexpr int count = 400;
  (void)here.get<done>(delete_binding{here.binding()});
  for (int n = 0; n < count; ++n)
    here.publish_data(n, R"({"to":"a"})");
  here.allow("a", count);
  here.broker.crash();
  here.broker.advance(1s);
  const auto before = here.broker.journal.visited();
  here.bind(R"({"target":{"agent":{"type":"till","key":"{data.to}","message":"take"}}})");
  here.broker.advance(20s);
  const auto visited = here.broker.journal.visited() - before;
  const auto bound = here.get<group_description>(get_binding{here.binding()});
  CHECK(bound.lag == 0);
  CHECK(bound.dead == 0);
  CHECK(visited < 20 * count);
}

}  // namespace callboard::testing
