// Bounds: the queue, the adaptive limit, sizes of answers; and what is counted.
#include "tests/model/client_fixture.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"

#include <string>
#include <vector>

using namespace callboard;
using namespace callboard::model;
using namespace callboard::testing;
using std::chrono::milliseconds;

TEST_CASE("no more calls than the limit are at the provider", "[model][bounds]") {
  chat_provider provider;
  provider.answer_with([](const chat_query&) {
    auto reply = whole_reply("x");
    reply.delay = milliseconds{5};
    return reply;
  });
  auto settings = settings_for(provider);
  settings.concurrency = {.min = 1, .max = 3, .start = 3};
  asking asker{{settings}};
  std::vector<std::shared_ptr<heard>> all;
  for (int i = 0; i < 40; ++i)
    all.push_back(asker.ask(question("hi", false)));
  for (const auto& told : all)
    CHECK(told->outcome().has_value());
  CHECK(provider.in_flight_most() <= 3);
  CHECK(provider.query_count() == 40);
}

TEST_CASE("the limit falls under refusals and grows with answers", "[model][bounds]") {
  chat_provider provider;
  std::atomic<bool> refuse{true};
  provider.answer_with([&](const chat_query&) {
    if (refuse) return error_reply(503, "overloaded", "busy");
    auto reply = whole_reply("x");
    reply.delay = milliseconds{2};
    return reply;
  });
  auto settings = settings_for(provider);
  settings.concurrency = {.min = 2, .max = 12, .start = 8};
  asking asker{{settings}};
  const auto ask_many = [&](int count) {
    std::vector<std::shared_ptr<heard>> all;
    for (int i = 0; i < count; ++i)
      all.push_back(asker.ask(question("hi", false)));
    for (const auto& told : all)
      (void)told->outcome();
  };
  ask_many(30);
  CHECK(eventually([&] { return asker.stats().concurrency_limit == 2; }));
  refuse = false;
  for (int i = 0; i < 100 && asker.stats().concurrency_limit < 12; ++i)
    ask_many(40);
  CHECK(asker.stats().concurrency_limit == 12);
  CHECK(provider.in_flight_most() <= 12);
}

TEST_CASE(
    "neither a tenant's refusals nor those of a model lower the limit of others",
    "[model][bounds]") {
  chat_provider provider;
  provider.answer_with([](const chat_query& query) {
    return query.body.contains("bad") ? error_reply(503, "overloaded", "busy") : whole_reply("x");
  });
  auto settings = settings_for(provider);
  settings.concurrency = {.min = 1, .max = 8, .start = 8};
  settings.retry.attempts_max = 1;
  asking asker{{settings}};
  auto good = question("hi", false);
  good.tenant = "good";
  auto bad = question("bad", false);
  bad.tenant = "bad";
  for (int i = 0; i < 10; ++i) {
    CHECK(asker.answer(good).has_value());
    CHECK_FALSE(asker.answer(bad).has_value());
  }
  CHECK(eventually([&] { return asker.stats().concurrency_limit == 4; }));
  // Another model, which nobody answers for, falls as far as it has to; those for the first go on.
  bad.model = "bad-model";
  for (int i = 0; i < 10; ++i)
    CHECK_FALSE(asker.answer(bad).has_value());
  CHECK(eventually([&] { return asker.stats().concurrency_limit == 1; }));
  provider.answer_with([](const chat_query&) { return chat_reply{.hang = true}; });
  std::vector<std::shared_ptr<heard>> all;
  for (int i = 0; i < 6; ++i) {
    all.push_back(asker.ask(bad));
    all.push_back(asker.ask(good));
  }
  CHECK(eventually([&] { return asker.stats().in_flight == 5 && asker.stats().queue_depth == 7; }));
}

TEST_CASE(
    "no more calls than the most are at the provider, whatever they ask for", "[model][bounds]") {
  chat_provider provider;
  provider.answer_with([](const chat_query&) { return chat_reply{.hang = true}; });
  auto settings = settings_for(provider);
  settings.concurrency = {.min = 1, .max = 4, .start = 2};
  asking asker{{settings}};
  std::vector<std::shared_ptr<heard>> all;
  for (int i = 0; i < 12; ++i) {
    auto one = question("hi");
    one.model = "model-" + std::to_string(i / 3);
    all.push_back(asker.ask(one));
  }
  CHECK(eventually([&] { return asker.stats().in_flight == 4 && asker.stats().queue_depth == 8; }));
}

