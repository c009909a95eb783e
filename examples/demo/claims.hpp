// What the demo promises, each promise checked against what was seen.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace callboard::demo {

/// Owned by main's thread.
class claims {
public:
  /// Prints the claim with what was seen, and remembers if it does not hold.
  void expect(bool holds, std::string_view claim, const std::string& seen);

  /// `seen` must equal `wanted`.
  void expect_count(std::string_view claim, std::uint64_t seen, std::uint64_t wanted);

  [[nodiscard]] bool all_hold() const { return broken_ == 0; }

  [[nodiscard]] int checked() const { return checked_; }

private:
  int checked_ = 0;
  int broken_ = 0;
};

}  // namespace callboard::demo
