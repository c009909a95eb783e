// Whom the time to wait that a provider names holds back, against a real server. It passes on a
// clock moved by hand.
#include "tests/model/client_fixture.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"

#include <string>
#include <vector>

using namespace callboard;
using namespace callboard::model;
using namespace callboard::testing;
using std::chrono::seconds;

namespace {

chat_request of(std::string tenant, std::string_view text) {
  auto out = question(text, false);
  out.tenant = std::move(tenant);
  return out;
}

/// Of the tenants `t1` and `t2`.
std::vector<std::shared_ptr<heard>> two_that_wait(asking& asker) {
  std::vector<std::shared_ptr<heard>> out;
  for (std::size_t asked = 1; asked <= 2; ++asked) {
    out.push_back(asker.ask(of("t" + std::to_string(asked), "hi")));
    REQUIRE(eventually([&] { return asker.stats().backing_off == asked; }));
  }
  return out;
}

}  // namespace

TEST_CASE("nobody is asked before the time that was named", "[model][holds]") {
  chat_provider provider;
  provider.script({limited("Retry-After", "100")});
  manual_clock time;
  asking asker{{settings_for(provider)}, &time};
  const auto told = asker.ask(question("early"));
  REQUIRE(eventually([&] { return asker.stats().backing_off == 1; }));
  const auto pauses = told->pauses();
  REQUIRE(pauses.size() == 1);
  CHECK(pauses[0].first.kind == failure_kind::rate);
  CHECK(pauses[0].second >= time.boot() + seconds{100});
  time.advance(seconds{99});
  // Another call is seen: by then the thread has seen the time, too.
  const auto other = asker.ask(question("between", false));
  REQUIRE(eventually([&] { return asker.stats().backing_off == 2; }));
  CHECK(asker.stats().held >= seconds{1});
  CHECK(provider.query_count() == 1);
  REQUIRE(other->pauses().size() == 1);
  CHECK_THAT(other->pauses()[0].first.detail, Catch::Contains("test wants no request for "));
  CHECK(other->pauses()[0].second == time.boot() + asker.stats().held);
  time.advance(seconds{20});
  CHECK(told->outcome().value().attempts == 2);
  CHECK(other->outcome().value().attempts == 1);
  CHECK(asker.stats().held == seconds{0});
}

TEST_CASE("a time that one call was named goes for all that its tenant asks", "[model][holds]") {
  for (const int status : {429, 503}) {
    chat_provider provider;
    const auto refusal = error_reply(status, "busy", "later", {{"Retry-After", "30"}});
    provider.script({refusal});
    manual_clock time;
    auto settings = settings_for(provider);
    settings.concurrency = {.min = 1, .max = 1, .start = 1};
    asking asker{{settings}, &time};
    std::vector<std::shared_ptr<heard>> all;
    for (int i = 0; i < 50; ++i)
      all.push_back(asker.ask(question("hi", false)));
    REQUIRE(eventually([&] { return asker.stats().backing_off == 50; }));
    time.advance(seconds{29});
    auto late = question("late", false);
    late.timeout = seconds{1};
    // Its time ends before that of the provider: it is told at once.
    const auto put_off = asker.answer(late).error();
    CHECK(put_off.kind == failure_kind::rate);
    CHECK(put_off.code == errc::rate_limited);
    CHECK(put_off.attempts == 0);
    CHECK(put_off.retry_after.value() >= seconds{1});
    CHECK(put_off.retry_after_ms >= 1000);
    CHECK(provider.query_count() == 1);
    // Another model has a rate of its own.
    auto other = question("other", false);
    other.model = "other-model";
    CHECK(asker.answer(other).has_value());
    CHECK(provider.query_count() == 2);
    // With what is put on top for jitter.
    time.advance(seconds{6});
    for (const auto& told : all)
      CHECK(told->outcome().has_value());
    CHECK(provider.query_count() == 52);
    CHECK(provider.in_flight_most() == 1);
  }
}

