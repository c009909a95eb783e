// The ids of a pattern's event stream: one text that says where it stands in every topic.
#include "gateway/stream_place.hpp"

#include "tests/support/catch.hpp"

using namespace callboard;
using namespace callboard::gateway;

namespace {

topic_pattern pattern(const std::string& text) {
  return topic_pattern::parse(text).value();
}

}  // namespace

TEST_CASE("an id names all topics, that of its event first", "[sse][place]") {
  stream_place place;
  CHECK(place.text() == "/");
  place.set("a.x", "e1", sequence{3});
  place.set("a.y", "", sequence{});
  place.set("a.z", "e2", sequence{18'446'744'073'709'551'615U});
  CHECK(place.text() == "a.x/e1:3,a.y/0:0,a.z/e2:18446744073709551615");
  place.set("a.y", "e9", sequence{1});
  CHECK(place.text("a.y") == "a.y/e9:1,a.x/e1:3,a.z/e2:18446744073709551615");
  CHECK(place.text("a.unknown") == place.text());
}

TEST_CASE("what an id says is read back", "[sse][place]") {
  stream_place place;
  auto back = parse_place(place.text(), pattern("a.*"), 10);
  REQUIRE(back.has_value());
  CHECK(back->cursors.empty());
  CHECK_FALSE(back->lost);
  place.set("a.x", "e1", sequence{3});
  place.set("a.y", "e2", sequence{4});
  back = parse_place(place.text("a.y"), pattern("a.*"), 10);
  REQUIRE(back.has_value());
  CHECK_FALSE(back->lost);
  REQUIRE(back->cursors.size() == 2);
  CHECK(back->cursors.at("a.x").str() == "e1:3");
  CHECK(back->cursors.at("a.y").str() == "e2:4");
}

TEST_CASE("an id has a bound, and says when it cannot name all", "[sse][place]") {
  stream_place place;
  std::size_t named = 0;
  std::size_t longest = 0;
  while (place.is_complete()) {
    REQUIRE(named < 1000);
    place.set("a." + std::to_string(named++), "epoch-1", sequence{~std::uint64_t{0}});
    longest = std::max(longest, place.text().size());
  }
  CHECK(named > 150);
  CHECK(longest <= stream_place::size_max);
  place.set("a.7", "e", sequence{8});
  CHECK(place.text("a.7") == "a.7/e:8,*");
  CHECK(place.text() == "*");
  for (const auto* id : {"*", "a.7/e:8,*"}) {
    const auto back = parse_place(id, pattern("a.*"), 10);
    REQUIRE(back.has_value());
    CHECK(back->lost);
  }
}

TEST_CASE("ids that are none of this stream are refused", "[sse][place]") {
  for (const std::string id :
       {"e:1",
        "7",
        "a.x/7",
        "a.x/now",
        "b.x/e:1",
        "a.x/e:1,b.x/e:1",
        "a.x",
        "a.x/",
        ",",
        "a. /e:1",
        "a.x/e:1,,",
        "//",
        "a.x/e:1;a.y/e:1"}) {
    INFO(id);
    const auto back = parse_place(id, pattern("a.*"), 10);
    REQUIRE_FALSE(back.has_value());
    CHECK(back.error().code == errc::bad_request);
  }
  CHECK(parse_place("a.x/e:1,a.y/e:1", pattern("a.*"), 1).error().code == errc::too_large);
  CHECK(parse_place("a b/e:1", pattern(">"), 1).error().code == errc::bad_request);
}
