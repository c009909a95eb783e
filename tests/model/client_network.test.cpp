// Timeouts, refused connections, TLS and proxies.
#include "tests/model/client_fixture.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/connect_proxy.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/temp_dir.hpp"

#include <cstdlib>
#include <string>

using namespace callboard;
using namespace callboard::model;
using namespace callboard::testing;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

/// Lets backoffs pass until the provider has been asked `count` times.
bool is_asked_again(
    const asking& asker, const chat_provider& provider, manual_clock& time, std::size_t count) {
  return eventually([&] {
    if (asker.stats().backing_off == 1) time.advance(milliseconds{10});
    return provider.query_count() == count;
  });
}

/// A variable of the environment, for as long as this lives.
class variable {
public:
  variable(const char* name, const std::string& value) : name_{name} {
    ::setenv(name, value.c_str(), 1);
  }

  ~variable() { ::unsetenv(name_); }

  variable(const variable&) = delete;
  variable& operator=(const variable&) = delete;

private:
  const char* name_;
};

}  // namespace

TEST_CASE("nobody listens: tried again, then told", "[model][network]") {
  provider_settings settings;
  {
    const chat_provider gone;
    settings = settings_for(gone);
  }
  asking asker{{settings}};
  const auto failed = asker.answer(question("hi")).error();
  CHECK(failed.kind == failure_kind::retryable);
  CHECK(failed.code == errc::unreachable);
  CHECK(failed.status == 0);
  CHECK(failed.attempts == 4);
}

TEST_CASE("a first byte that does not come ends the attempt", "[model][network]") {
  chat_provider provider;
  // A head alone is no byte of the answer.
  provider.script(
      {{.hang = true},
       {.content_type = "text/event-stream", .hold_end = true},
       streamed_reply({"fine"})});
  manual_clock time;
  auto settings = settings_for(provider);
  asking asker{{settings}, &time};
  const auto told = asker.ask(question("hi"));
  REQUIRE(eventually([&] { return provider.query_count() == 1; }));
  for (std::size_t asked = 1; asked <= 2; ++asked) {
    time.advance(seconds{121});
    REQUIRE(eventually([&] { return provider.aborted() == asked; }));
    REQUIRE(is_asked_again(asker, provider, time, asked + 1));
  }
  CHECK(told->outcome().value().attempts == 3);
}

TEST_CASE("silence between two pieces ends the attempt", "[model][network]") {
  chat_provider provider;
  auto silent = streamed_reply({"Hel", "lo"});
  silent.pieces.resize(2);
  silent.hold_end = true;
  provider.script({silent, streamed_reply({"fine"})});
  manual_clock time;
  asking asker{{settings_for(provider)}, &time};
  const auto told = asker.ask(question("hi"));
  REQUIRE(eventually([&] { return told->text_so_far() == "Hel"; }));
  time.advance(seconds{61});
  REQUIRE(eventually([&] { return provider.aborted() == 1; }));
  REQUIRE(is_asked_again(asker, provider, time, 2));
  CHECK(told->outcome().value().text == "fine");
  CHECK(told->text() == "fine");
}

TEST_CASE("a refusal whose body does not come is what its status says", "[model][network]") {
  struct expectation {
    int status;
    failure_kind kind;
    std::vector<std::string> body;
  };

  using enum failure_kind;
  for (const auto& [status, kind, body] : std::vector<expectation>{
           {401, permanent, {}},
           {400, permanent, {R"({"error":)"}},
           {402, quota, {}},
           {429, rate, {R"({"error":)"}},
           {503, retryable, {}},
       }) {
    INFO(status);
    chat_provider provider;
    provider.script({{.status = status, .pieces = body, .hold_end = true}});
    manual_clock time;
    auto settings = settings_for(provider);
    settings.retry.attempts_max = 1;
    constexpr std::chrono::hours never{1};
    settings.timeouts = {.first_byte = never, .idle = never, .total = never};
    asking asker{{settings}, &time};
    const auto told = asker.ask(question("hi"));
    REQUIRE(eventually([&] {
      time.advance(seconds{1});
      return told->is_done();
    }));
    const auto failed = told->outcome().error();
    CHECK(failed.kind == kind);
    CHECK(failed.status == status);
    CHECK(provider.query_count() == 1);
  }
}