TEST_CASE("a tenant that is refused holds up no other", "[model][holds]") {
  for (const int status : {429, 503}) {
    chat_provider provider;
    provider.answer_with([status](const chat_query& query) {
      if (!query.body.contains("bad")) return whole_reply("fine");
      return error_reply(status, "busy", "later", {{"Retry-After", "99999999999"}});
    });
    manual_clock time;
    auto settings = settings_for(provider);
    settings.timeouts.total = std::chrono::hours{48};
    asking asker{{settings}, &time};
    const auto told = asker.ask(of("bad", "bad"));
    REQUIRE(eventually([&] { return asker.stats().backing_off == 1; }));
    for (int i = 0; i < 100; ++i)
      CHECK(asker.answer(of("good", "hi")).has_value());
    CHECK_FALSE(told->is_done());
  }
}

TEST_CASE("when two tenants are refused, all are held", "[model][holds]") {
  chat_provider provider;
  provider.script({limited("Retry-After", "100"), limited("Retry-After", "30"), {.hang = true}});
  manual_clock time;
  asking asker{{settings_for(provider)}, &time};
  const auto all = two_that_wait(asker);
  // One asks all the same, whose answer is waited for.
  const auto third = asker.ask(of("t3", "hi"));
  REQUIRE(eventually([&] { return provider.query_count() == 3; }));
  const auto fourth = asker.ask(of("t4", "hi"));
  REQUIRE(eventually([&] { return asker.stats().backing_off == 3; }));
  CHECK(provider.query_count() == 3);
  time.advance(seconds{36});
  CHECK(fourth->outcome().has_value());
  time.advance(seconds{70});
  for (const auto& told : all)
    CHECK(told->outcome().has_value());
  CHECK_FALSE(third->is_done());
}

TEST_CASE("two tenants that are refused shut out no other", "[model][holds]") {
  chat_provider provider;
  provider.script({limited("Retry-After", "100"), limited("Retry-After", "100"), {.hang = true}});
  manual_clock time;
  asking asker{{settings_for(provider)}, &time};
  const auto refused = two_that_wait(asker);
  const auto third = std::make_shared<heard>();
  const auto id = asker.start(of("t3", "hi"), third);
  REQUIRE(eventually([&] { return provider.query_count() == 3; }));
  std::vector<std::shared_ptr<heard>> others;
  for (std::size_t asked = 4; asked <= 6; ++asked) {
    others.push_back(asker.ask(of("t" + std::to_string(asked), "hi")));
    REQUIRE(eventually([&] { return asker.stats().backing_off == asked - 1; }));
  }
  const auto own = asker.ask(of("t1", "hi"));
  REQUIRE(eventually([&] { return asker.stats().backing_off == 6; }));
  // The next one asks, and what it is answered goes for all that were not refused.
  asker.client().cancel(id.value());
  for (const auto& told : others)
    CHECK(told->outcome().has_value());
  CHECK(asker.answer(of("t7", "hi")).has_value());
  CHECK(asker.stats().backing_off == 3);
  CHECK(provider.query_count() == 7);
  time.advance(seconds{110});
  CHECK(own->outcome().has_value());
  for (const auto& told : refused)
    CHECK(told->outcome().has_value());
}

