// Targets, problems, permissions and Base64.
#include "gateway/url.hpp"

#include "gateway/base64.hpp"
#include "gateway/principal.hpp"
#include "gateway/problem.hpp"

#include "tests/support/catch.hpp"

using namespace callboard;
using namespace callboard::gateway;

TEST_CASE("a target is cut before it is decoded", "[gateway][url]") {
  const auto target = parse_target("/v1/tenants/a/topics/x%2Fy/?from=a%3A5&q=1+2&q=3&empty&%66=");
  REQUIRE(target.has_value());
  CHECK(target->path == std::vector<std::string>{"v1", "tenants", "a", "topics", "x/y"});
  CHECK(*target->find("from") == "a:5");
  CHECK(*target->find("q") == "1 2");
  CHECK(target->find("empty")->empty());
  CHECK(target->find("f") != nullptr);
  CHECK(target->find("none") == nullptr);
  CHECK(parse_target("http://host:1/a?b=c")->path == std::vector<std::string>{"a"});
  CHECK(parse_target("/")->path.empty());
}

TEST_CASE("bad targets are refused", "[gateway][url]") {
  for (const std::string target :
       {"a", "/a//b", "/a/../b", "/%2e%2e/b", "/%", "/%4", "/%gg", "/%00", "/%FF", "/?a=%"}) {
    INFO(target);
    CHECK(parse_target(target).error().code == errc::bad_request);
  }
  std::string long_path;
  for (int i = 0; i < 17; ++i)
    long_path += "/a";
  CHECK_FALSE(parse_target(long_path).has_value());
  std::string long_query = "/?";
  for (int i = 0; i < 40; ++i)
    long_query += "p" + std::to_string(i) + "=1&";
  CHECK_FALSE(parse_target(long_query).has_value());
}

TEST_CASE("problems say what happened and when to retry", "[gateway][problem]") {
  CHECK(
      problem_json({errc::overloaded, "full \"now\"\n\xFF", 250})
      == R"({"type":"about:blank","title":"Too Many Requests","status":429,)"
         R"("retryable":true,"code":"overloaded","detail":"full \"now\"\n)"
         "\xEF\xBF\xBD\",\"retry_after_ms\":250}");
  for (int code = 1; code <= static_cast<int>(errc::cancelled); ++code) {
    const auto status = http_status(static_cast<errc>(code));
    CHECK(status >= 400);
    CHECK(status < 600);
  }
  CHECK(http_status(errc::id_conflict) == 409);
  CHECK(http_status(errc::cursor_expired) == 410);
  CHECK(http_status(errc::storage_full) == 507);
  CHECK(http_status(errc::outcome_unknown) == 503);
}

TEST_CASE("a pattern is allowed only if one covers all of it", "[gateway][principal]") {
  principal who;
  who.subscribe = {
      *topic_pattern::parse("a.*"), *topic_pattern::parse("b.>"), *topic_pattern::parse("c")};
  for (const auto* allowed : {"a.x", "a.*", "b.x", "b.x.y", "b.>", "b.*.z", "c"}) {
    INFO(allowed);
    CHECK(who.may_subscribe(allowed));
  }
  for (const auto* denied : {"a", "a.>", "a.x.y", "*", ">", "*.x", "b", "c.d", "d", ""}) {
    INFO(denied);
    CHECK_FALSE(who.may_subscribe(denied));
  }
  CHECK_FALSE(who.may_publish("c"));
}

TEST_CASE("Base64 is strict both ways", "[gateway][base64]") {
  const std::pair<std::string, std::string> vectors[] = {
      {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"\xFF\xFE", "//4="}};
  for (const auto& [plain, coded] : vectors) {
    std::string out;
    append_base64(out, plain);
    CHECK(out == coded);
    CHECK(decode_base64(coded) == plain);
    CHECK(decode_base64url(encode_base64url(plain)) == plain);
  }
  CHECK(encode_base64url("\xFF\xFE") == "__4");
  for (const auto* bad :
       {"Z", "Zg", "Zg=", "Zh==", "Zg==\n", "Z===", "====", "Zg==Zg==", "Zm9v "}) {
    INFO(bad);
    CHECK_FALSE(decode_base64(bad).has_value());
  }
}
