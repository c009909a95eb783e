// JSON values of all kinds from a seed, and a text of a value that tells apart what Boost's ==
// calls equal.
#pragma once

#include <algorithm>
#include <bit>
#include <callboard/json.hpp>
#include <cstdint>
#include <limits>
#include <string>

namespace callboard::tests {

struct value_maker {
  std::uint64_t state;

  std::uint64_t draw(std::uint64_t below) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (state >> 33U) % below;
  }

  json leaf() {
    switch (draw(11)) {
    case 0:
      return nullptr;
    case 1:
      return draw(2) == 0;
    case 2:
      return std::numeric_limits<std::uint64_t>::max() - draw(3);
    case 3:
      return std::numeric_limits<std::int64_t>::min() + static_cast<std::int64_t>(draw(3));
    case 4:
      return std::numeric_limits<double>::max() / static_cast<double>(1 + draw(9));
    case 5:
      return 0.1 * static_cast<double>(draw(1000));
    case 6:
      return "\u00e4\u4e2d\U0001f600\"\\\n\x01";
    case 7:
      return draw(100);
    case 8:
      return (std::uint64_t{1} << 63U) - 1 + draw(2);
    case 9:
      return draw(2) == 0 ? -0.0 : static_cast<double>(draw(3));
    default:
      return json(std::string(draw(20), 'x'));
    }
  }

  /// Of exactly `levels` levels.
  json make(std::size_t levels) {
    if (levels == 0) return leaf();
    if (draw(2) == 0) {
      boost::json::array out;
      for (auto i = draw(3); i > 0; --i)
        out.push_back(make(std::min<std::size_t>(draw(levels), 2)));
      out.push_back(make(levels - 1));
      return out;
    }
    boost::json::object out;
    for (auto i = draw(3); i > 0; --i)
      out["\u00fc" + std::to_string(i)] = make(std::min<std::size_t>(draw(levels), 2));
    out["deep"] = make(levels - 1);
    return out;
  }
};

/// The kinds of numbers, each bit of a double and the order of members are part of it.
inline std::string exact_text(const json& value) {
  switch (value.kind()) {
  case boost::json::kind::null:
    return "null";
  case boost::json::kind::bool_:
    return value.get_bool() ? "true" : "false";
  case boost::json::kind::int64:
    return "int64 " + std::to_string(value.get_int64());
  case boost::json::kind::uint64:
    return "uint64 " + std::to_string(value.get_uint64());
  case boost::json::kind::double_:
    return "double " + std::to_string(std::bit_cast<std::uint64_t>(value.get_double()));
  case boost::json::kind::string:
    return '"' + std::string{value.get_string()} + '"';
  case boost::json::kind::array: {
    std::string text = "[";
    for (const auto& one : value.get_array())
      text += exact_text(one) + ", ";
    return text + "]";
  }
  case boost::json::kind::object: {
    std::string text = "{";
    for (const auto& one : value.get_object())
      text += std::string{one.key()} + ": " + exact_text(one.value()) + ", ";
    return text + "}";
  }
  }
  return {};
}

}  // namespace callboard::tests