TEST_CASE("one that hangs while all are held makes way for the next", "[model][holds]") {
  chat_provider provider;
  provider.script({limited("Retry-After", "100"), limited("Retry-After", "100"), {.hang = true}});
  manual_clock time;
  auto settings = settings_for(provider);
  settings.timeouts.first_byte = seconds{20};
  asking asker{{settings}, &time};
  const auto refused = two_that_wait(asker);
  const auto hangs = asker.ask(of("t3", "hi"));
  REQUIRE(eventually([&] { return provider.query_count() == 3; }));
  const auto held = asker.ask(of("t4", "hi"));
  REQUIRE(eventually([&] { return asker.stats().backing_off == 3; }));
  time.advance(seconds{19});
  // Another call is seen: by then the thread has seen the time, too.
  const auto own = asker.ask(of("t1", "hi"));
  REQUIRE(eventually([&] { return asker.stats().backing_off == 4; }));
  CHECK(provider.query_count() == 3);
  time.advance(seconds{1});
  // What it is answered goes for all that were not refused, long before the time is over.
  CHECK(held->outcome().has_value());
  time.advance(seconds{5});
  CHECK(hangs->outcome().has_value());
  CHECK_FALSE(own->is_done());
}

TEST_CASE("an answer to another does not end what holds a tenant", "[model][holds]") {
  chat_provider provider;
  provider.script({limited("Retry-After", "100")});
  manual_clock time;
  asking asker{{settings_for(provider)}, &time};
  const auto told = asker.ask(of("a", "told"));
  REQUIRE(eventually([&] { return asker.stats().backing_off == 1; }));
  const auto held = asker.ask(of("a", "held"));
  REQUIRE(eventually([&] { return asker.stats().backing_off == 2; }));
  time.advance(seconds{1});
  for (int i = 0; i < 2; ++i)
    CHECK(asker.answer(of("b", "hi")).has_value());
  CHECK(provider.query_count() == 3);
  CHECK_FALSE(held->is_done());
  time.advance(seconds{110});
  CHECK(held->outcome().has_value());
  CHECK(told->outcome().has_value());
}

TEST_CASE("a long wish holds others for no longer than the setting says", "[model][holds]") {
  chat_provider provider;
  provider.script({limited("Retry-After", "99999999999")});
  manual_clock time;
  auto settings = settings_for(provider);
  settings.retry.hold_max = seconds{300};
  asking asker{{settings}, &time};
  // Its own run waits for that long.
  CHECK(asker.answer(of("a", "hi")).error().retry_after == std::chrono::hours{24});
  const auto held = asker.ask(of("a", "hi"));
  REQUIRE(eventually([&] { return asker.stats().backing_off == 1; }));
  CHECK(asker.stats().held <= seconds{305});
  time.advance(seconds{306});
  CHECK(held->outcome().has_value());
  CHECK(provider.query_count() == 2);
}

TEST_CASE("calls do not wait long where others could answer", "[model][holds]") {
  for (const auto wait : {seconds{10}, seconds{60}}) {
    chat_provider first;
    chat_provider second;
    first.script({limited("Retry-After", std::to_string(wait.count()))});
    manual_clock time;
    auto settings = settings_for(first, "first");
    settings.fallbacks = {"second"};
    settings.concurrency = {.min = 1, .max = 1, .start = 1};
    asking asker{{settings, settings_for(second, "second")}, &time};
    std::vector<std::shared_ptr<heard>> all;
    for (int i = 0; i < 5; ++i)
      all.push_back(asker.ask(question("hi", false)));
    const bool is_long = wait > settings.retry.fallback_wait_max;
    if (is_long) {
      // Also those that come later.
      REQUIRE(eventually([&] { return second.query_count() == 5; }));
      all.push_back(asker.ask(question("hi", false)));
    } else {
      REQUIRE(eventually([&] { return asker.stats().backing_off == 5; }));
      time.advance(seconds{20});
    }
    for (const auto& told : all)
      CHECK(told->outcome().value().provider == (is_long ? "second" : "first"));
    CHECK(first.query_count() == (is_long ? 1 : 6));
    CHECK(second.query_count() == (is_long ? 6 : 0));
  }
}

