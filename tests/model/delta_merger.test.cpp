#include "model/delta_merger.hpp"

#include "base/utf8.hpp"

#include "tests/support/catch.hpp"

#include <boost/json/parse.hpp>

#include <string>
#include <string_view>
#include <vector>

using namespace callboard;
using namespace callboard::model;

namespace {

boost::json::object object(std::string_view text) {
  return boost::json::parse(text).as_object();
}

boost::json::object delta(std::string_view json) {
  return object(R"({"choices":[{"index":0,"delta":)" + std::string{json} + "}]}");
}

chat_outcome merged(const std::vector<std::string_view>& deltas, answer_limits limits = {}) {
  delta_merger merger{limits};
  for (const auto text : deltas) {
    if (auto added = merger.add(delta(text)); !added) return std::unexpected{added.error()};
  }
  return merger.finish();
}

}  // namespace

TEST_CASE("texts of chunks add up", "[model][merger]") {
  delta_merger merger{{}};
  CHECK(merger.add(delta(R"({"role":"assistant","content":""})")).value().empty());
  CHECK(merger.add(delta(R"({"content":"Hel"})")).value() == "Hel");
  CHECK(merger.add(delta(R"({"content":"lo"})")).value() == "lo");
  CHECK(merger.add(delta(R"({"content":null})")).value().empty());
  const auto last = object(
      R"({"id":"c1","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]})");
  CHECK(merger.add(last).value().empty());
  const auto answer = merger.finish().value();
  CHECK(answer.text == "Hello");
  CHECK(answer.finish_reason == "stop");
  CHECK(answer.response_id == "c1");
  CHECK(answer.model == "m");
  CHECK_FALSE(answer.usage.has_value());
}

TEST_CASE("the usage chunk has no choices", "[model][merger]") {
  delta_merger merger{{}};
  (void)merger.add(delta(R"({"content":"x"})"));
  const auto usage =
      object(R"({"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12,)"
             R"("prompt_tokens_details":{"cached_tokens":3},)"
             R"("completion_tokens_details":{"reasoning_tokens":2}}})");
  CHECK(merger.add(usage).value().empty());
  CHECK(merger.add(object(R"({"choices":[],"usage":null})")).value().empty());
  CHECK(merger.finish().value().usage == token_usage{5, 7, 12, 3, 2});
}

TEST_CASE("tool calls are merged by index, in any order", "[model][merger]") {
  const auto answer = merged({
      R"({"tool_calls":[{"index":1,"id":"b","type":"function","function":{"name":"two","arguments":""}}]})",
      R"({"tool_calls":[{"index":0,"id":"a","function":{"name":"one","arguments":"{\"x\""}}]})",
      R"({"tool_calls":[{"index":1,"function":{"arguments":"[1"}},{"index":0,"function":{"arguments":":1}"}}]})",
      R"({"tool_calls":[{"index":1,"function":{"arguments":"]"}}]})",
  });
  CHECK(
      answer.value().tool_calls
      == std::vector<tool_call>{{"a", "one", R"({"x":1})"}, {"b", "two", "[1]"}});
}

TEST_CASE("a provider that repeats id and name does not double them", "[model][merger]") {
  const auto answer = merged({
      R"({"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"1"}}]})",
      R"({"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"2"}}]})",
  });
  CHECK(answer.value().tool_calls == std::vector<tool_call>{{"a", "f", "12"}});
}

TEST_CASE("without indexes an id begins a call", "[model][merger]") {
  const auto answer = merged({
      R"({"tool_calls":[{"id":"a","function":{"name":"f","arguments":"1"}}]})",
      R"({"tool_calls":[{"function":{"arguments":"2"}}]})",
      R"({"tool_calls":[{"id":"b","function":{"name":"g","arguments":"3"}}]})",
  });
  CHECK(answer.value().tool_calls == std::vector<tool_call>{{"a", "f", "12"}, {"b", "g", "3"}});
}

