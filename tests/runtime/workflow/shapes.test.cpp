// What comes to code in another shape than it asks for: what that fails with, and in which words.
#include "tests/runtime/workflow/scripted_run.hpp"
#include "tests/support/catch.hpp"

#include <boost/describe/class.hpp>

#include <callboard/json_text.hpp>
#include <callboard/workflow.hpp>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace callboard {

using runtime::run_status;
using tests::scripted_run;

namespace {

struct place {
  std::string city;
};

BOOST_DESCRIBE_STRUCT(place, (), (city))

struct item {
  std::string name;
  std::uint8_t count = 0;
};

BOOST_DESCRIBE_STRUCT(item, (), (name, count))

struct order {
  std::string customer;
  std::vector<item> items;
  std::map<std::string, place> places;
  bool is_gift = false;
  std::vector<bool> ticks;
  std::vector<boost::json::object> notes;
};

BOOST_DESCRIBE_STRUCT(order, (), (customer, items, places, is_gift, ticks, notes))

/// Says itself what it wants.
struct amount {
  std::int64_t cents = 0;
};

amount tag_invoke(const boost::json::value_to_tag<amount>&, const json& from) {
  if (!from.is_int64()) throw std::invalid_argument{"cents are wanted"};
  return {from.as_int64()};
}

struct ordering : workflow<ordering> {
  static constexpr std::string_view type = "ordering";

  flow<std::string> run(context&, order input) { co_return input.customer; }
};

struct paying : workflow<paying> {
  static constexpr std::string_view type = "paying";

  flow<void> run(context& ctx, amount) { co_await ctx.task<order>("orders", nullptr).required(); }
};

constexpr std::string_view sound =
    R"({"customer":"a","items":[{"name":"x","count":1}],)"
    R"("places":{"home":{"city":"Rome"}},"is_gift":false,"ticks":[true],"notes":[{}]})";

std::string why_not(const scripted_run& run, std::string_view code) {
  REQUIRE(run.end);
  CHECK(run.end->status == run_status::failed);
  CHECK(run.end->why->kind == failure_class::permanent);
  CHECK(run.end->why->code == code);
  return run.end->why->message;
}

}  // namespace

TEST_CASE("an input of another shape fails the run and names the member", "[workflow][shapes]") {
  const auto with = [](std::string_view pointer, std::optional<json> member) {
    auto input = read_json(sound).value();
    if (member) {
      input.at_pointer(pointer) = *member;
    } else {
      input.as_object().erase(pointer.substr(1));
    }
    return why_not(scripted_run{ordering::definition(), input}, "input_invalid");
  };
  const std::string begin =
      "the input of the workflow 'ordering': the JSON value has another shape than expected: ";
  CHECK(with("/customer", 7) == begin + "customer is a number where a string is expected");
  CHECK(
      with("/items/0/count", 256)
      == begin + "items[0].count is a number where an integer of 8 bits, not below 0, is expected");
  CHECK(
      with("/places/home/city", nullptr)
      == begin + "places.home.city is null where a string is expected");
  CHECK(with("/items", "x") == begin + "items is a string where an array is expected");
  CHECK(with("/is_gift", {}) == begin + "is_gift is missing");
  CHECK(with("/notes/0", 1) == begin + "notes[0] is a number where an object is expected");
  CHECK(with("/ticks/0", 1) == begin + "ticks[0] is a number where a boolean is expected");
  CHECK(with("", 5) == begin + "it is a number where an object is expected");
  auto more = read_json(sound).value();
  more.as_object()["note"] = "x";
  CHECK(
      why_not(scripted_run{ordering::definition(), more}, "input_invalid")
      == begin + "note is not known there");

  const scripted_run run{ordering::definition(), read_json(sound).value()};
  REQUIRE(run.end);
  CHECK(run.end->result == json("a"));
}

TEST_CASE("a type that reads itself adds its words", "[workflow][shapes]") {
  const auto why = why_not(scripted_run{paying::definition(), "much"}, "input_invalid");
  CHECK(why.contains("it is a string where a "));
  CHECK(why.contains("amount is expected (cents are wanted)"));
}

TEST_CASE("a result of another shape names the command and the member", "[workflow][shapes]") {
  const bool crashes = GENERATE(false, true);
  scripted_run run{paying::definition(), 5};
  auto result = read_json(sound).value();
  result.at_pointer("/items/0/name") = 7;
  run.end_command(1, result);
  if (crashes) run.crash();
  CHECK(
      why_not(run, "wrong_shape")
      == "what came for 'orders': the JSON value has another shape than expected: items[0].name "
         "is a number where a string is expected");
}

}  // namespace callboard
