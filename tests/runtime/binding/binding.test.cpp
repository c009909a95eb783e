// Rules of bindings: how they are read and spelled, what they match, and what they do for an event.
#include "base/hash.hpp"
#include "runtime/binding/binding_effect.hpp"
#include "runtime/binding/binding_names.hpp"
#include "runtime/binding/binding_rule.hpp"
#include "runtime/group/dead_letter.hpp"

#include "tests/runtime/binding/sample_event.hpp"
#include "tests/support/catch.hpp"

#include <boost/json.hpp>

namespace callboard::runtime {

namespace {

using testing::sample_event;

binding_rule rule_of(std::string_view text) {
  auto rule = parse_binding(text);
  if (!rule) FAIL(rule.error().detail);
  return *std::move(rule);
}

std::string mistake_in(std::string_view text) {
  const auto rule = parse_binding(text);
  return rule ? "none" : rule.error().detail;
}

bool matches(std::string_view filter, const sample_event& event) {
  const auto rule =
      rule_of(R"({"filter":)" + std::string{filter} + R"(,"target":{"queue":{"queue":"q"}}})");
  return rule.filter.matches(event.read());
}

template <class Effect>
Effect effect_of(std::string_view rule, bound_event event, const std::string& id = "bind:b:1-2:3") {
  auto made = make_effect(rule_of(rule), event, id);
  if (!made) FAIL(made.error().detail);
  return std::get<Effect>(*std::move(made));
}

}  // namespace

TEST_CASE("a rule has one spelling, and reading it gives the rule again", "[runtime][binding]") {
  for (
      const auto* text :
      {R"({"filter":{},"target":{"workflow":{"type":"order"}}})",
       R"({"filter":{"type":"order.*"},"target":{"workflow":{"type":"order","id":"o-{data.id}","input":"event"}}})",
       R"({"filter":{"subject":"a"},"target":{"signal":{"workflow":"o-{id}","name":"approved"}}})",
       R"({"filter":{},"target":{"agent":{"type":"desk","key":"{subject}","message":"add"}}})",
       R"({"filter":{},"target":{"queue":{"queue":"llm","priority":"bulk","fairness_key":"{subject}"}}})"}) {
    CHECK(binding_text(rule_of(text)) == text);
    CHECK(rule_of(binding_text(rule_of(text))) == rule_of(text));
  }
  CHECK(
      binding_text(rule_of(R"( {"target":{"workflow":{"input":"data","type":"t"}}} )"))
      == R"({"filter":{},"target":{"workflow":{"type":"t"}}})");
  CHECK(kind_of(rule_of(R"({"target":{"queue":{"queue":"q"}}})").target) == "queue");
}

TEST_CASE("a mistake in a rule is told with its place", "[runtime][binding]") {
  CHECK(mistake_in("[]") == "the body must be a JSON object with 'target'");
  CHECK(mistake_in("{}") == "'target' must be an object");
  CHECK(
      mistake_in(R"({"target":{}})")
      == "'target' has exactly one of workflow, signal, agent and queue");
  CHECK(
      mistake_in(R"({"target":{"workflow":{"type":"a"},"queue":{"queue":"q"}}})")
      == "'target' has exactly one of workflow, signal, agent and queue");
  CHECK(mistake_in(R"({"target":{"mail":{}}})") == "'target.mail' is not known");
  CHECK(
      mistake_in(R"({"target":{"workflow":{}}})")
      == "'target.workflow.type' must be a text of 1 to 255 bytes");
  CHECK(
      mistake_in(R"({"target":{"workflow":{"type":"t","idd":"x"}}})")
      == "'target.workflow.idd' is not known");
  CHECK(mistake_in(R"({"target":{"workflow":{"type":"t","id":"a{b}"}}})")
            .starts_with("'target.workflow.id': '{b}' is no place of a template"));
  CHECK(mistake_in(R"({"target":{"workflow":{"type":"t","id":"a b{id}"}}})")
            .starts_with("'target.workflow.id' cannot become a name"));
  CHECK(
      mistake_in(R"({"target":{"workflow":{"type":"agent:t"}}})")
      == "agents are called, not started: use the target 'agent'");
  CHECK(
      mistake_in(R"({"target":{"workflow":{"type":"t","input":"all"}}})")
      == "'target.workflow.input' must be \"data\" or \"event\"");
  CHECK(
      mistake_in(R"({"target":{"signal":{"workflow":"w"}}})")
      == "'target.signal.name' must be a text of 1 to 255 bytes");
  CHECK(
      mistake_in(R"({"target":{"agent":{"type":"a.b","key":"k","message":"m"}}})")
      == "'target.agent.type' is one token of A-Z a-z 0-9 _ : -");
  CHECK(
      mistake_in(R"({"target":{"queue":{"queue":"q","priority":"high"}}})")
      == "'target.queue.priority' must be control, interactive, normal or bulk");
  CHECK(
      mistake_in(R"({"filter":{"type":"a*b"},"target":{"queue":{"queue":"q"}}})")
      == "a '*' may only end a filter, where it stands for any rest");
  CHECK(
      mistake_in(R"({"filter":{"kind":"a"},"target":{"queue":{"queue":"q"}}})")
      == "'filter.kind' is not known");
}

TEST_CASE("a filter is exact or a beginning, and both parts must match", "[runtime][binding]") {
  const sample_event event{};
  CHECK(matches("{}", event));
  CHECK(matches(R"({"type":"order.placed"})", event));
  CHECK_FALSE(matches(R"({"type":"order"})", event));
  CHECK(matches(R"({"type":"order.*"})", event));
  CHECK(matches(R"({"type":"*"})", event));
  CHECK_FALSE(matches(R"({"type":"orders*"})", event));
  CHECK(matches(R"({"type":"order.*","subject":"customer-9"})", event));
  CHECK_FALSE(matches(R"({"type":"order.*","subject":"customer-8"})", event));
  CHECK_FALSE(matches(R"({"subject":"c"})", {.subject = ""}));
}

TEST_CASE("an event becomes a start under its own id or the user's", "[runtime][binding]") {
  const sample_event event{.json = R"({"order_id":"o-1","n":1.50})"};
  auto start = effect_of<start_effect>(R"({"target":{"workflow":{"type":"t"}}})", event.read());
  CHECK(start.channel.str() == "workflow.bind:b:1-2:3");
  CHECK(topic_name::parse(start.channel.str()));
  CHECK(start.type == "t");
  CHECK(start.input == event.json);
  CHECK(start.correlation_id == "e-1");

  start = effect_of<start_effect>(
      R"({"target":{"workflow":{"type":"t","id":"order.{data.order_id}","input":"event"}}})",
      sample_event{.json = event.json, .extensions = {{"correlationid", "c-5"}}}.read());
  CHECK(start.channel.str() == "workflow.order.o-1");
  CHECK(start.correlation_id == "c-5");
  const auto whole = boost::json::parse(start.input).as_object();
  CHECK(whole.at("id") == "e-1");
  CHECK(whole.at("type") == "order.placed");
  CHECK(whole.at("correlationid") == "c-5");
  CHECK(whole.at("time") == "2023-11-14T22:13:20.123Z");
  // Numbers as the client spelled them.
  CHECK(start.input.ends_with(R"(,"data":{"order_id":"o-1","n":1.50}})"));
}

TEST_CASE(
    "data that is no JSON is a text, and binary data must be asked for", "[runtime][binding]") {
  auto made = sample_event{.json = ""}.event();
  const auto* plain = R"({"target":{"workflow":{"type":"t"}}})";
  CHECK(effect_of<start_effect>(plain, sample_event::read(made)).input == "null");
  made.set_text("a \"b\"");
  CHECK(effect_of<start_effect>(plain, sample_event::read(made)).input == R"("a \"b\"")");
  made.set_binary(std::string{"\0\xff", 2});
  auto event = sample_event::read(made);
  const auto refused = make_effect(rule_of(plain), event, "i");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::invalid_event);
  const auto whole = effect_of<start_effect>(
      R"({"target":{"workflow":{"type":"t","input":"event"}}})", sample_event::read(made));
  CHECK(boost::json::parse(whole.input).at("data_base64") == "AP8=");
}

