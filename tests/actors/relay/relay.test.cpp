// A relay with its subscriptions, against a journal that answers when the test says so.
#include "actors/relay.hpp"

#include "tests/actors/relay/recording_output.hpp"
#include "tests/support/catch.hpp"

#include <cstdlib>
#include <deque>
#include <random>

using namespace callboard;
using namespace callboard::actors;
using namespace callboard::testing;
using lines = std::vector<std::string>;

namespace {

/// A topic whose history can be read, one page at a time.
class fake_topic final : public relay_upstream {
public:
  topic_ref name = topic_named("orders");
  std::string epoch = "e1";
  std::uint64_t first = 1;
  std::uint64_t last = 0;
  std::uint64_t page = 3;
  std::optional<error> refuse;
  std::deque<std::pair<std::uint64_t, runtime::position>> asked;
  relay_counts counts;
  relay stand_in;
  std::uint32_t snapshots_asked = 0;
  bool has_streams = false;

  explicit fake_topic(relay_limits limits = {}) : stand_in{name, limits, *this, counts} {}

  result<void> read(std::uint64_t id, const runtime::position& from) override {
    if (refuse) return std::unexpected{*refuse};
    asked.emplace_back(id, from);
    return {};
  }

  void ask_snapshot() override { ++snapshots_asked; }

  /// Frames of a stream, or a snapshot of it.
  void frame(std::uint64_t number, runtime::frame_role role) {
    auto batch =
        std::make_shared<runtime::event_batch>(*make_batch(name, epoch, number, number, true));
    batch->role = role;
    stand_in.on_deliver(std::move(batch), boot_time{});
  }

  /// No stream is under way.
  void empty_snapshot() {
    auto batch = std::make_shared<runtime::event_batch>();
    batch->topic = name;
    batch->epoch = epoch;
    batch->ephemeral = true;
    batch->role = runtime::frame_role::snapshot;
    stand_in.on_deliver(std::move(batch), boot_time{});
  }

  void attach(bool exists = true) {
    stand_in.on_attached(
        {.topic = name,
         .exists = exists,
         .ephemeral = false,
         .has_streams = has_streams,
         .epoch = exists ? epoch : "",
         .entity = {},
         .first_seq = sequence{exists ? first : 0},
         .last_seq = sequence{last}});
  }

  /// Commits `count` events and delivers them, or lets the relay be passed over.
  void publish(std::uint64_t count, bool delivered = true) {
    const auto from = last + 1;
    last += count;
    if (delivered) {
      stand_in.on_deliver(make_batch(name, epoch, from, last), boot_time{});
    } else {
      stand_in.on_skipped({sequence{last}, 0});
    }
  }

  void answer_one() {
    REQUIRE_FALSE(asked.empty());
    const auto [id, from] = asked.front();
    asked.pop_front();
    std::uint64_t begin = first;
    if (const auto* at = std::get_if<runtime::from_seq>(&from)) begin = at->seq.raw();
    begin = std::max(begin, first);
    const auto end = std::min(last, begin + page - 1);
    event_page found{
        make_batch(name, epoch, begin, end), sequence{first}, sequence{last}, sequence{end + 1}};
    stand_in.on_page(id, std::move(found));
  }

  void answer_all() {
    while (!asked.empty())
      answer_one();
  }
};

struct subscriber {
  recording_output output;
  runtime::credit_account credits;
  topic_subscription subscription;

  subscriber(
      fake_topic& topic,
      runtime::position from,
      runtime::slow_policy policy = runtime::slow_policy::lag,
      std::optional<news_age> news = {})
      : subscription{topic.stand_in, output, policy, credits, std::move(from)} {
    if (news) subscription.expect_unheard(*news);
    subscription.open();
  }
};

}  // namespace

TEST_CASE("a batch goes to every subscription, as one object", "[relay]") {
  fake_topic topic;
  topic.attach();
  subscriber a{topic, runtime::from_now{}};
  subscriber b{topic, runtime::from_now{}};
  topic.publish(2);
  CHECK(a.output.take() == lines{"started e1:0", "e1:1", "e1:2"});
  CHECK(b.output.take() == lines{"started e1:0", "e1:1", "e1:2"});
  CHECK(a.output.batches == b.output.batches);
  CHECK(topic.asked.empty());
}