TEST_CASE("a full queue refuses at once, with a hint", "[model][bounds]") {
  chat_provider provider;
  provider.answer_with([](const chat_query&) { return chat_reply{.hang = true}; });
  manual_clock time;
  auto settings = settings_for(provider);
  settings.concurrency = {.min = 1, .max = 1, .start = 1};
  settings.queue_max = 3;
  asking asker{{settings}, &time};
  auto in_flight = asker.ask(question("0"));
  REQUIRE(eventually([&] { return asker.stats().in_flight == 1; }));
  std::vector<std::shared_ptr<heard>> queued;
  for (int i = 0; i < 3; ++i)
    queued.push_back(asker.ask(question("hi")));
  const auto refused = asker.start(question("4"), std::make_shared<heard>());
  CHECK(refused.error().code == errc::overloaded);
  CHECK(refused.error().retry_after_ms > 0);
  REQUIRE(eventually([&] { return asker.stats().queue_depth == 3; }));
  time.advance(std::chrono::seconds{5});
  CHECK(asker.stats().oldest_age == std::chrono::seconds{5});
  CHECK(asker.stats().in_flight == 1);
  const auto text = asker.metrics_text();
  CHECK_THAT(text, Catch::Contains("callboard_model_queue_depth{provider=\"test\"} 3"));
  CHECK_THAT(text, Catch::Contains("callboard_model_queue_oldest_seconds{provider=\"test\"} 5"));
  CHECK_THAT(text, Catch::Contains("callboard_model_in_flight{provider=\"test\"} 1"));
  CHECK_THAT(text, Catch::Contains("callboard_model_concurrency_limit{provider=\"test\"} 1"));
  CHECK_THAT(text, Catch::Contains("callboard_model_refused_total{provider=\"test\"} 1"));
}

