// How many calls for a model a provider gets at once: as many as it takes without complaint.
#pragma once

#include <cstdint>
#include <set>
#include <string>

namespace callboard::model {

/// Additive increase, multiplicative decrease (Chiu and Jain, 1989): about one more for every
/// `limit` successes, half after an overload. Calls that were under way when the limit fell say
/// nothing new, so one burst of refusals halves it once. Nor does a tenant that is still refused
/// while others are answered: that lies in its requests, and does not halve what others have. Not
/// thread-safe.
class adaptive_limit {
public:
  /// Which fall of the limit a call began after.
  using generation = std::uint64_t;

  /// 1 <= min <= start <= max; values outside are moved there.
  adaptive_limit(std::uint32_t min, std::uint32_t max, std::uint32_t start);

  [[nodiscard]] bool has_room() const { return in_flight_ < current(); }

  /// Counts one call as under way; pass what it returns to the end of the call.
  [[nodiscard]] generation begin();

  void succeeded(const std::string& tenant, generation began);

  /// 429, 5xx, a timeout.
  void overloaded(const std::string& tenant, generation began);

  /// Ended without telling anything about load: cancelled, refused, network.
  void ended();

  [[nodiscard]] std::uint32_t current() const { return static_cast<std::uint32_t>(limit_); }

  [[nodiscard]] std::uint32_t in_flight() const { return in_flight_; }

private:
  double min_;
  double max_;
  double limit_;
  std::uint32_t in_flight_ = 0;
  generation generation_ = 0;
  /// Whose refusals made it fall, and who had no answer since.
  std::set<std::string> refused_;
  /// There was an answer since it fell.
  bool is_answered_ = true;
};

}  // namespace callboard::model