TEST_CASE("subscriptions wait for the relay to be attached", "[relay]") {
  fake_topic topic;
  topic.last = 5;
  subscriber s{topic, runtime::from_now{}};
  CHECK(s.output.take().empty());
  topic.attach();
  CHECK(s.output.take() == lines{"started e1:5"});
}

TEST_CASE("replay from the first event reads page by page, then goes live", "[relay]") {
  fake_topic topic;
  topic.last = 7;
  topic.attach();
  subscriber s{topic, runtime::from_first{}};
  topic.publish(1);
  topic.answer_all();
  CHECK(
      s.output.take()
      == lines{
          "started e1:0",
          "e1:1",
          "e1:2",
          "e1:3",
          "e1:4",
          "e1:5",
          "e1:6",
          "e1:7",
          "e1:8",
          "caught_up"});
  topic.publish(1);
  CHECK(s.output.take() == lines{"e1:9"});
}

TEST_CASE("a subscription that lags a little is served from the tail", "[relay]") {
  fake_topic topic;
  topic.attach();
  subscriber s{topic, runtime::from_now{}};
  s.output.room = 1;
  topic.publish(3);
  topic.publish(2);
  CHECK(s.output.take() == lines{"started e1:0", "e1:1", "lagging 2 0"});
  CHECK(topic.stand_in.slowest_lag() == 4);
  s.output.room = UINT32_MAX;
  s.subscription.resume();
  CHECK(s.output.take() == lines{"e1:2", "e1:3", "e1:4", "e1:5", "caught_up"});
  CHECK(topic.stand_in.slowest_lag() == 0);
  CHECK(topic.counts.reads == 0);
  CHECK(topic.counts.tail_hits > 0);
}

TEST_CASE("one that lags beyond the tail reads the journal", "[relay]") {
  fake_topic topic{{.tail_batches_max = 2}};
  topic.attach();
  subscriber s{topic, runtime::from_now{}};
  s.output.room = 0;
  for (int i = 0; i < 5; ++i)
    topic.publish(1);
  s.output.take();
  s.output.room = UINT32_MAX;
  s.subscription.resume();
  topic.answer_all();
  CHECK(s.output.take() == lines{"e1:1", "e1:2", "e1:3", "e1:4", "e1:5", "caught_up"});
  CHECK(topic.counts.reads == 1);
}

TEST_CASE("subscriptions at the same place share a read", "[relay]") {
  fake_topic topic;
  topic.attach();
  std::deque<subscriber> all;
  for (int i = 0; i < 50; ++i)
    all.emplace_back(topic, runtime::from_now{});
  topic.publish(4, false);
  topic.answer_all();
  for (auto& one : all) {
    CHECK(one.output.take() == lines{"started e1:0", "e1:1", "e1:2", "e1:3", "e1:4"});
  }
  CHECK(topic.counts.reads == 2);
  CHECK(topic.counts.reads_shared >= 49);
}

TEST_CASE("at most a few reads are under way; the others take their turn", "[relay]") {
  fake_topic topic{{.reads_max = 2}};
  topic.last = 20;
  topic.attach();
  std::deque<subscriber> all;
  for (std::uint64_t i = 1; i <= 8; ++i)
    all.emplace_back(topic, runtime::from_seq{sequence{i * 2}});
  CHECK(topic.asked.size() == 2);
  while (!topic.asked.empty()) {
    CHECK(topic.asked.size() <= 2);
    topic.answer_one();
  }
  for (auto& one : all)
    CHECK(one.output.take().back() == "caught_up");
}

TEST_CASE("a subscription may end while its read is under way", "[relay]") {
  fake_topic topic;
  topic.last = 5;
  topic.attach();
  auto gone = std::make_unique<subscriber>(topic, runtime::from_first{});
  subscriber stays{topic, runtime::from_first{}};
  gone.reset();
  topic.answer_all();
  CHECK(stays.output.take().back() == "caught_up");
}