TEST_CASE("a queue is bounded in bytes too", "[model][bounds]") {
  chat_provider provider;
  provider.answer_with([](const chat_query&) { return chat_reply{.hang = true}; });
  auto settings = settings_for(provider);
  settings.concurrency = {.min = 1, .max = 1, .start = 1};
  settings.queue_bytes_max = 100'000;
  asking asker{{settings}};
  auto in_flight = asker.ask(question("0"));
  REQUIRE(eventually([&] { return asker.stats().in_flight == 1; }));
  const auto large = question(std::string(60'000, 'x'));
  auto queued = asker.ask(large);
  CHECK(asker.start(large, std::make_shared<heard>()).error().code == errc::overloaded);
  CHECK(asker.start(question("small"), std::make_shared<heard>()).has_value());
}

TEST_CASE("a tenant with many calls starves no other", "[model][bounds]") {
  chat_provider provider;
  auto settings = settings_for(provider);
  settings.concurrency = {.min = 1, .max = 1, .start = 1};
  settings.queue_max = 200;
  settings.tenant_queue_percent = 50;
  provider.script({{.hang = true}});
  asking asker{{settings}};
  const auto of = [](std::string tenant, std::string_view text) {
    auto out = question(text, false);
    out.tenant = std::move(tenant);
    return out;
  };
  auto first = of("a", "first");
  first.timeout = milliseconds{1500};
  std::vector<std::shared_ptr<heard>> all{asker.ask(first)};
  REQUIRE(eventually([&] { return asker.stats().in_flight == 1; }));
  for (int i = 0; i < 100; ++i)
    all.push_back(asker.ask(of("a", "many")));
  CHECK(
      asker.start(of("a", "too many"), std::make_shared<heard>()).error().code == errc::overloaded);
  all.push_back(asker.ask(of("b", "one")));
  for (const auto& told : all)
    (void)told->outcome();
  const auto asked = provider.queries();
  REQUIRE(asked.size() == 102);
  CHECK_THAT(asked[1].body + asked[2].body, Catch::Contains("\"one\""));
}

TEST_CASE("the queue of a fallback is bounded too", "[model][bounds]") {
  chat_provider first;
  first.answer_with([](const chat_query&) { return error_reply(401, "invalid_api_key", "no"); });
  chat_provider second;
  second.answer_with([](const chat_query&) { return chat_reply{.hang = true}; });
  chat_provider third;
  third.answer_with([](const chat_query&) { return chat_reply{.hang = true}; });
  auto settings = settings_for(first, "first");
  settings.fallbacks = {"second", "third"};
  auto small = settings_for(second, "second");
  small.concurrency = {.min = 1, .max = 1, .start = 1};
  small.queue_max = 1;
  auto other = small;
  other.name = "third";
  other.base_url = third.base_url();
  asking asker{{settings, small, other}};
  const auto at = [&](std::size_t place) { return asker.client().stats()[place]; };
  std::vector<std::shared_ptr<heard>> held;
  for (const std::size_t place : {1U, 2U}) {
    held.push_back(asker.ask(question("asked")));
    REQUIRE(eventually([&] { return at(place).in_flight == 1; }));
    held.push_back(asker.ask(question("waits")));
    REQUIRE(eventually([&] { return at(place).queue_depth == 1; }));
  }
  const auto failed = asker.answer(question("no room")).error();
  CHECK(failed.kind == failure_kind::rate);
  CHECK(failed.code == errc::overloaded);
  CHECK(failed.retry_after == milliseconds{1000});
  CHECK(failed.retry_after_ms == 1000);
  CHECK_THAT(failed.detail, Catch::Contains("full") && Catch::Contains("status 401"));
  CHECK(at(1).queue_depth == 1);
  CHECK(at(2).queue_depth == 1);
  CHECK_THAT(
      asker.metrics_text(), Catch::Contains("callboard_model_refused_total{provider=\"third\"} 1"));
}

TEST_CASE("answers above their bounds fail for good", "[model][bounds]") {
  chat_provider provider;
  auto settings = settings_for(provider);
  settings.limits = {
      .body_bytes_max = 1000,
      .stream_bytes_max = 20'000,
      .event_bytes_max = 2000,
      .text_bytes_max = 500,
      .header_bytes_max = 1000};
  asking asker{{settings}};
  const std::string large(600, 'x');
  const auto fails = [&](chat_reply reply, bool stream) {
    provider.script({std::move(reply)});
    const auto failed = asker.answer(question("hi", stream)).error();
    CHECK(failed.code == errc::too_large);
    CHECK(failed.kind == failure_kind::permanent);
    CHECK(failed.attempts == 1);
  };
  fails(whole_reply(large + large), false);
  fails(whole_reply(large), false);
  fails(streamed_reply({large}), true);
  fails(streamed_reply({large + large + large + large}), true);
  fails(streamed_reply(std::vector<std::string>(499, "x")), true);
  auto headers = whole_reply("x");
  headers.headers = {{"X-Large", large + large}};
  fails(headers, false);
  // Bounds do not depend on what the server announces.
  fails({.raw = "HTTP/1.1 200 OK\r\n\r\n" + large + large}, false);
  CHECK(asker.answer(question("hi")).value().text == "You said: hi");
}

TEST_CASE("a refusal above the bounds is still what its status says", "[model][bounds]") {
  chat_provider provider;
  auto settings = settings_for(provider);
  settings.limits.body_bytes_max = 1000;
  settings.limits.text_bytes_max = 500;
  settings.limits.header_bytes_max = 1000;
  asking asker{{settings}};
  const std::string large(5000, 'x');
  auto endless = error_reply(503, "", large);
  endless.hold_end = true;
  const auto headers = error_reply(503, "overloaded", "busy", {{"X-Large", large}});
  for (const auto& reply : {error_reply(503, "overloaded", large), endless, headers}) {
    provider.script({reply, reply});
    const auto answer = asker.answer(question("hi")).value();
    CHECK(answer.attempts == 3);
  }
  provider.script({error_reply(401, "invalid_api_key", large)});
  const auto failed = asker.answer(question("hi")).error();
  CHECK(failed.code == errc::unauthorized);
  CHECK(failed.status == 401);
  CHECK(failed.detail.size() < 400);
}

TEST_CASE("calls, attempts and tokens are counted", "[model][bounds]") {
  chat_provider provider;
  provider.script(
      {error_reply(500, "server_error", "oops"),
       streamed_reply({"x"}),
       error_reply(400, "invalid_request_error", "no")});
  asking asker{{settings_for(provider)}};
  CHECK(asker.answer(question("hi")).has_value());
  CHECK_FALSE(asker.answer(question("hi")).has_value());
  const auto text = asker.metrics_text();
  CHECK_THAT(text, Catch::Contains("callboard_model_attempts_total{provider=\"test\"} 3"));
  CHECK_THAT(
      text, Catch::Contains("callboard_model_calls_total{outcome=\"ok\",provider=\"test\"} 1"));
  CHECK_THAT(
      text,
      Catch::Contains("callboard_model_calls_total{outcome=\"permanent\",provider=\"test\"} 1"));
  CHECK_THAT(
      text, Catch::Contains("callboard_model_tokens_total{kind=\"prompt\",provider=\"test\"} 5"));
  CHECK_THAT(
      text,
      Catch::Contains("callboard_model_tokens_total{kind=\"completion\",provider=\"test\"} 7"));
}

TEST_CASE("a thousand streams at once", "[model][bounds]") {
  chat_provider provider;
  auto settings = settings_for(provider);
  settings.concurrency = {.min = 1, .max = 100, .start = 100};
  asking asker{{settings}};
  std::vector<std::shared_ptr<heard>> all;
  for (int i = 0; i < 1000; ++i)
    all.push_back(asker.ask(question("number " + std::to_string(i))));
  for (int i = 0; i < 1000; ++i) {
    const auto expected = "You said: number " + std::to_string(i);
    CHECK(all[static_cast<std::size_t>(i)]->outcome().value().text == expected);
    CHECK(all[static_cast<std::size_t>(i)]->text() == expected);
  }
}
