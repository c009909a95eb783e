// A subscription to a pattern: the topics there are, those to come, and its bounds.
#include "actors/pattern_subscription.hpp"

#include "actors/relay.hpp"

#include "tests/actors/relay/recording_output.hpp"
#include "tests/support/catch.hpp"

#include <map>
#include <memory>

using namespace callboard;
using namespace callboard::actors;
using namespace callboard::testing;
using lines = std::vector<std::string>;

namespace {

/// Relays without a broker: each topic has so many events, and reads are answered at once.
class fake_source final : public pattern_source, public relay_upstream {
public:
  std::map<std::string, std::uint64_t> last;
  std::map<std::string, std::unique_ptr<relay>> relays;
  relay_counts counts;

  std::unique_ptr<topic_subscription> subscribe(
      const topic_ref& topic,
      subscription_output& output,
      runtime::slow_policy policy,
      runtime::credit_account& credits,
      runtime::position from) override {
    auto& one = relays[topic.topic.str()];
    if (one == nullptr) {
      one = std::make_unique<relay>(topic, relay_limits{}, *this, counts);
      attach(*one);
    }
    return std::make_unique<topic_subscription>(*one, output, policy, credits, std::move(from));
  }

  void ask_snapshot() override {}

  void attach(relay& one) {
    const auto seq = last[one.topic().topic.str()];
    one.on_attached(
        {.topic = one.topic(),
         .exists = seq != 0,
         .ephemeral = false,
         .epoch = seq != 0 ? "e" : "",
         .entity = {},
         .first_seq = sequence{1},
         .last_seq = sequence{seq}});
  }

  result<void> read(std::uint64_t, const runtime::position&) override { return {}; }

  void publish(const std::string& topic) {
    const auto seq = ++last[topic];
    const auto found = relays.find(topic);
    if (found != relays.end()) {
      found->second->on_deliver(make_batch(topic_named(topic), "e", seq, seq), boot_time{});
    }
  }

  [[nodiscard]] std::vector<topic_description> list() const {
    std::vector<topic_description> all;
    for (const auto& [topic, seq] : last) {
      topic_description one;
      one.topic = topic;
      one.epoch = "e";
      one.last_seq = sequence{seq};
      all.push_back(std::move(one));
    }
    return all;
  }
};

struct watcher {
  recording_output output;
  runtime::credit_account credits;
  pattern_subscription subscription;

  watcher(
      fake_source& source, const std::string& pattern, pattern_start start, std::uint32_t max = 10)
      : subscription{
            source,
            tenant_name::trusted("acme"),
            topic_pattern::parse(pattern).value(),
            output,
            runtime::slow_policy::lag,
            credits,
            std::move(start),
            max} {
    output.name_topics = true;
  }

  void active(const std::string& topic, std::uint64_t last_seq) {
    subscription.on_active({topic_named(topic), "e", sequence{last_seq}}, topic_news::active_now);
  }
};

}  // namespace

TEST_CASE("from now: news of topics that match, new topics from seq 1", "[pattern]") {
  fake_source source;
  source.last = {{"a.x", 3}, {"b.x", 5}};
  watcher w{source, "a.*", {}};
  w.subscription.on_listed(source.list(), true);
  CHECK(w.output.take() == lines{"pattern started"});
  REQUIRE(w.output.cursors.size() == 1);
  CHECK(w.output.cursors.at("a.x").str() == "e:3");

  w.active("a.x", 3);
  w.active("b.x", 5);
  source.publish("a.x");
  source.publish("b.x");
  CHECK(w.output.take() == lines{"started a.x e:3", "a.x e:4"});

  source.last["a.new"] = 0;
  w.active("a.new", 0);
  source.last["a.new"] = 1;
  source.attach(*source.relays.at("a.new"));
  CHECK(w.subscription.topic_count() == 2);
}

TEST_CASE("what becomes active before the list is complete is not lost", "[pattern]") {
  fake_source source;
  source.last = {{"a.x", 3}};
  watcher w{source, "a.>", {}};
  w.active("a.x", 3);
  source.publish("a.x");
  CHECK(w.output.take().empty());
  w.subscription.on_listed(source.list(), true);
  const auto told = w.output.take();
  REQUIRE(told.size() == 2);
  CHECK(told[0] == "pattern started");
  // Begins before the event that came meanwhile, whatever the list already knew.
  CHECK(told[1] == "started a.x e:3");
}

TEST_CASE(
    "a resume goes on after its cursors and takes other topics from their first event",
    "[pattern]") {
  fake_source source;
  source.last = {{"a.old", 3}, {"a.since", 2}};
  watcher w{
      source,
      "a.*",
      {.from = runtime::from_now{},
       .cursors = {{"a.old", {"e", sequence{2}}}, {"a.gone", {"e", sequence{9}}}}}};
  w.subscription.on_listed(source.list(), true);
  CHECK(
      w.output.take()
      == lines{
          "pattern started",
          "started a.old e:2",
          "started a.since e:0",
          "started a.gone :0 topic_missing"});
  CHECK(w.output.cursors.at("a.old").str() == "e:2");
  CHECK(w.output.cursors.at("a.since").str() == "e:0");
}

TEST_CASE("a replay of too many topics is refused; news of them are not", "[pattern]") {
  fake_source source;
  for (int i = 0; i < 5; ++i)
    source.last["a.t" + std::to_string(i)] = 1;
  SECTION("first") {
    watcher w{source, "a.*", {.from = runtime::from_first{}, .cursors = {}}, 3};
    w.subscription.on_listed(source.list(), true);
    CHECK(w.output.take() == lines{"pattern failed too_many_subscriptions"});
    w.active("a.t1", 1);
    CHECK(w.output.take().empty());
  }
  SECTION("now") {
    watcher w{source, "a.*", {}, 3};
    w.subscription.on_listed(source.list(), true);
    CHECK(w.output.take() == lines{"pattern started in part"});
    for (int i = 0; i < 4; ++i)
      w.active("a.t" + std::to_string(i), 1);
    CHECK(w.output.take().back() == "left out a.t3");
  }
}

TEST_CASE("channels of runs are matched only by patterns that name them", "[pattern]") {
  fake_source source;
  source.last = {{"workflow.w1", 1}, {"orders", 1}};
  watcher all{source, ">", {}};
  watcher runs{source, "workflow.*", {}};
  all.subscription.on_listed(source.list(), true);
  runs.subscription.on_listed(source.list(), true);
  CHECK(all.output.cursors.size() == 1);
  CHECK(runs.output.cursors.contains("workflow.w1"));
}

TEST_CASE("credit is shared by all topics of a pattern", "[pattern]") {
  fake_source source;
  source.last = {{"a.x", 1}, {"a.y", 1}};
  watcher w{source, "a.*", {}};
  w.credits.left = 2;
  w.subscription.on_listed(source.list(), true);
  w.active("a.x", 1);
  w.active("a.y", 1);
  w.output.take();
  source.publish("a.x");
  source.publish("a.y");
  source.publish("a.x");
  CHECK(w.output.take() == lines{"a.x e:2", "a.y e:2"});
  w.credits.add(1);
  w.subscription.resume();
  CHECK(w.output.take() == lines{"a.x e:3"});
}
