#include "runtime/workflow/canonical_json.hpp"

#include "base/hash.hpp"

#include <boost/json/serialize.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

namespace callboard::runtime {

namespace {

/// Whole numbers up to here are the same as a double and as an integer.
constexpr double exact_max = 9007199254740992.0;

void append(std::string& out, const json& value);

void append_double(std::string& out, double number) {
  const bool is_whole = std::abs(number) <= exact_max && std::trunc(number) == number;
  out += is_whole ? std::to_string(static_cast<std::int64_t>(number))
                  : boost::json::serialize(json(number));
}

void append_object(std::string& out, const boost::json::object& from) {
  std::vector<const boost::json::key_value_pair*> members;
  members.reserve(from.size());
  for (const auto& one : from)
    members.push_back(&one);
  std::ranges::sort(members, {}, [](const auto* one) { return std::string_view{one->key()}; });
  out += '{';
  for (const auto* one : members) {
    out += boost::json::serialize(json(boost::json::string(one->key())));
    out += ':';
    append(out, one->value());
    out += ',';
  }
  out += '}';
}

void append(std::string& out, const json& value) {
  if (value.is_object()) return append_object(out, value.get_object());
  if (value.is_double()) return append_double(out, value.get_double());
  if (!value.is_array()) {
    out += boost::json::serialize(value);
    return;
  }
  out += '[';
  for (const auto& one : value.get_array()) {
    append(out, one);
    out += ',';
  }
  out += ']';
}

}  // namespace

std::string canonical_text(const json& value) {
  std::string out;
  append(out, value);
  return out;
}

std::uint64_t hash_of_named(std::string_view name, const json& value) {
  std::string text{name};
  text += '\0';
  append(text, value);
  return hash_64(text);
}

}  // namespace callboard::runtime
