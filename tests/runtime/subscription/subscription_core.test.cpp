// One subscription in one topic, case by case: where it begins, what it sends, what it says.
#include "runtime/subscription/subscription_core.hpp"

#include "tests/support/catch.hpp"

using namespace callboard;
using namespace callboard::runtime;

namespace {

const topic_head ten_events{true, false, "e1", sequence{1}, sequence{10}};
const topic_head trimmed_topic{true, false, "e1", sequence{6}, sequence{10}};
const topic_head missing{};

struct one_subscription {
  credit_account credits;
  subscription_core core;

  explicit one_subscription(
      slow_policy policy = slow_policy::lag, std::optional<std::uint64_t> left = {})
      : credits{left}, core{policy, credits} {}
};

position cursor_at(std::string epoch, std::uint64_t seq) {
  return after_cursor{{std::move(epoch), sequence{seq}}};
}

}  // namespace

TEST_CASE("a subscription begins where its position says", "[subscription]") {
  one_subscription s;
  SECTION("now: behind the last event") {
    const auto begun = s.core.start(from_now{}, ten_events);
    CHECK(begun.recovered());
    CHECK(begun.after == sequence{10});
    CHECK(s.core.next() == sequence{11});
    CHECK_FALSE(s.core.is_behind());
  }
  SECTION("first: the oldest event") {
    const auto begun = s.core.start(from_first{}, trimmed_topic);
    CHECK(begun.recovered());
    CHECK(s.core.next() == sequence{6});
    CHECK(s.core.behind_by() == 5);
  }
  SECTION("a seq is inclusive") {
    CHECK(s.core.start(from_seq{sequence{4}}, ten_events).after == sequence{3});
    CHECK(s.core.next() == sequence{4});
  }
  SECTION("a cursor is exclusive") {
    CHECK(s.core.start(cursor_at("e1", 4), ten_events).recovered());
    CHECK(s.core.next() == sequence{5});
  }
  SECTION("a seq that is not there yet is waited for") {
    CHECK(s.core.start(from_seq{sequence{13}}, ten_events).recovered());
    const auto planned = s.core.offer(sequence{11}, 4);
    CHECK(planned.skip == 2);
    CHECK(planned.count == 2);
  }
}

TEST_CASE("a position that cannot be honoured is never silent", "[subscription]") {
  one_subscription s;
  SECTION("another epoch") {
    const auto begun = s.core.start(cursor_at("e0", 4), trimmed_topic);
    CHECK(begun.reason == loss::epoch_changed);
    CHECK(begun.first_available == sequence{6});
    CHECK(s.core.next() == sequence{6});
  }
  SECTION("trimmed history") {
    const auto begun = s.core.start(cursor_at("e1", 3), trimmed_topic);
    CHECK(begun.reason == loss::trimmed);
    CHECK(begun.first_available == sequence{6});
  }
  SECTION("exactly the last trimmed event was seen: nothing is lost") {
    CHECK(s.core.start(cursor_at("e1", 5), trimmed_topic).recovered());
  }
  SECTION("trimmed seq") {
    CHECK(s.core.start(from_seq{sequence{2}}, trimmed_topic).reason == loss::trimmed);
  }
  SECTION("a cursor of the future") {
    CHECK(s.core.start(cursor_at("e1", 11), ten_events).reason == loss::cursor_ahead);
    CHECK(s.core.next() == sequence{11});
  }
  SECTION("no topic") {
    CHECK(s.core.start(cursor_at("e1", 4), missing).reason == loss::topic_missing);
    CHECK(s.core.next() == sequence{1});
  }
  SECTION("an ephemeral topic has no history") {
    const topic_head ephemeral{true, true, "e1", sequence{}, sequence{}};
    CHECK(s.core.start(cursor_at("e1", 0), ephemeral).reason == loss::no_history);
    CHECK_FALSE(s.core.is_behind());
  }
}

TEST_CASE("the cursor of a topic that was never there misses nothing later", "[subscription]") {
  one_subscription s;
  const auto begun = s.core.start(cursor_at(std::string{epoch_of_nothing}, 0), ten_events);
  CHECK(begun.recovered());
  CHECK(s.core.next() == sequence{1});
}

TEST_CASE("a topic made after the subscription is delivered from seq 1", "[subscription]") {
  one_subscription s;
  CHECK(s.core.start(from_now{}, missing).recovered());
  CHECK_FALSE(s.core.restart({true, false, "e1", sequence{1}, sequence{3}}).has_value());
  CHECK(s.core.wanted() == sequence{1});
}

TEST_CASE("a topic made again names what is gone of the old one", "[subscription]") {
  one_subscription s;
  static_cast<void>(s.core.start(from_seq{sequence{8}}, ten_events));
  const auto gone = s.core.restart({true, false, "e2", sequence{1}, sequence{2}});
  REQUIRE(gone);
  CHECK(gone->from == sequence{8});
  CHECK(gone->to == sequence{10});
  CHECK(s.core.wanted() == sequence{1});
}

