// Lists of a node while not every shard can be read: what cannot be read now is not left out.
#include "tests/actors/topic/virtual_broker.hpp"

#include <boost/json.hpp>

#include <callboard/workflow.hpp>

using namespace callboard;
using namespace callboard::actors;
using callboard::testing::virtual_broker;

namespace {

const error reopening{errc::overloaded, "the store is being opened again", 100};
const error broken{errc::quarantined, "injected", 0};

struct resting_workflow : workflow<resting_workflow> {
  static constexpr std::string_view type = "test.resting";

  flow<json> run(context& ctx, json) { co_return co_await ctx.signal("go").required(); }
};

/// One name in each of the two shards.
std::pair<std::string, std::string> names_in_both(virtual_broker& broker, const std::string& stem) {
  std::pair<std::string, std::string> names;
  for (int i = 0; names.first.empty() || names.second.empty(); ++i) {
    const auto name = stem + std::to_string(i);
    (broker.shard_of(name) == shard_id{0} ? names.first : names.second) = name;
  }
  return names;
}

result<control_answer> all_topics(virtual_broker& broker) {
  return broker.ask_now(list_topics{virtual_broker::topic("any").tenant, "", 10, false});
}

}  // namespace

TEST_CASE("a list of topics waits for a shard that cannot be read now", "[actors][topic]") {
  virtual_broker broker;
  const auto [first, second] = names_in_both(broker, "events");
  (void)broker.publish(first, {"a"});
  (void)broker.publish(second, {"a"});
  broker.settle();
  broker.journal.refuse_reads(shard_id{1}, reopening);
  const auto refused = all_topics(broker);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::overloaded);
  CHECK(refused.error().retry_after_ms == 100);
  broker.journal.refuse_reads(shard_id{1}, broken);
  const auto rest = all_topics(broker);
  REQUIRE(rest);
  const auto& topics = std::get<topic_list>(*rest).topics;
  REQUIRE(topics.size() == 1);
  CHECK(topics[0].topic == first);
  broker.journal.refuse_reads(shard_id{0}, broken);
  const auto none = all_topics(broker);
  REQUIRE_FALSE(none);
  CHECK(none.error().code == errc::quarantined);
  broker.journal.refuse_reads(shard_id{0}, std::nullopt);
  broker.journal.refuse_reads(shard_id{1}, std::nullopt);
  const auto both = all_topics(broker);
  REQUIRE(both);
  CHECK(std::get<topic_list>(*both).topics.size() == 2);
}

TEST_CASE("a list of workflows waits for a shard that cannot be read now", "[actors][topic]") {
  runtime::workflow_registry code;
  REQUIRE(code.add(resting_workflow::definition()));
  virtual_broker broker{{}, &code};
  const auto [first, second] = names_in_both(broker, "workflow.w");
  for (const auto& name : {first, second}) {
    REQUIRE(
        broker.ask_now(start_workflow{virtual_broker::topic(name), "test.resting", "1", {}, {}}));
  }
  const list_workflows all{virtual_broker::topic("any").tenant, {}, {}, {}, 10};
  broker.journal.refuse_reads(shard_id{1}, reopening);
  const auto refused = broker.ask_now(all);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::overloaded);
  broker.journal.refuse_reads(shard_id{1}, broken);
  const auto rest = broker.ask_now(all);
  REQUIRE(rest);
  const auto page = boost::json::parse(std::get<workflow_answer>(*rest).body);
  CHECK(page.at("workflows").as_array().size() == 1);
  CHECK(page.at("shards_left_out").as_array().size() == 1);
}
