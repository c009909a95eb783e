// Whatever is recorded can be read again. What code gives that no JSON says, or that is deeper than
// its limit, fails at once and by name, and does the same in every replay.
#include "base/rfc3339.hpp"
#include "proto/event.pb.h"
#include "runtime/topic/event_batch.hpp"
#include "runtime/workflow/attempt_end.hpp"
#include "runtime/workflow/json_values.hpp"
#include "runtime/workflow/run_row.hpp"

#include "tests/runtime/workflow/random_values.hpp"
#include "tests/runtime/workflow/scripted_run.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/deep_json.hpp"

#include <boost/json/monotonic_resource.hpp>
#include <boost/json/serialize.hpp>

#include <bit>
#include <callboard/saga.hpp>
#include <cmath>
#include <functional>
#include <limits>

namespace callboard::runtime {

using testing::deep_text;
using testing::deep_value;
using tests::value_maker;

namespace {

run_event of_kind(run_event_kind kind, json data) {
  run_event event;
  event.kind = kind;
  event.data = std::move(data);
  return event;
}

run_event issued(command_kind what, json data) {
  auto event = of_kind(run_event_kind::issued, std::move(data));
  event.what = what;
  event.command = 1;
  return event;
}

/// In every place of a history where a value may stand.
std::vector<run_event> events_with(const json& value) {
  std::vector<run_event> all{
      of_kind(run_event_kind::completed, value),
      of_kind(run_event_kind::signalled, value),
      of_kind(
          run_event_kind::signalled,
          boost::json::object{{"id", "i"}, {"message", "m"}, {"payload", value}}),
      issued(command_kind::task, boost::json::object{{"payload", value}}),
      issued(command_kind::update, boost::json::object{{"data", value}}),
      issued(command_kind::reply, boost::json::object{{"id", "i"}, {"result", value}}),
      of_kind(run_event_kind::ended, value),
      of_kind(run_event_kind::ended, value)};
  all[6].status = run_status::completed;
  all[7].status = run_status::continued;
  run_start start;
  start.input = boost::json::object{
      {"state", value},
      {"recent", boost::json::array{boost::json::object{{"id", "i"}, {"result", value}}}}};
  all.push_back(make_started(start));
  return all;
}

struct handing_workflow : workflow<handing_workflow> {
  static constexpr std::string_view type = "handing";
  static inline std::function<json()> gives;

  flow<json> run(context& ctx, json what) {
    if (what == "result") co_return gives();
    if (what == "next") co_return ctx.continue_as_new(gives());
    if (what == "throws") throw run_failed{{failure_class::permanent, "c\xff", "m\xff", 0, "{x"}};
    auto told = what == "task"    ? co_await ctx.task("q", gives())
                : what == "child" ? co_await ctx.child("other", gives())
                : what == "name"  ? co_await ctx.task("\xff", 1)
                                  : outcome<json>{};
    if (what == "publish") {
      auto published = co_await ctx.publish("t", gives());
      if (!published) told = std::unexpected{published.error()};
    } else if (what == "update") {
      auto shown = co_await ctx.update(gives());
      if (!shown) told = std::unexpected{shown.error()};
    }
    co_await ctx.signal("on").required();
    co_return told ? json("went well") : json(told.error().code + ": " + told.error().message);
  }
};

json infinite() {
  return boost::json::array{1, std::numeric_limits<double>::infinity()};
}

std::vector<std::pair<std::function<json()>, std::string>> flawed() {
  return {
      {[] { return deep_value(code_depth_max + 1); }, "is nested deeper than 128 levels"},
      {[] { return infinite(); }, "has a number that no double holds"},
      {[] { return json(std::nan("")); }, "has a number that no double holds"},
      {[] { return json("\xff"); }, "has a text that is not UTF-8"},
      {[] { return json(boost::json::object{{"\xc3", 1}}); }, "has a text that is not UTF-8"}};
}

}  // namespace

TEST_CASE("values up to the limit come back from every event as they were", "[workflow][json]") {
  run_identity run;
  run.workflow_id = "w1";
  const std::vector<std::size_t> depths{
      0, 1, 30, 31, 32, 33, json_depth_max - 1, json_depth_max, code_depth_max};
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    for (const auto levels : depths) {
      INFO("seed " << seed << ", levels " << levels);
      const auto value = value_maker{seed}.make(levels);
      REQUIRE_FALSE(flaw_of(value));
      for (const auto& one : events_with(value)) {
        const auto back = decode_run_event({sequence{1}, {}, encode_run_event(one, run, 1).stored});
        if (!back) FAIL(back.error().detail);
        CHECK(back->kind == one.kind);
        CHECK(back->data == one.data);
        // A second way through the record changes nothing.
        CHECK(
            encode_run_event(*back, run, 1).stored.view()
            == encode_run_event(one, run, 1).stored.view());
      }
      CHECK(json_or_text(boost::json::serialize(value)) == value);
    }
  }
}

