// What is different in the groups that bindings stand on: only refusals count, a restart gives
// everything back at once, and a redrive has an end.
#include "tests/runtime/group/group_bench.hpp"

namespace callboard::runtime {

namespace {

using seq_list = std::vector<std::uint64_t>;

class binding_bench : public group_bench {
public:
  binding_bench() {
    settings.binding = "{}";
    settings.deliveries_max = 3;
  }

  void give_back(const std::vector<held_delivery>& what, nack_kind kind, std::string why = "why") {
    CHECK(core->nack({tokens(what), 0, std::move(why), kind}, now).empty());
  }
};

}  // namespace

TEST_CASE_METHOD(
    binding_bench, "what a binding held when the node died is due at once", "[group][binding]") {
  publish_many(3);
  activate();
  const auto held = fetch("binding", 2);
  flush();
  activate();
  CHECK(core->counts().in_flight == 0);
  const auto again = fetch("binding", 10);
  CHECK(seqs(again) == seq_list{1, 2, 3});
  // It was no attempt, and the token of before is worth nothing.
  CHECK(again[0].token.attempt == 1);
  CHECK(ack(held) == tokens(held));
  CHECK(ack(again).empty());
}

TEST_CASE_METHOD(binding_bench, "only a retry counts as an attempt", "[group][binding]") {
  publish_many(1);
  activate();
  for (int round = 0; round < 20; ++round) {
    const auto held = fetch("binding", 1);
    REQUIRE(seqs(held) == seq_list{1});
    CHECK(held[0].token.attempt == 1);
    switch (round % 4) {
    case 0:
      give_back(held, nack_kind::put_back);
      break;
    case 1:
      advance(std::chrono::milliseconds{settings.hold_ms});
      break;
    case 2:
      core->leave("binding", {}, now);
      break;
    default:
      flush();
      activate();
    }
  }
  for (std::uint32_t attempt = 1; attempt <= 3; ++attempt) {
    const auto held = fetch("binding", 1);
    REQUIRE(held.size() == 1);
    CHECK(held[0].token.attempt == attempt);
    give_back(held, nack_kind::retry, "not there");
  }
  settle_reads();
  const auto letters = core->take_dead_letters();
  REQUIRE(letters.size() == 1);
  CHECK(letters[0].attempts == 3);
  CHECK(letters[0].history.size() == 3);
  CHECK(core->last_error() == "not there");
}

TEST_CASE_METHOD(binding_bench, "what is given up dies at the first attempt", "[group][binding]") {
  publish_many(2);
  activate();
  give_back(fetch("binding", 1), nack_kind::give_up, "no such type");
  settle_reads();
  auto letters = core->take_dead_letters();
  REQUIRE(letters.size() == 1);
  CHECK(letters[0].attempts == 1);
  REQUIRE(letters[0].history.size() == 1);
  CHECK(letters[0].history[0].outcome == "refused");
  CHECK(letters[0].history[0].error == "no such type");
  // Killed before the letter was out: the target is asked again.
  flush();
  activate();
  const auto again = fetch("binding", 1);
  REQUIRE(seqs(again) == seq_list{1});
  give_back(again, nack_kind::give_up);
  settle_reads();
  REQUIRE(core->take_dead_letters().size() == 1);
  core->dead_letter_published(sequence{1});
  flush();
  CHECK(core->counts().dead_lettered == 1);
  CHECK(core->counts().floor == sequence{1});
}

TEST_CASE_METHOD(
    binding_bench, "a redrive stops at its end until it is moved", "[group][binding]") {
  settings.up_to = sequence{3};
  publish_many(5);
  activate();
  const auto first = fetch("binding", 10);
  CHECK(seqs(first) == seq_list{1, 2, 3});
  CHECK(ack(first).empty());
  publish();
  CHECK_FALSE(core->takes(sequence{6}));
  CHECK(fetch("binding", 10).empty());
  flush();
  activate();
  CHECK(fetch("binding", 10).empty());
  CHECK(core->counts().lag == 3);
  settings.up_to = sequence{6};
  core->change_settings(settings, now);
  CHECK(seqs(fetch("binding", 10)) == seq_list{4, 5, 6});
}

TEST_CASE_METHOD(
    binding_bench,
    "a letter that was to take another's place has it or is settled",
    "[group][binding]") {
  publish_many(4);
  activate();
  REQUIRE(core->replace(sequence{1}, sequence{3}, now));
  for (const sequence written : {sequence{3}, sequence{4}})
    core->ack_orphan(written, now);
  // Too late for this one.
  CHECK_FALSE(core->replace(sequence{2}, sequence{4}, now));
  flush();
  activate();
  CHECK(seqs(fetch("binding", 10)) == seq_list{2, 3});
  CHECK(core->root_of(sequence{3}) == sequence{1});
}

}  // namespace callboard::runtime