TEST_CASE("a refused read is tried again with the next tick", "[relay]") {
  fake_topic topic;
  topic.last = 2;
  topic.refuse = error{errc::overloaded, "busy", 10};
  topic.attach();
  subscriber s{topic, runtime::from_first{}};
  CHECK(topic.asked.empty());
  topic.refuse.reset();
  topic.stand_in.on_tick(boot_time{});
  topic.answer_all();
  CHECK(s.output.take() == lines{"started e1:0", "e1:1", "e1:2", "caught_up"});
}

TEST_CASE("history trimmed under a reader is told", "[relay]") {
  fake_topic topic;
  topic.last = 9;
  topic.attach();
  subscriber s{topic, runtime::from_seq{sequence{2}}};
  SECTION("by a page that begins later") {
    topic.first = 6;
  }
  SECTION("by a refusal that names the cursor") {
    const auto [id, from] = topic.asked.front();
    topic.asked.pop_front();
    topic.first = 6;
    topic.stand_in.on_page(id, fail(errc::cursor_expired, "first is 6"));
  }
  topic.answer_all();
  CHECK(
      s.output.take()
      == lines{"started e1:1", "gap trimmed 2-5", "e1:6", "e1:7", "e1:8", "e1:9", "caught_up"});
}

TEST_CASE("what is not there when it is read is waited for, whatever it is", "[relay]") {
  const auto code =
      GENERATE(errc::topic_not_found, errc::workflow_not_found, errc::agent_not_found);
  fake_topic topic;
  topic.last = 2;
  topic.attach();
  subscriber s{topic, runtime::from_first{}};
  topic.stand_in.on_page(topic.asked.front().first, fail(code, "it was deleted meanwhile"));
  topic.asked.clear();
  topic.stand_in.on_tick(boot_time{});
  topic.answer_all();
  CHECK(s.output.take() == lines{"started e1:0", "e1:1", "e1:2", "caught_up"});
}

TEST_CASE("a shard that cannot be read ends its subscriptions", "[relay]") {
  fake_topic topic;
  topic.last = 9;
  topic.attach();
  subscriber s{topic, runtime::from_first{}};
  topic.stand_in.on_page(topic.asked.front().first, fail(errc::quarantined, "damaged"));
  CHECK(s.output.take() == lines{"started e1:0", "failed quarantined"});
  topic.publish(1);
  CHECK(s.output.take().empty());
}

TEST_CASE("a topic that is made, deleted and made again", "[relay]") {
  fake_topic topic;
  topic.attach(false);
  subscriber s{topic, runtime::from_now{}};
  CHECK(s.output.take() == lines{"started :0"});
  topic.last = 2;
  topic.attach();
  topic.answer_all();
  CHECK(s.output.take() == lines{"e1:1", "e1:2"});
  topic.stand_in.on_gone();
  CHECK(s.output.take() == lines{"gap topic_missing"});
  topic.epoch = "e2";
  topic.last = 0;
  topic.attach();
  topic.publish(1);
  CHECK(s.output.take() == lines{"gap epoch_changed", "e2:1"});
}

TEST_CASE("a topic's actor that was loaded again goes on without gap or repeat", "[relay]") {
  fake_topic topic;
  topic.attach();
  subscriber s{topic, runtime::from_now{}};
  topic.publish(2);
  topic.last = 4;
  topic.attach();
  topic.answer_all();
  topic.stand_in.on_deliver(make_batch(topic.name, "e1", 3, 4), boot_time{});
  topic.publish(1);
  CHECK(s.output.take() == lines{"started e1:0", "e1:1", "e1:2", "e1:3", "e1:4", "e1:5"});
}

TEST_CASE("ephemeral events: the oldest go, counted and told", "[relay]") {
  fake_topic topic;
  topic.attach();
  subscriber s{topic, runtime::from_now{}, runtime::slow_policy::drop};
  subscriber newest{topic, runtime::from_now{}, runtime::slow_policy::latest};
  s.output.room = 0;
  newest.output.room = 0;
  const auto publish = [&](std::uint64_t first, std::uint64_t last) {
    topic.stand_in.on_deliver(make_batch(topic.name, "e1", first, last, true), boot_time{});
  };
  publish(1, waiting_events_max);
  publish(waiting_events_max + 1, waiting_events_max + 2);
  s.output.take();
  newest.output.take();
  s.output.room = UINT32_MAX;
  newest.output.room = UINT32_MAX;
  s.subscription.resume();
  newest.subscription.resume();
  const auto told = s.output.take();
  REQUIRE(told.size() == waiting_events_max + 1);
  CHECK(told[0] == "lagging 0 2");
  CHECK(told[1] == "ephemeral 3");
  CHECK(
      newest.output.take()
      == lines{
          "lagging 0 " + std::to_string(waiting_events_max + 1),
          "ephemeral " + std::to_string(waiting_events_max + 2)});
}