TEST_CASE("comments keep a stream alive", "[model][network]") {
  chat_provider provider;
  auto thinking = streamed_reply({"fine"});
  thinking.pieces.insert(thinking.pieces.begin(), 40, ": thinking\n\n");
  thinking.drip = milliseconds{20};
  provider.script({thinking});
  auto settings = settings_for(provider);
  // Less than all of the thinking takes, far more than there is between two comments.
  settings.timeouts.idle = milliseconds{600};
  asking asker{{settings}};
  CHECK(asker.answer(question("hi")).value().attempts == 1);
}

TEST_CASE("the deadline ends a call wherever it is", "[model][network]") {
  chat_provider provider;
  provider.script(
      {error_reply(500, "server_error", "later", {{"Retry-After", "500"}}), {.hang = true}});
  manual_clock time;
  auto settings = settings_for(provider);
  settings.concurrency = {.min = 1, .max = 1, .start = 1};
  settings.timeouts.first_byte = std::chrono::hours{1};
  asking asker{{settings}, &time};
  const auto backing_off = asker.ask(question("1"));
  REQUIRE(eventually([&] { return asker.stats().backing_off == 1; }));
  const auto in_flight = asker.ask(question("2"));
  REQUIRE(eventually([&] { return provider.query_count() == 2; }));
  auto hurried = question("3");
  hurried.timeout = seconds{10};
  const auto queued = asker.ask(hurried);
  time.advance(seconds{11});
  const auto failed = queued->outcome().error();
  // Nobody was asked, so that it was no attempt.
  CHECK(failed.code == errc::overloaded);
  CHECK(failed.kind == failure_kind::rate);
  CHECK(failed.retry_after == seconds{1});
  CHECK(failed.attempts == 0);
  CHECK_FALSE(in_flight->is_done());
  time.advance(seconds{600});
  CHECK(in_flight->outcome().error().code == errc::timeout);
  CHECK(backing_off->outcome().error().code == errc::timeout);
  CHECK(backing_off->outcome().error().kind == failure_kind::retryable);
  CHECK_THAT(backing_off->outcome().error().detail, Catch::Contains("status 500"));
}

TEST_CASE("TLS with an authority from a file", "[model][network]") {
  const temp_dir folder;
  const auto options = make_certificate(folder);
  chat_provider provider{options};
  auto settings = settings_for(provider);
  settings.ca_file = options.certificate_file;
  asking trusting{{settings}};
  CHECK(trusting.answer(question("hi")).value().text == "You said: hi");

  settings.ca_file.clear();
  asking wary{{settings}};
  const auto failed = wary.answer(question("hi")).error();
  CHECK(failed.kind == failure_kind::permanent);
  CHECK(failed.scope == failure_scope::provider);
  CHECK(failed.code == errc::unreachable);
  CHECK(provider.query_count() == 1);
}

TEST_CASE("a proxy of the environment is used, unless it is not to be", "[model][network]") {
  chat_provider proxy;
  auto settings = settings_for(proxy);
  settings.base_url = "http://model.invalid/v1";
  ::setenv("http_proxy", ("http://127.0.0.1:" + std::to_string(proxy.port())).c_str(), 1);
  settings.proxy = proxy_use::environment;
  {
    asking asker{{settings}};
    CHECK(asker.answer(question("hi")).value().text == "You said: hi");
    CHECK(proxy.queries().at(0).target == "http://model.invalid/v1/chat/completions");
  }
  const auto direct = settings_for(proxy);
  {
    asking asker{{direct}};
    CHECK(asker.answer(question("hi")).has_value());
    CHECK(proxy.queries().at(1).target == "/v1/chat/completions");
  }
  ::unsetenv("http_proxy");
}

