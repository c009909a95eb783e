#include "base/names.hpp"

#include "tests/support/catch.hpp"

using namespace callboard;

TEST_CASE("tenant names follow the grammar", "[base][names]") {
  CHECK(tenant_name::parse("a"));
  CHECK(tenant_name::parse("0acme-7"));
  CHECK(tenant_name::parse(std::string(63, 'a')));
  for (const auto* bad : {"", "-a", "A", "a.b", "a_b", "a/b", "a\n", "\xC3\xB8"}) {
    const auto parsed = tenant_name::parse(bad);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().code == errc::invalid_name);
  }
  CHECK_FALSE(tenant_name::parse(std::string(64, 'a')));
}

TEST_CASE("topic names are dot-separated tokens of at most 255 bytes", "[base][names]") {
  CHECK(topic_name::parse("events"));
  CHECK(topic_name::parse("a.b.c:d_e-F9"));
  CHECK(topic_name::parse(std::string(255, 'x')));
  for (const auto* bad : {"", ".", "a.", ".a", "a..b", "a b", "a*", "a.>", "t\xC3\xB8p", "a/b"}) {
    CHECK_FALSE(topic_name::parse(bad));
  }
  CHECK_FALSE(topic_name::parse(std::string(256, 'x')));
  CHECK_FALSE(topic_name::parse(std::string_view{"a\0b", 3}));
}

TEST_CASE("patterns match one token with * and the rest with >", "[base][names]") {
  const auto matches = [](const char* pattern, const char* topic) {
    return topic_pattern::parse(pattern).value().matches(topic);
  };
  CHECK(matches("a.b", "a.b"));
  CHECK_FALSE(matches("a.b", "a.b.c"));
  CHECK(matches("a.*", "a.b"));
  CHECK_FALSE(matches("a.*", "a"));
  CHECK_FALSE(matches("a.*", "a.b.c"));
  CHECK(matches("*.b", "a.b"));
  CHECK(matches("a.>", "a.b"));
  CHECK(matches("a.>", "a.b.c"));
  CHECK_FALSE(matches("a.>", "a"));
  CHECK(matches(">", "a"));
  CHECK(matches(">", "a.b.c"));
  CHECK(matches("*.*", "a.b"));
  CHECK_FALSE(matches("*", "a.b"));
  CHECK_FALSE(topic_pattern::parse(">.a"));
  CHECK_FALSE(topic_pattern::parse("a.b*"));
  CHECK(topic_pattern::parse("a.b*").error().detail.starts_with("pattern 'a.b*' must"));
  CHECK(topic_pattern::parse("bad topic").error().detail.starts_with("topic 'bad topic' must"));
  CHECK_FALSE(topic_pattern::parse("a.b").value().is_wildcard());
  CHECK(topic_pattern::parse("a.*").value().is_wildcard());
}
