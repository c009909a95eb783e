#include "model/sse_parser.hpp"

#include "tests/support/catch.hpp"

#include <string>
#include <string_view>
#include <vector>

using namespace callboard;
using model::sse_event;
using model::sse_parser;

namespace {

/// Events of `pieces`, one after the other, and of the end.
std::vector<sse_event> events_of(const std::vector<std::string_view>& pieces) {
  sse_parser parser{1 << 20};
  std::vector<sse_event> out;
  for (auto piece : pieces) {
    while (true) {
      auto event = parser.next(piece);
      REQUIRE(event.has_value());
      if (!*event) break;
      out.push_back(std::move(**event));
    }
  }
  if (auto last = parser.finish()) out.push_back(std::move(*last));
  return out;
}

std::vector<sse_event> events_of(std::string_view text) {
  return events_of(std::vector{text});
}

}  // namespace

TEST_CASE("events are data lines up to a blank line", "[model][sse]") {
  CHECK(
      events_of("data: one\n\ndata: two\n\n") == std::vector<sse_event>{{"", "one"}, {"", "two"}});
  CHECK(events_of("data:no space\n\n") == std::vector<sse_event>{{"", "no space"}});
  CHECK(events_of("data:  two spaces\n\n") == std::vector<sse_event>{{"", " two spaces"}});
  CHECK(events_of("event: error\ndata: x\n\n") == std::vector<sse_event>{{"error", "x"}});
}

TEST_CASE("data lines of one event are joined", "[model][sse]") {
  CHECK(
      events_of("data: {\ndata: \"a\":1\ndata: }\n\n")
      == std::vector<sse_event>{{"", "{\n\"a\":1\n}"}});
  CHECK(events_of("data\n\n") == std::vector<sse_event>{{"", ""}});
  CHECK(events_of("data\ndata\n\n") == std::vector<sse_event>{{"", "\n"}});
}

TEST_CASE("comments, ids, unknown fields and empty events are passed over", "[model][sse]") {
  CHECK(
      events_of(": keep-alive\n\n:\n\nid: 7\nretry: 10\nother: x\n\ndata: y\n: c\n\n")
      == std::vector<sse_event>{{"", "y"}});
  CHECK(events_of("event: lost\n\ndata: y\n\n") == std::vector<sse_event>{{"", "y"}});
}

TEST_CASE("lines end in LF, CRLF or CR, mixed", "[model][sse]") {
  const std::vector<sse_event> expected{{"", "a"}, {"", "b\nc"}};
  CHECK(events_of("data: a\r\n\r\ndata: b\r\ndata: c\r\n\r\n") == expected);
  CHECK(events_of("data: a\r\rdata: b\rdata: c\r\r") == expected);
  CHECK(events_of("data: a\n\r\ndata: b\rdata: c\r\n\n") == expected);
}

TEST_CASE("a byte order mark counts only at the beginning", "[model][sse]") {
  CHECK(
      events_of("\xef\xbb\xbf"
                "data: a\n\n")
      == std::vector<sse_event>{{"", "a"}});
  CHECK(
      events_of("data: a\n\n\xef\xbb\xbf"
                "data: b\n\n")
      == std::vector<sse_event>{{"", "a"}});
}

TEST_CASE("an event that the end cuts is given if it has data", "[model][sse]") {
  CHECK(events_of("data: [DONE]") == std::vector<sse_event>{{"", "[DONE]"}});
  CHECK(events_of("data: [DONE]\n") == std::vector<sse_event>{{"", "[DONE]"}});
  CHECK(events_of("event: x\n").empty());
}

TEST_CASE("a stream cut at any two places gives the same events", "[model][sse]") {
  const std::string text =
      "\xef\xbb\xbf: hi\r\ndata: {\"a\":\r\ndata:  \"\xc3\xa9\"}\r\n\r\nevent: e\rdata: x\r\r"
      "data: y\n\n\r\ndata: [DONE]\n\n";
  const auto whole = events_of(text);
  REQUIRE(whole.size() == 4);
  for (std::size_t first = 0; first <= text.size(); ++first) {
    for (std::size_t second = first; second <= text.size(); ++second) {
      const std::string_view all{text};
      const std::vector pieces{
          all.substr(0, first), all.substr(first, second - first), all.substr(second)};
      if (events_of(pieces) != whole) FAIL("cut at " << first << " and " << second);
    }
  }
}

TEST_CASE("an event above its bound is refused, in one piece or byte by byte", "[model][sse]") {
  const std::string large(200, 'x');
  for (const auto& text :
       {"data: " + large, "data: " + large + "\n\n", ":" + large, "event: " + large}) {
    sse_parser whole{100};
    std::string_view bytes{text};
    CHECK(whole.next(bytes).error().code == errc::too_large);
    sse_parser slow{100};
    bool refused = false;
    for (const char& c : text) {
      std::string_view byte{&c, 1};
      if (!slow.next(byte)) {
        refused = true;
        break;
      }
    }
    CHECK(refused);
  }
  // Many small lines of one event are bounded together.
  sse_parser many{100};
  std::string lines;
  for (int i = 0; i < 60; ++i)
    lines += "data: x\n";
  std::string_view bytes{lines};
  CHECK(many.next(bytes).error().code == errc::too_large);
}
