#include "model/failure.hpp"

#include "base/utf8.hpp"
#include "model/response_head.hpp"

#include "tests/support/catch.hpp"

#include <boost/json/parse.hpp>

#include <string>
#include <vector>

using namespace callboard;
using namespace callboard::model;
using std::chrono::milliseconds;

namespace {

failure
classified(int status, std::string_view body, const std::vector<std::string>& headers = {}) {
  response_head head{4096};
  REQUIRE(head.add_line("HTTP/1.1 " + std::to_string(status) + " X"));
  for (const auto& line : headers)
    REQUIRE(head.add_line(line));
  return classify_response(head, body, time_ms{}, "sk-secret-key");
}

std::string document(std::string_view code, std::string_view message = "words") {
  return R"({"error":{"message":")" + std::string{message} + R"(","type":"t","code":")"
         + std::string{code} + R"("}})";
}

failure in_stream(std::string_view error) {
  return classify_error(boost::json::parse(error).as_object(), 0, "sk-secret-key");
}

}  // namespace

TEST_CASE("statuses fall into classes", "[model][failure]") {
  struct expectation {
    int status;
    failure_kind kind;
    failure_scope scope;
    errc code;
  };
  using enum failure_kind;
  using enum failure_scope;
  for (const auto& [status, kind, scope, code] : std::vector<expectation>{
           {400, permanent, request, errc::bad_request},
           {401, permanent, provider, errc::unauthorized},
           {402, quota, provider, errc::forbidden},
           {403, permanent, provider, errc::forbidden},
           {404, permanent, provider, errc::not_found},
           {408, retryable, provider, errc::timeout},
           {409, retryable, provider, errc::unreachable},
           {413, permanent, provider, errc::too_large},
           {422, permanent, request, errc::bad_request},
           {429, rate, provider, errc::rate_limited},
           {500, retryable, provider, errc::overloaded},
           {502, retryable, provider, errc::overloaded},
           {503, retryable, provider, errc::overloaded},
           {504, retryable, provider, errc::timeout},
           {529, retryable, provider, errc::overloaded},
           {302, permanent, provider, errc::bad_request},
           {418, permanent, provider, errc::bad_request},
       }) {
    INFO(status);
    for (const auto* body : {"", "<html>no</html>", R"({"error":{"message":"words"}})"}) {
      const auto failed = classified(status, body);
      CHECK(failed.kind == kind);
      CHECK(failed.scope == scope);
      CHECK(failed.code == code);
      CHECK(failed.status == status);
    }
  }
}

TEST_CASE("quota hides behind 429 and is told apart", "[model][failure]") {
  for (const int status : {429, 402, 403}) {
    const auto failed = classified(status, document("insufficient_quota"), {"Retry-After: 5"});
    CHECK(failed.kind == failure_kind::quota);
    CHECK(failed.provider_code == "insufficient_quota");
    CHECK_FALSE(failed.retry_after.has_value());
  }
  const auto failed = classified(429, document("rate_limit_exceeded"), {"Retry-After: 5"});
  CHECK(failed.kind == failure_kind::rate);
  CHECK(failed.retry_after == milliseconds{5000});
  CHECK(failed.retry_after_ms == 5000);
  CHECK(failed.detail == "status 429 (rate_limit_exceeded): words");
}

TEST_CASE("content that is refused is refused everywhere", "[model][failure]") {
  const auto failed = classified(400, document("content_policy_violation"));
  CHECK(failed.kind == failure_kind::permanent);
  CHECK(failed.scope == failure_scope::request);
  // A longer context may fit elsewhere.
  CHECK(classified(400, document("context_length_exceeded")).scope == failure_scope::provider);
}

