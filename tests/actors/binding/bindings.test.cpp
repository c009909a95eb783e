// Bindings in a whole broker: each matching event reaches its target once, in order, also across a
// restart; what the target refuses is a dead letter, and can be tried again.
#include "proto/event.pb.h"
#include "runtime/binding/binding_names.hpp"
#include "runtime/binding/binding_rule.hpp"

#include "tests/actors/topic/broker_fixture.hpp"
#include "tests/runtime/binding/sample_event.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/deep_json.hpp"
#include "tests/support/eventually.hpp"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <atomic>
#include <callboard/agent.hpp>
#include <callboard/json_text.hpp>
#include <string>
#include <vector>

namespace callboard::testing {

using namespace actors;
using namespace std::chrono_literals;
using boost::json::object;

namespace {

/// Ends at once with its input.
struct echo_workflow : workflow<echo_workflow> {
  static constexpr std::string_view type = "test.echo";

  flow<json> run(context&, json input) { co_return input; }
};

/// Hears `count` signals `go` and gives their payloads in the order in which they came.
struct listening_workflow : workflow<listening_workflow> {
  static constexpr std::string_view type = "test.listening";

  flow<json> run(context& ctx, std::int64_t count) {
    boost::json::array heard;
    for (; count > 0; --count)
      heard.push_back(co_await ctx.signal("go").required());
    co_return heard;
  }
};

/// Handlers of `slowly` wait while it is shut.
std::atomic<bool> is_gate_shut{false};

/// Keeps what it is told, in order.
struct notebook : agent<notebook, json> {
  static constexpr std::string_view type = "notebook";

  static void handlers(handler_table<notebook>& on) {
    on.message("note", &notebook::note)
        .message("slowly", &notebook::slowly)
        .message("read", &notebook::read);
  }

  flow<void> note(context&, json what) {
    if (!state().is_array()) state() = boost::json::array{};
    state().as_array().push_back(std::move(what));
    co_return;
  }

  flow<void> slowly(context& ctx, json what) {
    while (is_gate_shut)
      co_await ctx.sleep(20ms).required();
    if (!state().is_array()) state() = boost::json::array{};
    state().as_array().push_back(std::move(what));
  }

  flow<json> read(context&, json) { co_return state(); }
};

class binding_fixture : public broker_fixture {
public:
  binding_fixture() {
    const bool added = workflows.add(echo_workflow::definition())
                       && workflows.add(listening_workflow::definition())
                       && workflows.add(notebook::definition());
    if (!added) FAIL("cannot add the workflows");
  }

  static group_ref binding(const std::string& topic_name, const std::string& name) {
    return {topic(topic_name), runtime::binding_group(name).value()};
  }

  template <class T>
  T get(control_body body) {
    auto answer = ask(std::move(body));
    if (!answer) FAIL(answer.error().detail);
    return std::get<T>(std::move(*answer));
  }

  /// Publishes an event with this data; the id is `e<n>`.
  void publish_data(const std::string& to, int n, const std::string& data, std::string type = "t") {
    const sample_event event{
        .id = fmt::format("e{}", n), .type = std::move(type), .subject = "s", .json = data};
    publish_batch batch{.topic = topic(to)};
    auto request = make_request(1'000'000 + ++published_, {"x"});
    request.events = {{sample_event::stored(event.event())}};
    batch.requests.push_back(std::move(request));
    REQUIRE(router->publish(std::move(batch), self()));
    (*client)->receive(
        [&](boxed<publish_replies>& replies) { REQUIRE(replies->replies[0].outcome); },
        caf::after(patience) >> [] { FAIL("no answer to a publish"); });
  }

  group_description bind(
      const group_ref& which,
      const std::string& rule,
      runtime::position from = runtime::from_first{}) {
    put_group put;
    put.group = which;
    put.binding = runtime::binding_text(runtime::parse_binding(rule).value());
    put.from = std::move(from);
    return get<group_description>(std::move(put));
  }

  group_description shown(const group_ref& which) {
    return get<group_description>(get_group{which});
  }

  /// Waits until the binding has handled everything that its topic holds.
  void wait_until_handled(const group_ref& which) {
    const auto last = get<topic_description>(get_topic{which.topic}).last_seq;
    CHECK(eventually([&] { return shown(which).floor == last; }, 20s));
  }