TEST_CASE("a value is measured however deep it is", "[workflow][json]") {
  // Without recursion of its own it is left where it is.
  boost::json::monotonic_resource arena;
  json deep(nullptr, &arena);
  constexpr std::size_t levels = 1'000'000;
  for (std::size_t i = 0; i < levels; ++i) {
    boost::json::array outer(&arena);
    outer.emplace_back(std::move(deep));
    deep = std::move(outer);
  }
  CHECK_FALSE(is_larger(deep, 4 * levels));
  CHECK(is_larger(deep, 2 * levels));
  // Every member counts, wherever it is.
  const json mixed{{"a", {1, "bc", {{"d", nullptr}}}}, {"e", boost::json::array{}}};
  std::size_t left = 1000;
  REQUIRE(takes_from(left, mixed));
  const auto size = 1000 - left;
  CHECK_FALSE(is_larger(mixed, size));
  CHECK(is_larger(mixed, size - 1));
  CHECK(size >= boost::json::serialize(mixed).size());
}

TEST_CASE("every double comes back as it was", "[json]") {
  value_maker maker{7};
  for (int i = 0; i < 20'000; ++i) {
    const auto bits = maker.draw(1ULL << 31U) << 33U | maker.draw(1ULL << 31U) << 2U;
    const auto number = std::bit_cast<double>(bits);
    if (!std::isfinite(number)) continue;
    const auto text = boost::json::serialize(json(number));
    INFO(text);
    CHECK(read_json(text) == json(number));
  }
  CHECK(read_json("0.30000000000000004") == json(0.1 + 0.2));
  CHECK(read_json("1e-400") == json(0.0));
  CHECK(read_json(" [1, 2] ") == json({1, 2}));
  CHECK_FALSE(read_json("1 2"));
  CHECK_FALSE(read_json(""));
  CHECK_FALSE(read_json("[1"));
}

TEST_CASE("histories that builds before wrote with 64 levels are read", "[workflow][json]") {
  for (const auto levels : {32UL, 33UL, 64UL, 66UL}) {
    v1::Event event;
    event.set_id("1.1");
    event.set_source("/workflows/w1");
    event.set_type("signal.received");
    event.set_time(format_time({}));
    event.set_json(R"({"name":"go","payload":)" + deep_text(levels) + "}");
    std::string stored(event_prefix_size, '\0');
    event.AppendToString(&stored);
    const auto back = decode_run_event({sequence{1}, {}, shared_bytes{std::move(stored)}});
    if (!back) FAIL(back.error().detail);
    CHECK(boost::json::serialize(back->data) == deep_text(levels));
  }
}

TEST_CASE("the parser says what is wrong, and takes no number that it cannot write", "[json]") {
  CHECK(accept_json(deep_text(64), 64));
  CHECK(accept_json(deep_text(65), 64).error() == "is nested deeper than 64 levels");
  CHECK(read_json(deep_text(record_depth_max)));
  CHECK_FALSE(read_json(deep_text(record_depth_max + 1)));
  for (const auto* number : {"1e400", "-1e400", R"({"a":[1E999]})"}) {
    CHECK(accept_json(number).error() == "has a number that no double holds");
  }
  CHECK(accept_json("1e308"));
  CHECK_THAT(accept_json("{x").error(), Catch::StartsWith("is not valid JSON"));
  CHECK_THAT(accept_json("\"\xff\"").error(), Catch::StartsWith("is not valid JSON"));
  CHECK(json_or_text("plain \xff words") == json("plain \u{FFFD} words"));
  CHECK(json_or_text("1e400") == json("1e400"));
  CHECK(json_or_text("").is_null());
  CHECK_FALSE(value_of("it", deep_text(code_depth_max + 1)));
  CHECK(value_of("it", deep_text(code_depth_max)));
}

