// What a topic keeps of ephemeral events for those who are on their way to it.
#include "actors/unheard_events.hpp"

#include "tests/actors/relay/recording_output.hpp"
#include "tests/support/catch.hpp"

using namespace callboard;
using namespace callboard::actors;
using namespace callboard::testing;
using std::chrono::seconds;

namespace {

struct quiet_topic {
  runtime::topic_core core{{}, {}};
  runtime::relay_key own{7};
  unheard_events kept{core, own};
  boot_time now = std::chrono::hours{1};

  std::uint64_t tell() { return kept.begin({topic_named("a.x"), "e", sequence{1}}, now).number; }

  void say() { kept.keep({own, make_batch(topic_named("a.x"), "e", 1, 1, true)}, now); }
};

}  // namespace

TEST_CASE("ephemeral events are kept no longer because others watch", "[relay]") {
  quiet_topic topic;
  std::vector<std::uint64_t> told;
  for (int i = 0; i < 4; ++i) {
    topic.now += seconds{3};
    told.push_back(topic.tell());
    topic.say();
  }
  const auto since = topic.kept.since_news(topic.now);
  REQUIRE(since);
  CHECK(since->news.number == told[3]);
  REQUIRE(since->batches.size() == 2);
  // Those who heard of the last one only get no more than that.
  CHECK(since->batches[0].news == told[2]);
  CHECK(since->batches[1].news == told[3]);
  topic.now += seconds{3};
  CHECK(topic.kept.since_news(topic.now)->batches.size() == 1);
}

TEST_CASE("events that were too many are counted as long as the others are kept", "[relay]") {
  quiet_topic topic;
  const auto first = topic.tell();
  for (std::size_t i = 0; i < unheard_events::batches_max + 2; ++i)
    topic.say();
  topic.now += seconds{3};
  (void)topic.tell();
  const auto since = topic.kept.since_news(topic.now);
  REQUIRE(since);
  CHECK(since->batches.size() == unheard_events::batches_max);
  CHECK(since->dropped == 2);
  CHECK(since->dropped_news == first);
  topic.now += seconds{3};
  topic.say();
  const auto later = topic.kept.since_news(topic.now);
  REQUIRE(later);
  CHECK(later->batches.size() == 1);
  CHECK(later->dropped == 0);
}
