#include "bench/histogram.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace callboard::bench {

std::size_t histogram::bucket_of(std::uint64_t value) {
  constexpr std::uint64_t linear = 1ULL << linear_bits;
  if (value < linear) return static_cast<std::size_t>(value);
  const auto shift = static_cast<int>(std::bit_width(value)) - 1 - linear_bits;
  const auto within = (value >> shift) - linear;
  return static_cast<std::size_t>(
      linear + (static_cast<std::uint64_t>(shift) << linear_bits) + within);
}

std::uint64_t histogram::upper_bound_of(std::size_t bucket) {
  constexpr std::uint64_t linear = 1ULL << linear_bits;
  if (bucket < linear) return bucket;
  const auto shift = (bucket - linear) >> linear_bits;
  const auto within = (bucket - linear) & (linear - 1);
  return ((linear + within + 1) << shift) - 1;
}

void histogram::record(std::int64_t value) {
  value = std::max<std::int64_t>(value, 0);
  ++counts_[bucket_of(static_cast<std::uint64_t>(value))];
  ++count_;
  sum_ += static_cast<double>(value);
  max_ = std::max(max_, value);
}

void histogram::merge(const histogram& other) {
  for (std::size_t i = 0; i < counts_.size(); ++i)
    counts_[i] += other.counts_[i];
  count_ += other.count_;
  sum_ += other.sum_;
  max_ = std::max(max_, other.max_);
}

void histogram::clear() {
  std::ranges::fill(counts_, 0);
  count_ = 0;
  sum_ = 0;
  max_ = 0;
}

double histogram::mean() const {
  return count_ == 0 ? 0 : sum_ / static_cast<double>(count_);
}

std::int64_t histogram::percentile(double percent) const {
  if (count_ == 0) return 0;
  const auto wanted = std::max<std::uint64_t>(
      1, static_cast<std::uint64_t>(std::ceil(percent / 100.0 * static_cast<double>(count_))));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    seen += counts_[i];
    if (seen >= wanted) {
      return std::min(max_, static_cast<std::int64_t>(upper_bound_of(i)));
    }
  }
  return max_;
}

}  // namespace callboard::bench
