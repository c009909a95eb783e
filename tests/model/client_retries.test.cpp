// Attempts, waits and fallbacks, against a real server. Long waits pass on a clock moved by hand.
#include "tests/model/client_fixture.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"

#include <boost/json/parse.hpp>

#include <string>
#include <vector>

using namespace callboard;
using namespace callboard::model;
using namespace callboard::testing;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

chat_request keyed(std::string_view text) {
  auto out = question(text);
  out.idempotency_key = "key-1";
  return out;
}

std::string model_of(const chat_query& query) {
  return std::string{std::string_view{boost::json::parse(query.body).at("model").as_string()}};
}

}  // namespace

TEST_CASE("what may pass is tried again under the same key", "[model][retries]") {
  auto cut = streamed_reply({"Hel", "lo"});
  cut.cut_at = 250;
  auto clean_cut = streamed_reply({"Hel", "lo"});
  clean_cut.pieces.pop_back();
  auto error_inside = streamed_reply({"Hel"});
  error_inside.pieces.insert(
      error_inside.pieces.begin() + 2, sse_data(R"({"error":{"type":"server_error"}})"));
  auto garbage = streamed_reply({"Hel"});
  garbage.pieces.insert(garbage.pieces.begin() + 2, "data: {{{\n\n");
  const std::vector<chat_reply> replies{
      error_reply(500, "server_error", "oops"),
      error_reply(503, "overloaded", "busy"),
      error_reply(429, "rate_limit_exceeded", "slow down"),
      cut,
      clean_cut,
      error_inside,
      garbage,
      {.pieces = {"<html>"}},
      {.raw = "no HTTP at all"},
      {.raw = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"},
      {.cut_at = 0},
  };
  for (std::size_t i = 0; i < replies.size(); ++i) {
    const auto& reply = replies[i];
    INFO("reply " << i);
    chat_provider provider;
    provider.script({reply, streamed_reply({"fine"})});
    asking asker{{settings_for(provider)}};
    const auto told = asker.ask(keyed("hi"));
    const auto answer = told->outcome();
    REQUIRE(answer.has_value());
    CHECK(answer->text == "fine");
    CHECK(answer->attempts == 2);
    CHECK(told->attempts() == std::vector<std::uint32_t>{1, 2});
    CHECK(told->text() == "fine");
    CHECK(provider.counts() == std::map<std::string, std::uint32_t>{{"key-1", 2}});
  }
}

TEST_CASE("a stream cut at any byte is told as a new attempt and comes right", "[model][retries]") {
  const auto whole = streamed_reply({"Hel", "lo"});
  std::size_t size = 0;
  for (const auto& piece : whole.pieces)
    size += piece.size();
  // Up to the end of `data: [DONE]`, whose blank line is not waited for.
  for (std::size_t at = 0; at < size - 2; at += 37) {
    chat_provider provider;
    auto cut = whole;
    cut.cut_at = at;
    provider.script({cut, whole});
    asking asker{{settings_for(provider)}};
    const auto told = asker.ask(keyed("hi"));
    const auto answer = told->outcome();
    REQUIRE(answer.has_value());
    CHECK(answer->text == "Hello");
    CHECK(answer->attempts == 2);
    CHECK(told->text() == "Hello");
  }
}

TEST_CASE("attempts end, with the last failure as a value", "[model][retries]") {
  chat_provider provider;
  provider.answer_with([](const chat_query&) { return error_reply(503, "overloaded", "busy"); });
  asking asker{{settings_for(provider)}};
  const auto failed = asker.answer(keyed("hi")).error();
  CHECK(failed.kind == failure_kind::retryable);
  CHECK(failed.code == errc::overloaded);
  CHECK(failed.status == 503);
  CHECK(failed.provider_code == "overloaded");
  CHECK(failed.attempts == 4);
  CHECK(failed.detail == "test: status 503 (overloaded): busy");
  CHECK(provider.counts().at("key-1") == 4);
}

TEST_CASE("what lasts is not tried again", "[model][retries]") {
  struct expectation {
    chat_reply reply;
    failure_kind kind;
  };

  for (const auto& [reply, kind] : std::vector<expectation>{
           {error_reply(400, "invalid_request_error", "no"), failure_kind::permanent},
           {error_reply(401, "invalid_api_key", "no"), failure_kind::permanent},
           {error_reply(403, "permission_denied", "no"), failure_kind::permanent},
           {error_reply(404, "model_not_found", "no"), failure_kind::permanent},
           {error_reply(422, "invalid_request_error", "no"), failure_kind::permanent},
           {error_reply(400, "content_policy_violation", "no"), failure_kind::permanent},
           {error_reply(429, "insufficient_quota", "no"), failure_kind::quota},
           {error_reply(402, "insufficient_quota", "no"), failure_kind::quota},
           {error_reply(307, "", "", {{"Location", "http://127.0.0.1:1/"}}),
            failure_kind::permanent},
       }) {
    chat_provider provider;
    provider.script({reply});
    asking asker{{settings_for(provider)}};
    const auto failed = asker.answer(keyed("hi")).error();
    CHECK(failed.kind == kind);
    CHECK(failed.status == reply.status);
    CHECK(failed.attempts == 1);
    CHECK(provider.query_count() == 1);
  }
}

TEST_CASE("Retry-After in every form is waited for and takes no attempt", "[model][retries]") {
  struct form {
    std::string header;
    std::string value;
    seconds wait;
  };

  for (const auto& [header, value, wait] : std::vector<form>{
           {"Retry-After", "120", seconds{120}},
           // The manual clock begins at 2023-11-14 22:13:20.
           {"Retry-After", "Tue, 14 Nov 2023 22:15:20 GMT", seconds{120}},
           {"retry-after-ms", "120000", seconds{120}},
           {"x-ratelimit-reset-requests", "6m0s", seconds{360}},
           {"x-ratelimit-reset-tokens", "90s", seconds{90}},
       }) {
    INFO(header << ": " << value);
    chat_provider provider;
    // More often than there are attempts.
    provider.script(std::vector<chat_reply>(5, limited(header, value)));
    manual_clock time;
    auto settings = settings_for(provider);
    settings.timeouts.total = std::chrono::hours{1};
    asking asker{{settings}, &time};
    const auto told = asker.ask(keyed("hi"));
    std::size_t asked = 0;
    while (asked < 5) {
      ++asked;
      REQUIRE(eventually(
          [&] { return provider.query_count() == asked && asker.stats().backing_off == 1; }));
      // A date stays where it is: only the first one is in the future.
      const bool passed = header == "Retry-After" && value.size() > 3 && asked > 1;
      if (!passed) {
        time.advance(wait - seconds{1});
        CHECK(asker.client().stats().front().backing_off == 1);
        time.advance(seconds{1});
      }
      // What is put on top for jitter.
      time.advance(seconds{6});
    }
    const auto answer = told->outcome();
    REQUIRE(answer.has_value());
    CHECK(answer->attempts == 6);
    CHECK(provider.counts().at("key-1") == 6);
  }
}

TEST_CASE("a fallback is asked when the first cannot answer", "[model][retries]") {
  struct expectation {
    chat_reply reply;
    std::uint32_t attempts_at_first;
  };

  for (const auto& [reply, attempts] : std::vector<expectation>{
           {error_reply(500, "server_error", "oops"), 4},
           {error_reply(401, "invalid_api_key", "no"), 1},
           {error_reply(404, "model_not_found", "no"), 1},
           {error_reply(429, "insufficient_quota", "no"), 1},
           {limited("Retry-After", "60"), 1},
       }) {
    chat_provider first;
    chat_provider second;
    first.answer_with([&](const chat_query&) { return reply; });
    auto settings = settings_for(first, "first");
    settings.fallbacks = {"second"};
    auto other = settings_for(second, "second");
    other.default_model = "other-model";
    asking asker{{settings, other}};
    auto request = keyed("hi");
    request.model = "special";
    const auto told = asker.ask(request);
    const auto answer = told->outcome().value();
    CHECK(answer.provider == "second");
    CHECK(answer.attempts == attempts + 1);
    CHECK(told->text() == "You said: hi");
    CHECK(first.counts() == std::map<std::string, std::uint32_t>{{"key-1", attempts}});
    CHECK(second.counts() == std::map<std::string, std::uint32_t>{{"key-1/second", 1}});
    CHECK(model_of(first.queries().at(0)) == "special");
    CHECK(model_of(second.queries().at(0)) == "other-model");
  }
}

TEST_CASE("a fallback without a model of its own is asked for the first's", "[model][retries]") {
  chat_provider first;
  chat_provider second;
  first.answer_with([](const chat_query&) { return error_reply(401, "invalid_api_key", "no"); });
  auto settings = settings_for(first, "first");
  settings.fallbacks = {"second"};
  auto other = settings_for(second, "second");
  other.default_model.clear();
  asking asker{{settings, other}};
  CHECK(asker.answer(keyed("hi")).has_value());
  CHECK(model_of(second.queries().at(0)) == "test-model");
  auto request = keyed("hi");
  request.model = "special";
  CHECK(asker.answer(request).has_value());
  CHECK(model_of(second.queries().at(1)) == "special");
}

TEST_CASE("what every provider would refuse goes to no fallback", "[model][retries]") {
  for (const auto& reply :
       {error_reply(400, "invalid_request_error", "no"), error_reply(422, "x", "no")}) {
    chat_provider first;
    chat_provider second;
    first.script({reply});
    auto settings = settings_for(first, "first");
    settings.fallbacks = {"second"};
    asking asker{{settings, settings_for(second, "second")}};
    CHECK(asker.answer(keyed("hi")).error().provider == "first");
    CHECK(second.query_count() == 0);
  }
}

TEST_CASE("when all fallbacks fail, the last failure is told", "[model][retries]") {
  chat_provider first;
  chat_provider second;
  first.answer_with([](const chat_query&) { return error_reply(500, "server_error", "one"); });
  second.answer_with([](const chat_query&) { return error_reply(503, "overloaded", "two"); });
  auto settings = settings_for(first, "first");
  settings.fallbacks = {"second"};
  asking asker{{settings, settings_for(second, "second")}};
  const auto failed = asker.answer(keyed("hi")).error();
  CHECK(failed.provider == "second");
  CHECK(failed.attempts == 8);
  CHECK(failed.status == 503);
}

TEST_CASE("of all that the chain says, what leaves most hope is told", "[model][retries]") {
  const auto unavailable = error_reply(503, "overloaded", "busy");
  const auto no_key = error_reply(401, "invalid_api_key", "no");
  const auto no_money = error_reply(402, "insufficient_quota", "no");
  const auto much_later = error_reply(429, "rate", "later", {{"Retry-After", "80000"}});
  const auto bad = error_reply(400, "invalid_request_error", "no");

  struct expectation {
    chat_reply first;
    chat_reply second;
    failure_kind kind;
    std::string provider;
    int status;
  };

  using enum failure_kind;
  for (const auto& expected : std::vector<expectation>{
           {unavailable, no_key, retryable, "first", 503},
           {no_key, unavailable, retryable, "second", 503},
           {unavailable, no_money, retryable, "first", 503},
           {no_money, no_key, quota, "first", 402},
           {unavailable, much_later, retryable, "first", 503},
           {much_later, unavailable, retryable, "second", 503},
           {much_later, no_key, rate, "first", 429},
           {unavailable, bad, permanent, "second", 400},
       }) {
    INFO(expected.first.status << ", " << expected.second.status);
    chat_provider first;
    chat_provider second;
    first.answer_with([&](const chat_query&) { return expected.first; });
    second.answer_with([&](const chat_query&) { return expected.second; });
    auto settings = settings_for(first, "first");
    settings.fallbacks = {"second"};
    settings.retry.attempts_max = 2;
    auto other = settings_for(second, "second");
    other.retry.attempts_max = 2;
    asking asker{{settings, other}};
    const auto failed = asker.answer(keyed("hi")).error();
    CHECK(failed.kind == expected.kind);
    CHECK(failed.provider == expected.provider);
    CHECK(failed.status == expected.status);
    CHECK_THAT(failed.detail, Catch::Contains("second: status"));
  }
}

TEST_CASE("a provider that was passed by for its wish counts, too", "[model][retries]") {
  chat_provider first;
  chat_provider second;
  first.script({limited("Retry-After", "60")});
  second.answer_with([](const chat_query&) { return error_reply(401, "invalid_api_key", "no"); });
  manual_clock time;
  auto settings = settings_for(first, "first");
  settings.fallbacks = {"second"};
  asking asker{{settings, settings_for(second, "second")}, &time};
  for (int i = 0; i < 2; ++i) {
    const auto failed = asker.answer(keyed("hi")).error();
    CHECK(failed.kind == failure_kind::rate);
    CHECK(failed.provider == "first");
    CHECK(failed.retry_after >= seconds{60});
  }
  CHECK(first.query_count() == 1);
}

TEST_CASE("out of time is a failure of its own", "[model][retries]") {
  chat_provider first;
  chat_provider second;
  first.script({error_reply(402, "insufficient_quota", "no money")});
  second.answer_with([](const chat_query&) { return chat_reply{.hang = true}; });
  manual_clock time;
  auto settings = settings_for(first, "first");
  settings.fallbacks = {"second"};
  asking asker{{settings, settings_for(second, "second")}, &time};
  auto request = keyed("hi");
  request.timeout = seconds{10};
  const auto told = asker.ask(request);
  REQUIRE(eventually([&] { return second.query_count() == 1; }));
  time.advance(seconds{10});
  const auto failed = told->outcome().error();
  CHECK(failed.kind == failure_kind::retryable);
  CHECK(failed.code == errc::timeout);
  CHECK(failed.provider == "second");
  CHECK(failed.provider_code.empty());
  CHECK(failed.status == 0);
  CHECK_FALSE(failed.retry_after.has_value());
  CHECK_THAT(failed.detail, Catch::Contains("no money"));
}
