// Two workflows that give their children the same id. What the second hears is a failure with a
// code of its own, unless it asks for the very same: that it may wait for, as anybody may. The
// child is the first one's alone, whatever becomes of the second, wherever the node is killed.
#include "tests/actors/topic/mortal_broker.hpp"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace callboard::testing {

namespace {

struct kid_workflow : workflow<kid_workflow> {
  static constexpr std::string_view type = "test.kid";

  flow<json> run(context& ctx, json) { co_return co_await ctx.signal("go").required(); }
};

struct other_workflow : workflow<other_workflow> {
  static constexpr std::string_view type = "test.other";

  flow<json> run(context& ctx, json) { co_return co_await ctx.signal("go").required(); }
};

/// Input: type and input of its child, `kid`. Goes on without it if it is told to `leave`, and
/// gives what it hears of it.
struct parent_workflow : workflow<parent_workflow> {
  static constexpr std::string_view type = "test.parent";

  flow<json> run(context& ctx, json of) {
    auto first = co_await any(
        ctx.child(std::string{of.at(0).as_string()}, of.at(1), {.id = "kid"}), ctx.signal("leave"));
    if (first.index() == 1) co_return "left";
    auto heard = std::get<0>(std::move(first));
    if (heard) co_return *std::move(heard);
    const auto& why = heard.error();
    co_return boost::json::object{
        {"class", name_of(why.kind)}, {"code", why.code}, {"message", why.message}};
  }
};

struct family : mortal_broker {
  explicit family(std::size_t life = SIZE_MAX) : mortal_broker{life} {
    if (!code.add(kid_workflow::definition()) || !code.add(other_workflow::definition())
        || !code.add(parent_workflow::definition())) {
      FAIL("cannot add the workflows");
    }
  }

  bool is(const std::string& id, runtime::run_status status) { return row(id).status == status; }
};

using runtime::run_status;

constexpr const char* first_child = R"(["test.kid",1])";

}  // namespace

TEST_CASE("a child's id that another workflow's has is refused by name", "[actors][workflow]") {
  const std::string asked = GENERATE(R"(["test.kid",2])", R"(["test.other",1])");
  bool was_killed = true;
  for (std::size_t life = 0; was_killed; ++life) {
    INFO(asked << ", killed after " << life << " commits");
    REQUIRE(life < 100);
    family node{life};
    node.begin("p1", "test.parent", first_child);
    REQUIRE(node.comes([&] { return node.is("kid", run_status::running); }));
    node.begin("p2", "test.parent", asked);
    REQUIRE(node.comes([&] { return node.row("p2").ended.has_value(); }));
    node.pass(3s);
    was_killed = node.was_killed;
    const auto heard = node.row("p2").result;
    CHECK(says(heard, R"("code":"workflow_exists")"));
    CHECK(says(heard, R"("class":"permanent")"));
    CHECK(says(heard, "'kid' was started with another type or input"));
    // It is the first one's as before.
    CHECK(node.is("kid", run_status::running));
    CHECK(node.row("p2").owes->empty());
    node.signal("kid", "go");
    node.pass(3s);
    CHECK(node.row("p1").result == "7");
  }
}

TEST_CASE("who waits for another's child leaves it alone", "[actors][workflow]") {
  enum class end : std::uint8_t { cancel, terminate, leave };
  const auto how = GENERATE(end::cancel, end::terminate, end::leave);
  bool was_killed = true;
  for (std::size_t life = 0; was_killed; ++life) {
    INFO("end " << static_cast<int>(how) << ", killed after " << life << " commits");
    REQUIRE(life < 100);
    family node{life};
    node.begin("p1", "test.parent", first_child);
    REQUIRE(node.comes([&] { return node.is("kid", run_status::running); }));
    node.begin("p2", "test.parent", first_child);
    node.pass(1s);
    if (how == end::cancel) (void)node.ask(cancel_workflow{family::channel("p2"), "enough"});
    if (how == end::terminate) (void)node.ask(terminate_workflow{family::channel("p2"), {}});
    if (how == end::leave) node.signal("p2", "leave");
    REQUIRE(node.comes([&] { return node.row("p2").ended.has_value(); }));
    node.pass(3s);
    was_killed = node.was_killed;
    CHECK(node.row("p2").owes->empty());
    CHECK(node.is("kid", run_status::running));
    CHECK_FALSE(node.row("p1").ended);
    node.signal("kid", "go");
    node.pass(3s);
    CHECK(node.row("p1").result == "7");
  }
}

TEST_CASE("who waits for another's child hears that its parent has left it", "[actors][workflow]") {
  bool was_killed = true;
  for (std::size_t life = 0; was_killed; ++life) {
    INFO("killed after " << life << " commits");
    REQUIRE(life < 100);
    family node{life};
    node.begin("p1", "test.parent", first_child);
    REQUIRE(node.comes([&] { return node.is("kid", run_status::running); }));
    node.begin("p2", "test.parent", first_child);
    node.pass(1s);
    (void)node.ask(cancel_workflow{family::channel("p1"), "enough"});
    REQUIRE(node.comes([&] { return node.row("p2").ended.has_value(); }));
    node.pass(3s);
    was_killed = node.was_killed;
    const auto heard = node.row("p2").result;
    CHECK(says(heard, R"("code":"child_cancelled")"));
    CHECK(says(heard, R"("class":"permanent")"));
    CHECK(node.is("kid", run_status::cancelled));
    CHECK(node.is("p1", run_status::cancelled));
  }
}

TEST_CASE("two workflows that ask for one child at once", "[actors][workflow]") {
  const bool is_same = GENERATE(true, false);
  const std::string second = is_same ? first_child : R"(["test.kid",2])";
  for (std::size_t life = 0; life < 12; ++life) {
    INFO(second << ", killed after " << life << " commits");
    family node{life};
    (void)node.broker.ask(
        start_workflow{family::channel("p1"), "test.parent", first_child, {}, {}});
    (void)node.broker.ask(start_workflow{family::channel("p2"), "test.parent", second, {}, {}});
    node.pass(3s);
    // Whoever was lost with the node is begun again.
    node.begin("p1", "test.parent", first_child);
    node.begin("p2", "test.parent", second);
    node.pass(3s);
    node.signal("kid", "go");
    node.pass(3s);
    REQUIRE(node.row("p1").ended);
    REQUIRE(node.row("p2").ended);
    const auto one = node.row("p1").result;
    const auto two = node.row("p2").result;
    if (is_same) {
      CHECK(one == "7");
      CHECK(two == "7");
    } else {
      // One has it, whichever, and the other knows that it has not.
      CHECK((one == "7") != (two == "7"));
      CHECK(says(one == "7" ? two : one, R"("code":"workflow_exists")"));
    }
  }
}

}  // namespace callboard::testing
