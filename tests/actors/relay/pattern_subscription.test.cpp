// A subscription to a pattern: the topics there are, those to come, and its bounds.
#include "actors/pattern_subscription.hpp"

#include "actors/relay.hpp"

#include "tests/actors/relay/recording_output.hpp"
#include "tests/support/catch.hpp"

#include <deque>
#include <map>
#include <memory>
#include <set>

using namespace callboard;
using namespace callboard::actors;
using namespace callboard::testing;
using lines = std::vector<std::string>;

namespace {

/// Relays without a broker: each topic has so many events; `read_all` answers what was read.
class fake_source final : public pattern_source {
public:
  class stand_in final : public relay_upstream {
  public:
    stand_in(const topic_ref& topic, relay_counts& counts)
        : one{topic, relay_limits{}, *this, counts} {}

    result<void> read(std::uint64_t id, const runtime::position& from) override {
      asked.emplace_back(id, from);
      return {};
    }

    void ask_snapshot() override {}

    std::deque<std::pair<std::uint64_t, runtime::position>> asked;
    relay one;
  };

  std::map<std::string, std::uint64_t> last;
  relay_counts counts;
  std::map<std::string, std::unique_ptr<stand_in>> relays;
  std::vector<pattern_subscription*> watchers;
  /// Topics whose next event is to be told.
  std::set<std::string> unheard;
  int asked_again = 0;
  /// Topics that keep no events.
  std::set<std::string> ephemeral;
  /// Topics whose relays are never attached.
  std::set<std::string> silent;

  std::unique_ptr<topic_subscription> subscribe(
      const topic_ref& topic,
      subscription_output& output,
      runtime::slow_policy policy,
      runtime::credit_account& credits,
      runtime::position from) override {
    auto& at = relays[topic.topic.str()];
    if (at == nullptr) {
      at = std::make_unique<stand_in>(topic, counts);
      if (!silent.contains(topic.topic.str())) attach(topic.topic.str());
    }
    return std::make_unique<topic_subscription>(at->one, output, policy, credits, std::move(from));
  }

  void let_go(const topic_ref& topic) override { unheard.insert(topic.topic.str()); }

  void ask_again(const pattern_subscription&) override { ++asked_again; }

  void attach(const std::string& topic) {
    auto& one = relays.at(topic)->one;
    const auto seq = last[topic];
    one.on_attached(
        {.topic = one.topic(),
         .exists = seq != 0 || ephemeral.contains(topic),
         .ephemeral = ephemeral.contains(topic),
         .epoch = seq != 0 || ephemeral.contains(topic) ? "e" : "",
         .entity = {},
         .first_seq = sequence{1},
         .last_seq = sequence{seq}});
  }

  void publish(const std::string& topic) {
    const auto seq = ++last[topic];
    if (unheard.erase(topic) != 0) {
      for (auto* one : watchers)
        one->on_active({topic_named(topic), "e", sequence{seq - 1}});
    }
    const auto found = relays.find(topic);
    if (found == relays.end()) return;
    found->second->one.on_deliver(make_batch(topic_named(topic), "e", seq, seq), boot_time{});
  }

  void read_all() {
    for (auto& [topic, at] : relays) {
      while (!at->asked.empty()) {
        const auto [id, from] = at->asked.front();
        at->asked.pop_front();
        const auto* seq = std::get_if<runtime::from_seq>(&from);
        const auto begin = seq == nullptr ? 1 : std::max<std::uint64_t>(seq->seq.raw(), 1);
        at->one.on_page(
            id,
            event_page{
                make_batch(topic_named(topic), "e", begin, last[topic]),
                sequence{1},
                sequence{last[topic]},
                sequence{last[topic] + 1}});
      }
    }
  }

