#include "model/answer_stream.hpp"

#include "tests/support/catch.hpp"
#include "tests/support/chat_provider.hpp"

#include <string>
#include <string_view>
#include <vector>

using namespace callboard;
using namespace callboard::model;
using testing::chunk_of;
using testing::sse_data;

namespace {

struct taken {
  std::string text;
  chat_outcome outcome;

  friend bool operator==(const taken&, const taken&) = default;
};

taken take(const std::vector<std::string_view>& pieces, answer_limits limits = {}) {
  answer_stream stream{limits, "sk-secret"};
  taken out{{}, chat_result{}};
  for (const auto piece : pieces) {
    auto text = stream.feed(piece);
    if (!text) {
      out.outcome = std::unexpected{text.error()};
      return out;
    }
    out.text += *text;
  }
  out.outcome = stream.finish();
  return out;
}

std::string body_of(const testing::chat_reply& reply) {
  std::string out;
  for (const auto& piece : reply.pieces)
    out += piece;
  return out;
}

/// Everything at once: comments, all line ends, multi-line data, tool calls, usage.
std::string rich_stream() {
  auto out = ": hello\r\n\r\n" + chunk_of(R"({"role":"assistant","content":"H\u00e9"})");
  out += "data: {\"choices\":\r\ndata: [{\"index\":0,\r\ndata: "
         "\"delta\":{\"content\":\"llo\"}}]}\r\n\r\n";
  out += chunk_of(
      R"({"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\""}}]})");
  out += ":\n\n" + chunk_of(R"({"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]})");
  out += sse_data(R"({"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]})");
  out += sse_data(
      R"({"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}})");
  return out + "data: [DONE]\r\r";
}

}  // namespace

TEST_CASE("a stream becomes an answer", "[model][stream]") {
  const auto got = take({rich_stream()});
  CHECK(got.text == "H\u00e9llo");
  const auto& answer = got.outcome.value();
  CHECK(answer.text == got.text);
  CHECK(answer.tool_calls == std::vector<tool_call>{{"a", "f", R"({"x":1})"}});
  CHECK(answer.finish_reason == "tool_calls");
  CHECK(answer.usage == token_usage{1, 2, 3});
}

TEST_CASE("a stream cut into two at every byte is the same answer", "[model][stream]") {
  const auto text = rich_stream();
  const auto whole = take({text});
  for (std::size_t at = 0; at <= text.size(); ++at) {
    const std::string_view all{text};
    if (take({all.substr(0, at), all.substr(at)}) != whole) FAIL("cut at " << at);
  }
  std::vector<std::string_view> bytes;
  for (const char& c : text)
    bytes.emplace_back(&c, 1);
  CHECK(take(bytes) == whole);
}

TEST_CASE("a stream that ends at any byte before [DONE] is tried again", "[model][stream]") {
  const auto text = body_of(testing::streamed_reply({"Hel", "lo"}));
  const std::string_view all{text};
  // From here on all of `data: [DONE]` is there.
  const auto whole_at = text.find("[DONE]") + 6;
  for (std::size_t size = 0; size < whole_at; ++size) {
    const auto got = take({all.substr(0, size)});
    REQUIRE_FALSE(got.outcome.has_value());
    if (got.outcome.error().kind != failure_kind::retryable) FAIL("ended at " << size);
  }
  for (std::size_t size = whole_at; size <= text.size(); ++size) {
    CHECK(take({all.substr(0, size)}).outcome.value().text == "Hello");
  }
}

TEST_CASE("half a pair waits for the other half, wherever it is cut", "[model][stream]") {
  const auto text_of = [](const std::vector<std::string_view>& contents) {
    std::string all;
    for (const auto content : contents)
      all += chunk_of(R"({"content":")" + std::string{content} + "\"}");
    const auto got = take({all, sse_data("[DONE]")});
    const auto& answer = got.outcome.value();
    CHECK(answer.text == got.text);
    return answer.text;
  };
  CHECK(
      text_of({R"(a\ud83d)", R"(\ude00b)"})
      == "a\xf0\x9f\x98\x80"
         "b");
  CHECK(text_of({R"(a\ud83d)", "", R"(\ude00)"}) == "a\xf0\x9f\x98\x80");
  CHECK(text_of({R"(\ud83d\ude00)"}) == "\xf0\x9f\x98\x80");
  // What stays alone is no character.
  const std::string none = "\xef\xbf\xbd";
  CHECK(text_of({R"(a\ud83d)"}) == "a" + none);
  CHECK(text_of({R"(a\ud83d)", "b"}) == "a" + none + "b");
  CHECK(text_of({R"(\ud83d\ud83d)", R"(\ude00)"}) == none + "\xf0\x9f\x98\x80");
  CHECK(text_of({R"(\ude00)"}) == none);
  CHECK(text_of({R"(\ud83d\n)"}) == none + "\n");
  // No half, but what looks like one.
  CHECK(text_of({R"(\\ud83d)"}) == R"(\ud83d)");
}

