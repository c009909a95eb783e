#include "runtime/topic/id_window.hpp"

#include "tests/support/catch.hpp"

#include <algorithm>
#include <string>

using namespace callboard;
using runtime::id_window;

namespace {

time_ms at(std::int64_t ms) {
  return time_ms{std::chrono::milliseconds{ms}};
}

}  // namespace

TEST_CASE("an id is found while it is recent and a candidate when it is old", "[topic][dedupe]") {
  id_window window{10, 1000};
  for (std::uint64_t i = 1; i <= 100; ++i) {
    window.insert(
        event_identity("s", std::to_string(i)), {.seq = sequence{i}, .content = i}, at(1000));
  }
  CHECK(window.size() == 100);
  for (std::uint64_t i = 1; i <= 100; ++i) {
    const auto identity = event_identity("s", std::to_string(i));
    const auto recent = window.find_recent(identity);
    std::vector<sequence> candidates;
    window.find_candidates(identity, candidates);
    if (i > 90) {
      REQUIRE(recent);
      CHECK(recent->seq == sequence{i});
      CHECK(recent->content == i);
    } else {
      CHECK_FALSE(recent);
      CHECK(std::ranges::find(candidates, sequence{i}) != candidates.end());
    }
  }
  std::vector<sequence> none;
  window.find_candidates(event_identity("s", "never"), none);
  CHECK(none.empty());
}

TEST_CASE("a million old ids are all candidates, and strangers almost never", "[topic][dedupe]") {
  id_window window{16, 2'000'000};
  constexpr std::uint64_t count = 1'000'000;
  const auto identity = [](std::uint64_t i) {
    return hash128{i * 0x9E3779B97F4A7C15, i * 0xC2B2AE3D27D4EB4F};
  };
  for (std::uint64_t i = 1; i <= count; ++i)
    window.insert(identity(i), {.seq = sequence{i}, .content = 0}, at(1));
  std::size_t missed = 0;
  std::vector<sequence> candidates;
  for (std::uint64_t i = 1; i <= count - 16; i += 97) {
    candidates.clear();
    window.find_candidates(identity(i), candidates);
    if (std::ranges::find(candidates, sequence{i}) == candidates.end()) ++missed;
  }
  CHECK(missed == 0);
  candidates.clear();
  for (std::uint64_t i = count + 1; i <= count + 100'000; ++i)
    window.find_candidates(identity(i), candidates);
  CHECK(candidates.size() < 100);
}

TEST_CASE("time empties the window and makes room", "[topic][dedupe]") {
  id_window window{4, 8};
  for (std::uint64_t i = 1; i <= 8; ++i) {
    window.insert(
        event_identity("s", std::to_string(i)),
        {.seq = sequence{i}, .content = 0},
        at(static_cast<std::int64_t>(i)));
  }
  CHECK(window.is_full(1));
  window.expire(at(6));
  CHECK_FALSE(window.find_recent(event_identity("s", "5")));
  CHECK(window.find_recent(event_identity("s", "6")));
  window.expire(at(9));
  CHECK(window.size() == 0);
  CHECK_FALSE(window.is_full(8));
}

TEST_CASE("the latest inserts can be taken back", "[topic][dedupe]") {
  id_window window{4, 8};
  window.insert(event_identity("s", "a"), {.seq = sequence{1}, .content = 0}, at(1));
  window.insert(event_identity("s", "b"), {.seq = sequence{2}, .content = 0}, at(1));
  window.forget_last(1);
  CHECK(window.find_recent(event_identity("s", "a")));
  CHECK_FALSE(window.find_recent(event_identity("s", "b")));
  CHECK(window.size() == 1);
}
