#include "tests/runtime/group/group_bench.hpp"

#include <set>

namespace callboard::runtime {

namespace {

using seq_list = std::vector<std::uint64_t>;

}  // namespace

TEST_CASE_METHOD(group_bench, "acked events never come again, also after a restart", "[group]") {
  publish_many(10);
  activate();
  const auto got = fetch("a", 6);
  CHECK(seqs(got) == seq_list{1, 2, 3, 4, 5, 6});
  CHECK(ack({got[0], got[1], got[4]}).empty());
  CHECK(core->counts().lag == 10);  // not durable yet
  flush();
  CHECK(core->counts().lag == 7);
  CHECK(core->counts().floor == sequence{2});
  activate();
  CHECK(core->counts().in_flight == 3);
  CHECK(seqs(fetch("b", 10)) == seq_list{7, 8, 9, 10});
  advance(30s);
  CHECK(seqs(fetch("b", 10)) == seq_list{3, 4, 6, 7, 8, 9, 10});
}

TEST_CASE_METHOD(group_bench, "an ack of several survives with one record", "[group]") {
  publish_many(100);
  activate();
  const auto got = fetch("a", 100);
  flush();
  const auto before = records.size();
  for (const auto& one : got) {
    (void)ack({one});
  }
  flush();
  REQUIRE(records.size() == before + 1);
  CHECK(records.back().acked.size() == 1);
}

TEST_CASE_METHOD(group_bench, "an answer ends with its bytes, but has one event", "[group]") {
  limits.fetch_bytes_max = 1000;
  for (int i = 0; i < 10; ++i)
    publish(0, 300);
  publish(0, 5000);
  publish(0, 5000);
  activate();
  CHECK(seqs(fetch("a", 10)) == seq_list{1, 2, 3, 4});
  CHECK(seqs(fetch("a", 10, 500)) == seq_list{5, 6});
  CHECK(seqs(fetch("a", 10, 1)) == seq_list{7});
  // Who asks for more than there may be gets that.
  const auto rest = fetch("a", 10, 1'000'000);
  CHECK(seqs(rest) == seq_list{8, 9, 10, 11});
  CHECK(seqs(fetch("a", 10)) == seq_list{12});
  CHECK(core->counts().in_flight == 12);
  // What is put back has had no attempt.
  (void)core->nack({tokens(rest), 0, {}, nack_kind::put_back}, now);
  const auto again = fetch("b", 10);
  CHECK(seqs(again) == seq_list{8, 9, 10, 11});
  CHECK(again[0].token.attempt == 1);
}

TEST_CASE_METHOD(group_bench, "events that come while one waits are taken by bytes", "[group]") {
  limits.fetch_bytes_max = 1000;
  activate();
  REQUIRE(core->fetch({1, "a", 10, 5000}, now));
  settle_reads();
  std::vector<loaded_event> come;
  for (int i = 0; i < 6; ++i) {
    publish(0, 400);
    come.push_back(topic.back());
  }
  REQUIRE(core->takes(sequence{1}));
  core->offer(come);
  settle_reads();
  const auto answers = core->take_answers();
  REQUIRE(answers.size() == 1);
  CHECK(seqs(answers[0].deliveries) == seq_list{1, 2, 3});
  CHECK(seqs(fetch("a", 10)) == seq_list{4, 5, 6});
}

TEST_CASE_METHOD(group_bench, "a cumulative ack settles everything up to it", "[group]") {
  publish_many(10);
  activate();
  const auto got = fetch("a", 3);
  CHECK(core->ack({}, sequence{5}, now).empty());
  flush();
  CHECK(core->counts().floor == sequence{5});
  CHECK(core->counts().in_flight == 0);
  CHECK(ack(got).size() == 3);
  CHECK(seqs(fetch("a", 10)) == seq_list{6, 7, 8, 9, 10});
  // Beyond the end is the end.
  (void)core->ack({}, sequence{500}, now);
  flush();
  CHECK(core->counts().floor == sequence{10});
  publish();
  CHECK(seqs(fetch("a", 10)) == seq_list{11});
}

TEST_CASE_METHOD(group_bench, "a stale token changes nothing and is told", "[group]") {
  publish_many(1);
  activate();
  const auto first = fetch("a", 1);
  advance(30s);
  const auto second = fetch("b", 1);
  REQUIRE(second.size() == 1);
  CHECK(second[0].token.attempt == 2);
  CHECK(ack(first) == tokens(first));
  CHECK(core->nack({tokens(first), 0, ""}, now) == tokens(first));
  CHECK(core->counts().in_flight == 1);
  CHECK(ack(second).empty());
  CHECK(ack(second) == tokens(second));
  const std::vector<std::string> nonsense{"nonsense", ""};
  CHECK(core->ack(nonsense, std::nullopt, now) == nonsense);
}

TEST_CASE_METHOD(group_bench, "an error is kept up to its last whole character", "[group]") {
  publish();
  activate();
  const std::string kept(attempt_error_size_max - 1, 'x');
  const auto got = fetch("m", 1);
  CHECK(core->nack({tokens(got), 0, kept + "\u00e4 and more"}, now).empty());
  CHECK(core->last_error() == kept);
  flush();
  activate();
  settings.deliveries_max = 1;
  core->change_settings(settings, now);
  settle_reads();
  const auto letters = core->take_dead_letters();
  REQUIRE(letters.size() == 1);
  CHECK(letters[0].history.at(0).error == kept);
}

TEST_CASE_METHOD(group_bench, "a nack waits its delay, or a growing backoff", "[group]") {
  settings.backoff_min_ms = 100;
  settings.backoff_max_ms = 1000;
  publish_many(1);
  activate();
  auto got = fetch("a", 1);
  CHECK(core->nack({tokens(got), 5000, "later"}, now).empty());
  advance(4999ms);
  CHECK(fetch("a", 1).empty());
  advance(1ms);
  got = fetch("a", 1);
  REQUIRE(got.size() == 1);
  std::chrono::milliseconds least = 200ms;  // second attempt
  for (int attempt = 2; attempt < 8; ++attempt) {
    CHECK(core->nack({tokens(got), std::nullopt, ""}, now).empty());
    const auto surely = std::min<std::chrono::milliseconds>(least, 750ms);
    advance(surely - 1ms);
    CHECK(fetch("a", 1).empty());
    advance(least * 3 / 2 - surely + 1ms);
    got = fetch("a", 1);
    REQUIRE(got.size() == 1);
    least = std::min<std::chrono::milliseconds>(least * 2, 1000ms);
  }
}

TEST_CASE_METHOD(group_bench, "leaving gives everything back at once", "[group]") {
  publish_many(4);
  activate();
  const auto held = fetch("a", 3);
  REQUIRE(core->fetch({900, "a", 5, 10'000}, now));
  core->leave("a", {}, now);
  // Its own waiting fetch ends empty, or gets nothing more.
  CHECK(core->take_answers().size() == 1);
  const auto got = fetch("b", 10);
  CHECK(seqs(got) == seq_list{1, 2, 3, 4});
  CHECK(got[0].token.attempt == 2);
  CHECK(got[3].token.attempt == 1);
  CHECK(ack(held).size() == 3);
}

TEST_CASE_METHOD(group_bench, "what nobody saw comes again without an attempt", "[group]") {
  settings.deliveries_max = 2;
  publish_many(3);
  activate();
  const auto seen = fetch("a", 1);
  REQUIRE(core->fetch({900, "a", 5, 10'000, 0, 77}, now));
  settle_reads();
  CHECK(core->take_answers().size() == 1);
  core->leave("a", std::vector<std::uint64_t>{77}, now);
  const auto got = fetch("b", 10);
  CHECK(seqs(got) == seq_list{1, 2, 3});
  CHECK(got[0].token.attempt == 2);
  CHECK(got[1].token.attempt == 1);
  CHECK(got[2].token.attempt == 1);
  CHECK(ack(seen).size() == 1);
  // However often.
  for (std::uint64_t poll = 100; poll < 110; ++poll) {
    core->leave("b", {}, now);
    activate();
    REQUIRE(core->fetch({poll, "c", 1, 10'000, 0, poll}, now));
    settle_reads();
    (void)core->take_answers();
    core->leave("c", std::vector{poll}, now);
  }
  CHECK(core->counts().dead_lettered == 0);
}

TEST_CASE_METHOD(group_bench, "attempts and not-before times survive a restart", "[group]") {
  publish_many(2);
  activate();
  auto got = fetch("a", 2);
  (void)core->nack({tokens(got), 10'000, "bad"}, now);
  flush();
  activate();
  CHECK(fetch("a", 2).empty());
  advance(10s);
  got = fetch("a", 2);
  REQUIRE(got.size() == 2);
  CHECK(got[0].token.attempt == 2);
  flush();
  activate();
  advance(30s);
  got = fetch("a", 2);
  REQUIRE(got.size() == 2);
  CHECK(got[0].token.attempt == 3);
}

TEST_CASE_METHOD(
    group_bench, "a hold is granted anew after a restart, its token stays good", "[group]") {
  publish_many(1);
  activate();
  const auto got = fetch("a", 1);
  flush();
  advance(29s);
  activate();
  advance(29s);
  CHECK(fetch("b", 1).empty());
  CHECK(ack(got).empty());
  flush();
  CHECK(core->counts().lag == 0);
}

TEST_CASE_METHOD(group_bench, "a delivery that a crash forgot has no valid token", "[group]") {
  publish_many(1);
  activate();
  const auto forgotten = fetch("a", 1);
  activate();
  const auto again = fetch("b", 1);
  REQUIRE(again.size() == 1);
  CHECK(again[0].token.attempt == 1);
  CHECK(ack(forgotten) == tokens(forgotten));
  CHECK(ack(again).empty());
}

TEST_CASE_METHOD(group_bench, "deliveries past the maximum become a dead letter", "[group]") {
  settings.deliveries_max = 3;
  publish_many(2);
  activate();
  for (int attempt = 1; attempt <= 3; ++attempt) {
    const auto got = fetch("a", 1);
    REQUIRE(seqs(got) == seq_list{1});
    CHECK(core->take_dead_letters().empty());
    (void)core->nack({tokens(got), 0, "broken"}, now);
  }
  settle_reads();
  auto letters = core->take_dead_letters();
  REQUIRE(letters.size() == 1);
  CHECK(letters[0].event.seq == sequence{1});
  CHECK(letters[0].attempts == 3);
  REQUIRE(letters[0].history.size() == 3);
  CHECK(letters[0].history[2].error == "broken");
  CHECK(letters[0].history[2].member == "a");
  CHECK(letters[0].history[2].outcome == "nack");
  // Not published yet: it stays unacked, over a restart too, and is tried again.
  core->dead_letter_failed(sequence{1}, now);
  settle_reads();
  CHECK(core->take_dead_letters().empty());
  flush();
  activate();
  settle_reads();
  letters = core->take_dead_letters();
  REQUIRE(letters.size() == 1);
  CHECK(letters[0].history.size() == 3);
  CHECK(core->counts().dead_lettered == 0);
  core->dead_letter_published(sequence{1});
  flush();
  CHECK(core->counts().dead_lettered == 1);
  CHECK(core->counts().floor == sequence{1});
  CHECK(seqs(fetch("a", 5)) == seq_list{2});
}

TEST_CASE_METHOD(group_bench, "one poisoned subject among 1000 blocks no other", "[group]") {
  settings.ordered_by_subject = true;
  settings.in_flight_max = 50;
  for (std::uint64_t round = 0; round < 5; ++round) {
    for (std::uint64_t subject = 1; subject <= 1000; ++subject)
      publish(subject);
  }
  activate();
  std::map<std::uint64_t, std::vector<std::uint64_t>> acked;
  std::uint64_t poisoned = 0;
  for (int step = 0; step < 400 && acked.size() < 999 * 5; ++step) {
    for (const auto& one : fetch("a", 50)) {
      const auto subject = topic.at(one.event.seq.raw() - 1).subject;
      if (subject == 7) {
        ++poisoned;
        (void)core->nack({tokens({one}), 1000, "poison"}, now);
      } else {
        acked[subject].push_back(one.event.seq.raw());
        (void)ack({one});
      }
    }
    flush();
    advance(1ms);
  }
  CHECK(acked.size() == 999);
  for (const auto& [subject, list] : acked) {
    REQUIRE(list.size() == 5);
    REQUIRE(std::ranges::is_sorted(list));
  }
  CHECK(poisoned == 1);
  CHECK(core->counts().lag == 5);
  // Each read moved on: nothing is read again and again without being handed out.
  CHECK(reads < 400);
}

TEST_CASE_METHOD(group_bench, "order per subject holds over a restart", "[group]") {
  settings.ordered_by_subject = true;
  for (int i = 0; i < 3; ++i) {
    publish(1);
    publish(2);
  }
  activate();
  const auto got = fetch("a", 10);
  CHECK(seqs(got) == seq_list{1, 2});
  (void)core->nack({tokens({got[0]}), 1000, ""}, now);
  (void)ack({got[1]});
  flush();
  activate();
  CHECK(seqs(fetch("a", 10)) == seq_list{4});
  advance(1s);
  CHECK(seqs(fetch("a", 10)) == seq_list{1});
}

TEST_CASE_METHOD(
    group_bench, "the floor passes a blocking event once the span is too wide", "[group]") {
  limits.ack_span_max = 100;
  publish_many(1000);
  activate();
  const auto stuck = fetch("slow", 1);
  REQUIRE(seqs(stuck) == seq_list{1});
  for (int i = 0; i < 60; ++i) {
    (void)ack(fetch("a", 20));
    flush();
  }
  CHECK(core->counts().lag == 1);
  CHECK(core->counts().floor > sequence{800});
  CHECK(core->ledger().needed_after() == sequence{0});
  // Still held, still ackable, and not lost by a restart.
  activate();
  CHECK(core->counts().lag == 1);
  CHECK(core->counts().in_flight == 1);
  CHECK(ack(stuck).empty());
  flush();
  CHECK(core->counts().lag == 0);
  CHECK(core->ledger().acked().ranges().size() <= 1);
}

TEST_CASE_METHOD(group_bench, "a small and a large fetch share what there is", "[group]") {
  activate();
  REQUIRE(core->fetch({1, "large", 100, 1000}, now));
  REQUIRE(core->fetch({2, "small", 2, 1000}, now));
  settle_reads();
  CHECK(core->take_answers().empty());
  publish_many(10);
  settle_reads();
  const auto answers = core->take_answers();
  REQUIRE(answers.size() == 2);
  CHECK(answers[0].deliveries.size() == 8);
  CHECK(answers[1].deliveries.size() == 2);
}

TEST_CASE_METHOD(group_bench, "waiting fetches are bounded and end with their wait", "[group]") {
  limits.waiters_max = 2;
  activate();
  REQUIRE(core->fetch({1, "a", 1, 100}, now));
  REQUIRE(core->fetch({2, "b", 1, 200}, now));
  CHECK(core->fetch({3, "c", 1, 200}, now).error().code == errc::overloaded);
  CHECK(core->counts().members == 2);
  advance(100ms);
  settle_reads();
  const auto answers = core->take_answers();
  REQUIRE(answers.size() == 1);
  CHECK(answers[0].key == 1);
  CHECK(answers[0].deliveries.empty());
}

TEST_CASE_METHOD(group_bench, "more in flight than allowed after a restart drains", "[group]") {
  publish_many(20);
  activate();
  const auto got = fetch("a", 10);
  flush();
  settings.in_flight_max = 4;
  activate();
  CHECK(core->counts().in_flight == 10);
  CHECK(fetch("b", 5).empty());
  (void)ack({got.begin(), got.begin() + 7});
  CHECK(fetch("b", 5).size() == 1);
}

TEST_CASE_METHOD(group_bench, "a cursor ahead of its topic is clamped", "[group]") {
  group_ledger ledger{sequence{50}};
  CHECK(ledger.clamp(sequence{20}));
  CHECK(ledger.floor() == sequence{20});
  CHECK_FALSE(ledger.clamp(sequence{20}));
}

TEST_CASE_METHOD(group_bench, "what retention took needs no ack", "[group]") {
  publish_many(10);
  activate();
  const auto got = fetch("a", 2);
  (void)core->nack({tokens(got), 0, ""}, now);
  first_kept = sequence{6};
  const auto next = fetch("a", 10);
  CHECK(seqs(next) == seq_list{6, 7, 8, 9, 10});
  (void)ack(next);
  flush();
  CHECK(core->counts().lag == 0);
}

TEST_CASE_METHOD(group_bench, "what retention took without an ack is counted", "[group]") {
  publish_many(10);
  activate();
  const auto got = fetch("a", 4);
  (void)ack({got[1], got[2]});
  flush();
  // One that is held, one that waits, and two that nobody had yet; two were acked.
  (void)core->nack({tokens({got[3]}), 0, ""}, now);
  core->gone(sequence{6}, now);
  CHECK(core->counts().missed == 4);
  core->gone(sequence{6}, now);
  flush();
  CHECK(core->counts().missed == 4);
  CHECK(core->counts().floor == sequence{6});
  activate();
  CHECK(core->counts().missed == 4);
  core->gone(sequence{8}, now);
  flush();
  CHECK(core->counts().missed == 6);
}

TEST_CASE_METHOD(group_bench, "live events are taken only in their place", "[group]") {
  publish_many(2);
  activate();
  CHECK_FALSE(core->takes(sequence{3}));
  (void)ack(fetch("a", 10));
  REQUIRE(core->fetch({50, "a", 10, 1000}, now));
  settle_reads();
  publish_many(2);
  CHECK(core->takes(sequence{3}));
  const auto reads_before = reads;
  core->offer({topic.data() + 2, 2});
  settle_reads();
  CHECK(reads == reads_before);
  const auto answers = core->take_answers();
  REQUIRE(answers.size() == 1);
  CHECK(seqs(answers[0].deliveries) == seq_list{3, 4});
}

}  // namespace callboard::runtime