TEST_CASE("an event becomes a signal, a message or a task", "[runtime][binding]") {
  const sample_event event{.json = R"({"to":"w-1"})"};
  const auto signal = effect_of<signal_effect>(
      R"({"target":{"signal":{"workflow":"{data.to}","name":"approved"}}})", event.read());
  CHECK(signal.channel.str() == "workflow.w-1");
  CHECK(signal.name == "approved");
  CHECK(signal.payload == event.json);
  CHECK(signal.id == "bind:b:1-2:3");
  const auto call = effect_of<call_effect>(
      R"({"target":{"agent":{"type":"desk","key":"{subject}","message":"add"}}})", event.read());
  CHECK(call.channel.str() == "workflow.agent.desk.customer-9");
  CHECK(call.type == "agent:desk");
  CHECK(call.message == "add");
  CHECK(call.id == "bind:b:1-2:3");
  const auto task = effect_of<enqueue_effect>(
      R"({"target":{"queue":{"queue":"llm","priority":"bulk","fairness_key":"{subject}"}}})",
      event.read());
  CHECK(task.queue.str() == "llm");
  CHECK(task.payload == event.json);
  CHECK(task.priority == task_priority::bulk);
  CHECK(task.fairness_key == "customer-9");
  CHECK(task.dedupe_key == "bind:b:1-2:3");
}