TEST_CASE("calls that all come under one index are told apart by their ids", "[model][merger]") {
  const std::vector<tool_call> both{{"a", "f", R"({"x":"}\""})"}, {"b", "g", "{}"}};
  // Each whole in one piece, as some providers do it.
  CHECK(
      merged(
          {
              R"({"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":\"}\\\"\"}"}}]})",
              R"({"tool_calls":[{"index":0,"id":"b","function":{"name":"g","arguments":"{}"}}]})",
          })
          .value()
          .tool_calls
      == both);
  // In pieces: those without an id go to the call that began last.
  CHECK(
      merged(
          {
              R"({"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":"}}]})",
              R"({"tool_calls":[{"index":0,"function":{"arguments":"\"}\\\"\"}"}}]})",
              R"({"tool_calls":[{"index":0,"id":"b","function":{"name":"g","arguments":"{"}}]})",
              R"({"tool_calls":[{"index":0,"function":{"arguments":"}"}}]})",
          })
          .value()
          .tool_calls
      == both);
  // In one chunk; the first has no arguments.
  CHECK(
      merged(
          {
              R"({"tool_calls":[{"index":0,"id":"a","function":{"name":"f"}},{"index":0,"id":"b","function":{"name":"g"}}]})",
          })
          .value()
          .tool_calls
      == std::vector<tool_call>{{"a", "f", ""}, {"b", "g", ""}});
}

TEST_CASE("a new id within the arguments of a call begins none", "[model][merger]") {
  const auto answer = merged({
      R"({"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\""}}]})",
      R"({"tool_calls":[{"index":0,"id":"b","function":{"name":"f","arguments":":1}"}}]})",
      R"({"tool_calls":[{"index":0,"id":"c","function":{"arguments":""}}]})",
  });
  CHECK(answer.value().tool_calls == std::vector<tool_call>{{"a", "f", R"({"x":1})"}});
  // Nor before its arguments.
  CHECK(
      merged(
          {
              R"({"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":""}}]})",
              R"({"tool_calls":[{"index":0,"id":"b","function":{"name":"f","arguments":" "}}]})",
              R"({"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"{}"}}]})",
          })
          .value()
          .tool_calls
      == std::vector<tool_call>{{"a", "f", " {}"}});
}

TEST_CASE("calls without arguments under one index are told apart", "[model][merger]") {
  // By their names.
  CHECK(
      merged({
                 R"({"tool_calls":[{"index":0,"id":"a","function":{"name":"f"}}]})",
                 R"({"tool_calls":[{"index":0,"id":"b","function":{"name":"g"}}]})",
             })
          .value()
          .tool_calls
      == std::vector<tool_call>{{"a", "f", ""}, {"b", "g", ""}});
  // By their places in one chunk.
  CHECK(
      merged(
          {
              R"({"tool_calls":[{"index":0,"id":"a","function":{"name":"f"}},{"index":0,"id":"b","function":{"name":"f"}}]})",
          })
          .value()
          .tool_calls
      == std::vector<tool_call>{{"a", "f", ""}, {"b", "f", ""}});
}

TEST_CASE("an index that is none counts as missing", "[model][merger]") {
  for (const auto* index : {"-1", "0.5", "\"0\"", "null"}) {
    INFO(index);
    const auto with = [index](std::string_view rest) {
      return R"({"tool_calls":[{"index":)" + std::string{index} + "," + std::string{rest} + "}]}";
    };
    const auto first = with(R"("id":"a","function":{"name":"f","arguments":"{"})");
    const auto more = with(R"("function":{"arguments":"}"})");
    const auto second = with(R"("id":"b","function":{"name":"g","arguments":"{}"})");
    CHECK(
        merged({first, more, second}).value().tool_calls
        == std::vector<tool_call>{{"a", "f", "{}"}, {"b", "g", "{}"}});
  }
}

TEST_CASE("only the first choice counts", "[model][merger]") {
  delta_merger merger{{}};
  const auto both = object(
      R"({"choices":[{"index":1,"delta":{"content":"no"}},{"index":0,"delta":{"content":"yes"}}]})");
  CHECK(merger.add(both).value() == "yes");
}

