// A subscription against a model: random live batches, skips, reads, trims, credit and full
// outputs. Whatever happens, the client sees every seq once and in order, or is told what is gone.
#include "runtime/subscription/subscription_core.hpp"

#include "tests/support/catch.hpp"

#include <algorithm>
#include <cstdlib>
#include <random>

using namespace callboard;
using namespace callboard::runtime;

namespace {

/// The world around one subscription: a topic, its journal, and a client that checks.
class world {
public:
  world(std::uint32_t seed, slow_policy policy, bool limited)
      : random_{seed},
        credits_{limited ? std::optional<std::uint64_t>{3} : std::nullopt},
        core_{policy, credits_},
        policy_{policy} {}

  void begin() {
    last_ = draw(40);
    first_ = 1 + draw(last_ + 1);
    if (first_ > last_ + 1) first_ = last_ + 1;
    const topic_head head{true, false, "e", sequence{first_}, sequence{last_}};
    position from = from_first{};
    switch (draw(4)) {
    case 0:
      from = from_now{};
      break;
    case 1:
      from = from_seq{sequence{draw(last_ + 5)}};
      break;
    case 2:
      from = after_cursor{{"e", sequence{draw(last_ + 1)}}};
      break;
    case 3:
      from = from_time{};
      break;
    default:
      break;
    }
    const bool by_time = std::holds_alternative<from_time>(from);
    const auto begun = core_.start(from, head);
    time_target_ = first_ + (last_ >= first_ ? draw(last_ - first_ + 1) : 0);
    expected_ = by_time && core_.is_searching() ? time_target_ : begun.after.raw() + 1;
    lenient_ = by_time || std::holds_alternative<from_first>(from);
  }

  void step() {
    switch (draw(9)) {
    case 0:
    case 1:
    case 2:
      return live(1 + draw(5), true);
    case 3:
      return live(1 + draw(5), false);
    case 4:
    case 5:
    case 6:
      return read();
    case 7:
      return trim();
    case 8:
      room_ = static_cast<std::uint32_t>(draw(8));
      return;
    default:
      credits_.add(draw(6));
    }
  }

  /// The client takes everything from now on.
  void settle() {
    room_ = UINT32_MAX;
    credits_.left.reset();
    for (int i = 0; i < 200 && core_.is_behind(); ++i)
      read();
    REQUIRE_FALSE(core_.is_behind());
    live(1, true);
    for (int i = 0; i < 10 && core_.is_behind(); ++i)
      read();
    REQUIRE(std::max(expected_, last_ + 1) == expected_);
    REQUIRE_FALSE(lagging_);
  }

private:
  std::uint64_t draw(std::uint64_t below_or_equal) {
    return std::uniform_int_distribution<std::uint64_t>{0, below_or_equal}(random_);
  }

  void live(std::uint64_t count, bool comes_here) {
    const auto first = last_ + 1;
    last_ += count;
    if (!comes_here) return core_.skipped(sequence{last_});
    const auto planned = core_.offer(sequence{first}, static_cast<std::uint32_t>(count));
    send(first, planned);
  }

  void read() {
    const auto wanted = core_.wanted();
    if (!wanted) return;
    const bool was_searching = core_.is_searching();
    auto from = was_searching ? time_target_ : wanted->raw();
    from = std::max(from, first_);
    if (from > last_) {
      // Where it begins is settled: whatever goes after that is a gap.
      if (!was_searching && first_ > wanted->raw()) lenient_ = false;
      const auto plan = core_.empty_page(sequence{first_}, sequence{from});
      if (plan.gap) take_gap(*plan.gap);
      expected_ = std::max(expected_, core_.next().raw());
      heard(plan.tell);
      return;
    }
    const auto count = std::min<std::uint64_t>(last_ - from + 1, 1 + draw(6));
    const auto plan = core_.page(sequence{from}, static_cast<std::uint32_t>(count));
    // The start of `first` and of a time may move on with retention; that is not a gap.
    if (lenient_) expected_ = std::max(expected_, from);
    lenient_ = false;
    if (plan.gap) take_gap(*plan.gap);
    send(from, plan.send);
  }

  void take_gap(seq_gap gap) {
    if (policy_ != slow_policy::latest) REQUIRE(gap.from.raw() == expected_);
    REQUIRE(gap.from.raw() >= expected_);
    REQUIRE(gap.to >= gap.from);
    REQUIRE(gap.to.raw() < first_);
    expected_ = gap.to.raw() + 1;
  }

  void send(std::uint64_t first, portion planned) {
    if (planned.count == 0) return;
    const auto taken = static_cast<std::uint32_t>(std::min<std::uint64_t>(planned.count, room_));
    room_ -= room_ == UINT32_MAX ? 0 : taken;
    for (std::uint32_t i = 0; i < taken; ++i) {
      const auto seq = first + planned.skip + i;
      if (policy_ == slow_policy::latest) {
        REQUIRE(seq >= expected_);
      } else {
        REQUIRE(seq == expected_);
      }
      REQUIRE(seq <= last_);
      expected_ = seq + 1;
      lenient_ = false;
    }
    heard(core_.sent(planned, taken));
  }

  void heard(advice tell) {
    REQUIRE_FALSE((tell.tell_lagging && lagging_));
    if (tell.tell_lagging) lagging_ = true;
    if (tell.tell_caught_up) {
      REQUIRE_FALSE(core_.is_behind());
      lagging_ = false;
    }
  }

  void trim() {
    if (last_ >= first_) first_ += draw(std::min<std::uint64_t>(3, last_ - first_ + 1));
  }

  std::mt19937 random_;
  credit_account credits_;
  subscription_core core_;
  slow_policy policy_;
  std::uint64_t first_ = 1;
  std::uint64_t last_ = 0;
  std::uint64_t time_target_ = 1;
  std::uint64_t expected_ = 1;
  std::uint32_t room_ = 4;
  /// Until the first event, the beginning may move on with retention.
  bool lenient_ = false;
  bool lagging_ = false;
};

}  // namespace

TEST_CASE("no silent gap and no repeat, whatever happens", "[subscription][property]") {
  const char* given = std::getenv("CALLBOARD_SEED");
  const std::uint32_t base = given != nullptr
                                 ? static_cast<std::uint32_t>(std::strtoul(given, nullptr, 10))
                                 : std::random_device{}();
  for (std::uint32_t round = 0; round < 3000; ++round) {
    const auto seed = base + round;
    INFO("CALLBOARD_SEED=" << seed);
    const auto policy = seed % 5 == 0 ? slow_policy::latest : slow_policy::lag;
    world w{seed, policy, seed % 3 == 0};
    w.begin();
    for (int i = 0; i < 120; ++i)
      w.step();
    w.settle();
  }
}
