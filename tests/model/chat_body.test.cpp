#include "model/chat_body.hpp"

#include "tests/support/catch.hpp"

#include <boost/json/parse.hpp>

#include <limits>
#include <string>

using namespace callboard;
using namespace callboard::model;
namespace json = boost::json;

namespace {

chat_request hello() {
  chat_request out;
  out.messages = {{{"role", "user"}, {"content", "hello"}}};
  return out;
}

json::value body(const chat_request& request, const provider_settings& provider = {}) {
  return json::parse(body_for(provider, "m", make_shared_body(request).value()));
}

errc refusal(const chat_request& request) {
  return make_shared_body(request).error().code;
}

}  // namespace

TEST_CASE("a request in the words of the protocol", "[model][body]") {
  auto request = hello();
  request.tools = {{{"type", "function"}, {"function", {{"name", "f"}}}}};
  request.temperature = 0.5;
  request.max_tokens = 100;
  request.options = {{"tool_choice", "auto"}};
  CHECK(
      body(request)
      == json::value{
          {"model", "m"},
          {"max_tokens", 100},
          {"messages", {{{"role", "user"}, {"content", "hello"}}}},
          {"tools", {{{"type", "function"}, {"function", {{"name", "f"}}}}}},
          {"temperature", 0.5},
          {"tool_choice", "auto"},
          {"stream", true},
          {"stream_options", {{"include_usage", true}}}});
}

TEST_CASE("what is not asked for is left out", "[model][body]") {
  auto request = hello();
  request.stream = false;
  CHECK(body(request).as_object().size() == 2);
  request.stream = true;
  request.max_tokens = 5;
  const auto sent =
      body(request, {.stream_usage = false, .max_tokens_member = "max_completion_tokens"});
  CHECK_FALSE(sent.as_object().contains("stream_options"));
  CHECK_FALSE(sent.as_object().contains("max_tokens"));
  CHECK(sent.at("max_completion_tokens") == 5);
}

TEST_CASE("requests that no provider could take are refused", "[model][body]") {
  CHECK(refusal({}) == errc::bad_request);
  auto request = hello();
  request.messages.emplace_back("no object");
  CHECK(refusal(request) == errc::bad_request);
  request = hello();
  request.tools = {1};
  CHECK(refusal(request) == errc::bad_request);
  request = hello();
  request.temperature = std::numeric_limits<double>::quiet_NaN();
  CHECK(refusal(request) == errc::bad_request);
  request = hello();
  request.options = {{"stream", false}};
  CHECK(refusal(request) == errc::bad_request);
  request = hello();
  request.timeout = std::chrono::milliseconds{-1};
  CHECK(refusal(request) == errc::bad_request);
}

TEST_CASE("an idempotency key cannot carry another header", "[model][body]") {
  auto request = hello();
  for (const auto& key :
       {std::string{"a\r\nX: y"},
        std::string{"a b"},
        std::string{"\u00e9"},
        std::string(256, 'k')}) {
    request.idempotency_key = key;
    CHECK(refusal(request) == errc::bad_request);
  }
  request.idempotency_key = std::string(255, 'k');
  CHECK(make_shared_body(request).has_value());
}
