// kill -9 at one position of the journal after the other (tests/support/kill_at_journal.cpp).
#pragma once

#include "tests/support/catch.hpp"

#include <iostream>
#include <string>

namespace callboard::testing {

/// `Life` is made with a position, lives through its kill, and says `was_killed()` and `last()`:
/// what the node said last. Each is checked; ends behind the last position, and fails if that were
/// not more than `positions_min`.
template <class Life, class Check>
void kill_everywhere(const std::string& at, Check check, int positions_min = 20) {
  int position = 0;
  for (bool was_killed = true; was_killed;) {
    const auto where = at + std::to_string(++position);
    INFO("CALLBOARD_KILL_AT=" << where);
    Life life{where};
    INFO(life.last());
    check(life);
    was_killed = life.was_killed();
  }
  std::cout << at << " killed at " << position - 1 << " positions" << std::endl;
  CHECK(position > positions_min);
}

}  // namespace callboard::testing