TEST_CASE("who finds no room elsewhere waits", "[model][holds]") {
  chat_provider first;
  chat_provider second;
  first.script({limited("Retry-After", "60")});
  second.answer_with([](const chat_query&) { return chat_reply{.hang = true}; });
  manual_clock time;
  auto settings = settings_for(first, "first");
  settings.fallbacks = {"second"};
  settings.concurrency = {.min = 1, .max = 1, .start = 1};
  auto other = settings_for(second, "second");
  other.concurrency = settings.concurrency;
  other.queue_max = 1;
  asking asker{{settings, other}, &time};
  auto at_second = question("hi");
  at_second.provider = "second";
  const auto in_flight = asker.ask(at_second);
  REQUIRE(eventually([&] { return second.query_count() == 1; }));
  const auto waits = asker.ask(at_second);
  const auto refused = asker.ask(question("0"));
  CHECK(refused->outcome().error().code == errc::overloaded);
  const auto held = asker.ask(question("1"));
  REQUIRE(eventually([&] { return asker.stats().backing_off == 1; }));
  time.advance(seconds{70});
  CHECK(held->outcome().value().provider == "first");
}

TEST_CASE("a wish beyond the deadline ends the call at once, with the hint", "[model][holds]") {
  chat_provider provider;
  provider.script({limited("Retry-After", "700")});
  manual_clock time;
  asking asker{{settings_for(provider)}, &time};
  const auto failed = asker.answer(question("hi")).error();
  CHECK(failed.kind == failure_kind::rate);
  CHECK(failed.code == errc::rate_limited);
  CHECK(failed.retry_after == seconds{700});
  CHECK(failed.retry_after_ms == 700'000);
  CHECK(provider.query_count() == 1);
}

TEST_CASE("who would rather wait himself is told the time", "[model][holds]") {
  chat_provider provider;
  chat_provider other;
  manual_clock time;
  auto settings = settings_for(provider, "first");
  const auto other_settings = settings_for(other, "second");
  auto patient = question("hi");
  patient.wait_max = seconds{2};
  SECTION("a long one ends the call") {
    provider.script({limited("Retry-After", "30")});
    asking asker{{settings}, &time};
    const auto failed = asker.answer(patient).error();
    CHECK(failed.kind == failure_kind::rate);
    CHECK(failed.retry_after == seconds{30});
    CHECK(provider.query_count() == 1);
    // Others hold to it as ever.
    CHECK(eventually([&] { return asker.stats().held >= seconds{30}; }));
  }
  SECTION("a short one is waited for") {
    provider.script({limited("Retry-After", "2")});
    asking asker{{settings}, &time};
    const auto told = asker.ask(patient);
    REQUIRE(eventually([&] { return asker.stats().backing_off == 1; }));
    time.advance(seconds{8});
    CHECK(told->outcome().has_value());
  }
  SECTION("so is one that comes with 503") {
    provider.script({error_reply(503, "busy", "later", {{"Retry-After", "30"}})});
    asking asker{{settings}, &time};
    const auto told = asker.ask(patient);
    REQUIRE(eventually([&] { return asker.stats().backing_off == 1; }));
    time.advance(seconds{40});
    CHECK(told->outcome().has_value());
  }
  SECTION("and one before a fallback is asked") {
    provider.script({limited("Retry-After", "10")});
    settings.fallbacks = {"second"};
    asking asker{{settings, other_settings}, &time};
    const auto told = asker.ask(patient);
    REQUIRE(eventually([&] { return asker.stats().backing_off == 1; }));
    time.advance(seconds{20});
    CHECK(told->outcome().value().provider == "first");
  }
  SECTION("the last that is asked names it, whatever hope was left") {
    provider.answer_with([](const chat_query&) { return error_reply(503, "overloaded", "busy"); });
    other.script({limited("Retry-After", "60")});
    settings.fallbacks = {"second"};
    settings.retry.attempts_max = 1;
    asking asker{{settings, other_settings}, &time};
    const auto failed = asker.answer(patient).error();
    CHECK(failed.kind == failure_kind::rate);
    CHECK(failed.retry_after == seconds{60});
    CHECK(failed.provider == "second");
  }
}
