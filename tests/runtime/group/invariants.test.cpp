// Random schedules of fetch, ack, nack, expiry, leave, commit and crash against a brute-force
// model. Goal: what a consumer group promises holds in every reachable state, not in chosen ones.
#include "tests/runtime/group/group_bench.hpp"

#include <random>
#include <set>

namespace callboard::runtime {

namespace {

constexpr std::uint64_t subjects_count = 5;

class schedule : public group_bench {
public:
  explicit schedule(std::uint32_t seed, const group_settings& kind) : random_{seed} {
    settings = kind;
    settings.in_flight_max = 1 + static_cast<std::uint32_t>(random_() % 12);
    settings.deliveries_max = 2 + static_cast<std::uint32_t>(random_() % 4);
    settings.hold_ms = 500;
    settings.backoff_max_ms = 400;
    limits.ack_span_max = 16 + static_cast<std::uint32_t>(random_() % 40);
    limits.read_events_max = 1 + static_cast<std::uint32_t>(random_() % 20);
    activate();
  }

  void step() {
    const auto action = random_() % 100;
    if (action < 25) {
      for (auto n = random_() % 4; n > 0; --n)
        publish(random_() % subjects_count);
    } else if (action < 50) {
      take(fetch(member(), 1 + static_cast<std::uint32_t>(random_() % 5)));
    } else if (action < 70) {
      ack_some();
    } else if (action < 80) {
      nack_some();
    } else if (action < 84) {
      const auto who = member();
      core->leave(who, {}, now);
    } else if (action < 90) {
      advance(std::chrono::milliseconds{random_() % 300});
    } else if (action < 93) {
      ack_up_to();
    } else if (action < 95) {
      crash();
    }
    if (random_() % 2 == 0) begin_append(random_() % 3 == 0);
    if (random_() % 2 == 0) finish_append();
    dead_letters();
    check();
  }

  /// Consumes until nothing is left; everything must have been delivered or dead-lettered.
  void drain() {
    for (int round = 0; round < 2000 && core->counts().lag > 0; ++round) {
      take(fetch("drain", 10));
      for (auto& [seq, token] : outstanding_)
        tokens_.push_back(token);
      acks_requested();
      begin_append(true);
      finish_append();
      dead_letters();
      advance(200ms);
      check();
    }
    REQUIRE(core->counts().lag == 0);
    REQUIRE(core->ledger().floor() == last());
    for (auto seq = 1U; seq <= topic.size(); ++seq) {
      INFO("event " << seq);
      REQUIRE((delivered_.contains(seq) || skipped_up_to_ >= seq));
    }
  }

private:
  std::string member() { return std::string(1, static_cast<char>('a' + random_() % 3)); }

  void take(const std::vector<held_delivery>& deliveries) {
    for (const auto& one : deliveries) {
      const auto seq = one.event.seq.raw();
      INFO("delivery of " << seq);
      // A resolved ack is never undone.
      REQUIRE_FALSE(durable_.contains(seq));
      REQUIRE(one.token.attempt <= settings.deliveries_max);
      delivered_.insert(seq);
      outstanding_[seq] = format_token(one.token);
      if (settings.ordered_by_subject) check_order(seq);
    }
  }

  void check_order(std::uint64_t seq) {
    const auto subject = topic.at(seq - 1).subject;
    if (subject == 0) return;
    for (auto earlier = 1U; earlier < seq; ++earlier) {
      if (topic.at(earlier - 1).subject != subject) continue;
      INFO("event " << seq << " before " << earlier);
      REQUIRE((durable_.contains(earlier) || requested_.contains(earlier)));
    }
  }

  void ack_some() {
    for (const auto& [seq, token] : outstanding_) {
      if (random_() % 2 == 0) tokens_.push_back(token);
    }
    acks_requested();
  }

  void acks_requested() {
    const auto lost = core->ack(tokens_, std::nullopt, now);
    const std::set<std::string> stale(lost.begin(), lost.end());
    for (const auto& token : tokens_) {
      const auto seq = parse_token(token)->seq.raw();
      if (!stale.contains(token)) requested_.insert(seq);
      outstanding_.erase(seq);
    }
    tokens_.clear();
  }

