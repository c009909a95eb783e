// How many calls for a model a provider gets at once: as many as it takes without complaint.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

namespace callboard::model {

/// Additive increase, multiplicative decrease (Chiu and Jain, 1989): about one more for every
/// `limit` successes, half after an overload. Calls that were under way when the limit fell say
/// nothing new, so one burst of refusals halves it once. Nor does a tenant that is still refused
/// while others are answered, or are still to be: that lies in its requests, and does not halve
/// what others have. Not thread-safe.
class adaptive_limit {
public:
  /// Which fall of the limit a call began after.
  using generation = std::uint64_t;

  /// 1 <= min <= start <= max; values outside are moved there.
  adaptive_limit(std::uint32_t min, std::uint32_t max, std::uint32_t start);

  [[nodiscard]] bool has_room() const { return in_flight_ < current(); }

  /// Counts one call as under way; pass what it returns to the end of the call.
  [[nodiscard]] generation begin(const std::string& tenant);

  void succeeded(const std::string& tenant, generation began);

  /// 429, 5xx, a timeout.
  void overloaded(const std::string& tenant, generation began);

  /// Ended without telling anything about load: cancelled, refused, network.
  void ended(const std::string& tenant);

  [[nodiscard]] std::uint32_t current() const { return static_cast<std::uint32_t>(limit_); }

  [[nodiscard]] std::uint32_t in_flight() const { return in_flight_; }

private:
  /// Whether somebody is answered, or has a call under way and was not refused.
  [[nodiscard]] bool others_fare_well() const;

  double min_;
  double max_;
  double limit_;
  std::uint32_t in_flight_ = 0;
  generation generation_ = 0;
  /// How many calls each tenant has under way.
  std::map<std::string, std::uint32_t> open_;
  /// Whose refusals made it fall, and who had no answer to a call that began since.
  std::set<std::string> refused_;
  /// Who had an answer since it fell, and no refusal after that.
  std::set<std::string> answered_;
};

}  // namespace callboard::model
