// The parser of everything that is recorded or handed on, and the check of what code gives.
#include "base/utf8.hpp"
#include "runtime/workflow/precise_handler.hpp"

#include <boost/json/basic_parser_impl.hpp>
#include <fmt/format.h>

#include <callboard/json_text.hpp>
#include <cmath>

namespace callboard {

namespace {

std::string too_deep(std::size_t depth_max) {
  return fmt::format("is nested deeper than {} levels", depth_max);
}

constexpr auto not_finite = "has a number that no double holds";
constexpr auto not_utf8 = "has a text that is not UTF-8";

/// `levels`: how many `value` may have.
std::optional<std::string>
flaw_within(const json& value, std::size_t levels, std::size_t depth_max) {
  switch (value.kind()) {
  case boost::json::kind::double_:
    if (!std::isfinite(value.get_double())) return not_finite;
    return std::nullopt;
  case boost::json::kind::string:
    if (!is_utf8(value.get_string())) return not_utf8;
    return std::nullopt;
  case boost::json::kind::array:
    if (levels == 0) return too_deep(depth_max);
    for (const auto& one : value.get_array()) {
      if (auto flaw = flaw_within(one, levels - 1, depth_max)) return flaw;
    }
    return std::nullopt;
  case boost::json::kind::object:
    if (levels == 0) return too_deep(depth_max);
    for (const auto& one : value.get_object()) {
      if (!is_utf8(one.key())) return not_utf8;
      if (auto flaw = flaw_within(one.value(), levels - 1, depth_max)) return flaw;
    }
    return std::nullopt;
  default:
    return std::nullopt;
  }
}

}  // namespace

std::expected<json, std::string> read_json(std::string_view text, std::size_t depth_max) {
  boost::json::parse_options options;
  options.max_depth = depth_max;
  boost::json::basic_parser<detail::precise_handler> parser{options};
  boost::json::error_code failed;
  const auto used = parser.write_some(false, text.data(), text.size(), failed);
  if (!failed && used < text.size()) failed = boost::json::error::extra_data;
  if (!failed) return parser.handler().release();
  if (failed == boost::json::error::too_deep) return std::unexpected{too_deep(depth_max)};
  return std::unexpected{"is not valid JSON: " + failed.message()};
}

std::expected<json, std::string> accept_json(std::string_view text, std::size_t depth_max) {
  auto value = read_json(text, depth_max);
  if (!value) return value;
  if (auto flaw = flaw_of(*value, depth_max)) return std::unexpected{*std::move(flaw)};
  return value;
}

json json_or_text(std::string_view text) {
  if (text.empty()) return {};
  auto value = accept_json(text);
  return value ? *std::move(value) : json(as_utf8(std::string{text}));
}

std::optional<std::string>
flaw_of(const json& value, std::size_t depth_max, std::size_t levels_around) {
  return flaw_within(value, depth_max + levels_around, depth_max);
}

}  // namespace callboard
