#include "tests/e2e/event_contract.hpp"

#include <algorithm>
#include <sstream>
#include <stdexcept>

namespace callboard::testing {

namespace {

/// YAML in flow style, as far as the document goes: maps, lists, plain and double-quoted scalars.
class flow_yaml {
public:
  explicit flow_yaml(std::string_view text) : rest_{text} {}

  json::value value() {
    skip_spaces();
    if (take('{')) return map();
    if (take('[')) return list();
    return json::value(scalar());
  }

private:
  json::value map() {
    json::object out;
    while (!take('}')) {
      auto name = scalar();
      if (!take(':')) throw std::runtime_error("no ':' behind " + name);
      out[name] = value();
      (void)take(',');
    }
    return out;
  }

  json::value list() {
    json::array out;
    while (!take(']')) {
      out.push_back(value());
      (void)take(',');
    }
    return out;
  }

  std::string scalar() {
    skip_spaces();
    const bool is_quoted = take('"');
    const auto end = rest_.find_first_of(is_quoted ? "\"" : ":,}]");
    if (end == std::string_view::npos) throw std::runtime_error("it ends in a scalar");
    std::string text{rest_.substr(0, end)};
    rest_.remove_prefix(is_quoted ? end + 1 : end);
    if (text.empty() && !is_quoted) throw std::runtime_error("a scalar is missing");
    return text;
  }

  bool take(char c) {
    skip_spaces();
    if (rest_.empty()) throw std::runtime_error("it ends too early");
    if (rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }

  void skip_spaces() {
    while (!rest_.empty() && rest_.front() == ' ')
      rest_.remove_prefix(1);
  }

  std::string_view rest_;
};

bool has_type(const json::value& value, std::string_view type) {
  if (type == "string") return value.is_string();
  if (type == "integer") return value.is_int64() || value.is_uint64();
  if (type == "boolean") return value.is_bool();
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  throw std::runtime_error("this test does not know the type " + std::string{type});
}

std::string fault(const json::object& schema, const json::value& value, const std::string& where) {
  if (const auto* type = schema.if_contains("type")) {
    if (!has_type(value, type->as_string())) {
      return where + " is no " + std::string{type->as_string()};
    }
  }
  if (const auto* only = schema.if_contains("const")) {
    // Of the document all scalars are text.
    const bool is_it = value.is_bool() ? only->as_string() == (value.as_bool() ? "true" : "false")
                                       : value.is_string() && value == *only;
    if (!is_it) return where + " is another";
  }
  if (const auto* only = schema.if_contains("enum")) {
    if (std::ranges::find(only->as_array(), value) == only->as_array().end()) {
      return where + " is none of those described";
    }
  }
  if (!value.is_object() || !schema.contains("properties")) return {};
  const auto& members = value.get_object();
  if (const auto* required = schema.if_contains("required")) {
    for (const auto& name : required->as_array()) {
      if (!members.contains(name.as_string())) {
        return where + " lacks " + std::string{name.as_string()};
      }
    }
  }
  for (const auto& member : members) {
    const auto name = where + '.' + std::string{member.key()};
    const auto* described = schema.at("properties").as_object().if_contains(member.key());
    if (described == nullptr) return name + " is not described";
    if (auto wrong = fault(described->as_object(), member.value(), name); !wrong.empty()) {
      return wrong;
    }
  }
  return {};
}

}  // namespace

event_contract::event_contract(http_client& node) {
  std::istringstream document{node.get("/asyncapi.yaml").body};
  bool is_channel = false;
  std::set<std::string> listed;
  for (std::string line; std::getline(document, line);) {
    const auto indent = line.find_first_not_of(' ');
    if (indent == std::string::npos) continue;
    const auto colon = line.find(": {");
    const auto name = line.substr(indent, colon == std::string::npos ? 0 : colon - indent);
    if (indent == 2) is_channel = line == "  workflow:";
    if (is_channel && indent == 6 && line.contains("#/components/messages/")) listed.insert(name);
    if (indent == 4 && name == "run_attributes") {
      headers_ = flow_yaml{std::string_view{line}.substr(colon + 2)}.value().as_object();
    }
    if (indent == 4 && listed.contains(name)) {
      messages_[name] = flow_yaml{std::string_view{line}.substr(colon + 2)}.value().as_object();
    }
  }
  if (messages_.size() != listed.size() || headers_.empty()) {
    throw std::runtime_error("asyncapi.yaml does not describe each event of a workflow's channel");
  }
}

std::set<std::string> event_contract::described() const {
  std::set<std::string> types;
  for (const auto& [type, message] : messages_)
    types.insert(type);
  return types;
}

std::string event_contract::fault_of(const json::object& event) {
  const auto type = text_of(event, "type");
  seen_.insert(type);
  const auto found = messages_.find(type);
  if (found == messages_.end()) return type + " is not described";
  auto attributes = event;
  attributes.erase("data");
  if (auto wrong = fault(headers_, attributes, type); !wrong.empty()) return wrong;
  const auto* data = event.if_contains("data");
  return fault(
      found->second.at("payload").as_object(),
      data == nullptr ? json::value{} : *data,
      type + " data");
}

}  // namespace callboard::testing