TEST_CASE("what cannot be a name is refused for that event", "[runtime][binding]") {
  auto event = sample_event{.json = R"({"id":"no name"})"}.read();
  const auto refused =
      make_effect(rule_of(R"({"target":{"workflow":{"type":"t","id":"{data.id}"}}})"), event, "i");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::invalid_name);
  CHECK(refused.error().detail.starts_with("'{data.id}' of this event cannot be a name"));
}

TEST_CASE("events of one target are in order, others are not", "[runtime][binding]") {
  const auto key = [](std::string_view rule, const sample_event& from) {
    auto event = from.read();
    return order_key(rule_of(rule), event);
  };
  const auto* agent =
      R"({"filter":{"type":"order.*"},"target":{"agent":{"type":"d","key":"{subject}","message":"m"}}})";
  CHECK(key(agent, {}) != 0);
  CHECK(key(agent, {.id = "e-2"}) == key(agent, {}));
  CHECK(key(agent, {.subject = "other"}) != key(agent, {}));
  CHECK(key(agent, {.type = "mail"}) == 0);
  CHECK(key(agent, {.subject = ""}) == 0);
  CHECK(key(R"({"target":{"workflow":{"type":"t"}}})", {}) == 0);
  CHECK(key(R"({"target":{"workflow":{"type":"t","id":"x"}}})", {}) != 0);
  CHECK(key(R"({"target":{"queue":{"queue":"q"}}})", {}) == 0);
}

TEST_CASE("names of bindings cannot be those of groups", "[runtime][binding]") {
  const auto group = binding_group("approve").value();
  CHECK(group.str() == "~approve");
  CHECK_FALSE(group_name::parse(group.str()));
  CHECK(is_binding_group(group));
  CHECK_FALSE(is_redrive_group(group));
  CHECK_FALSE(is_binding_group(group_name::trusted("approve")));
  const auto redrive = redrive_group(group);
  CHECK(is_redrive_group(redrive));
  CHECK(binding_name_of(redrive) == "approve");
  for (const auto* name : {"", "a.b", "~a", "a b", "ä"}) {
    CHECK_FALSE(binding_group(name));
  }
  CHECK(binding_group(std::string(64, 'a')));
  CHECK_FALSE(binding_group(std::string(65, 'a')));

  CHECK(
      binding_dead_topic(topic_name::trusted("orders"), group).str()
      == "orders.binding.approve.dead");
  CHECK(
      binding_dead_topic(topic_name::trusted("workflow.o-1"), group).str()
      == "run.o-1.binding.approve.dead");
  const auto longest = std::string(126, 'a') + '.' + std::string(128, 'b');
  const auto dead =
      binding_dead_topic(topic_name::trusted(longest), binding_group(std::string(64, 'n')).value());
  CHECK(topic_name::parse(dead.str()));
  CHECK(dead.str().size() <= 255);
}

