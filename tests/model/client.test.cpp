#include "model/chat_client.hpp"

#include "tests/model/client_fixture.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"

#include <boost/json/parse.hpp>

#include <atomic>
#include <cstdlib>
#include <latch>
#include <memory>
#include <string>
#include <thread>
#include <vector>

using namespace callboard;
using namespace callboard::model;
using namespace callboard::testing;
using std::chrono::milliseconds;

TEST_CASE("an answer is streamed, and comes whole at the end", "[model][client]") {
  chat_provider provider;
  provider.script({streamed_reply({"Hel", "lo ", "world"})});
  asking asker{{settings_for(provider)}};
  const auto told = asker.ask(question("hi"));
  const auto answer = told->outcome().value();
  CHECK(answer.text == "Hello world");
  CHECK(told->text() == "Hello world");
  CHECK(answer.finish_reason == "stop");
  CHECK(answer.usage == token_usage{5, 7, 12});
  CHECK(answer.provider == "test");
  CHECK(answer.model == "test-model");
  CHECK(answer.attempts == 1);
  CHECK(told->attempts() == std::vector<std::uint32_t>{1});
}

TEST_CASE("an answer that is not streamed", "[model][client]") {
  chat_provider provider;
  asking asker{{settings_for(provider)}};
  const auto told = asker.ask(question("hi", false));
  CHECK(told->outcome().value().text == "You said: hi");
  CHECK(told->deltas().empty());
  const auto sent = boost::json::parse(provider.queries().at(0).body);
  CHECK(sent.at("model") == "test-model");
  CHECK_FALSE(sent.as_object().contains("stream"));
}

TEST_CASE("a server that does not stream is understood", "[model][client]") {
  chat_provider provider;
  provider.script({whole_reply("all at once")});
  asking asker{{settings_for(provider)}};
  const auto told = asker.ask(question("hi"));
  CHECK(told->outcome().value().text == "all at once");
  CHECK(told->text() == "all at once");
}

TEST_CASE("tool calls come together from their pieces", "[model][client]") {
  chat_provider provider;
  auto reply = streamed_reply({});
  reply.pieces.insert(
      reply.pieces.begin() + 1,
      {chunk_of(R"({"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{"}}]})"),
       chunk_of(R"({"tool_calls":[{"index":0,"function":{"arguments":"}"}}]})")});
  provider.script({reply});
  asking asker{{settings_for(provider)}};
  CHECK(
      asker.answer(question("hi")).value().tool_calls == std::vector<tool_call>{{"a", "f", "{}"}});
}

TEST_CASE("a slow drip, one byte at a time, is the same answer", "[model][client]") {
  chat_provider provider;
  auto reply = streamed_reply({"Hel", "lo"});
  std::string all;
  for (const auto& piece : reply.pieces)
    all += piece;
  reply.pieces.clear();
  for (const char c : all)
    reply.pieces.emplace_back(1, c);
  provider.script({reply});
  asking asker{{settings_for(provider)}};
  const auto told = asker.ask(question("hi"));
  CHECK(told->outcome().value().text == "Hello");
  CHECK(told->text() == "Hello");
}

TEST_CASE("a body that does not end after [DONE] does not hold the answer", "[model][client]") {
  chat_provider provider;
  auto reply = streamed_reply({"Hello"});
  reply.hold_end = true;
  provider.script({reply});
  asking asker{{settings_for(provider)}};
  CHECK(asker.answer(question("hi")).value().text == "Hello");
  CHECK(eventually([&] { return provider.aborted() == 1; }));
}

TEST_CASE("headers: key from the environment, idempotency key, types", "[model][client]") {
  ::setenv("CALLBOARD_TEST_KEY", "sk-test-key-1", 1);
  chat_provider provider;
  auto settings = settings_for(provider);
  settings.api_key_env = "CALLBOARD_TEST_KEY";
  asking asker{{settings}};
  auto request = question("hi");
  request.idempotency_key = "run-1.step-2";
  CHECK(asker.answer(request).has_value());
  const auto query = provider.queries().at(0);
  CHECK(query.target == "/v1/chat/completions");
  CHECK(query.header("authorization") == "Bearer sk-test-key-1");
  CHECK(query.header("idempotency-key") == "run-1.step-2");
  CHECK(query.header("content-type") == "application/json");
  CHECK(query.header("accept") == "text/event-stream");
  CHECK(query.header("expect").empty());
  ::unsetenv("CALLBOARD_TEST_KEY");
}