TEST_CASE("halves come together in arguments, too, and nowhere else", "[model][stream]") {
  const auto got = take(
      {chunk_of(
           R"({"refusal":"\ud83d","tool_calls":[{"index":0,"id":"\ud83d","function":{"name":"f\ude00","arguments":"\"\ud83d"}}]})"),
       chunk_of(
           R"({"refusal":"\ude00","tool_calls":[{"index":0,"function":{"arguments":"\ude00\""}}]})"),
       sse_data("[DONE]")});
  const auto& answer = got.outcome.value();
  const std::string whole = "\xf0\x9f\x98\x80";
  const std::string none = "\xef\xbf\xbd";
  CHECK(answer.refusal == whole);
  CHECK(answer.tool_calls == std::vector<tool_call>{{none, "f" + none, "\"" + whole + "\""}});
  // What is no UTF-8 for another reason is still refused.
  const auto broken =
      take({chunk_of("{\"content\":\"\\ud83d\",\"x\":\"\xff\"}"), sse_data("[DONE]")});
  CHECK(broken.outcome.error().kind == failure_kind::retryable);
  const auto bytes = take({chunk_of("{\"content\":\"\\ud83d\xed\xb8\x80\"}"), sse_data("[DONE]")});
  CHECK(bytes.outcome.error().kind == failure_kind::retryable);
}

TEST_CASE("an error in the middle of a stream", "[model][stream]") {
  const auto begin = chunk_of(R"({"content":"Hel"})");
  const auto fails = [&begin](const std::string& event) {
    const auto got = take({begin, event, chunk_of(R"({"content":"lo"})"), sse_data("[DONE]")});
    return got.outcome.error();
  };
  CHECK(
      fails(sse_data(R"({"error":{"message":"busy","type":"server_error"}})")).kind
      == failure_kind::retryable);
  CHECK(
      fails(sse_data(R"({"error":{"message":"no","code":"content_filter"}})")).kind
      == failure_kind::permanent);
  CHECK(
      fails("event: error\n" + sse_data(R"({"message":"slow down","code":429})")).kind
      == failure_kind::rate);
  const auto leaky = fails(sse_data(R"({"error":{"message":"key sk-secret is bad","code":"x"}})"));
  CHECK(leaky.detail == "key *** is bad");
}

TEST_CASE("garbage in a stream is tried again", "[model][stream]") {
  for (const auto* garbage : {"data: {\n\n", "data: 7\n\n", "data: nonsense\n\n", "data:\n\n"}) {
    const auto got = take({chunk_of(R"({"content":"x"})"), garbage, sse_data("[DONE]")});
    CHECK(got.outcome.error().kind == failure_kind::retryable);
  }
  CHECK(take({"<html>", "</html>"}).outcome.error().kind == failure_kind::retryable);
  CHECK(take({sse_data("[DONE]")}).outcome.error().kind == failure_kind::retryable);
}

TEST_CASE("what comes behind [DONE] does not count", "[model][stream]") {
  const auto got = take(
      {chunk_of(R"({"content":"x"})"),
       sse_data("[DONE]") + chunk_of(R"({"content":"y"})"),
       "garbage\n\n"});
  CHECK(got.text == "x");
  CHECK(got.outcome.value().text == "x");
}

TEST_CASE("a stream is bounded in text, event and bytes", "[model][stream]") {
  const auto one = chunk_of(R"({"content":"0123456789"})");
  CHECK(take({one, one}, {.text_bytes_max = 15}).outcome.error().code == errc::too_large);
  CHECK(take({one}, {.event_bytes_max = 40}).outcome.error().code == errc::too_large);
  CHECK(
      take({one, one}, {.stream_bytes_max = one.size() + 1}).outcome.error().code
      == errc::too_large);
}
