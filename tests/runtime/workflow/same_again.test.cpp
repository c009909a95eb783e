// What code is given is the same before a crash and after it, to the kind of each number and the
// bytes of each text: what it does by them must be the same, too.
#include "runtime/workflow/attempt_end.hpp"

#include "tests/runtime/workflow/random_values.hpp"
#include "tests/runtime/workflow/scripted_run.hpp"
#include "tests/support/catch.hpp"

#include <boost/json/serialize.hpp>

#include <callboard/agent.hpp>
#include <callboard/workflow.hpp>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace callboard::runtime {

using namespace std::chrono_literals;
using tests::exact_text;
using tests::scripted_run;
using tests::value_maker;

namespace {

std::vector<std::string> seen;
json step_gives;

std::string text_of(const outcome<json>& ended) {
  if (ended) return exact_text(*ended);
  const auto& why = ended.error();
  return why.code + " / " + why.message + " / " + why.details;
}

/// Hears something in each way there is.
struct curious : workflow<curious> {
  static constexpr std::string_view type = "curious";

  flow<json> run(context& ctx, json input) {
    seen.push_back(exact_text(input));
    for (auto& one : co_await all(parts(ctx)))
      seen.push_back(text_of(one));
    seen.push_back(text_of(co_await ctx.signal("early")));
    co_return ctx.continue_as_new(step_gives);
  }

  static std::vector<flow<outcome<json>>> parts(context& ctx) {
    std::vector<flow<outcome<json>>> made;
    made.push_back(ended(ctx.step("s", [] { return step_gives; })));
    made.push_back(ended(ctx.child("other", 1)));
    made.push_back(ended(ctx.call("agent", "key", "ask", 1)));
    made.push_back(ended(ctx.task("queue", 1)));
    made.push_back(ended(ctx.signal("go")));
    made.push_back(timed(ctx));
    made.push_back(ended(ctx.task("queue", 2)));
    return made;
  }

  static flow<outcome<json>> ended(command<json> one) { co_return co_await std::move(one); }

  static flow<outcome<json>> timed(context& ctx) {
    auto got = co_await ctx.signal("soon", 1h);
    if (!got) co_return std::unexpected{got.error()};
    co_return got->value_or("nothing");
  }
};

std::vector<std::string> play(const json& value, bool crashes) {
  seen.clear();
  step_gives = value;
  scripted_run run{curious::definition(), value};
  run.signal("early", value);
  run.run_step(1);
  for (const auto command : {2U, 3U, 4U})
    run.end_command(command, value);
  run.signal("go", value);
  run.signal("soon", value);
  const auto details = "{ \"a\" :  [1e2, " + boost::json::serialize(value) + "], \"a\": 1 }";
  if (crashes) run.crash();
  run.end_command(7, std::unexpected{failure{failure_class::permanent, "no", "why", 0, details}});
  if (crashes) {
    seen.clear();
    run.crash();
  }
  auto told = std::exchange(seen, {});
  if (!run.end) FAIL("it has not ended");
  scripted_run next{curious::definition(), run.end->result};
  if (crashes) {
    seen.clear();
    next.crash();
  }
  told.insert(told.end(), seen.begin(), seen.end());
  return told;
}

json with_levels(value_maker& from) {
  return from.make(from.draw(5));
}

}  // namespace

TEST_CASE("code is given the same before a crash and after it", "[workflow][json]") {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    INFO("seed " << seed);
    value_maker maker{seed};
    const auto value = with_levels(maker);
    const auto live = play(value, false);
    REQUIRE(live.size() == 10);
    REQUIRE(live == play(value, true));
  }
}

TEST_CASE("a count is the same kind of number before a crash and after it", "[workflow][json]") {
  const json counts{std::size_t{3}, std::uint64_t{1} << 62U, ~std::uint64_t{0}, 1.0, -0.0, 1e300};
  const auto live = play(counts, false);
  CHECK(live == play(counts, true));
  CHECK(live.front().starts_with("[int64 3, int64 4611686018427387904, uint64 18446744073"));
}

TEST_CASE("what is read again as it is stays where it is", "[workflow][json]") {
  json value{{"text", std::string(1000, 'x')}, {"list", {1, {2, std::string(1000, 'y')}, 3}}};
  const auto* members = value.get_object().begin();
  const auto* text = value.at("text").get_string().data();
  const auto* inner = value.at("list").at(1).at(1).get_string().data();
  value.at("list").at(0) = std::uint64_t{7};
  const auto again = as_recorded(std::move(value));
  CHECK(again.get_object().begin() == members);
  CHECK(again.at("text").get_string().data() == text);
  CHECK(again.at("list").at(1).at(1).get_string().data() == inner);
  CHECK(again.at("list").at(0).is_int64());
}

TEST_CASE("a text that a client sends is the same value when it is read again", "[json]") {
  for (const auto* text :
       {"-0",
        "-0.0",
        "1.0",
        "1e5",
        "0.1e1",
        "1e-400",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775808",
        "-9223372036854775809",
        R"({"b":1,"a":2,"b":3})",
        R"("\u0000\ud83d\ude00/")"}) {
    INFO(text);
    const auto value = accept_json(text);
    REQUIRE(value);
    const auto again = read_json(boost::json::serialize(*value));
    REQUIRE(again);
    CHECK(exact_text(*again) == exact_text(*value));
  }
}

TEST_CASE("a failure is worded the same before a crash and after it", "[workflow][json]") {
  open_command step;
  step.request.kind = command_kind::step;
  step.request.name = "s";
  for (const auto* details : {"{ \"b\": 1.50, \"a\" : [ ] }", "{x", "1e400", "null", " 7 ", ""}) {
    INFO(details);
    const failure why{failure_class::permanent, "no", "why", 0, details};
    const auto event = event_of({1, 1, std::unexpected{why}}, step, "w1", {}, {});
    const auto stored = encode_run_event(event, {}, 1).stored;
    const auto back = decode_run_event({sequence{1}, {}, stored});
    REQUIRE(back);
    CHECK(back->why == event.why);
  }
}

}  // namespace callboard::runtime