TEST_CASE("a wish counts with 429, and with 5xx only if it was meant", "[model][failure]") {
  CHECK(classified(503, "", {"Retry-After: 2"}).retry_after == milliseconds{2000});
  CHECK_FALSE(classified(503, "", {"x-ratelimit-reset-requests: 6m0s"}).retry_after.has_value());
  CHECK(
      classified(429, "", {"x-ratelimit-reset-requests: 6m0s"}).retry_after
      == milliseconds{360'000});
  CHECK_FALSE(classified(400, "", {"Retry-After: 2"}).retry_after.has_value());
}

TEST_CASE("errors inside of an answer have no status", "[model][failure]") {
  using enum failure_kind;
  CHECK(in_stream(R"({"message":"x","type":"server_error"})").kind == retryable);
  CHECK(in_stream(R"({"message":"x","type":"overloaded_error"})").code == errc::overloaded);
  CHECK(in_stream(R"({"message":"x","code":"rate_limit_exceeded"})").kind == rate);
  CHECK(in_stream(R"({"message":"x","code":"insufficient_quota"})").kind == quota);
  CHECK(in_stream(R"({"message":"x","type":"invalid_request_error"})").kind == permanent);
  CHECK(in_stream(R"({"message":"x","code":502})").kind == retryable);
  CHECK(in_stream(R"({"message":"x","code":429})").kind == rate);
  CHECK(in_stream(R"({"message":"x","code":"never heard of"})").kind == retryable);
  CHECK(in_stream("{}").kind == retryable);
  CHECK(in_stream("{}").detail == "no message");
}

TEST_CASE("bodies in unusual shapes still give their message", "[model][failure]") {
  CHECK(classified(500, R"({"error":"flat"})").detail == "status 500: flat");
  CHECK(classified(500, R"([{"error":{"message":"listed"}}])").detail == "status 500: listed");
  CHECK(classified(500, R"({"message":"bare"})").detail == "status 500: bare");
  CHECK(classified(500, "plain\r\n  text").detail == "status 500: plain   text");
  const auto half = classified(429, R"({"error":{"message":"x\ud83d","code":"quota_exceeded"}})");
  CHECK(half.kind == failure_kind::quota);
  CHECK(is_utf8(half.detail));
  CHECK(classified(500, "\xff\xfe").detail == "status 500: ??");
  CHECK(classified(500, "").detail == "status 500: no message");
}

TEST_CASE("messages never carry keys", "[model][failure]") {
  CHECK(sanitize("key my-key!", "my-key") == "key ***!");
  CHECK(sanitize("Incorrect API key: sk-proj-ab12*****xyz.", "") == "Incorrect API key: sk-***");
  CHECK(sanitize("Authorization: Bearer abc.def", "") == "Authorization: Bearer ***");
  CHECK(sanitize("risk-free", "") == "risk-free");
  const auto failed = classified(401, document("invalid_api_key", "bad sk-secret-key here"));
  CHECK(failed.detail == "status 401 (invalid_api_key): bad *** here");
  CHECK(classified(500, "sk-secret-key").detail == "status 500: ***");
}

TEST_CASE("a key may be part of what stands in its place", "[model][failure]") {
  CHECK(sanitize("key *** is bad", "***") == "key *** is bad");
  CHECK(sanitize("a*b", "*") == "a***b");
  CHECK(sanitize("a**b**", "**") == "a***b***");
}

TEST_CASE("no part of a key is left where a text is cut", "[model][failure]") {
  const std::string key = "key-" + std::string(160, 'k') + "-secret";
  const auto has_part = [&key](std::string_view text) { return text.contains(key.substr(0, 8)); };
  for (std::size_t before = 0; before < 80; ++before) {
    const auto coded = classify_error({{"code", std::string(before, 'x') + key}}, 400, key);
    CHECK_FALSE(has_part(coded.provider_code));
    const auto typed = classify_error({{"type", std::string(before, 'x') + key}}, 400, key);
    CHECK_FALSE(has_part(typed.provider_code));
  }
  // So many that what is left of each is kept, and the last is cut.
  std::string many;
  while (many.size() < 5000)
    many += key;
  for (std::size_t before = 0; before < key.size(); ++before)
    CHECK_FALSE(has_part(sanitize(std::string(before, 'x') + many, key)));
}

TEST_CASE("messages are short, on one line, and end between characters", "[model][failure]") {
  CHECK(sanitize("a\n\t b\x01", "") == "a  b ");
  std::string large;
  for (int i = 0; i < 1000; ++i)
    large += "\u00e9";
  const auto cut = sanitize(large, "");
  CHECK(cut.size() == message_size_max + 3);
  CHECK(cut.ends_with("..."));
  CHECK(sanitize("x" + large, "").size() == message_size_max - 1 + 3);
  const auto coded = classify_error({{"code", std::string(63, 'x') + "\u00e9"}}, 400, "");
  CHECK(coded.provider_code == std::string(63, 'x'));
}