  std::vector<runtime::bound_event> dead_letters(const group_ref& which) {
    std::vector<runtime::bound_event> events;
    const auto page = get<event_page>(list_binding_dead{which});
    for (const auto& one : page.batch->events)
      events.push_back(runtime::bound_event::read(one.stored, one.time).value());
    return events;
  }

  std::string history_of(const group_ref& which) {
    const auto page = get<event_page>(list_binding_dead{which});
    REQUIRE_FALSE(page.batch->events.empty());
    v1::Event event;
    const auto proto = runtime::event_proto(page.batch->events.back().stored);
    REQUIRE(event.ParseFromArray(proto.data(), static_cast<int>(proto.size())));
    for (const auto& one : event.extensions()) {
      if (one.name() == "deadletterhistory") return one.text();
    }
    return {};
  }

  object result_of(const std::string& id) {
    const auto answer = get<workflow_answer>(await_workflow{topic("workflow." + id), 10'000});
    return read_json(answer.body).value().as_object();
  }

  std::vector<std::string> workflow_ids() {
    const auto answer =
        get<workflow_answer>(list_workflows{tenant_name::parse("acme").value(), {}, {}, {}, 1000});
    std::vector<std::string> ids;
    for (const auto& one : boost::json::parse(answer.body).at("workflows").as_array())
      ids.emplace_back(one.at("id").as_string());
    return ids;
  }

  void make_queue(const std::string& name) {
    put_queue put;
    put.queue = queue(name);
    (void)get<queue_description>(std::move(put));
  }

  static queue_ref queue(const std::string& name) {
    return {tenant_name::parse("acme").value(), queue_name::parse(name).value()};
  }

  std::uint64_t tasks_in(const std::string& name) {
    const auto shown = get<queue_description>(get_queue{queue(name)});
    std::uint64_t sum = 0;
    for (const auto waiting : shown.waiting)
      sum += waiting;
    return sum;
  }

  std::string read_notebook(const std::string& key) {
    call_agent call;
    call.topic = topic("workflow.agent.notebook." + key);
    call.type = "agent:notebook";
    call.message = "read";
    call.payload = "null";
    call.id = fmt::format("read-{}", ++published_);
    call.wait_ms = 10'000;
    const auto answer = get<workflow_answer>(std::move(call));
    return boost::json::serialize(boost::json::parse(answer.body).at("result"));
  }

private:
  std::uint64_t published_ = 0;
};

constexpr auto start_rule =
    R"({"filter":{"type":"order.*"},"target":{"workflow":{"type":"test.echo","id":"o-{data.n}"}}})";

}  // namespace

TEST_CASE_METHOD(
    binding_fixture,
    "each matching event starts a workflow, the others are passed over",
    "[actors][binding]") {
  const auto which = binding("orders", "start");
  publish_data("orders", 1, R"({"n":1})", "order.placed");
  publish_data("orders", 2, R"({"n":2})", "mail");
  CHECK(bind(which, start_rule).created);
  publish_data("orders", 3, R"({"n":3})", "order.placed");
  wait_until_handled(which);
  CHECK(workflow_ids() == std::vector<std::string>{"o-1", "o-3"});
  CHECK(result_of("o-3").at("result") == boost::json::parse(R"({"n":3})"));

  // The same again changes nothing; another filter holds for what comes.
  CHECK_FALSE(bind(which, start_rule).created);
  (void)bind(which, R"({"target":{"workflow":{"type":"test.echo","id":"m-{data.n}"}}})");
  publish_data("orders", 4, R"({"n":4})", "mail");
  wait_until_handled(which);
  CHECK(workflow_ids() == std::vector<std::string>{"m-4", "o-1", "o-3"});
}

TEST_CASE_METHOD(
    binding_fixture,
    "without an id of the user's each event has a workflow of its own",
    "[actors][binding]") {
  const auto which = binding("orders", "start");
  for (int n = 1; n <= 20; ++n)
    publish_data("orders", n, "1");
  (void)bind(which, R"({"target":{"workflow":{"type":"test.echo"}}})");
  wait_until_handled(which);
  CHECK(workflow_ids().size() == 20);
  // Bound anew under its name, it finds that everything was done.
  (void)get<done>(delete_binding{which});
  (void)bind(which, R"({"target":{"workflow":{"type":"test.echo"}}})");
  wait_until_handled(which);
  CHECK(workflow_ids().size() == 20);
  CHECK(dead_letters(which).empty());
}

TEST_CASE_METHOD(
    binding_fixture, "signals and messages come once and in order", "[actors][binding]") {
  const auto signals = binding("orders", "signals");
  const auto notes = binding("orders", "notes");
  (void)get<workflow_answer>(start_workflow{topic("workflow.w"), "test.listening", "30", {}, {}});
  std::string expected = "[";
  for (int n = 1; n <= 30; ++n) {
    publish_data("orders", n, std::to_string(n));
    expected += (n > 1 ? "," : "") + std::to_string(n);
  }
  expected += ']';
  (void)bind(signals, R"({"target":{"signal":{"workflow":"w","name":"go"}}})");
  (void)bind(
      notes, R"({"target":{"agent":{"type":"notebook","key":"{subject}","message":"note"}}})");
  wait_until_handled(signals);
  wait_until_handled(notes);
  CHECK(boost::json::serialize(result_of("w").at("result")) == expected);
  CHECK(read_notebook("s") == expected);
}

TEST_CASE_METHOD(
    binding_fixture,
    "a signal that has ended its workflow is known again when it is asked for anew",
    "[actors][binding]") {
  const auto which = binding("orders", "signals");
  (void)get<workflow_answer>(start_workflow{topic("workflow.w"), "test.listening", "1", {}, {}});
  publish_data("orders", 1, "1");
  const auto* rule = R"({"target":{"signal":{"workflow":"w","name":"go"}}})";
  (void)bind(which, rule);
  wait_until_handled(which);
  CHECK(result_of("w").at("status") == "completed");
  restart();
  (void)get<done>(delete_binding{which});
  (void)bind(which, rule);
  wait_until_handled(which);
  CHECK(dead_letters(which).empty());
  // Another one finds that it has ended.
  publish_data("orders", 2, "2");
  wait_until_handled(which);
  CHECK(dead_letters(which).size() == 1);
  CHECK_THAT(history_of(which), Catch::Contains("has ended"));
}

TEST_CASE_METHOD(
    binding_fixture,
    "an agent that cannot keep up makes its binding wait, and loses nothing",
    "[actors][binding]") {
  const auto which = binding("orders", "notes");
  std::string expected = "[";
  for (int n = 1; n <= 400; ++n) {
    publish_data("orders", n, std::to_string(n));
    expected += (n > 1 ? "," : "") + std::to_string(n);
  }
  expected += ']';
  is_gate_shut = true;
  (void)bind(
      which, R"({"target":{"agent":{"type":"notebook","key":"{subject}","message":"slowly"}}})");
  CHECK(eventually([&] { return shown(which).in_flight == 1; }, 20s));
  CHECK(shown(which).lag == 400);
  is_gate_shut = false;
  wait_until_handled(which);
  CHECK(dead_letters(which).empty());
  CHECK(read_notebook("s") == expected);
}

TEST_CASE_METHOD(
    binding_fixture, "a task is enqueued for each event, and once", "[actors][binding]") {
  make_queue("llm");
  const auto which = binding("orders", "work");
  for (int n = 1; n <= 40; ++n)
    publish_data("orders", n, "1");
  const auto* rule = R"({"target":{"queue":{"queue":"llm","fairness_key":"{subject}"}}})";
  (void)bind(which, rule);
  wait_until_handled(which);
  CHECK(tasks_in("llm") == 40);
  (void)get<done>(delete_binding{which});
  (void)bind(which, rule);
  wait_until_handled(which);
  CHECK(tasks_in("llm") == 40);
}

TEST_CASE_METHOD(
    binding_fixture,
    "what the target refuses for good is a dead letter at once, with the reason",
    "[actors][binding]") {
  const auto which = binding("orders", "start");
  publish_data("orders", 1, R"({"n":1})", "order.placed");
  publish_data("orders", 2, R"({"n":1,"other":true})", "order.placed");
  publish_data("orders", 3, R"({"m":1})", "order.placed");
  publish_data("orders", 4, R"({"n":"no name"})", "order.placed");
  publish_data("orders", 5, R"({"n":5})", "order.placed");
  (void)bind(which, start_rule);
  wait_until_handled(which);
  CHECK(workflow_ids() == std::vector<std::string>{"o-1", "o-5"});
  std::vector<std::string> ids;
  for (const auto& one : dead_letters(which))
    ids.push_back(one.id());
  std::ranges::sort(ids);
  CHECK(ids == std::vector<std::string>{"e2", "e3", "e4"});
  CHECK(shown(which).dead_lettered == 3);
  CHECK_THAT(shown(which).last_error, Catch::Contains(": "));
  CHECK_THAT(history_of(which), Catch::Contains("refused"));
}

TEST_CASE_METHOD(
    binding_fixture,
    "an event that no target could compute with is a dead letter",
    "[actors][binding][json]") {
  make_queue("llm");
  const auto whole = binding("orders", "whole");
  const std::vector<std::pair<group_ref, std::string>> rules{
      {whole, R"({"target":{"workflow":{"type":"test.echo","id":"{id}","input":"event"}}})"},
      {binding("orders", "data"), R"({"target":{"workflow":{"type":"test.echo","id":"d-{id}"}}})"},
      {binding("orders", "keyed"), R"({"target":{"signal":{"workflow":"{data.n}","name":"go"}}})"},
      {binding("orders", "notes"),
       R"({"target":{"agent":{"type":"notebook","key":"{subject}","message":"note"}}})"},
      {binding("orders", "work"), R"({"target":{"queue":{"queue":"llm"}}})"}};
  publish_data("orders", 1, R"({"n":1,"most":1e400})");
  publish_data("orders", 2, deep_text(json_depth_max + 1));
  for (const auto& [which, rule] : rules) {
    INFO(rule);
    (void)bind(which, rule);
    wait_until_handled(which);
    CHECK(dead_letters(which).size() == 2);
    CHECK_THAT(
        history_of(which),
        Catch::Contains("the event's data has a number that no double holds")
            || Catch::Contains("the event's data is nested deeper than 64 levels"));
  }
  CHECK(tasks_in("llm") == 0);
  CHECK(workflow_ids().empty());
  publish_data("orders", 3, deep_text(json_depth_max));
  wait_until_handled(whole);
  restart();
  CHECK(
      boost::json::serialize(result_of("e3").at("result").at("data")) == deep_text(json_depth_max));
}

TEST_CASE_METHOD(
    binding_fixture,
    "dead letters are redriven by the rule of now, and die again if need be",
    "[actors][binding]") {
  const auto which = binding("orders", "start");
  CHECK(
      get<binding_redrive>([&] {
        publish_data("orders", 1, R"({"n":"a b"})", "order.placed");
        (void)bind(which, R"({"target":{"workflow":{"type":"absent","id":"o-{id}"}}})");
        wait_until_handled(which);
        return redrive_binding{binding("orders", "start")};
      }())
          .events
      == 1);
  // Again without the type: the letter dies again, and is still the event that it was.
  CHECK(eventually([&] {
    const auto letters = dead_letters(which);
    return letters.size() == 1 && letters[0].id() == "e1" && workflow_ids().empty();
  }));
  CHECK_THAT(history_of(which), Catch::Contains("absent"));
  (void)bind(which, R"({"target":{"workflow":{"type":"test.echo","id":"o-{id}"}}})");
  CHECK(eventually([&] {
    (void)get<binding_redrive>(redrive_binding{which});
    return dead_letters(which).empty();
  }));
  CHECK(workflow_ids() == std::vector<std::string>{"o-e1"});
  CHECK(get<binding_redrive>(redrive_binding{which}).events == 0);
}

TEST_CASE_METHOD(
    binding_fixture,
    "a dead letter can be given other data, and is counted as long as it is one",
    "[actors][binding]") {
  const auto which = binding("orders", "start");
  const auto dead = [&] { return get<group_description>(get_binding{which}).dead; };
  publish_data("orders", 3, R"({"n":3})", "order.placed");
  (void)bind(which, start_rule);
  wait_until_handled(which);
  CHECK(dead() == 0);
  publish_data("orders", 1, R"({"n":"a b"})", "order.placed");
  publish_data("orders", 2, R"({"n":"c d"})", "order.placed");
  wait_until_handled(which);
  CHECK(dead() == 2);
  const auto edit = [&](std::uint64_t seq, const std::string& data) {
    return ask(edit_binding_dead{which, sequence{seq}, data, "ada"});
  };
  CHECK(edit(9, "1").error().code == errc::task_not_found);
  CHECK(
      ask(edit_binding_dead{binding("orders", "other"), sequence{1}, "1", "ada"}).error().code
      == errc::binding_not_found);
  const auto edited = edit(1, R"({"n":1})");
  REQUIRE(edited);
  CHECK(std::get<binding_edited>(*edited).seq == sequence{3});
  // It has taken the place of the first.
  CHECK(dead() == 2);
  CHECK(edit(1, R"({"n":1})").error().code == errc::task_not_found);
  const auto letters = dead_letters(which);
  REQUIRE(letters.size() == 2);
  CHECK(letters[1].id() == "e1");
  CHECK_FALSE(letters[1].history_at_death().empty());
  CHECK(letters[1].is_replacement());
  CHECK(get<binding_redrive>(redrive_binding{which, {.seqs = {sequence{3}}}, "ada"}).events == 1);
  CHECK(workflow_ids() == std::vector<std::string>{"o-1", "o-3"});
  CHECK(dead() == 1);
  // Of these one is no dead letter.
  for (const std::uint64_t other : {1, 3, 9}) {
    const binding_dead_filter named{.seqs = {sequence{2}, sequence{other}}};
    CHECK(ask(redrive_binding{which, named, "ada"}).error().code == errc::task_not_found);
    CHECK(ask(abandon_binding_dead{which, named, "ada"}).error().code == errc::task_not_found);
  }
  // And this one cannot be a name.
  const auto some = get<binding_redrive>(redrive_binding{which, {.seqs = {sequence{2}}}, "ada"});
  CHECK(some.events == 0);
  CHECK(some.refused == 1);
  CHECK_THAT(some.last_error, Catch::Contains("o-c d"));
  CHECK(dead() == 1);
  restart();
  CHECK(dead() == 1);
  const auto listed = get<group_list>(list_bindings{topic("orders")});
  REQUIRE(listed.groups.size() == 1);
  CHECK(listed.groups[0].dead == 1);
  CHECK(listed.groups[0].dead_lettered == 2);
  const auto told = get<event_page>(read_events{
      {which.topic.tenant, runtime::binding_audit_topic(which.topic.topic, which.group)},
      runtime::from_first{}});
  REQUIRE(told.batch->events.size() == 3);
  const auto& first = told.batch->events.front();
  CHECK(runtime::bound_event::read(first.stored, first.time)->type() == "binding.edited");
}

TEST_CASE_METHOD(
    binding_fixture,
    "a signal waits for its workflow to be started, and blocks nobody else",
    "[actors][binding]") {
  const auto which = binding("orders", "signals");
  publish_data("orders", 1, R"({"w":"late","v":1})");
  publish_data("orders", 2, R"({"w":"late","v":2})");
  publish_data("orders", 3, R"({"w":"there","v":3})");
  (void)get<workflow_answer>(
      start_workflow{topic("workflow.there"), "test.listening", "1", {}, {}});
  (void)bind(which, R"({"target":{"signal":{"workflow":"{data.w}","name":"go"}}})");
  CHECK(result_of("there").at("status") == "completed");
  CHECK(eventually([&] { return !shown(which).last_error.empty(); }));
  (void)get<workflow_answer>(start_workflow{topic("workflow.late"), "test.listening", "2", {}, {}});
  wait_until_handled(which);
  CHECK(
      boost::json::serialize(result_of("late").at("result"))
      == R"([{"w":"late","v":1},{"w":"late","v":2}])");
  CHECK(dead_letters(which).empty());
}

TEST_CASE_METHOD(
    binding_fixture,
    "a signal to a workflow that never comes is a dead letter after ten attempts",
    "[actors][binding]") {
  settings.groups.backoff_min_ms = 1;
  settings.groups.backoff_max_ms = 5;
  const auto which = binding("orders", "signals");
  publish_data("orders", 1, R"({"w":"nowhere"})");
  publish_data("orders", 2, R"({"w":"nowhere"})");
  (void)bind(which, R"({"target":{"signal":{"workflow":"{data.w}","name":"go"}}})");
  wait_until_handled(which);
  CHECK(dead_letters(which).size() == 2);
  const auto history = history_of(which);
  CHECK_THAT(history, Catch::Contains(R"("attempt":10,)") && Catch::Contains("workflow_not_found"));
  CHECK_THAT(history, !Catch::Contains(R"("attempt":11,)"));
}

TEST_CASE_METHOD(
    binding_fixture,
    "the channel of a run can be bound, and has its dead letters elsewhere",
    "[actors][binding]") {
  (void)get<workflow_answer>(start_workflow{topic("workflow.w"), "test.listening", "1", {}, {}});
  const auto which = binding("workflow.w", "follow");
  (void)bind(
      which, R"({"filter":{"type":"workflow.started"},"target":{"workflow":{"type":"absent"}}})");
  wait_until_handled(which);
  CHECK(dead_letters(which).size() == 1);
  CHECK(shown(which).settings.dead_letter_topic == "run.w.binding.follow.dead");
  (void)bind(which, R"({"target":{"workflow":{"type":"test.echo","id":"after-w"}}})");
  (void)get<binding_redrive>(redrive_binding{which});
  CHECK(eventually([&] { return dead_letters(which).empty(); }));
  CHECK(result_of("after-w").at("status") == "completed");
}

TEST_CASE_METHOD(
    binding_fixture, "bindings go on after a restart, redrives too", "[actors][binding]") {
  const auto which = binding("orders", "start");
  publish_data("orders", 1, R"({"n":1})", "order.placed");
  publish_data("orders", 2, R"({"m":1})", "order.placed");
  (void)bind(which, start_rule);
  wait_until_handled(which);
  restart();
  publish_data("orders", 3, R"({"n":3})", "order.placed");
  CHECK(eventually([&] { return workflow_ids().size() == 2; }));
  CHECK(dead_letters(which).size() == 1);
  (void)bind(
      which,
      R"({"filter":{"type":"order.*"},"target":{"workflow":{"type":"test.echo","id":"o-{id}"}}})");
  CHECK(get<binding_redrive>(redrive_binding{which}).events == 1);
  restart();
  CHECK(eventually([&] { return dead_letters(which).empty(); }));
  CHECK(workflow_ids() == std::vector<std::string>{"o-1", "o-3", "o-e2"});
}

TEST_CASE_METHOD(
    binding_fixture,
    "dead letters are redriven and given up one by one, or as many as fit",
    "[actors][binding]") {
  const auto which = binding("orders", "start");
  const auto audit = [&] {
    const auto answer = ask(
        read_events{.topic = topic("orders.binding.start.audit"), .from = runtime::from_first{}});
    std::string text;
    if (!answer) return text;
    for (const auto& one : std::get<event_page>(*answer).batch->events)
      text += std::string{runtime::event_proto(one.stored)} + '\n';
    return text;
  };
  const auto seqs = [&] {
    std::vector<std::uint64_t> list;
    for (const auto& one : get<event_page>(list_binding_dead{which}).batch->events)
      list.push_back(one.seq.raw());
    return list;
  };
  for (int n = 1; n <= 6; ++n)
    publish_data("orders", n, R"({"m":1})", n <= 4 ? "order.placed" : "order.changed");
  (void)bind(which, start_rule);
  wait_until_handled(which);
  REQUIRE(dead_letters(which).size() == 6);
  CHECK(audit().empty());
  // Its target still refuses it: it stays what it is.
  redrive_binding one{which, {.seqs = {sequence{2}}}, "ann"};
  CHECK(get<binding_redrive>(one).events == 0);
  CHECK(seqs() == std::vector<std::uint64_t>{1, 2, 3, 4, 5, 6});
  (void)bind(
      which,
      R"({"filter":{"type":"order.*"},"target":{"workflow":{"type":"test.echo","id":"o-{id}"}}})");
  CHECK(get<binding_redrive>(one).events == 1);
  CHECK(workflow_ids() == std::vector<std::string>{"o-e2"});
  CHECK(seqs() == std::vector<std::uint64_t>{1, 3, 4, 5, 6});
  abandon_binding_dead some{which, {.type = "order.changed"}, "bob"};
  CHECK(get<dead_change_count>(some).changed == 2);
  CHECK(get<dead_change_count>(some).changed == 0);
  CHECK(seqs() == std::vector<std::uint64_t>{1, 3, 4});
  abandon_binding_dead none{which, {.error_contains = "no such reason"}, "bob"};
  CHECK(get<dead_change_count>(none).changed == 0);
  CHECK(
      get<dead_change_count>(abandon_binding_dead{which, {.seqs = {sequence{1}}}, "bob"}).changed
      == 1);
  restart();
  CHECK(seqs() == std::vector<std::uint64_t>{3, 4});
  CHECK_THAT(
      audit(),
      Catch::Contains(R"({"who":"ann","dead_letters":[2]})")
          && Catch::Contains(R"({"who":"bob","dead_letters":[5,6]})")
          && Catch::Contains("binding.abandoned"));
  // Of what is left, and of nothing else.
  CHECK(get<binding_redrive>(redrive_binding{which, {}, "cid"}).events == 2);
  CHECK(eventually([&] { return seqs().empty(); }));
  CHECK(workflow_ids() == std::vector<std::string>{"o-e2", "o-e3", "o-e4"});
  CHECK_THAT(audit(), Catch::Contains(R"({"who":"cid","all":true,"count":2})"));
  (void)get<done>(delete_binding{which});
  CHECK(audit().empty());
}

TEST_CASE_METHOD(
    binding_fixture,
    "a redrive that cannot be told to the audit does not begin",
    "[actors][binding]") {
  const auto which = binding("orders", "start");
  const auto audit = topic("orders.binding.start.audit");
  publish_data("orders", 1, R"({"m":1})", "order.placed");
  publish_data("orders", 2, R"({"m":1})", "order.placed");
  (void)bind(which, start_rule);
  wait_until_handled(which);
  CHECK(
      get<dead_change_count>(abandon_binding_dead{which, {.seqs = {sequence{1}}}, "bob"}).changed
      == 1);
  // A reader who is behind holds it, and it is as large as it may be.
  put_group reader;
  reader.group = {audit, group_name::parse("reader").value()};
  reader.from = runtime::from_first{};
  (void)get<group_description>(reader);
  put_topic full{audit, {}};
  full.patch.retention_bytes = 1;
  full.patch.hold_for_groups = true;
  (void)get<topic_description>(full);
  (void)bind(which, R"({"target":{"workflow":{"type":"test.echo","id":"o-{id}"}}})");
  CHECK(
      ask(redrive_binding{which, {.seqs = {sequence{2}}}, "ann"}).error().code
      == errc::held_by_group);
  CHECK(ask(redrive_binding{which, {}, "ann"}).error().code == errc::held_by_group);
  restart();
  CHECK(dead_letters(which).size() == 1);
  CHECK(workflow_ids().empty());
  full.patch.hold_for_groups = false;
  (void)get<topic_description>(full);
  CHECK(get<binding_redrive>(redrive_binding{which, {}, "ann"}).events == 1);
  CHECK(eventually([&] { return dead_letters(which).empty(); }));
  CHECK(workflow_ids() == std::vector<std::string>{"o-e2"});
}

TEST_CASE_METHOD(
    binding_fixture, "a key that somebody forged is no id of a workflow", "[actors][binding]") {
  const auto which = binding("orders", "start");
  publish_data("orders", 1, R"({"m":1})", "order.placed");
  (void)bind(which, R"({"target":{"workflow":{"type":"absent"}}})");
  wait_until_handled(which);
  sample_event forged{.id = "f1", .type = "order.placed", .json = R"({"m":2})"};
  auto event = forged.event();
  auto& key = *event.add_extensions();
  key.set_name("deadletterkey");
  key.set_text("agent.notes.a/../b c");
  publish_batch batch{.topic = topic("orders.binding.start.dead")};
  auto request = make_request(7'000'000, {"x"});
  request.events = {{sample_event::stored(event)}};
  batch.requests.push_back(std::move(request));
  REQUIRE(router->publish(std::move(batch), self()));
  (*client)->receive(
      [&](boxed<publish_replies>& replies) { REQUIRE(replies->replies[0].outcome); },
      caf::after(patience) >> [] { FAIL("no answer to a publish"); });
  (void)bind(which, R"({"target":{"workflow":{"type":"test.echo"}}})");
  const auto is_by_hand = GENERATE(true, false);
  redrive_binding ask{which, {}, "ann"};
  if (is_by_hand) ask.filter.type = "order.placed";
  CHECK(get<binding_redrive>(ask).events == 2);
  CHECK(eventually([&] { return dead_letters(which).empty(); }));
  const auto ids = workflow_ids();
  REQUIRE(ids.size() == 2);
  for (const auto& id : ids)
    CHECK(id.starts_with("bind:start:"));
}

TEST_CASE_METHOD(
    binding_fixture,
    "a node that stops while a topic is being looked for keeps its groups",
    "[actors][binding]") {
  const auto which = binding("orders", "start");
  publish_data("orders", 1, R"({"n":"a b"})", "order.placed");
  (void)bind(which, start_rule);
  wait_until_handled(which);
  REQUIRE(shown(which).dead_lettered == 1);
  for (int n = 0; n < 40; ++n) {
    // Nobody waits for the answer.
    (void)router->control(
        {correlation_id{1'000'000U + static_cast<unsigned>(n)}, get_binding{which}}, self());
    restart();
  }
  CHECK(shown(which).dead_lettered == 1);
}

TEST_CASE_METHOD(
    binding_fixture, "dead letters given up here and there are bounded", "[actors][binding]") {
  settings.groups.dead_letter_gaps_max = 2;
  const auto which = binding("orders", "start");
  for (int n = 1; n <= 9; ++n)
    publish_data("orders", n, R"({"m":1})", n == 9 ? "order.other" : "order.placed");
  (void)bind(which, start_rule);
  wait_until_handled(which);
  REQUIRE(dead_letters(which).size() == 9);
  const auto give_up = [&](std::vector<std::uint64_t> seqs) {
    abandon_binding_dead some{which, {}, "bob"};
    for (const auto seq : seqs)
      some.filter.seqs.emplace_back(seq);
    return ask(some);
  };
  REQUIRE(give_up({3}));
  REQUIRE(give_up({5}));
  const auto refused = give_up({7});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::too_large);
  CHECK_THAT(refused.error().detail, Catch::Contains("groups.dead_letter_gaps_max"));
  CHECK(dead_letters(which).size() == 7);
  CHECK(
      ask(abandon_binding_dead{which, {.type = "order.other"}, "bob"}).error().code
      == errc::too_large);
  const auto edited = ask(edit_binding_dead{which, sequence{7}, R"({"m":2})", "bob"});
  REQUIRE_FALSE(edited);
  CHECK(edited.error().code == errc::too_large);
  CHECK(dead_letters(which).size() == 7);
  // What closes gaps is taken, and the oldest do.
  REQUIRE(give_up({4}));
  REQUIRE(give_up({7}));
  CHECK_FALSE(give_up({9}));
  REQUIRE(give_up({1}));
  REQUIRE(give_up({2}));
  REQUIRE(give_up({9}));
  restart();
  CHECK(dead_letters(which).size() == 2);
}

TEST_CASE_METHOD(
    binding_fixture,
    "a binding goes with its dead letters, or with its topic",
    "[actors][binding]") {
  const auto which = binding("orders", "start");
  publish_data("orders", 1, R"({"m":1})", "order.placed");
  (void)bind(which, start_rule);
  wait_until_handled(which);
  CHECK(dead_letters(which).size() == 1);
  (void)get<done>(delete_binding{which});
  CHECK(ask(get_group{which}).error().code == errc::binding_not_found);
  CHECK(ask(list_binding_dead{which}).error().code == errc::binding_not_found);
  CHECK(ask(delete_binding{which}).error().code == errc::binding_not_found);
  CHECK(ask(get_topic{topic("orders.binding.start.dead")}).error().code == errc::topic_not_found);

  (void)bind(which, start_rule, runtime::from_now{});
  (void)get<done>(delete_topic{topic("orders")});
  publish_data("orders", 1, R"({"n":9})", "order.placed");
  CHECK(ask(get_group{which}).error().code == errc::binding_not_found);
  CHECK(get<group_list>(list_groups{topic("orders"), true}).groups.empty());
  CHECK(workflow_ids().empty());
}

TEST_CASE_METHOD(
    binding_fixture, "bindings are not among the groups, and are bounded", "[actors][binding]") {
  settings.groups.bindings_per_topic_max = 2;
  publish_data("orders", 1, "1");
  put_group plain;
  plain.group = {topic("orders"), group_name::parse("plain").value()};
  (void)get<group_description>(std::move(plain));
  (void)bind(binding("orders", "a"), start_rule);
  (void)bind(binding("orders", "b"), start_rule);
  put_group third;
  third.group = binding("orders", "c");
  third.binding = start_rule;
  CHECK(ask(std::move(third)).error().code == errc::too_large);
  const auto groups = get<group_list>(list_groups{topic("orders")}).groups;
  REQUIRE(groups.size() == 1);
  CHECK(groups[0].group == "plain");
  CHECK(get<group_list>(list_groups{topic("orders"), true}).groups.size() == 2);
}

}  // namespace callboard::testing
