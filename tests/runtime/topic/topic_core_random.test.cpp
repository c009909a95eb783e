// Random publishes, commits, failures and restarts against a model that only counts. Invariants:
// acked events are stored under the seq that was acked, seqs are dense, an id is stored at most
// once, relays see a gapless story (deliveries, or skips that tell what to read).
#include "tests/runtime/topic/core_fixture.hpp"
#include "tests/support/catch.hpp"

#include <map>
#include <random>
#include <set>

using namespace callboard;
using namespace callboard::runtime;
using callboard::testing::core_fixture;
using callboard::testing::make_request;

namespace {

struct model {
  std::map<std::uint64_t, std::vector<std::string>> asked;
  std::size_t checked = 0;

  void check_replies(const core_fixture& topic) {
    for (; checked < topic.replies.size(); ++checked) {
      const auto& reply = topic.replies[checked].reply;
      const auto found = asked.find(reply.correlation.raw());
      REQUIRE(found != asked.end());  // exactly one answer each
      if (reply.outcome) check_ack(topic, *reply.outcome, found->second);
      asked.erase(found);
    }
  }

  static void check_ack(
      const core_fixture& topic, const publish_outcome& ack, const std::vector<std::string>& ids) {
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const auto seq = ack.events.empty() ? ack.first_seq.raw() + i : ack.events[i].seq.raw();
      REQUIRE(seq >= 1);
      REQUIRE(seq <= topic.stored.size());
      const encoded_event event{topic.stored[seq - 1].stored};
      REQUIRE(event.identity() == event_identity("s", ids[i]));
    }
  }

  static void check_stored(const core_fixture& topic) {
    std::set<std::pair<std::uint64_t, std::uint64_t>> seen;
    for (std::size_t i = 0; i < topic.stored.size(); ++i) {
      REQUIRE(topic.stored[i].seq.raw() == i + 1);
      const auto identity = encoded_event{topic.stored[i].stored}.identity();
      REQUIRE(seen.emplace(identity.high, identity.low).second);
    }
  }
};

}  // namespace

TEST_CASE("random histories keep every promise of a topic", "[topic][random]") {
  const auto base_seed = GENERATE(range(1U, 40U));
  INFO("seed " << base_seed);
  std::mt19937 random{base_seed};
  core_fixture topic{{}, {.events_in_flight_max = 8, .recent_ids_max = 4}};
  model expected;
  std::uint64_t correlation = 0;
  sequence relay_next = topic.core.attach(relay_key{9}, 3).last_seq.next();
  std::size_t delivered = 0;
  std::size_t skipped = 0;
  for (int step = 0; step < 600; ++step) {
    const auto dice = random() % 100;
    if (dice < 50) {
      std::vector<std::string> ids;
      for (auto n = 1 + random() % 3; n > 0; --n)
        ids.push_back(std::to_string(random() % 60));
      expected.asked[++correlation] = ids;
      topic.publish(make_request(correlation, ids));
    } else if (dice < 80 && !topic.pending.empty()) {
      topic.commit();
    } else if (dice < 84 && !topic.pending.empty()) {
      topic.fail();
    } else if (dice < 92 && !topic.asked.empty()) {
      topic.answer_candidates();
    } else if (dice < 97 && !topic.core.is_dead()) {
      topic.take(topic.core.credit(relay_key{9}, 1));
    }
    if (topic.reload) {
      topic.asked.clear();
      topic.restart();
      relay_next = topic.core.attach(relay_key{9}, 3).last_seq.next();
      delivered = topic.deliveries.size();
      skipped = topic.skips.size();
    }
    for (; skipped < topic.skips.size(); ++skipped) {
      relay_next = topic.skips[skipped].last_seq.next();
    }
    for (; delivered < topic.deliveries.size(); ++delivered) {
      for (const auto& event : topic.deliveries[delivered].batch->events) {
        REQUIRE(event.seq == relay_next);
        relay_next = relay_next.next();
      }
    }
    expected.check_replies(topic);
    model::check_stored(topic);
  }
  if (!topic.asked.empty()) topic.answer_candidates();
  while (!topic.pending.empty() || !topic.asked.empty()) {
    if (!topic.asked.empty()) topic.answer_candidates();
    if (!topic.pending.empty()) topic.commit();
  }
  expected.check_replies(topic);
  CHECK(expected.asked.empty());
}