TEST_CASE("ephemeral events go only to subscriptions that are caught up", "[relay]") {
  fake_topic topic;
  topic.last = 2;
  topic.attach();
  subscriber s{topic, runtime::from_first{}};
  topic.stand_in.on_deliver(make_batch(topic.name, "e1", 7, 7, true), boot_time{});
  topic.answer_all();
  topic.stand_in.on_deliver(make_batch(topic.name, "e1", 8, 8, true), boot_time{});
  CHECK(
      s.output.take()
      == lines{"started e1:0", "e1:1", "e1:2", "caught_up", "lagging 0 1", "ephemeral 8"});
}

TEST_CASE("ephemeral events that come behind news wait for what is stored", "[relay]") {
  fake_topic topic;
  topic.last = 2;
  topic.attach();
  subscriber s{topic, runtime::from_first{}, runtime::slow_policy::lag, news_age::fresh};
  topic.stand_in.on_deliver(make_batch(topic.name, "e1", 7, 7, true), boot_time{});
  subscriber other{topic, runtime::from_now{}};
  subscriber waited{
      topic, runtime::from_seq{sequence{3}}, runtime::slow_policy::lag, news_age::old};
  topic.stand_in.on_unheard({{}, {{make_batch(topic.name, "e1", 8, 8, true)}}, 3}, boot_time{});
  CHECK(s.output.take() == lines{"started e1:0"});
  // Those who began from a cursor or a list are told by the gap what they may lack.
  CHECK(waited.output.take() == lines{"started e1:2"});
  topic.answer_all();
  CHECK(
      s.output.take()
      == lines{"e1:1", "e1:2", "caught_up", "lagging 0 3", "ephemeral 7", "ephemeral 8"});
  CHECK(other.output.take() == lines{"started e1:2"});
  // Once only: who falls behind later is told what it lost.
  s.output.room = 0;
  topic.publish(1);
  topic.stand_in.on_deliver(make_batch(topic.name, "e1", 9, 9, true), boot_time{});
  s.output.room = UINT32_MAX;
  s.subscription.resume();
  CHECK(s.output.take() == lines{"lagging 1 0", "e1:3", "caught_up", "lagging 0 1"});
}

TEST_CASE("frames of a stream go to those who know what came before", "[relay][streams]") {
  using enum runtime::frame_role;
  fake_topic topic;
  topic.has_streams = true;
  topic.attach();
  subscriber early{topic, runtime::from_now{}};
  CHECK(topic.snapshots_asked == 1);
  topic.frame(1, stream);
  CHECK(early.output.take() == lines{"started e1:0"});
  topic.empty_snapshot();
  topic.frame(2, stream);
  CHECK(early.output.take() == lines{"ephemeral 2"});

  subscriber late{topic, runtime::from_now{}};
  CHECK(topic.snapshots_asked == 2);
  topic.frame(3, stream);
  // Two that join at the same time ask once.
  subscriber later{topic, runtime::from_now{}};
  CHECK(topic.snapshots_asked == 2);
  topic.frame(4, snapshot);
  topic.frame(5, stream);
  CHECK(early.output.take() == lines{"ephemeral 3", "ephemeral 5"});
  CHECK(late.output.take() == lines{"started e1:0", "ephemeral 4", "ephemeral 5"});
  CHECK(later.output.take() == lines{"started e1:0", "ephemeral 4", "ephemeral 5"});
}

