#include "model/settings.hpp"

#include "tests/support/catch.hpp"

#include <functional>
#include <vector>

using namespace callboard;
using namespace callboard::model;

namespace {

client_settings sound() {
  client_settings out;
  out.providers.push_back({.name = "one", .base_url = "https://one.example/v1"});
  out.providers.push_back({.name = "two", .base_url = "http://127.0.0.1:1/v1"});
  out.providers[0].fallbacks = {"two"};
  return out;
}

}  // namespace

TEST_CASE("sound settings pass", "[model][settings]") {
  CHECK(check(sound()).has_value());
}

TEST_CASE("settings that cannot work are refused by name", "[model][settings]") {
  using change = std::function<void(client_settings&)>;
  for (const auto& spoil : std::vector<change>{
           [](auto& s) { s.providers.clear(); },
           [](auto& s) { s.request_bytes_max = 0; },
           [](auto& s) { s.providers[0].name = ""; },
           [](auto& s) { s.providers[0].name = "One"; },
           [](auto& s) { s.providers[1].name = "one"; },
           [](auto& s) { s.providers[0].fallbacks = {"three"}; },
           [](auto& s) { s.providers[0].fallbacks = {"one"}; },
           [](auto& s) { s.providers[0].base_url = "ftp://one.example"; },
           [](auto& s) { s.providers[0].base_url = "https://"; },
           [](auto& s) { s.providers[0].base_url = "https://user:pw@one.example/v1"; },
           [](auto& s) { s.providers[0].base_url = "https://one.example/v1?key=x"; },
           [](auto& s) { s.providers[0].base_url = "https://one.example/v1\r\nX: y"; },
           [](auto& s) { s.providers[0].timeouts.connect = {}; },
           [](auto& s) { s.providers[0].timeouts.total = std::chrono::hours{1000}; },
           [](auto& s) { s.providers[0].concurrency = {.min = 0}; },
           [](auto& s) { s.providers[0].concurrency = {.min = 5, .max = 4, .start = 5}; },
           [](auto& s) { s.providers[0].concurrency = {.min = 1, .max = 4, .start = 5}; },
           [](auto& s) { s.providers[0].retry.attempts_max = 0; },
           [](auto& s) { s.providers[0].retry.backoff_max = std::chrono::milliseconds{1}; },
           [](auto& s) { s.providers[0].limits.event_bytes_max = 0; },
           [](auto& s) { s.providers[0].queue_max = 0; },
           [](auto& s) { s.providers[0].tenant_queue_percent = 0; },
           [](auto& s) { s.providers[0].tenant_queue_percent = 101; },
           [](auto& s) { s.providers[0].max_tokens_member = "\"x\""; },
       }) {
    auto settings = sound();
    spoil(settings);
    const auto checked = check(settings);
    REQUIRE_FALSE(checked.has_value());
    CHECK(checked.error().code == errc::invalid_setting);
  }
}

TEST_CASE("a key goes to other machines over TLS only", "[model][settings]") {
  auto settings = sound();
  settings.providers[1].api_key_env = "KEY";
  CHECK(check(settings).has_value());
  settings.providers[1].base_url = "http://[::1]:80/v1";
  CHECK(check(settings).has_value());
  settings.providers[1].base_url = "http://10.0.0.1/v1";
  CHECK_FALSE(check(settings).has_value());
  settings.providers[1].base_url = "http://127.0.0.1.example/v1";
  CHECK_FALSE(check(settings).has_value());
  settings.providers[1].allow_plaintext = true;
  CHECK(check(settings).has_value());
}