TEST_CASE("TLS through a proxy is a tunnel that it cannot look into", "[model][network]") {
  const temp_dir folder;
  const auto options = make_certificate(folder);
  chat_provider provider{options};
  const connect_proxy proxy;
  const variable use{"https_proxy", proxy.url()};
  auto settings = settings_for(provider);
  settings.ca_file = options.certificate_file;
  settings.proxy = proxy_use::environment;
  const std::string key = "sk-of-nobody-else";
  const variable secret_of{"CALLBOARD_PROXIED_KEY", key};
  settings.api_key_env = "CALLBOARD_PROXIED_KEY";
  asking asker{{settings}};
  CHECK(
      asker.answer(question("is anybody listening")).value().text
      == "You said: is anybody listening");
  CHECK(provider.queries().at(0).target == "/v1/chat/completions");
  CHECK(provider.queries().at(0).header("authorization") == "Bearer " + key);
  const auto heads = proxy.heads();
  REQUIRE(heads.size() == 1);
  const auto where = "localhost:" + std::to_string(provider.port());
  CHECK_THAT(heads[0], Catch::StartsWith("CONNECT " + where + " HTTP/1.1\r\n"));
  const auto seen = heads[0] + proxy.carried();
  CHECK(proxy.carried().size() > 1000);
  for (const std::string secret :
       {"POST", "/v1/chat", "Bearer", key.c_str(), "anybody", "You said"}) {
    INFO(secret);
    CHECK(seen.find(secret) == std::string::npos);
  }
}

TEST_CASE("whoever is behind a proxy must be the provider all the same", "[model][network]") {
  const temp_dir folder;
  chat_provider provider{make_certificate(folder)};
  const connect_proxy proxy;
  const variable use{"https_proxy", proxy.url()};
  auto settings = settings_for(provider);
  settings.proxy = proxy_use::environment;
  asking wary{{settings}};
  const auto failed = wary.answer(question("hi")).error();
  CHECK(failed.kind == failure_kind::permanent);
  CHECK(failed.code == errc::unreachable);
  CHECK(proxy.heads().size() == 1);
  CHECK(provider.query_count() == 0);
}

TEST_CASE("a proxy that makes no tunnel is told by what it says", "[model][network]") {
  struct expectation {
    int status;
    failure_kind kind;
    std::uint32_t attempts;
  };

  using enum failure_kind;
  const temp_dir folder;
  const auto options = make_certificate(folder);
  for (const auto& [status, kind, attempts] : std::vector<expectation>{
           // It wants credentials, or the place is not allowed: the next try would hear the same.
           {407, permanent, 1},
           {403, permanent, 1},
           {429, retryable, 4},
           {502, retryable, 4},
           {503, retryable, 4}}) {
    INFO(status);
    chat_provider provider{options};
    const connect_proxy proxy{status};
    const variable use{"https_proxy", proxy.url()};
    auto settings = settings_for(provider);
    settings.ca_file = options.certificate_file;
    settings.proxy = proxy_use::environment;
    asking asker{{settings}};
    const auto failed = asker.answer(question("hi")).error();
    CHECK(failed.kind == kind);
    CHECK(failed.scope == failure_scope::provider);
    CHECK(failed.code == errc::unreachable);
    CHECK(failed.attempts == attempts);
    // It is not the provider's status, which never heard of the request.
    CHECK(failed.status == 0);
    CHECK_THAT(failed.detail, Catch::Contains("proxy"));
    CHECK_THAT(failed.detail, Catch::Contains(std::to_string(status)));
    CHECK(proxy.heads().size() == attempts);
    CHECK(provider.query_count() == 0);
  }
}