TEST_CASE("what code hands on that is no JSON fails that command alone", "[workflow][json]") {
  for (const auto& [gives, flaw] : flawed()) {
    handing_workflow::gives = gives;
    for (const auto* what : {"task", "child", "publish", "update"}) {
      INFO(what << " " << flaw);
      tests::scripted_run run{handing_workflow::definition(), what};
      // Nothing of it is recorded, and a replay comes to the same.
      CHECK(run.engine->open().size() == 1);
      CHECK(run.engine->open().begin()->second.request.kind == command_kind::signal);
      run.crash();
      REQUIRE_FALSE(run.engine->blocked());
      run.signal("on", 1);
      REQUIRE(run.end);
      REQUIRE(run.end->status == run_status::completed);
      CHECK_THAT(
          std::string{run.end->result.as_string()},
          Catch::StartsWith("not_json: what the ") && Catch::Contains(what)
              && Catch::Contains(flaw));
    }
  }
  tests::scripted_run named{handing_workflow::definition(), "name"};
  named.crash();
  named.signal("on", 1);
  REQUIRE(named.end);
  CHECK_THAT(
      std::string{named.end->result.as_string()},
      Catch::StartsWith("not_json: the name of a task is not UTF-8"));
}

TEST_CASE("what is as deep as the limit is handed on", "[workflow][json]") {
  handing_workflow::gives = [] { return deep_value(code_depth_max); };
  tests::scripted_run run{handing_workflow::definition(), "task"};
  run.crash();
  REQUIRE(run.engine->open().size() == 1);
  const auto& request = run.engine->open().begin()->second.request;
  CHECK(request.kind == command_kind::task);
  CHECK(request.arguments.at("payload") == deep_value(code_depth_max));
  tests::scripted_run ends{handing_workflow::definition(), "result"};
  REQUIRE(ends.end);
  CHECK(ends.end->status == run_status::completed);
  ends.crash();
  CHECK_FALSE(ends.engine->blocked());
}

TEST_CASE("a run that ends with what is no JSON has failed", "[workflow][json]") {
  for (const auto& [gives, flaw] : flawed()) {
    handing_workflow::gives = gives;
    for (const auto* what : {"result", "next"}) {
      INFO(what << " " << flaw);
      tests::scripted_run run{handing_workflow::definition(), what};
      REQUIRE(run.end);
      CHECK(run.end->status == run_status::failed);
      REQUIRE(run.end->why);
      CHECK(run.end->why->code == "not_json");
      CHECK(run.end->why->kind == failure_class::permanent);
      CHECK_THAT(run.end->why->message, Catch::Contains(flaw));
      run.crash();
      CHECK_FALSE(run.engine->blocked());
    }
  }
}

TEST_CASE("the words of a failure are recorded, be they UTF-8 or not", "[workflow][json]") {
  tests::scripted_run run{handing_workflow::definition(), "throws"};
  REQUIRE(run.end);
  const failure expected{failure_class::permanent, "c\u{FFFD}", "m\u{FFFD}", 0, R"("{x")"};
  CHECK(run.end->why == expected);
  run.crash();
  CHECK_FALSE(run.engine->blocked());
  workflow_row row;
  row.why = run.end->why;
  CHECK(read_failure(describe_failure(*row.why)) == expected);
}

TEST_CASE("a step that gives what is no JSON fails for good", "[workflow][json]") {
  open_command step;
  step.request.kind = command_kind::step;
  step.request.name = "measure";
  for (const auto& [gives, flaw] : flawed()) {
    const auto event = event_of({1, 1, gives()}, step, "w1", {}, {});
    CHECK(event.kind == run_event_kind::failed);
    REQUIRE(event.why);
    CHECK(event.why->code == "not_json");
    CHECK_THAT(event.why->message, Catch::StartsWith("the result of 'measure' " + flaw));
  }
  const auto deep = event_of({1, 1, deep_value(code_depth_max)}, step, "w1", {}, {});
  CHECK(deep.kind == run_event_kind::completed);
  const auto failed = event_of(
      {1, 1, std::unexpected{failure{failure_class::permanent, "x", "\xff"}}}, step, "w1", {}, {});
  CHECK(failed.why->message == "\u{FFFD}");
}

}  // namespace callboard::runtime