  [[nodiscard]] std::vector<topic_description> list() const {
    std::vector<topic_description> all;
    for (const auto& [topic, seq] : last) {
      topic_description one;
      one.topic = topic;
      one.epoch = "e";
      one.last_seq = sequence{seq};
      if (ephemeral.contains(topic)) one.settings.kind = runtime::topic_kind::ephemeral;
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
    source.watchers.push_back(&subscription);
  }

  void active(const std::string& topic, std::uint64_t last_seq) {
    subscription.on_active({topic_named(topic), "e", sequence{last_seq}});
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
  source.attach("a.new");
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
  // Others come from their first event if they are not named.
  CHECK(w.output.cursors.at("a.old").str() == "e:2");
  CHECK_FALSE(w.output.cursors.contains("a.since"));
}

TEST_CASE("a replay has from its beginning what its list does not know yet", "[pattern]") {
  fake_source source;
  source.last = {{"a.new", 3}};
  watcher w{source, "a.*", {.from = runtime::from_first{}}};
  // Heard of for the first time behind its third event.
  w.active("a.new", 3);
  w.subscription.on_listed({}, true);
  CHECK(w.output.take() == lines{"pattern started", "started a.new e:0"});
}

TEST_CASE("more topics than there are places for come in turns", "[pattern]") {
  fake_source source;
  for (int i = 0; i < 8; ++i)
    source.last["a.t" + std::to_string(i)] = 1;
  watcher w{source, "a.*", {.from = runtime::from_first{}, .cursors = {}}, 3};
  w.subscription.on_listed(source.list(), true);
  std::multiset<std::string> got;
  for (int i = 0; i < 20; ++i) {
    for (auto& line : w.output.take())
      got.insert(line);
    CHECK(w.subscription.topic_count() <= 3);
    source.read_all();
    w.subscription.on_tick(boot_time{} + i * std::chrono::milliseconds{250});
  }
  for (int i = 0; i < 8; ++i)
    CHECK(got.count("a.t" + std::to_string(i) + " e:1") == 1);
  CHECK(source.asked_again == 0);
}

TEST_CASE("a live pattern sees each event of any number of topics once", "[pattern]") {
  fake_source source;
  watcher w{source, "a.*", {}, 3};
  w.subscription.on_listed({}, true);
  std::vector<std::string> got;
  boot_time now{};
  const auto pass = [&](int ticks) {
    for (int i = 0; i < ticks; ++i) {
      for (auto& line : w.output.take()) {
        if (!line.starts_with("started") && !line.starts_with("caught")) got.push_back(line);
      }
      source.read_all();
      now += std::chrono::milliseconds{250};
      w.subscription.on_tick(now);
    }
  };
  pass(1);
  got.clear();
  // One after the other, three events each; no topic ever ends.
  for (int i = 0; i < 20; ++i) {
    const auto topic = "a.t" + std::to_string(i);
    source.unheard.insert(topic);
    for (int n = 0; n < 3; ++n)
      source.publish(topic);
    pass(3);
  }
  pass(10);
  CHECK(got.size() == 60);
  // Let go when it is quiet, and back where it was.
  pass(60);
  CHECK(w.subscription.topic_count() == 0);
  CHECK(source.unheard.size() == 20);
  source.publish("a.t7");
  pass(2);
  CHECK(got.back() == "a.t7 e:4");
  CHECK(std::set<std::string>{got.begin(), got.end()}.size() == 61);
}

TEST_CASE("a resume follows topics that have something for it, and tells of no more", "[pattern]") {
  fake_source source;
  for (int i = 0; i < 8; ++i)
    source.last["a.t" + std::to_string(i)] = 2;
  std::map<std::string, runtime::cursor> cursors;
  for (int i = 0; i < 8; ++i)
    cursors["a.t" + std::to_string(i)] = {"e", sequence{i == 5 ? 1U : 2U}};
  watcher w{source, "a.*", {.from = runtime::from_now{}, .cursors = cursors}, 3};
  w.subscription.on_listed(source.list(), true);
  CHECK(w.subscription.topic_count() == 1);
  // How far they are says nothing new, an event does.
  w.subscription.on_active({topic_named("a.t1"), "e", sequence{2}, true});
  CHECK(w.subscription.topic_count() == 1);
  w.subscription.on_active({topic_named("a.t2"), "e", sequence{3}, true});
  w.active("a.t3", 2);
  CHECK(
      w.output.take()
      == lines{"pattern started", "started a.t5 e:1", "started a.t2 e:2", "started a.t3 e:2"});
}

TEST_CASE("what is left out is told, and asked for once there is room", "[pattern]") {
  fake_source source;
  watcher w{source, "a.*", {}, 1};
  w.subscription.on_listed({}, true);
  for (int i = 0; i < 13; ++i) {
    const auto topic = "a.t" + std::to_string(i);
    source.last[topic] = 1;
    w.active(topic, 1);
  }
  CHECK(w.output.take().back() == "left out a.t12");
  for (int i = 0; i < 40; ++i)
    w.subscription.on_tick(boot_time{} + i * std::chrono::milliseconds{250});
  CHECK(source.asked_again == 1);
  // It goes on where it was refused.
  source.last["a.t12"] = 2;
  w.output.take();
  w.subscription.on_active({topic_named("a.t12"), "e", sequence{2}, true});
  for (int i = 40; i < 44; ++i)
    w.subscription.on_tick(boot_time{} + i * std::chrono::milliseconds{250});
  CHECK(w.output.take() == lines{"started a.t12 e:1"});
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

TEST_CASE(
    "a topic with ephemeral events only is not quiet, and is let go when it is", "[pattern]") {
  fake_source source;
  source.last = {{"a.x", 1}};
  watcher w{source, "a.*", {}};
  w.subscription.on_listed(source.list(), true);
  w.active("a.x", 1);
  boot_time now{};
  const auto pass = [&](int seconds, bool with_events) {
    for (int i = 0; i < seconds; ++i) {
      if (with_events) {
        source.relays.at("a.x")->one.on_deliver(
            make_batch(topic_named("a.x"), "e", 1, 1, true), boot_time{});
      }
      now += std::chrono::seconds{1};
      w.subscription.on_tick(now);
    }
  };
  pass(30, true);
  CHECK(w.subscription.topic_count() == 1);
  pass(12, false);
  CHECK(w.subscription.topic_count() == 0);
  CHECK(source.unheard.contains("a.x"));
}

TEST_CASE("an ephemeral topic has no gap but where its events may be lost", "[pattern]") {
  fake_source source;
  source.ephemeral = {"a.e", "a.f"};
  source.last = {{"a.e", 0}, {"a.f", 0}};
  watcher w{source, "a.*", {}, 1};
  w.subscription.on_listed(source.list(), true);
  w.active("a.e", 0);
  // This one waits for its turn.
  w.active("a.f", 0);
  CHECK(w.output.take() == lines{"pattern started in part", "started a.e e:0"});
  for (int i = 0; i < 3; ++i)
    w.subscription.on_tick(boot_time{} + i * std::chrono::milliseconds{250});
  CHECK(w.output.take() == lines{"started a.f e:0 no_history"});

  watcher resumed{
      source,
      "a.*",
      {.from = runtime::from_now{},
       .cursors = {{"a.e", {"e", sequence{0}}}, {"a.f", {"e", sequence{0}}}}}};
  resumed.subscription.on_listed(source.list(), true);
  CHECK(
      resumed.output.take()
      == lines{"pattern started", "started a.e e:0 no_history", "started a.f e:0 no_history"});
}

TEST_CASE("topics that do not answer take no place from others for ever", "[pattern]") {
  fake_source source;
  source.silent = {"a.s1", "a.s2", "a.s3"};
  std::map<std::string, runtime::cursor> cursors;
  for (const auto& topic : source.silent)
    cursors[topic] = {"e", sequence{1}};
  watcher w{source, "a.*", {.from = runtime::from_now{}, .cursors = cursors}, 2};
  w.output.tells_settled = true;
  w.subscription.on_listed({}, true);
  source.last["a.x"] = 1;
  w.active("a.x", 0);
  std::multiset<std::string> got;
  boot_time now{};
  const auto pass = [&](int seconds) {
    for (int i = 0; i < seconds; ++i) {
      source.read_all();
      now += std::chrono::seconds{1};
      w.subscription.on_tick(now);
      CHECK(w.subscription.topic_count() <= 2);
      for (auto& line : w.output.take())
        got.insert(line);
    }
  };
  pass(40);
  CHECK(got.count("a.x e:1") == 1);
  // Each told of once; there is no mark while one waits.
  for (const auto& topic : std::set{source.silent}) {
    CHECK(got.count("left out " + topic) == 1);
    source.last[topic] = 2;
    CHECK(got.count("settled") == 0);
    source.attach(topic);
    source.silent.erase(topic);
  }
  pass(20);
  for (const auto* topic : {"a.s1", "a.s2", "a.s3"})
    CHECK(got.count(std::string{topic} + " e:2") == 1);
  CHECK(got.count("settled") > 0);
}

TEST_CASE("a topic that cannot be read gives its place back, and ends the marks", "[pattern]") {
  fake_source source;
  source.last = {{"a.x", 1}, {"a.y", 1}};
  watcher w{source, "a.*", {.from = runtime::from_first{}, .cursors = {}}, 1};
  w.output.tells_settled = true;
  w.subscription.on_listed(source.list(), true);
  auto& asked = source.relays.at("a.x")->asked;
  REQUIRE(asked.size() == 1);
  source.relays.at("a.x")->one.on_page(
      asked.front().first, std::unexpected{error{errc::quarantined, "broken", 0}});
  asked.clear();
  std::multiset<std::string> got;
  for (int i = 0; i < 9; ++i) {
    w.subscription.on_tick(boot_time{} + i * std::chrono::seconds{1});
    source.read_all();
    for (auto& line : w.output.take())
      got.insert(line);
  }
  CHECK(got.count("a.y e:1") == 1);
  CHECK(got.count("settled") == 0);
}

TEST_CASE("topics that the list does not know are told of, and there are no marks", "[pattern]") {
  fake_source source;
  source.last = {{"a.x", 1}};
  watcher w{source, "a.*", {}};
  w.output.tells_settled = true;
  w.subscription.on_shards_left_out();
  w.subscription.on_listed(source.list(), true);
  w.subscription.on_tick(boot_time{} + std::chrono::seconds{1});
  CHECK(w.output.take() == lines{"pattern started in part", "left out a.*"});
  watcher resumed{source, "a.*", {.from = runtime::from_first{}, .cursors = {}}};
  resumed.subscription.on_shards_left_out();
  resumed.subscription.on_listed({}, true);
  CHECK(resumed.output.take() == lines{"pattern started", "left out a.*"});
}

TEST_CASE("topics that are only there take no room from news before the list", "[pattern]") {
  fake_source source;
  source.last = {{"a.x", 3}, {"a.y", 7}};
  watcher w{source, "a.*", {}, 2};
  for (int i = 0; i < 50; ++i)
    w.subscription.on_active({topic_named("a.q" + std::to_string(i)), "e", sequence{1}, true});
  w.active("a.x", 3);
  w.subscription.on_tick(boot_time{});
  CHECK(source.asked_again == 0);
  w.subscription.on_listed(source.list(), true);
  CHECK(w.output.take() == lines{"pattern started", "started a.x e:3"});
  w.subscription.on_tick(boot_time{} + std::chrono::seconds{1});
  CHECK(source.asked_again == 1);
  // What came between the list and the answer.
  source.last["a.y"] = 8;
  w.subscription.on_active({topic_named("a.y"), "e", sequence{8}, true});
  CHECK(w.output.take() == lines{"started a.y e:7"});
}

namespace {

/// The list of a replay in two pages, of which the second waits for room.
struct long_list {
  fake_source source;
  std::vector<topic_description> rest;
  watcher w;
  std::multiset<std::string> got;
  boot_time now{};

  long_list(int first_page, pattern_start start, std::uint32_t topics_max)
      : w{source, "a.*", std::move(start), topics_max} {
    for (int i = 10; i < 14 + first_page; ++i)
      source.last["a.t" + std::to_string(i)] = 2;
    auto page = source.list();
    rest.assign(page.begin() + first_page, page.end());
    page.resize(static_cast<std::size_t>(first_page));
    w.subscription.on_listed(page, false);
  }

  void pass(int ticks) {
    for (int i = 0; i < ticks; ++i) {
      source.read_all();
      now += std::chrono::milliseconds{250};
      w.subscription.on_tick(now);
      for (auto& line : w.output.take())
        got.insert(line);
    }
  }
};

}  // namespace

TEST_CASE("topics that are let go during a long list come once, where they were", "[pattern]") {
  const bool is_resume = GENERATE(false, true);
  pattern_start start{.from = runtime::from_first{}};
  if (is_resume) {
    start.from = runtime::from_now{};
    for (int i = 10; i < 13; ++i)
      start.cursors["a.t" + std::to_string(i)] = {"e", sequence{1}};
  }
  long_list list{6, std::move(start), 2};
  CHECK_FALSE(list.w.subscription.has_room());
  list.pass(8);
  REQUIRE(list.source.unheard.contains("a.t10"));
  REQUIRE(list.source.unheard.contains("a.t11"));
  list.source.publish("a.t10");
  list.source.publish("a.t11");
  list.source.publish("a.t10");
  list.pass(40);
  list.w.subscription.on_listed(list.rest, true);
  list.pass(40);
  list.source.publish("a.t12");
  list.pass(4);
  for (int i = 10; i < 20; ++i) {
    const auto topic = "a.t" + std::to_string(i);
    INFO(topic);
    CHECK(list.got.count(topic + " e:1") == (is_resume && i < 13 ? 0 : 1));
    for (std::uint64_t seq = 2; seq <= list.source.last[topic]; ++seq)
      CHECK(list.got.count(topic + " e:" + std::to_string(seq)) == 1);
  }
}

TEST_CASE("of an ephemeral topic that is let go during a long list a gap is told", "[pattern]") {
  fake_source source;
  source.last = {{"a.e", 0}, {"a.x", 1}};
  source.ephemeral = {"a.e"};
  watcher w{source, "a.*", {.from = runtime::from_first{}}, 1};
  w.subscription.on_listed(source.list(), false);
  for (int i = 0; i < 3; ++i)
    w.subscription.on_tick(boot_time{} + i * std::chrono::milliseconds{250});
  REQUIRE(source.unheard.contains("a.e"));
  w.active("a.e", 0);
  source.read_all();
  w.output.take();
  w.subscription.on_listed({}, true);
  for (int i = 3; i < 6; ++i)
    w.subscription.on_tick(boot_time{} + i * std::chrono::milliseconds{250});
  CHECK(w.output.take() == lines{"started a.e e:0 no_history"});
}

TEST_CASE("a list that is too long for the places of its topics says so", "[pattern]") {
  long_list list{14, {.from = runtime::from_first{}}, 1};
  list.pass(60);
  REQUIRE(list.source.unheard.size() == 14);
  list.source.publish("a.t10");
  list.source.publish("a.t23");
  // It is ahead of the list, and no matter.
  list.w.active("a.t26", 2);
  list.pass(1);
  CHECK(list.got.count("left out a.t10") == 0);
  CHECK(list.got.count("left out a.t23") == 1);
  CHECK(list.got.count("left out a.t26") == 0);
  list.w.subscription.on_listed(list.rest, true);
  list.pass(60);
  REQUIRE(list.source.asked_again == 1);
  list.w.subscription.on_active({topic_named("a.t23"), "e", sequence{3}, true});
  list.pass(4);
  for (int i = 10; i < 28; ++i) {
    const auto topic = "a.t" + std::to_string(i);
    INFO(topic);
    for (std::uint64_t seq = 1; seq <= list.source.last[topic]; ++seq)
      CHECK(list.got.count(topic + " e:" + std::to_string(seq)) == 1);
  }
}