TEST_CASE("who lost frames of a stream gets a snapshot once there is room", "[relay][streams]") {
  using enum runtime::frame_role;
  fake_topic topic;
  topic.has_streams = true;
  topic.attach();
  subscriber s{topic, runtime::from_now{}};
  topic.empty_snapshot();
  CHECK(s.output.take() == lines{"started e1:0"});

  SECTION("because the output was full") {
    s.output.room = 0;
    for (std::uint64_t i = 1; i <= waiting_events_max + 10; ++i)
      topic.frame(i, stream);
    CHECK(topic.snapshots_asked == 1);
    s.output.room = UINT32_MAX;
    s.subscription.resume();
    CHECK(topic.snapshots_asked == 2);
    // None of what waited: it would have a hole.
    CHECK(s.output.take().empty());
  }
  SECTION("because the topic passed over the relay") {
    topic.stand_in.on_skipped({sequence{0}, 3});
    CHECK(topic.snapshots_asked == 2);
    CHECK(s.output.take() == lines{"lagging 0 3"});
  }
  SECTION("because it fell behind") {
    topic.publish(2, false);
    topic.frame(1, stream);
    CHECK(topic.snapshots_asked == 1);
    topic.answer_all();
    CHECK(topic.snapshots_asked == 2);
    CHECK(s.output.take() == lines{"e1:1", "e1:2"});
  }
  SECTION("because the topic was loaded again") {
    topic.attach();
    CHECK(topic.snapshots_asked == 2);
  }
  topic.frame(8, stream);
  topic.frame(9, snapshot);
  topic.frame(10, stream);
  CHECK(s.output.take() == lines{"ephemeral 9", "ephemeral 10"});
}

TEST_CASE("a topic without streams is never asked for them", "[relay][streams]") {
  fake_topic topic;
  topic.attach();
  subscriber s{topic, runtime::from_now{}};
  topic.stand_in.on_skipped({sequence{0}, 1});
  CHECK(topic.snapshots_asked == 0);
}

TEST_CASE("the tail has a bound and is let go when nobody needs it", "[relay]") {
  fake_topic topic{{.tail_batches_max = 10, .tail_bytes_max = 1 << 20}};
  topic.attach();
  subscriber s{topic, runtime::from_now{}};
  for (int i = 0; i < 50; ++i)
    topic.publish(1);
  CHECK(topic.stand_in.tail_bytes() <= 10 * 2);
  topic.stand_in.on_tick(std::chrono::seconds{60});
  CHECK(topic.stand_in.tail_bytes() == 0);
}

TEST_CASE("many subscriptions at random paces see every event once", "[relay][property]") {
  const char* given = std::getenv("CALLBOARD_SEED");
  const std::uint32_t base = given != nullptr
                                 ? static_cast<std::uint32_t>(std::strtoul(given, nullptr, 10))
                                 : std::random_device{}();
  for (std::uint32_t round = 0; round < 40; ++round) {
    INFO("CALLBOARD_SEED=" << base + round);
    std::mt19937 random{base + round};
    const auto draw = [&](std::uint32_t max) {
      return std::uniform_int_distribution<std::uint32_t>{0, max}(random);
    };
    fake_topic topic{{.tail_batches_max = 4, .reads_max = 2}};
    topic.attach();
    std::deque<subscriber> all;
    std::vector<std::uint64_t> begun;
    for (int step = 0; step < 300; ++step) {
      switch (draw(5)) {
      case 0:
        if (all.size() < 12) {
          begun.push_back(topic.last);
          all.emplace_back(topic, runtime::from_now{});
        }
        break;
      case 1:
        topic.publish(1 + draw(4), draw(4) != 0);
        break;
      case 2:
        if (!topic.asked.empty()) topic.answer_one();
        break;
      case 3:
        topic.stand_in.on_tick(boot_time{});
        break;
      default:
        if (!all.empty()) {
          auto& one = all[draw(static_cast<std::uint32_t>(all.size()) - 1)];
          one.output.room = draw(6);
          one.subscription.resume();
        }
      }
    }
    for (int i = 0; i < 1000; ++i) {
      for (auto& one : all) {
        one.output.room = UINT32_MAX;
        one.subscription.resume();
      }
      topic.stand_in.on_tick(boot_time{});
      topic.answer_all();
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
      auto expected = begun[i];
      for (const auto& line : all[i].output.lines) {
        if (!line.starts_with("e1:")) continue;
        REQUIRE(line == "e1:" + std::to_string(++expected));
      }
      REQUIRE(expected == topic.last);
    }
  }
}