TEST_CASE(
    "a full output makes a subscription lag, once, until it has caught up", "[subscription]") {
  one_subscription s;
  static_cast<void>(s.core.start(from_now{}, ten_events));
  auto planned = s.core.offer(sequence{11}, 4);
  CHECK(planned.count == 4);
  auto told = s.core.sent(planned, 1);
  CHECK(told.tell_lagging);
  CHECK(s.core.is_lagging());
  CHECK(s.core.offer(sequence{15}, 1).count == 0);
  CHECK(s.core.wanted() == sequence{12});
  const auto plan = s.core.page(sequence{12}, 3);
  CHECK(plan.send.count == 3);
  told = s.core.sent(plan.send, 2);
  CHECK_FALSE(told.tell_lagging);
  CHECK(s.core.wanted() == sequence{14});
  told = s.core.sent(s.core.page(sequence{14}, 2).send, 2);
  CHECK(told.tell_caught_up);
  CHECK_FALSE(s.core.is_lagging());
  CHECK(s.core.offer(sequence{16}, 1).count == 1);
}

TEST_CASE(
    "replay from the beginning ends with caught_up and is not called lagging", "[subscription]") {
  one_subscription s;
  static_cast<void>(s.core.start(from_first{}, ten_events));
  CHECK_FALSE(s.core.sent(s.core.page(sequence{1}, 10).send, 4).tell_lagging);
  CHECK(s.core.sent(s.core.page(sequence{1}, 10).send, 6).tell_caught_up);
}

TEST_CASE("latest goes on with the newest event", "[subscription]") {
  one_subscription s{slow_policy::latest};
  static_cast<void>(s.core.start(from_now{}, ten_events));
  CHECK_FALSE(s.core.sent(s.core.offer(sequence{11}, 1), 0).tell_lagging);
  CHECK(s.core.offer(sequence{12}, 5).count == 0);
  CHECK(s.core.wanted() == sequence{16});
  static_cast<void>(s.core.sent(s.core.page(sequence{12}, 5).send, 1));
  CHECK_FALSE(s.core.is_behind());
}

TEST_CASE("disconnect ends the connection at the first full output", "[subscription]") {
  one_subscription s{slow_policy::disconnect};
  static_cast<void>(s.core.start(from_now{}, ten_events));
  CHECK(s.core.sent(s.core.offer(sequence{11}, 2), 1).disconnect);
}

TEST_CASE("disconnect lets a client that resumes catch up at its own pace", "[subscription]") {
  one_subscription s{slow_policy::disconnect};
  static_cast<void>(s.core.start(cursor_at("e1", 4), ten_events));
  CHECK_FALSE(s.core.sent(s.core.page(sequence{5}, 6).send, 2).disconnect);
  const auto rest = s.core.sent(s.core.page(sequence{7}, 4).send, 4);
  CHECK(rest.tell_caught_up);
  CHECK_FALSE(rest.disconnect);
  // Live now: the next full output ends it.
  CHECK(s.core.sent(s.core.offer(sequence{11}, 2), 1).disconnect);
}

TEST_CASE("without credit nothing is sent and nothing is lost", "[subscription]") {
  one_subscription s{slow_policy::lag, 2};
  static_cast<void>(s.core.start(from_now{}, ten_events));
  const auto planned = s.core.offer(sequence{11}, 5);
  CHECK(planned.count == 2);
  CHECK_FALSE(s.core.sent(planned, 2).tell_lagging);
  CHECK_FALSE(s.core.wanted());
  s.credits.add(1);
  CHECK(s.core.wanted() == sequence{13});
}

TEST_CASE("history that was trimmed while behind is told as a gap", "[subscription]") {
  one_subscription s;
  static_cast<void>(s.core.start(from_seq{sequence{3}}, ten_events));
  const auto plan = s.core.page(sequence{7}, 4);
  REQUIRE(plan.gap);
  CHECK(plan.gap->from == sequence{3});
  CHECK(plan.gap->to == sequence{6});
  CHECK(plan.send.count == 4);
}

TEST_CASE(
    "all of history trimmed while behind: the gap reaches to the next event", "[subscription]") {
  one_subscription s;
  static_cast<void>(s.core.start(from_seq{sequence{3}}, ten_events));
  const auto plan = s.core.empty_page(sequence{11}, sequence{11});
  REQUIRE(plan.gap);
  CHECK(plan.gap->to == sequence{10});
  CHECK(plan.tell.tell_caught_up);
  CHECK(s.core.offer(sequence{11}, 1).count == 1);
}

TEST_CASE("an empty page that explains nothing is asked for again later", "[subscription]") {
  one_subscription s;
  static_cast<void>(s.core.start(from_seq{sequence{3}}, ten_events));
  CHECK(s.core.empty_page(sequence{1}, sequence{3}).retry_later);
}

TEST_CASE("a time is looked up by the first page", "[subscription]") {
  one_subscription s;
  const auto begun = s.core.start(from_time{time_ms{}}, ten_events);
  CHECK(begun.after == sequence{});
  CHECK(s.core.is_searching());
  const auto plan = s.core.page(sequence{8}, 3);
  CHECK_FALSE(plan.gap);
  CHECK(plan.send.skip == 0);
  CHECK(s.core.sent(plan.send, 3).tell_caught_up);
}