TEST_CASE("a key never shows in a failure", "[model][client]") {
  ::setenv("CALLBOARD_TEST_KEY", "very-secret", 1);
  chat_provider provider;
  provider.script(
      {error_reply(401, "invalid_api_key", "very-secret is no key: Bearer very-secret")});
  auto settings = settings_for(provider);
  settings.api_key_env = "CALLBOARD_TEST_KEY";
  asking asker{{settings}};
  const auto failed = asker.answer(question("hi")).error();
  CHECK(failed.code == errc::unauthorized);
  CHECK(failed.kind == failure_kind::permanent);
  CHECK(failed.status == 401);
  CHECK(failed.provider == "test");
  CHECK(failed.detail == "test: status 401 (invalid_api_key): *** is no key: Bearer ***");
  ::unsetenv("CALLBOARD_TEST_KEY");
}

TEST_CASE("a client does not open without its key", "[model][client]") {
  ::unsetenv("CALLBOARD_TEST_KEY");
  chat_provider provider;
  client_settings settings;
  settings.providers = {settings_for(provider)};
  settings.providers[0].api_key_env = "CALLBOARD_TEST_KEY";
  const callboard::system_clock time;
  metrics counters;
  const client_parts parts{.time = time, .counters = counters, .random = [] { return 0U; }};
  const auto missing = chat_client::open(settings, parts);
  CHECK(missing.error().code == errc::invalid_setting);
  CHECK_THAT(missing.error().detail, Catch::Contains("CALLBOARD_TEST_KEY"));
  ::setenv("CALLBOARD_TEST_KEY", "two\nlines", 1);
  const auto broken = chat_client::open(settings, parts);
  CHECK(broken.error().code == errc::invalid_setting);
  CHECK(broken.error().detail.find("lines") == std::string::npos);
  ::unsetenv("CALLBOARD_TEST_KEY");
  CHECK(chat_client::open({}, parts).error().code == errc::invalid_setting);
}

TEST_CASE("calls that cannot be made are refused at once", "[model][client]") {
  chat_provider provider;
  auto settings = settings_for(provider);
  settings.default_model.clear();
  asking asker{{settings}};
  const auto told = std::make_shared<heard>();
  const auto no_model = asker.start(question("hi"), told).error();
  CHECK(no_model.code == errc::not_found);
  CHECK_THAT(no_model.detail, Catch::Contains("has no default model"));
  CHECK(asker.client().find("", "").error().detail == no_model.detail);
  CHECK(asker.client().find("test", "m").has_value());
  auto request = question("hi");
  request.model = "m";
  request.provider = "nobody";
  CHECK(asker.start(request, told).error().code == errc::not_found);
  CHECK(asker.client().find("nobody", "m").error().code == errc::not_found);
  request.provider = "test";
  request.messages.clear();
  CHECK(asker.start(request, told).error().code == errc::bad_request);
  auto large = question(std::string(5 << 20, 'x'));
  large.model = "m";
  CHECK(asker.start(large, told).error().code == errc::too_large);
}

TEST_CASE("a large request arrives whole", "[model][client]") {
  chat_provider provider;
  asking asker{{settings_for(provider)}};
  const std::string large(2 << 20, 'x');
  provider.script({whole_reply("read")});
  CHECK(asker.answer(question(large, false)).value().text == "read");
  CHECK_THAT(provider.queries().at(0).body, Catch::Contains(large));
}

TEST_CASE("cancel aborts the transfer at once", "[model][client]") {
  chat_provider provider;
  auto slow = streamed_reply({"Hel", "lo"});
  slow.hold_end = true;
  slow.pieces.pop_back();
  for (auto& reply : std::vector<chat_reply>{{.hang = true}, slow}) {
    provider.script({reply});
    asking asker{{settings_for(provider)}};
    const auto told = std::make_shared<heard>();
    const auto before = provider.query_count();
    const auto gone = provider.aborted();
    const auto id = asker.start(question("hi"), told).value();
    REQUIRE(eventually([&] { return provider.query_count() == before + 1; }));
    asker.client().cancel(id);
    const auto failed = told->outcome().error();
    CHECK(failed.code == errc::cancelled);
    CHECK(failed.kind == failure_kind::cancelled);
    CHECK(eventually([&] { return provider.aborted() == gone + 1; }));
    CHECK(eventually([&] { return asker.stats().in_flight == 0; }));
    // Once more is harmless, as is a call that never was.
    asker.client().cancel(id);
    asker.client().cancel(call_id{999});
    CHECK(asker.answer(question("still here", false)).has_value());
  }
}

