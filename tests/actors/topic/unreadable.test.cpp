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
  CHECK(std::get<topic_list>(*rest).shards_left_out == std::vector<std::uint32_t>{1});
  broker.journal.refuse_reads(shard_id{0}, broken);
  const auto none = all_topics(broker);
  REQUIRE_FALSE(none);
  CHECK(none.error().code == errc::quarantined);
  broker.journal.refuse_reads(shard_id{0}, std::nullopt);
  broker.journal.refuse_reads(shard_id{1}, std::nullopt);
  const auto both = all_topics(broker);
  REQUIRE(both);
  CHECK(std::get<topic_list>(*both).topics.size() == 2);
  CHECK(std::get<topic_list>(*both).shards_left_out.empty());
}

TEST_CASE("a list of queues says which shards it does not know", "[actors][queue]") {
  virtual_broker broker;
  const auto tenant = virtual_broker::topic("any").tenant;
  const auto count = broker.journal.shard_count();
  for (int i = 0; i < 20; ++i) {
    const queue_ref name{tenant, queue_name::parse("q" + std::to_string(i)).value()};
    REQUIRE(broker.ask_now(put_queue{.queue = name}));
  }
  const auto list = [&] {
    auto told = broker.ask_now(list_queues{tenant, {}, 100});
    return told ? result<queue_list>{std::get<queue_list>(*told)} : std::unexpected{told.error()};
  };
  CHECK(list().value().queues.size() == 20);
  CHECK(list().value().shards_left_out.empty());
  broker.journal.refuse_reads(shard_id{1}, broken);
  const auto rest = list().value();
  CHECK_FALSE(rest.queues.empty());
  CHECK(rest.queues.size() < 20);
  CHECK(rest.shards_left_out == std::vector<std::uint32_t>{1});
  broker.journal.refuse_reads(shard_id{1}, reopening);
  CHECK(list().error().code == errc::overloaded);
  for (std::uint32_t i = 0; i < count; ++i)
    broker.journal.refuse_reads(shard_id{i}, broken);
  CHECK(list().error().code == errc::quarantined);
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
