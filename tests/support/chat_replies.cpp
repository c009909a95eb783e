// The answers of tests/support/chat_provider.hpp.
#include "tests/support/chat_provider.hpp"

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

namespace callboard::testing {

namespace json = boost::json;

std::string chat_query::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? std::string{} : found->second;
}

std::string sse_data(std::string_view data) {
  return "data: " + std::string{data} + "\n\n";
}

std::string chunk_of(std::string_view delta_json) {
  return sse_data(
      R"({"id":"chatcmpl-1","object":"chat.completion.chunk","model":"test-model",)"
      R"("choices":[{"index":0,"delta":)"
      + std::string{delta_json} + R"(,"finish_reason":null}]})");
}

chat_reply whole_reply(std::string_view text) {
  const json::value answer{
      {"id", "chatcmpl-1"},
      {"object", "chat.completion"},
      {"model", "test-model"},
      {"choices",
       {{{"index", 0},
         {"message", {{"role", "assistant"}, {"content", json::string_view{text}}}},
         {"finish_reason", "stop"}}}},
      {"usage", {{"prompt_tokens", 5}, {"completion_tokens", 7}, {"total_tokens", 12}}}};
  chat_reply out;
  out.pieces = {json::serialize(answer)};
  return out;
}

chat_reply streamed_reply(const std::vector<std::string>& texts) {
  chat_reply out;
  out.content_type = "text/event-stream";
  out.pieces.push_back(chunk_of(R"({"role":"assistant","content":""})"));
  for (const auto& text : texts) {
    out.pieces.push_back(chunk_of(json::serialize(json::value{{"content", text}})));
  }
  out.pieces.push_back(
      sse_data(R"({"id":"chatcmpl-1","model":"test-model","choices":[{"index":0,"delta":{},)"
               R"("finish_reason":"stop"}]})"));
  out.pieces.push_back(
      sse_data(R"({"id":"chatcmpl-1","model":"test-model","choices":[],)"
               R"("usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}})"));
  out.pieces.push_back(sse_data("[DONE]"));
  return out;
}

chat_reply
error_reply(int status, std::string_view code, std::string_view message, header_fields headers) {
  const json::value body{
      {"error",
       {{"message", json::string_view{message}},
        {"type", json::string_view{code}},
        {"param", nullptr},
        {"code", json::string_view{code}}}}};
  chat_reply out;
  out.status = status;
  out.headers = std::move(headers);
  out.pieces = {json::serialize(body)};
  return out;
}

}  // namespace callboard::testing
