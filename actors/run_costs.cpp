#include "actors/run_costs.hpp"

#include <algorithm>

namespace callboard::actors {

namespace {

constexpr boot_time turn_max = std::chrono::milliseconds{50};

}  // namespace

void run_costs::note_turn(boot_time took) {
  if (took <= turn_max) return;
  counters_.long_turns.Increment();
  ++long_turns_;
  longest_turn_ = std::max(longest_turn_, took);
}

void run_costs::note_step(boot_time took) {
  counters_.step_time.Observe(std::chrono::duration<double>(took).count());
}

void run_costs::end_replay(boot_time when) {
  const auto took = when - replay_began_;
  replay_took_ = std::chrono::duration_cast<std::chrono::milliseconds>(took);
  counters_.replay_time.Observe(std::chrono::duration<double>(took).count());
  counters_.replay_bytes.Observe(static_cast<double>(history_bytes_));
}

void run_costs::note_history(std::uint64_t bytes) {
  charge_.resize(bytes);
  history_bytes_ = bytes;
}

}  // namespace callboard::actors