TEST_CASE("only a binding's own ids are taken from its dead letters", "[runtime][binding]") {
  const auto group = binding_group("approve").value();
  const auto id = binding_event_id(group, "7-1", sequence{42});
  CHECK(is_binding_event_id(group, id));
  CHECK(is_binding_event_id(redrive_group(group), id));
  CHECK(is_binding_event_id(
      binding_group(std::string(64, 'n')).value(),
      binding_event_id(
          binding_group(std::string(64, 'n')).value(),
          "18446744073709551615-18446744073709551615",
          sequence{UINT64_MAX})));
  for (const auto* const forged :
       {"",
        "w1",
        "bind:other:7-1:42",
        "bind:approve:a/../b",
        "bind:approve:7-1:42 ",
        "bind:approve:agent.notes.a",
        "bind:approve:\n"}) {
    INFO(forged);
    CHECK_FALSE(is_binding_event_id(group, forged));
  }
  CHECK_FALSE(is_binding_event_id(group, "bind:approve:" + std::string(1000, '1')));
}

TEST_CASE("a letter that somebody forged is one of its own death", "[runtime][binding]") {
  const auto group = binding_group("approve").value();
  const topic_ref orders{tenant_name::trusted("acme"), topic_name::trusted("orders")};
  const topic_ref dead{orders.tenant, binding_dead_topic(orders.topic, group)};
  sample_event forged;
  auto event = forged.event();
  for (const auto& [name, text] :
       {std::pair{"deadlettertopic", "orders"}, std::pair{"deadletterkey", "agent.notes.a"}}) {
    auto& extension = *event.add_extensions();
    extension.set_name(name);
    extension.set_text(text);
  }
  dead_letter letter;
  letter.event.seq = sequence{3};
  letter.event.stored = sample_event::stored(event);
  letter.attempts = 1;
  const auto made = make_dead_letter(letter, {dead, "9-9", redrive_group(group)});
  REQUIRE(made);
  CHECK(
      bound_event::read(made->stored, {}).value().key_at_death()
      == binding_event_id(group, "9-9", sequence{3}));
}

TEST_CASE("a dead letter of a binding stays the event that died", "[runtime][binding]") {
  const auto group = binding_group("approve").value();
  const topic_ref orders{tenant_name::trusted("acme"), topic_name::trusted("orders")};
  const topic_ref dead{orders.tenant, binding_dead_topic(orders.topic, group)};
  dead_letter letter;
  letter.event.seq = sequence{42};
  letter.event.stored = sample_event::stored(sample_event{}.event());
  letter.attempts = 1;
  const auto first = make_dead_letter(letter, {orders, "7-1", group});
  REQUIRE(first);
  auto event = bound_event::read(first->stored, {}).value();
  CHECK(event.id() == "e-1");
  CHECK(event.key_at_death() == binding_event_id(group, "7-1", sequence{42}));
  CHECK(event.event_text().value().find("deadletter") == std::string::npos);

  // Redriven, and dead again.
  letter.event = {sequence{3}, {}, first->stored};
  letter.attempts = 2;
  const auto second = make_dead_letter(letter, {dead, "9-9", redrive_group(group)});
  REQUIRE(second);
  CHECK(second->identity() != first->identity());
  event = bound_event::read(second->stored, {}).value();
  CHECK(event.id() == "e-1");
  CHECK(event.key_at_death() == binding_event_id(group, "7-1", sequence{42}));
}

}  // namespace callboard::runtime
