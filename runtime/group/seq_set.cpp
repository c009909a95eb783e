#include "runtime/group/seq_set.hpp"

#include <algorithm>
#include <iterator>

namespace callboard::runtime {

void seq_set::add(seq_range range) {
  auto first = range.first.raw();
  auto last = range.last.raw();
  if (first > last) return;
  auto it = ranges_.upper_bound(first);
  if (it != ranges_.begin()) {
    const auto before = std::prev(it);
    // Touching ranges become one.
    if (before->second + 1 >= first) it = before;
  }
  while (it != ranges_.end() && it->first <= last + 1) {
    first = std::min(first, it->first);
    last = std::max(last, it->second);
    it = ranges_.erase(it);
  }
  ranges_.emplace_hint(it, first, last);
}

void seq_set::erase_up_to(sequence last) {
  auto it = ranges_.begin();
  while (it != ranges_.end() && it->first <= last.raw()) {
    const auto end = it->second;
    it = ranges_.erase(it);
    if (end > last.raw()) {
      ranges_.emplace_hint(it, last.raw() + 1, end);
      return;
    }
  }
}

void seq_set::erase_after(sequence last) {
  auto it = ranges_.upper_bound(last.raw());
  ranges_.erase(it, ranges_.end());
  if (ranges_.empty()) return;
  auto& end = ranges_.rbegin()->second;
  end = std::min(end, last.raw());
}

std::optional<seq_range> seq_set::range_with(sequence seq) const {
  auto it = ranges_.upper_bound(seq.raw());
  if (it == ranges_.begin()) return std::nullopt;
  --it;
  if (it->second < seq.raw()) return std::nullopt;
  return seq_range{sequence{it->first}, sequence{it->second}};
}

std::uint64_t seq_set::count() const {
  std::uint64_t sum = 0;
  for (const auto& [first, last] : ranges_) {
    sum += last - first + 1;
  }
  return sum;
}

std::vector<seq_range> seq_set::ranges() const {
  std::vector<seq_range> all;
  all.reserve(ranges_.size());
  for (const auto& [first, last] : ranges_) {
    all.push_back({sequence{first}, sequence{last}});
  }
  return all;
}

}  // namespace callboard::runtime