  void nack_some() {
    std::vector<std::string> some;
    for (const auto& [seq, token] : outstanding_) {
      if (random_() % 3 == 0) some.push_back(token);
    }
    const auto delay =
        random_() % 2 == 0 ? std::optional<std::uint32_t>{random_() % 300} : std::nullopt;
    const auto kind = static_cast<nack_kind>(random_() % 3);
    (void)core->nack({some, delay, "e", kind}, now);
    for (const auto& token : some) {
      const auto seq = parse_token(token)->seq.raw();
      outstanding_.erase(seq);
      if (kind == nack_kind::give_up) given_up_.insert(seq);
    }
  }

  void ack_up_to() {
    if (topic.empty()) return;
    const auto up_to = core->ledger().floor().raw() + random_() % 4;
    (void)core->ack({}, sequence{up_to}, now);
    const auto end = std::min<std::uint64_t>(up_to, topic.size());
    skipped_up_to_ = std::max(skipped_up_to_, end);
    for (auto seq = 1U; seq <= end; ++seq) {
      requested_.insert(seq);
      outstanding_.erase(seq);
    }
  }

  void dead_letters() {
    settle_reads();
    // A fetch that waits for nothing is answered at once, so nothing is lost here.
    for (const auto& answer : core->take_answers())
      take(answer.deliveries);
    for (const auto& letter : core->take_dead_letters()) {
      const bool is_given_up = given_up_.contains(letter.event.seq.raw());
      REQUIRE((letter.attempts >= settings.deliveries_max || is_given_up));
      REQUIRE(delivered_.contains(letter.event.seq.raw()));
      if (random_() % 4 == 0) {
        core->dead_letter_failed(letter.event.seq, now);
      } else {
        core->dead_letter_published(letter.event.seq);
        requested_.insert(letter.event.seq.raw());
      }
    }
  }

  void finish_append() {
    commit_append();
    for (; seen_ < records.size(); ++seen_) {
      for (const auto& range : records[seen_].acked) {
        for (auto seq = range.first; seq <= range.last; seq = seq.next()) {
          // Nothing is settled that nobody acked.
          REQUIRE(requested_.contains(seq.raw()));
          durable_.insert(seq.raw());
        }
      }
    }
  }

  /// The append that was under way may or may not have reached the journal.
  void crash() {
    if (random_() % 2 == 0) finish_append();
    activate();
    requested_ = durable_;
    outstanding_.clear();
    REQUIRE(core->ledger().floor() >= floor_);
  }

  void check() {
    const auto counts = core->counts();
    REQUIRE(counts.in_flight <= settings.in_flight_max);
    REQUIRE(counts.floor >= floor_);
    floor_ = counts.floor;
    std::uint64_t unacked = 0;
    std::optional<std::uint64_t> oldest;
    for (std::uint64_t seq = 1; seq <= topic.size(); ++seq) {
      if (durable_.contains(seq)) continue;
      ++unacked;
      if (!oldest) oldest = seq;
    }
    REQUIRE(counts.lag == unacked);
    REQUIRE(counts.oldest.has_value() == oldest.has_value());
    if (oldest) REQUIRE(counts.oldest->raw() == *oldest);
    const auto copy = decode_group_snapshot(encode_group_snapshot(core->ledger(), settings));
    REQUIRE(copy);
    REQUIRE(*copy == core->ledger());
  }

  std::mt19937 random_;
  /// Acked, dead-lettered or skipped, and committed; the same, asked for only.
  std::set<std::uint64_t> durable_;
  std::set<std::uint64_t> requested_;
  std::set<std::uint64_t> delivered_;
  std::set<std::uint64_t> given_up_;
  std::map<std::uint64_t, std::string> outstanding_;
  std::vector<std::string> tokens_;
  std::uint64_t skipped_up_to_ = 0;
  std::size_t seen_ = 0;
  sequence floor_{};
};

void run_schedules(const group_settings& kind) {
  const auto base = std::random_device{}();
  for (std::uint32_t n = 0; n < 60; ++n) {
    const auto seed = base + n;
    INFO("seed " << seed);
    schedule one{seed, kind};
    for (int step = 0; step < 400; ++step)
      one.step();
    one.drain();
  }
}

}  // namespace

TEST_CASE("random schedules keep a group's promises", "[runtime][group][property]") {
  run_schedules({});
}

TEST_CASE("random schedules keep order per subject", "[runtime][group][property]") {
  run_schedules({.ordered_by_subject = true});
}

TEST_CASE("random schedules keep the promises of bindings", "[runtime][group][property]") {
  run_schedules({.ordered_by_subject = true, .binding = "{}"});
}

}  // namespace callboard::runtime
