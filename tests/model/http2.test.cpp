// Calls over HTTP/2, as the large providers take them: several at once on one connection, of which
// each can be cut alone.
#include "tests/model/client_fixture.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/http2_front.hpp"

#include <set>
#include <string>
#include <vector>

using namespace callboard;
using namespace callboard::model;
using namespace callboard::testing;
using std::chrono::milliseconds;

namespace {

struct fronted {
  [[nodiscard]] provider_settings settings() const {
    auto out = settings_for(provider);
    out.base_url = front.base_url();
    out.ca_file = certificate.certificate_file;
    return out;
  }

  temp_dir folder;
  chat_provider_options certificate = make_certificate(folder);
  chat_provider provider;
  http2_front front{provider, certificate};
};

chat_request keyed(const std::string& key) {
  auto out = question("hi");
  out.idempotency_key = key;
  return out;
}

/// Says a word, and then for long nothing.
chat_reply slow_reply() {
  auto out = streamed_reply({"Hel", "lo"});
  out.drip = milliseconds{300};
  return out;
}

}  // namespace

TEST_CASE_METHOD(fronted, "a stream comes over HTTP/2", "[model][http2]") {
  provider.script({streamed_reply({"Hel", "lo"})});
  asking asker{{settings()}};
  const auto told = asker.ask(keyed("k1"));
  const auto result = told->outcome().value();
  CHECK(result.text == "Hello");
  CHECK(told->text() == "Hello");
  CHECK(result.attempts == 1);
  REQUIRE(eventually([&] { return front.ended().size() == 1; }));
  CHECK(front.ended()[0].protocol == "h2");
  CHECK(front.ended()[0].idempotency_key == "k1");
}

TEST_CASE_METHOD(
    fronted, "a stream that is reset is asked for again with its key", "[model][http2]") {
  auto cut = streamed_reply({"Hel", "lo"});
  cut.cut_at = 250;
  cut.drip = milliseconds{50};
  provider.script({cut, streamed_reply({"Hel", "lo"})});
  asking asker{{settings()}};
  const auto told = asker.ask(keyed("k1"));
  const auto result = told->outcome().value();
  CHECK(result.text == "Hello");
  CHECK(told->text() == "Hello");
  CHECK(result.attempts == 2);
  CHECK(provider.counts() == std::map<std::string, std::uint32_t>{{"k1", 2}});
  REQUIRE(told->pauses().size() == 1);
  const auto why = told->pauses()[0].first;
  CHECK(why.kind == failure_kind::retryable);
  CHECK_THAT(why.detail, Catch::Contains("the answer was cut") && Catch::Contains("HTTP/2"));
  REQUIRE(eventually([&] { return front.ended().size() == 2; }));
  // RST_STREAM: the connection lives on.
  CHECK(front.ended()[0].client_port == front.ended()[1].client_port);
}

TEST_CASE_METHOD(
    fronted, "a connection that is cut in a stream is a retry, too", "[model][http2]") {
  provider.script({slow_reply(), streamed_reply({"Hel", "lo"})});
  manual_clock time;
  asking asker{{settings()}, &time};
  const auto told = asker.ask(keyed("k1"));
  REQUIRE(eventually([&] { return told->text_so_far() == "Hel"; }));
  front.kill();
  REQUIRE(eventually([&] { return asker.stats().backing_off == 1; }));
  front.start();
  time.advance(milliseconds{10});
  const auto result = told->outcome().value();
  CHECK(result.text == "Hello");
  CHECK(result.attempts == 2);
  CHECK(provider.counts() == std::map<std::string, std::uint32_t>{{"k1", 2}});
}

TEST_CASE_METHOD(fronted, "a server that says GOAWAY ends what it has begun", "[model][http2]") {
  provider.script({slow_reply(), streamed_reply({"fine"})});
  asking asker{{settings()}};
  const auto told = asker.ask(keyed("k1"));
  REQUIRE(eventually([&] { return told->text_so_far() == "Hel"; }));
  front.drain();
  const auto result = told->outcome().value();
  CHECK(result.text == "Hello");
  CHECK(result.attempts == 1);
  REQUIRE(eventually([&] { return front.has_gone(); }));
  front.start();
  // The connection that is to end gets no further request.
  CHECK(asker.answer(keyed("k2")).value().text == "fine");
  REQUIRE(eventually([&] { return front.ended().size() == 2; }));
  CHECK(front.ended()[0].client_port != front.ended()[1].client_port);
  CHECK(provider.counts() == std::map<std::string, std::uint32_t>{{"k1", 1}, {"k2", 1}});
}

TEST_CASE_METHOD(fronted, "calls at the same time share a connection", "[model][http2]") {
  constexpr std::size_t calls = 8;
  provider.script(std::vector<chat_reply>(calls, slow_reply()));
  asking asker{{settings()}};
  std::vector<std::shared_ptr<heard>> told;
  for (std::size_t i = 0; i < calls; ++i)
    told.push_back(asker.ask(keyed("k" + std::to_string(i))));
  for (const auto& one : told)
    CHECK(one->outcome().value().text == "Hello");
  CHECK(provider.in_flight_most() == calls);
  REQUIRE(eventually([&] { return front.ended().size() == calls; }));
  std::set<std::string> connections;
  for (const auto& one : front.ended()) {
    CHECK(one.protocol == "h2");
    connections.insert(one.client_port);
  }
  CHECK(connections.size() == 1);
}