TEST_CASE("an answer without a choice is tried again", "[model][merger]") {
  CHECK(merged({}).error().kind == failure_kind::retryable);
  delta_merger odd{{}};
  for (const auto* text : {R"({"choices":7})", R"({"choices":[7]})", R"({"choices":[]})", "{}"}) {
    CHECK(odd.add(object(text)).value().empty());
  }
  CHECK(odd.finish().error().kind == failure_kind::retryable);
}

TEST_CASE("content that the filter cut is a permanent failure", "[model][merger]") {
  delta_merger merger{{}};
  (void)merger.add(object(
      R"({"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"content_filter"}]})"));
  const auto failed = merger.finish().error();
  CHECK(failed.kind == failure_kind::permanent);
  CHECK(failed.scope == failure_scope::request);
  CHECK(failed.provider_code == "content_filter");
}

TEST_CASE("text, arguments and tool calls are bounded", "[model][merger]") {
  const answer_limits limits{.text_bytes_max = 6, .tool_calls_max = 2};
  CHECK(merged({R"({"content":"abc"})", R"({"content":"def"})"}, limits).value().text == "abcdef");
  for (const auto& deltas : std::vector<std::vector<std::string_view>>{
           {R"({"content":"abcd"})", R"({"content":"def"})"},
           {R"({"content":"abcd"})", R"({"refusal":"def"})"},
           {R"({"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"12345"}}]})"},
           {R"({"tool_calls":[{"index":0},{"index":1},{"index":18446744073709551615}]})"},
           {R"({"tool_calls":[{"id":"a"},{"id":"b"},{"id":"c"}]})"},
       }) {
    const auto failed = merged(deltas, limits).error();
    CHECK(failed.code == errc::too_large);
    CHECK(failed.kind == failure_kind::permanent);
  }
}

TEST_CASE("a whole answer", "[model][merger]") {
  const auto answer = parse_answer(
      R"({"id":"c","model":"m","choices":[{"index":0,"finish_reason":"tool_calls","message":{)"
      R"("role":"assistant","content":null,"tool_calls":[)"
      R"({"id":"a","type":"function","function":{"name":"f","arguments":"{}"}},)"
      R"({"id":"b","type":"function","function":{"name":"g","arguments":"[]"}}]}}],)"
      R"("usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}})",
      {},
      "");
  CHECK(answer.value().tool_calls == std::vector<tool_call>{{"a", "f", "{}"}, {"b", "g", "[]"}});
  CHECK(answer.value().usage == token_usage{1, 2, 3});
  const auto alike = parse_answer(
      R"({"choices":[{"message":{"tool_calls":[)"
      R"({"index":0,"function":{"name":"f","arguments":"{"}},)"
      R"({"index":0,"function":{"name":"f","arguments":"{}"}}]}}]})",
      {},
      "");
  CHECK(alike.value().tool_calls == std::vector<tool_call>{{"", "f", "{"}, {"", "f", "{}"}});
  const auto parts = parse_answer(
      R"({"choices":[{"message":{"content":[{"type":"text","text":"a"},{"text":"b"},7]}}]})",
      {},
      "");
  CHECK(parts.value().text == "ab");
}

TEST_CASE("a whole answer that is cut within a pair", "[model][merger]") {
  const auto answer = parse_answer(
      R"({"model":"m\ud83d","choices":[{"finish_reason":"length","message":{"content":"a\ud83d"}}]})",
      {},
      "");
  CHECK(answer.value().text == "a\xef\xbf\xbd");
  CHECK(is_utf8(answer.value().model));
}

TEST_CASE("a whole answer that is none", "[model][merger]") {
  for (const auto* body : {"", "<html>", "[]", "{}", "{\"choices\":[]}", "{\"a\":\"\xff\"}"}) {
    INFO(body);
    CHECK(parse_answer(body, {}, "").error().kind == failure_kind::retryable);
  }
  const auto failed =
      parse_answer(R"({"error":{"message":"x","code":"insufficient_quota"}})", {}, "");
  CHECK(failed.error().kind == failure_kind::quota);
  const std::string deep(100'000, '[');
  CHECK(parse_answer(deep, {}, "").error().kind == failure_kind::retryable);
}
