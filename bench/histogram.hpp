// A histogram of times with bounded relative error, so that the 99.9th percentile of millions of
// samples costs nothing to keep.
#pragma once

#include <cstdint>
#include <vector>

namespace callboard::bench {

/// Log-linear buckets: 128 to each power of two, so a percentile is at most 0.8 % too high, never
/// too low. Units are nanoseconds by convention. Values below 0 count as 0.
class histogram {
public:
  histogram() : counts_(bucket_count) {}

  void record(std::int64_t value);

  void merge(const histogram& other);

  void clear();

  [[nodiscard]] std::uint64_t count() const { return count_; }

  [[nodiscard]] std::int64_t max() const { return max_; }

  [[nodiscard]] double mean() const;

  /// The smallest bucket bound that at least `percent` of the samples do not exceed, capped at
  /// `max()`; 0 if there are none. Precondition: 0 < percent <= 100.
  [[nodiscard]] std::int64_t percentile(double percent) const;

private:
  static constexpr int linear_bits = 7;
  static constexpr std::size_t bucket_count = (64 - linear_bits) << linear_bits;

  [[nodiscard]] static std::size_t bucket_of(std::uint64_t value);
  [[nodiscard]] static std::uint64_t upper_bound_of(std::size_t bucket);

  std::vector<std::uint64_t> counts_;
  std::uint64_t count_ = 0;
  double sum_ = 0;
  std::int64_t max_ = 0;
};

}  // namespace callboard::bench
