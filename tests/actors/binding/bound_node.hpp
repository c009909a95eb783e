// A broker on a clock of the test, with a binding and workflows that it starts or signals.
#pragma once

#include "runtime/binding/binding_names.hpp"
#include "runtime/binding/binding_rule.hpp"
#include "runtime/binding/bound_event.hpp"

#include "tests/actors/topic/virtual_broker.hpp"
#include "tests/runtime/binding/sample_event.hpp"

#include <fmt/format.h>

#include <callboard/workflow.hpp>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace callboard::testing {

/// Reads the signals `go` once it has heard `begin`.
struct late_reader : workflow<late_reader> {
  static constexpr std::string_view type = "test.late";

  flow<json> run(context& ctx, std::int64_t count) {
    co_await ctx.signal("begin").required();
    boost::json::array heard;
    for (; count > 0; --count)
      heard.push_back(co_await ctx.signal("go").required());
    co_return heard;
  }
};

struct echoing_workflow : workflow<echoing_workflow> {
  static constexpr std::string_view type = "test.echo";

  flow<json> run(context&, json input) { co_return input; }
};

struct bound_node {
  explicit bound_node(config with) : broker{std::move(with), &code} {
    if (!code.add(late_reader::definition()) || !code.add(echoing_workflow::definition())) {
      FAIL("cannot add the workflows");
    }
  }

  static actors::group_ref binding() {
    return {virtual_broker::topic("orders"), runtime::binding_group("b").value()};
  }

  /// Its topic is made by the first.
  void bind(const std::string& rule) {
    REQUIRE(broker.ask_now(actors::put_topic{binding().topic, {}}));
    actors::put_group put;
    put.group = binding();
    put.binding = runtime::binding_text(runtime::parse_binding(rule).value());
    put.from = runtime::from_first{};
    REQUIRE(broker.ask_now(std::move(put)));
  }

  /// For the workflow `to`, which is also its subject.
  void publish(const std::string& to, int n) {
    const sample_event event{
        .id = fmt::format("e{}", n),
        .type = "t",
        .subject = to,
        .json = fmt::format(R"({{"to":"{}","n":{}}})", to, n)};
    auto request = make_request(0, {"x"});
    request.events = {{sample_event::stored(event.event())}};
    const auto sent = broker.publish("orders", std::move(request));
    broker.settle();
    REQUIRE(broker.got.published.at(sent));
  }

  std::string shown(const std::string& id) {
    auto answer = broker.ask_now(actors::get_workflow{virtual_broker::topic("workflow." + id)});
    return answer ? std::get<actors::workflow_answer>(*answer).body
                  : std::string{name_of(answer.error().code)};
  }

  std::size_t signals_of(const std::string& id) {
    auto page = broker.ask_now(actors::read_events{
        .topic = virtual_broker::topic("workflow." + id), .from = runtime::from_first{}});
    REQUIRE(page);
    std::size_t count = 0;
    for (const auto& one : std::get<actors::event_page>(*page).batch->events) {
      const auto event = runtime::bound_event::read(one.stored, one.time).value();
      count += event.type() == "signal.received" ? 1 : 0;
    }
    return count;
  }

  template <class Answer>
  Answer get(actors::control_body body) {
    const auto asked = broker.ask(std::move(body));
    for (int i = 0; i < 100 && !broker.got.answered.contains(asked); ++i)
      broker.advance(std::chrono::milliseconds{50});
    REQUIRE(broker.got.answered.contains(asked));
    const auto& answer = broker.got.answered.at(asked);
    if (!answer) FAIL(answer.error().detail);
    return std::get<Answer>(*answer);
  }

  std::vector<std::uint64_t> dead() {
    std::vector<std::uint64_t> seqs;
    for (const auto& one :
         get<actors::event_page>(actors::list_binding_dead{binding()}).batch->events)
      seqs.push_back(one.seq.raw());
    return seqs;
  }

  runtime::workflow_registry code;
  virtual_broker broker;
};

}  // namespace callboard::testing
