// Failed and refused appends: every request is answered once, nothing acked is lost, nothing that
// was refused is there afterwards.
#include "tests/actors/topic/virtual_broker.hpp"
#include "tests/support/eventually.hpp"

#include <atomic>
#include <callboard/workflow.hpp>
#include <chrono>
#include <future>
#include <random>

using namespace callboard;
using namespace callboard::actors;
using callboard::testing::make_request;
using callboard::testing::received;
using callboard::testing::virtual_broker;

namespace {

const error unknown{errc::outcome_unknown, "injected", 0};

struct patient_workflow : workflow<patient_workflow> {
  static constexpr std::string_view type = "test.patient";

  flow<json> run(context& ctx, json) { co_return co_await ctx.signal("go").required(); }
};

std::atomic<bool> hangs_in_step{false};
std::atomic<bool> hangs_behind_step{false};
std::atomic<int> hanging{0};

void hang(std::atomic<bool>& here) {
  if (!here) return;
  ++hanging;
  here.wait(true);
}

void let_go(std::atomic<bool>& here) {
  here = false;
  here.notify_all();
}

/// Hangs in its step, or in the turn that this begins on its thread.
struct hanging_workflow : workflow<hanging_workflow> {
  static constexpr std::string_view type = "test.hanging";

  flow<json> run(context& ctx, json) {
    co_await ctx.step("hang", [] { hang(hangs_in_step); }).required();
    hang(hangs_behind_step);
    co_return co_await ctx.signal("go").required();
  }
};

event_page read_all(virtual_broker& broker, const std::string& name) {
  auto answer = broker.ask_now(
      read_events{virtual_broker::topic(name), runtime::from_first{}, 10'000, 1 << 24});
  REQUIRE(answer);
  return std::get<event_page>(*answer);
}

}  // namespace

TEST_CASE("an answer waits for its commit", "[actors][topic]") {
  virtual_broker broker;
  const auto first = broker.publish("events", {"a"});
  broker.run();
  broker.journal.commit();
  broker.run();
  CHECK(broker.got.published.empty());
  // The duplicate, the conflict and the refusal rest on a record that is not committed yet.
  const auto duplicate = broker.publish("events", {"a"});
  auto expecting = make_request(0, {"b"});
  expecting.expected = sequence{7};
  const auto refused = broker.publish("events", std::move(expecting));
  broker.run();
  CHECK(broker.got.published.empty());
  broker.settle();
  REQUIRE(broker.got.published.size() == 3);
  CHECK(broker.got.published.at(first)->first_seq == sequence{1});
  CHECK(broker.got.published.at(duplicate)->events.at(0).duplicate);
  CHECK(broker.got.published.at(refused).error().code == errc::sequence_conflict);
}

TEST_CASE("a failed append waits for no step and no code of a run", "[actors][workflow]") {
  hanging = 0;
  auto& here = GENERATE(false, true) ? hangs_in_step : hangs_behind_step;
  here = true;
  runtime::workflow_registry code;
  REQUIRE(code.add(hanging_workflow::definition()));
  manual_clock time;
  reader_pool steps{time, 1, 10};
  // While it has nothing to do, its thread takes the run's turns behind commits from the scheduler,
  // and time would pass here until it comes to them: it waits here, and then in the code.
  std::promise<void> is_held;
  std::promise<void> may_begin;
  REQUIRE(steps.post(reader_pool::lane::control, [&] {
    is_held.set_value();
    may_begin.get_future().wait();
  }));
  is_held.get_future().wait();
  virtual_broker broker{{}, &code, &steps};
  const auto channel = virtual_broker::topic("workflow.w");
  const auto ask = [&](control_body body) {
    const auto id = broker.ask(std::move(body));
    for (int i = 0; i < 100 && !broker.got.answered.contains(id); ++i)
      broker.advance(std::chrono::milliseconds{50});
    return broker.got.answered.contains(id) ? broker.got.answered.at(id)
                                            : fail(errc::internal, "no answer");
  };
  REQUIRE(ask(start_workflow{channel, "test.hanging", "1", {}, {}}));
  may_begin.set_value();
  REQUIRE(callboard::testing::eventually([] { return hanging == 1; }, std::chrono::minutes{3}));
  std::string other = "events";
  while (broker.shard_of(other) != broker.shard_of("workflow.w"))
    other += 's';
  broker.journal.fail_next(unknown);
  broker.publish(other, {"a"});
  broker.settle();
  CHECK(ask(signal_workflow{channel, "go", "7", {}}));
  CHECK(ask(explain_workflow{channel}));
  CHECK(ask(get_workflow{channel}));
  CHECK(ask(terminate_workflow{channel, "enough", "ann"}));
  let_go(here);
  // While this waits here, what they come back with is the only thing that happens.
  steps.stop();
  broker.settle();
  const auto shown = ask(get_workflow{channel});
  REQUIRE(shown);
  CHECK(std::get<workflow_answer>(*shown).body.find("terminated") != std::string::npos);
}

TEST_CASE("relays of more absent topics than a shard keeps must ask again", "[actors][topic]") {
  config settings;
  settings.topics.awaited_max = 3;
  virtual_broker broker{settings};
  received got;
  const auto relay = broker.make_probe(got);
  std::vector<std::string> names;
  for (int i = 0; names.size() < 5; ++i) {
    const auto name = "absent." + std::to_string(i);
    if (broker.shard_of(name) == shard_id{0}) names.push_back(name);
  }
  for (const auto& name : names)
    broker.router->attach({virtual_broker::topic(name), 10}, relay);
  broker.settle();
  REQUIRE(got.attached.size() == 5);
  std::vector<std::string> asked;
  for (const auto& one : got.attached) {
    CHECK_FALSE(one.exists);
    if (one.ask_again) asked.push_back(one.topic.topic.str());
  }
  REQUIRE(asked.size() == 2);
  got.attached.clear();
  for (const auto& name : names)
    broker.publish(name, {"a"});
  broker.settle();
  CHECK(got.attached.size() == 3);
  for (const auto& name : asked)
    broker.router->attach({virtual_broker::topic(name), 10}, relay);
  broker.settle();
  REQUIRE(got.attached.size() == 5);
  for (const auto& one : got.attached)
    CHECK(one.exists);
}

TEST_CASE("a failed append fails what stands behind it, and the topic goes on", "[actors][topic]") {
  virtual_broker broker;
  const auto kept = broker.publish("events", {"a"});
  broker.settle();
  REQUIRE(broker.got.published.at(kept));
  broker.journal.fail_next(unknown);
  const auto lost = broker.publish("events", {"b"});
  const auto behind = broker.publish("events", {"c"});
  broker.run();
  const auto other = broker.publish("other", {"d"});
  broker.settle();
  REQUIRE(broker.got.answers == 4);
  CHECK(broker.got.published.at(lost).error().code == errc::outcome_unknown);
  CHECK_FALSE(broker.got.published.at(behind));
  CHECK(is_retryable(broker.got.published.at(behind).error().code));
  CHECK((
      broker.got.published.at(other) || is_retryable(broker.got.published.at(other).error().code)));
  const auto again = broker.publish("events", {"b"});
  broker.settle();
  REQUIRE(broker.got.published.at(again));
  CHECK(broker.got.published.at(again)->first_seq == sequence{2});
  CHECK(broker.got.published.at(again)->events.empty());
  CHECK(read_all(broker, "events").batch->events.size() == 2);
}

TEST_CASE("an append that failed but was written is found by the retry", "[actors][topic]") {
  virtual_broker broker;
  (void)broker.publish("events", {"a"});
  broker.settle();
  broker.journal.fail_next(unknown, true);
  const auto unsure = broker.publish("events", {"b"});
  broker.settle();
  CHECK(broker.got.published.at(unsure).error().code == errc::outcome_unknown);
  const auto again = broker.publish("events", {"b"});
  broker.settle();
  REQUIRE(broker.got.published.at(again));
  CHECK(broker.got.published.at(again)->first_seq == sequence{2});
  CHECK(broker.got.published.at(again)->events.at(0).duplicate);
}

TEST_CASE("publishes on their way when an append fails are answered", "[actors][topic]") {
  virtual_broker broker;
  (void)broker.publish("events", {"a"});
  (void)broker.publish("near", {"a"});
  broker.settle();
  REQUIRE(broker.got.answers == 2);
  broker.journal.fail_next(unknown);
  (void)broker.publish("events", {"b"});
  (void)broker.publish("near", {"b"});
  broker.run();
  // The failure is told while more is on its way to shard and topics.
  broker.journal.commit();
  for (int i = 0; i < 20; ++i) {
    (void)broker.publish("events", {"c" + std::to_string(i)});
    (void)broker.publish("near", {"c" + std::to_string(i)});
  }
  broker.settle();
  CHECK(broker.got.answers == 44);
}

TEST_CASE("a topic whose making fails is made by the next publish", "[actors][topic]") {
  virtual_broker broker;
  broker.journal.fail_next(unknown);
  const auto first = broker.publish("events", {"a"});
  const auto second = broker.publish("events", {"b"});
  broker.settle();
  REQUIRE(broker.got.answers == 2);
  CHECK_FALSE(broker.got.published.at(first));
  CHECK_FALSE(broker.got.published.at(second));
  const auto third = broker.publish("events", {"a"});
  broker.settle();
  CHECK(broker.got.published.at(third)->first_seq == sequence{1});
}

TEST_CASE("a refusal at the journal's door undoes only itself", "[actors][topic]") {
  virtual_broker broker;
  (void)broker.publish("events", {"a"});
  broker.settle();
  const auto waiting = broker.publish("events", {"b"});
  broker.run();
  broker.journal.refuse_next({errc::storage_full, "injected", 0});
  const auto refused = broker.publish("events", {"c"});
  broker.run();
  const auto after = broker.publish("events", {"d"});
  broker.settle();
  REQUIRE(broker.got.answers == 4);
  CHECK(broker.got.published.at(waiting)->first_seq == sequence{2});
  CHECK(broker.got.published.at(refused).error().code == errc::storage_full);
  CHECK(broker.got.published.at(after)->first_seq == sequence{3});
  const auto again = broker.publish("events", {"c"});
  broker.settle();
  CHECK(broker.got.published.at(again)->first_seq == sequence{4});
}

TEST_CASE("a start that the journal refuses is answered, and can be sent again", "[actors]") {
  runtime::workflow_registry code;
  REQUIRE(code.add(patient_workflow::definition()));
  virtual_broker broker{{}, &code};
  const start_workflow start{virtual_broker::topic("workflow.w"), "test.patient", "1", {}, {}};
  broker.journal.refuse_next({errc::storage_full, "injected", 1000}, 1000);
  const auto refused = broker.ask(start);
  broker.settle();
  REQUIRE(broker.got.answered.contains(refused));
  CHECK(broker.got.answered.at(refused).error().code == errc::storage_full);
  broker.journal.refuse_next({errc::storage_full, "injected", 1000}, 0);
  const auto again = broker.ask(start);
  broker.settle();
  REQUIRE(broker.got.answered.contains(again));
  CHECK(broker.got.answered.at(again));
  CHECK(read_all(broker, "workflow.w").batch->events.size() > 1);
}

TEST_CASE("whoever ends a run whose start is refused is answered", "[actors]") {
  runtime::workflow_registry code;
  REQUIRE(code.add(patient_workflow::definition()));
  virtual_broker broker{{}, &code};
  const auto where = virtual_broker::topic("workflow.w");
  broker.journal.refuse_next({errc::storage_full, "injected", 1000}, 1000);
  std::vector<std::uint64_t> asked{broker.ask(start_workflow{where, "test.patient", "1", {}, {}})};
  for (int i = 0; i < 5; ++i)
    asked.push_back(broker.ask(terminate_workflow{where, "enough"}));
  broker.settle();
  broker.advance(std::chrono::milliseconds{500});
  for (const auto one : asked) {
    REQUIRE(broker.got.answered.contains(one));
    CHECK_FALSE(broker.got.answered.at(one));
  }
  const auto after = broker.ask_now(terminate_workflow{where, "enough"});
  REQUIRE_FALSE(after);
  CHECK(after.error().code == errc::workflow_not_found);
  // Nothing is left of it.
  broker.journal.refuse_next({errc::storage_full, "injected", 1000}, 0);
  REQUIRE(broker.ask_now(start_workflow{where, "test.patient", "2", {}, {}}));
  REQUIRE(broker.ask_now(signal_workflow{where, "go", "1", ""}));
}

TEST_CASE("a refused deletion leaves the topic as it was", "[actors][topic]") {
  virtual_broker broker;
  (void)broker.publish("events", {"a"});
  broker.settle();
  broker.journal.refuse_next({errc::overloaded, "injected", 10});
  const auto deletion = broker.ask(delete_topic{virtual_broker::topic("events")});
  const auto behind = broker.publish("events", {"b"});
  broker.settle();
  CHECK(broker.got.answered.at(deletion).error().code == errc::overloaded);
  CHECK(broker.got.published.at(behind)->first_seq == sequence{2});
}

TEST_CASE("publishes behind a deletion make the topic anew", "[actors][topic]") {
  virtual_broker broker;
  const auto before = broker.publish("events", {"a"});
  broker.settle();
  received relay;
  const auto subscriber = broker.make_probe(relay);
  broker.router->attach({virtual_broker::topic("events"), 10}, subscriber);
  broker.run();
  const auto last = broker.publish("events", {"b"});
  const auto deletion = broker.ask(delete_topic{virtual_broker::topic("events")});
  const auto after = broker.publish("events", {"a"});
  broker.settle();
  REQUIRE(broker.got.answers == 4);
  CHECK(broker.got.published.at(last)->first_seq == sequence{2});
  CHECK(broker.got.answered.at(deletion));
  REQUIRE(broker.got.published.at(after));
  CHECK(broker.got.published.at(after)->first_seq == sequence{1});
  CHECK(*broker.got.published.at(after)->epoch != *broker.got.published.at(before)->epoch);
  CHECK(relay.gone == 1);
  REQUIRE(relay.attached.size() >= 2);
  CHECK(relay.attached.back().exists);
  CHECK(relay.attached.back().last_seq == sequence{0});
  CHECK(relay.seqs() == std::vector<std::uint64_t>{2, 1});
}

TEST_CASE("a shard that cannot begin answers with the reason and recovers", "[actors][topic]") {
  virtual_broker broker;
  (void)broker.publish("events", {"a"});
  broker.settle();
  broker.journal.refuse_activations(error{errc::quarantined, "injected", 0});
  broker.journal.fail_next(unknown);
  (void)broker.publish("events", {"b"});
  broker.settle();
  const auto refused = broker.publish("events", {"c"});
  broker.settle();
  REQUIRE_FALSE(broker.got.published.at(refused));
  CHECK(broker.got.published.at(refused).error().code == errc::quarantined);
  broker.journal.refuse_activations(std::nullopt);
  broker.advance(std::chrono::seconds{10});
  const auto again = broker.publish("events", {"b"});
  broker.settle();
  CHECK(broker.got.published.at(again)->first_seq == sequence{2});
}

TEST_CASE("an idle topic leaves memory and comes back where it was", "[actors][topic]") {
  config settings;
  settings.topics.passivate_after_ms = 1000;
  settings.topics.retention_check_ms = 200;
  virtual_broker broker{settings};
  (void)broker.publish("events", {"a", "b"});
  broker.settle();
  received hub;
  broker.router->watch(
      {tenant_name::parse("acme").value(), topic_pattern::parse(">").value()},
      broker.make_probe(hub));
  broker.settle();
  REQUIRE(hub.active.size() == 1);
  broker.advance(std::chrono::seconds{3});
  const auto again = broker.publish("events", {"b"});
  const auto next = broker.publish("events", {"c"});
  broker.settle();
  CHECK(broker.got.published.at(again)->first_seq == sequence{2});
  CHECK(broker.got.published.at(next)->first_seq == sequence{3});
  // It was gone: the watcher hears of it a second time, with what it had then.
  REQUIRE(hub.active.size() == 2);
  CHECK(hub.active.back().last_seq == sequence{2});
}

TEST_CASE("a watcher is told of a topic whenever it comes", "[actors][topic]") {
  config settings;
  settings.topics.passivate_after_ms = 1000;
  settings.topics.retention_check_ms = 200;
  // The watcher comes after so many messages of a topic that says it is idle and is not.
  constexpr int schedules = 12;
  for (int before = 0; before < schedules; ++before) {
    INFO(before);
    virtual_broker broker{settings};
    (void)broker.publish("events", {"a"});
    broker.settle();
    broker.advance(std::chrono::milliseconds{950});
    (void)broker.publish("events", {"b"});
    broker.tick(std::chrono::milliseconds{50});
    for (int i = 0; i < before; ++i)
      broker.step();
    received hub;
    broker.router->watch(
        {tenant_name::parse("acme").value(), topic_pattern::parse(">").value()},
        broker.make_probe(hub));
    broker.settle();
    CHECK(broker.topics_active() == 1);
    CHECK_FALSE(hub.active.empty());
  }
}

TEST_CASE("what ends behind the router may still use it", "[actors][topic]") {
  virtual_broker broker;
  broker.router->begin_stop();
  broker.settle();
  broker.router->stop();
  const auto topic = virtual_broker::topic("events");
  broker.router->attach({topic, 1}, broker.client);
  broker.router->detach({topic}, broker.client);
  CHECK(broker.router->control(
      {correlation_id{1}, ack_deliveries{{topic, group_name::parse("g").value()}, {}, {}}},
      broker.client));
  broker.settle();
}

TEST_CASE(
    "random publishes, failures, deletions and pauses lose and double nothing", "[actors][topic]") {
  const auto seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937 random{seed};
  const auto dice = [&](unsigned sides) { return random() % sides; };
  config settings;
  settings.topics.passivate_after_ms = 300;
  settings.topics.retention_check_ms = 100;
  settings.topics.dedupe_cache_ids_max = 16;
  virtual_broker broker{settings};
  std::map<std::string, std::string> acked;
  std::map<std::uint64_t, std::string> asked;
  std::uint64_t next_id = 0;
  for (int turn = 0; turn < 400; ++turn) {
    switch (dice(12)) {
    case 0:
      broker.journal.fail_next(unknown, dice(2) == 0);
      break;
    case 1:
      broker.journal.refuse_next({errc::overloaded, "injected", 1});
      break;
    case 2:
      broker.advance(std::chrono::milliseconds{50 * (1 + dice(12))});
      break;
    case 3:
      broker.run();
      break;
    case 4:
      broker.journal.commit(1 + dice(3));
      break;
    case 5:
      broker.settle();
      break;
    default: {
      // A quarter are retries of what was published before.
      const auto id = next_id > 0 && dice(4) == 0 ? random() % next_id : next_id++;
      const auto name = "t" + std::to_string(id % 3);
      asked[broker.publish(name, {std::to_string(id)})] = std::to_string(id);
    }
    }
  }
  broker.settle();
  REQUIRE(broker.got.published.size() == asked.size());
  // Those refused by the router have no answer of their own.
  REQUIRE(broker.got.answers <= asked.size());
  for (const auto& [correlation, outcome] : broker.got.published) {
    if (!outcome) {
      INFO(name_of(outcome.error().code));
      CHECK(is_retryable(outcome.error().code));
      continue;
    }
    const auto& id = asked.at(correlation);
    const auto place =
        "t" + std::to_string(std::stoull(id) % 3) + ' ' + std::to_string(outcome->first_seq.raw());
    const auto [known, is_new] = acked.emplace(id, place);
    if (!is_new) CHECK(known->second == place);
  }
  for (int t = 0; t < 3; ++t) {
    const auto name = "t" + std::to_string(t);
    std::map<hash128, std::uint64_t> stored;
    std::uint64_t expected = 1;
    for (const auto& event : read_all(broker, name).batch->events) {
      CHECK(event.seq.raw() == expected++);
      const runtime::encoded_event one{event.stored};
      CHECK(stored.emplace(one.identity(), event.seq.raw()).second);
    }
    for (const auto& [id, place] : acked) {
      if (std::stoull(id) % 3 != static_cast<unsigned>(t)) continue;
      const auto found = stored.find(event_identity("s", id));
      REQUIRE(found != stored.end());
      CHECK(place == name + ' ' + std::to_string(found->second));
    }
  }
}
