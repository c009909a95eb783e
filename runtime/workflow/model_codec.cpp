// The answer of a model as the journal has it.
#include "runtime/workflow/json_values.hpp"

#include <boost/json/object.hpp>

#include <callboard/model.hpp>

namespace callboard {

namespace {

using boost::json::array;
using boost::json::object;
using runtime::text_at;

std::uint64_t count_at(const object& from, std::string_view key) {
  const auto* value = from.if_contains(key);
  if (value == nullptr || !value->is_number()) return 0;
  boost::system::error_code failed;
  const auto count = value->to_number<std::uint64_t>(failed);
  return failed ? 0 : count;
}

void put_text(object& to, std::string_view key, const std::string& text) {
  if (!text.empty()) to[key] = text;
}

void put_count(object& to, std::string_view key, std::uint64_t count) {
  if (count != 0) to[key] = count;
}

object describe(const model_usage& usage) {
  object to{{"prompt", usage.prompt}, {"completion", usage.completion}, {"total", usage.total}};
  put_count(to, "cached", usage.cached);
  put_count(to, "reasoning", usage.reasoning);
  return to;
}

}  // namespace

object model_reply::message() const {
  object to{{"role", "assistant"}};
  if (!text.empty() || tool_calls.empty()) to["content"] = text;
  if (tool_calls.empty()) return to;
  array calls;
  for (const auto& one : tool_calls) {
    calls.push_back(object{
        {"id", one.id},
        {"type", "function"},
        {"function", object{{"name", one.name}, {"arguments", one.arguments}}}});
  }
  to["tool_calls"] = std::move(calls);
  return to;
}

void tag_invoke(const boost::json::value_from_tag&, json& to, const model_reply& from) {
  object out{{"text", from.text}};
  put_text(out, "refusal", from.refusal);
  if (!from.tool_calls.empty()) {
    array calls;
    for (const auto& one : from.tool_calls) {
      calls.push_back(object{{"id", one.id}, {"name", one.name}, {"arguments", one.arguments}});
    }
    out["tool_calls"] = std::move(calls);
  }
  put_text(out, "finish_reason", from.finish_reason);
  if (from.usage) out["usage"] = describe(*from.usage);
  put_text(out, "provider", from.provider);
  put_text(out, "model", from.model);
  put_text(out, "response_id", from.response_id);
  to = std::move(out);
}

model_reply tag_invoke(const boost::json::value_to_tag<model_reply>&, const json& from) {
  const auto& in = from.as_object();
  model_reply to;
  to.text = text_at(in, "text");
  to.refusal = text_at(in, "refusal");
  if (const auto* calls = in.if_contains("tool_calls")) {
    for (const auto& one : calls->as_array()) {
      const auto& call = one.as_object();
      to.tool_calls.push_back(
          {text_at(call, "id"), text_at(call, "name"), text_at(call, "arguments")});
    }
  }
  to.finish_reason = text_at(in, "finish_reason");
  if (const auto* usage = in.if_contains("usage")) {
    const auto& counted = usage->as_object();
    to.usage = model_usage{
        count_at(counted, "prompt"),
        count_at(counted, "completion"),
        count_at(counted, "total"),
        count_at(counted, "cached"),
        count_at(counted, "reasoning")};
  }
  to.provider = text_at(in, "provider");
  to.model = text_at(in, "model");
  to.response_id = text_at(in, "response_id");
  return to;
}

}  // namespace callboard
