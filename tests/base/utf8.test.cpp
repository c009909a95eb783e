#include "base/utf8.hpp"

#include "tests/support/catch.hpp"

#include <algorithm>
#include <string>

using namespace callboard;

TEST_CASE("a text is cut between characters", "[base][utf8]") {
  const std::string text = "a\u00e4\u4e2d\U0001f600";
  for (std::size_t size = 0; size <= text.size() + 1; ++size) {
    const auto front = front_of(text, size);
    INFO(size);
    CHECK(is_utf8(front));
    CHECK(front.size() <= size);
    CHECK(front.size() + 4 > std::min(size, text.size()));
    CHECK(text.starts_with(front));
  }
  CHECK(front_of(text, text.size()) == text);
  // What is no UTF-8 must come to its end as well.
  CHECK(front_of(std::string(9, '\x80'), 5).size() == 5);
}
