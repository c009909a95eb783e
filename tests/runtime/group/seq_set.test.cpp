#include "runtime/group/seq_set.hpp"

#include "tests/support/catch.hpp"

#include <random>
#include <set>

namespace callboard::runtime {

TEST_CASE("touching ranges become one", "[runtime][group]") {
  seq_set set;
  set.add({sequence{5}, sequence{6}});
  set.add({sequence{9}, sequence{9}});
  set.add({sequence{7}, sequence{8}});
  CHECK(set.ranges() == std::vector<seq_range>{{sequence{5}, sequence{9}}});
  CHECK(set.count() == 5);
}

TEST_CASE("a set of ranges behaves like a set of numbers", "[runtime][group]") {
  const auto seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937 random{seed};
  seq_set set;
  std::set<std::uint64_t> model;
  for (int step = 0; step < 3000; ++step) {
    const auto first = random() % 200 + 1;
    const auto last = first + random() % 8;
    const auto action = random() % 20;
    if (action == 0) {
      set.erase_up_to(sequence{first});
      model.erase(model.begin(), model.upper_bound(first));
    } else if (action == 1) {
      set.erase_after(sequence{first});
      model.erase(model.upper_bound(first), model.end());
    } else {
      set.add({sequence{first}, sequence{last}});
      for (auto seq = first; seq <= last; ++seq)
        model.insert(seq);
    }
    REQUIRE(set.count() == model.size());
    const auto probe = random() % 210;
    REQUIRE(set.contains(sequence{probe}) == model.contains(probe));
    const auto ranges = set.ranges();
    for (std::size_t i = 1; i < ranges.size(); ++i) {
      REQUIRE(ranges[i].first.raw() > ranges[i - 1].last.raw() + 1);
    }
  }
}

}  // namespace callboard::runtime