TEST_CASE(
    "a call may be cancelled while it waits for its turn or its next attempt", "[model][client]") {
  chat_provider provider;
  provider.script(
      {error_reply(500, "server_error", "later", {{"Retry-After", "3000"}}), {.hang = true}});
  auto settings = settings_for(provider);
  settings.concurrency = {.min = 1, .max = 1, .start = 1};
  settings.timeouts.total = std::chrono::hours{2};
  asking asker{{settings}};
  const auto backing_off = std::make_shared<heard>();
  const auto first = asker.start(question("1"), backing_off).value();
  REQUIRE(eventually([&] { return asker.stats().backing_off == 1; }));
  const auto in_flight = asker.ask(question("2"));
  REQUIRE(eventually([&] { return provider.query_count() == 2; }));
  const auto queued = std::make_shared<heard>();
  const auto third = asker.start(question("3"), queued).value();
  REQUIRE(eventually([&] { return asker.stats().queue_depth == 1; }));
  asker.client().cancel(first);
  asker.client().cancel(third);
  CHECK(backing_off->outcome().error().code == errc::cancelled);
  CHECK(queued->outcome().error().code == errc::cancelled);
  CHECK(queued->attempts().empty());
  CHECK_FALSE(in_flight->is_done());
  CHECK(eventually([&] { return asker.stats().queue_depth + asker.stats().backing_off == 0; }));
}

TEST_CASE("a callback may start a call", "[model][client]") {
  chat_provider provider;
  asking asker{{settings_for(provider)}};
  const auto second = std::make_shared<heard>();
  const auto started = asker.client().start(question("1"), {.on_done = [&](const chat_outcome&) {
                                              // Checked by what comes of it: assertions belong to
                                              // the test's own thread.
                                              (void)asker.start(question("2"), second);
                                            }});
  REQUIRE(started.has_value());
  CHECK(second->outcome().value().text == "You said: 2");
}

TEST_CASE("a call may be cancelled by its own delta", "[model][client]") {
  chat_outcome got;
  std::atomic<bool> done{false};
  std::atomic<std::uint64_t> id{0};
  auto reply = streamed_reply({"a", "b"});
  reply.hold_end = true;
  reply.pieces.pop_back();
  chat_provider endless;
  endless.script({reply});
  asking other{{settings_for(endless)}};
  const auto begun = other.client().start(
      question("3"),
      {.on_delta =
           [&](std::uint32_t, std::uint64_t, std::string_view) {
             while (id == 0)
               std::this_thread::yield();
             other.client().cancel(call_id{id.load()});
           },
       .on_done =
           [&](chat_outcome outcome) {
             got = std::move(outcome);
             done = true;
           }});
  id = begun.value().raw();
  REQUIRE(eventually([&] { return done.load(); }));
  CHECK(got.error().code == errc::cancelled);
}

TEST_CASE("stop cancels all calls, whatever they wait for", "[model][client]") {
  chat_provider provider;
  provider.answer_with([](const chat_query&) { return chat_reply{.hang = true}; });
  auto settings = settings_for(provider);
  settings.concurrency = {.min = 1, .max = 2, .start = 2};
  asking asker{{settings}};
  std::vector<std::shared_ptr<heard>> all;
  for (int i = 0; i < 20; ++i)
    all.push_back(asker.ask(question("hi")));
  REQUIRE(eventually([&] { return provider.query_count() == 2; }));
  asker.client().stop();
  for (const auto& told : all) {
    REQUIRE(told->is_done());
    CHECK(told->outcome().error().code == errc::cancelled);
  }
  CHECK(asker.start(question("late"), std::make_shared<heard>()).error().code == errc::draining);
  asker.client().stop();
  CHECK(eventually([&] { return provider.aborted() == 2; }));
  CHECK(asker.stats().in_flight == 0);
}

TEST_CASE("a callback that does not end holds up a stop no longer than told", "[model][client]") {
  chat_provider provider;
  asking asker{{settings_for(provider)}};
  std::latch entered{1};
  std::latch left{1};
  REQUIRE(asker.client()
              .start(
                  question("hi"),
                  {.on_attempt = {},
                   .on_delta = {},
                   .on_done =
                       [&](const chat_outcome&) {
                         entered.count_down();
                         left.wait();
                       }})
              .has_value());
  entered.wait();
  CHECK_FALSE(asker.client().stop_within(milliseconds{10}));
  CHECK(asker.start(question("late"), std::make_shared<heard>()).error().code == errc::draining);
  left.count_down();
  CHECK(asker.client().stop_within(std::chrono::seconds{60}));
  CHECK(asker.client().stop_within(milliseconds{0}));
}

TEST_CASE(
    "every call that was admitted ends once, also if stop runs beside start", "[model][client]") {
  chat_provider provider;
  for (int round = 0; round < 5; ++round) {
    asking asker{{settings_for(provider)}};
    std::vector<std::shared_ptr<heard>> admitted;
    std::thread starter{[&] {
      while (true) {
        auto told = std::make_shared<heard>();
        const auto started = asker.start(question("hi", false), told);
        if (!started && started.error().code == errc::draining) return;
        if (started) admitted.push_back(std::move(told));
      }
    }};
    REQUIRE(
        eventually([&] { return provider.query_count() > static_cast<std::size_t>(round) * 5; }));
    asker.client().stop();
    starter.join();
    for (const auto& told : admitted)
      CHECK(told->is_done());
    for (const auto& told : admitted)
      CHECK(told->disorder().empty());
  }
}
