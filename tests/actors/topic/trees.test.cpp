// Trees of children: a cancel of the one at the top reaches all that are below it, wherever the
// node is killed meanwhile.
#include "tests/actors/topic/mortal_broker.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <callboard/join.hpp>
#include <callboard/workflow.hpp>
#include <string>
#include <utility>
#include <vector>

namespace callboard::testing {

namespace {

/// Has so many children at each level below it; those of the last wait for what never comes.
struct tree_workflow : workflow<tree_workflow> {
  static constexpr std::string_view type = "test.tree";

  flow<json> run(context& ctx, std::vector<int> levels) {
    if (levels.empty()) co_return co_await ctx.signal("never").required();
    const auto count = levels.front();
    levels.erase(levels.begin());
    std::vector<flow<json>> children;
    for (int i = 0; i < count; ++i)
      children.push_back(ctx.child("test.tree", levels).required());
    co_return to_json(co_await all(std::move(children)));
  }
};

class tree_broker : public mortal_broker {
public:
  tree_broker() { REQUIRE(code.add(tree_workflow::definition())); }

  /// How many workflows have this status.
  std::size_t count(std::string status) {
    list_workflows list;
    list.tenant = channel("x").tenant;
    list.status = std::move(status);
    list.limit = 1000;
    const auto body = get<workflow_answer>(list).body;
    return boost::json::parse(body).at("workflows").as_array().size();
  }

  /// All of it is there, and waits.
  void grow(const std::string& levels, std::size_t size) {
    begin("root", "test.tree", levels);
    REQUIRE(comes([&] { return count("running") == size; }));
    pass(1s);
  }

  /// Cancels the root, and is killed after so many more commits.
  void cancel_all(std::size_t size) {
    (void)get<workflow_answer>(cancel_workflow{channel("root"), "enough"});
    CHECK(comes([&] { return count("cancelled") == size; }));
    CHECK(count("running") == 0);
    CHECK(count("failed") == 0);
    // And all have been told.
    CHECK(comes([&] { return !row("root").needs_wake; }));
  }
};

}  // namespace

TEST_CASE("a cancel reaches fifty leaves two levels below, wherever the node is killed") {
  const auto life = GENERATE(as<std::size_t>{}, 0, 1, 2, 5, 12, 30, SIZE_MAX);
  INFO("killed after " << life);
  tree_broker node;
  node.grow("[5,10]", 56);
  node.left = life;
  node.cancel_all(56);
  CHECK(node.was_killed == (life != SIZE_MAX));
}

TEST_CASE("a cancel reaches the fifth level") {
  const auto life = GENERATE(as<std::size_t>{}, 3, 8, SIZE_MAX);
  tree_broker node;
  node.grow("[1,2,1,2]", 1 + 1 + 2 + 2 + 4);
  node.left = life;
  node.cancel_all(10);
}

}  // namespace callboard::testing
