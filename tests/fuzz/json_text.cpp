// Raw JSON: what is accepted here is what Boost.JSON's own parser accepts, and cutting, unescaping
// and minifying never change its meaning.
#include "gateway/json_text.hpp"

#include "base/utf8.hpp"
#include "gateway/problem.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <callboard/json_text.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

namespace {

using namespace callboard;

boost::json::value parse(std::string_view text, boost::json::error_code& failed) {
  boost::json::parse_options options;
  options.max_depth = json_depth_max;
  return boost::json::parse({text.data(), text.size()}, failed, {}, options);
}

/// Every string that is cut out means what the parser says it means.
void walk(std::string_view text, const boost::json::value& value) {
  if (value.is_string()) {
    const auto plain = gateway::unescape_json(text);
    if (plain != std::string_view{value.as_string().data(), value.as_string().size()}) std::abort();
    std::string quoted;
    gateway::append_json_string(quoted, plain);
    if (gateway::unescape_json(quoted) != plain) std::abort();
  } else if (value.is_array()) {
    gateway::json_walker elements{text};
    for (const auto& each : value.as_array()) {
      if (!elements.next()) std::abort();
      walk(elements.value(), each);
    }
    if (elements.next()) std::abort();
  } else if (value.is_object()) {
    gateway::json_walker members{text};
    std::size_t count = 0;
    while (members.next()) {
      ++count;
      if (!value.as_object().contains(gateway::unescape_json(members.key()))) std::abort();
    }
    if (count < value.as_object().size()) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  const bool accepted = gateway::check_json(text).has_value();
  boost::json::error_code failed;
  const auto value = parse(text, failed);
  if (accepted != !failed) std::abort();
  if (!accepted) return 0;
  if (!is_utf8(text)) std::abort();
  walk(gateway::trim_json(text), value);
  std::string small;
  gateway::append_minified(small, text);
  boost::json::error_code small_failed;
  const auto again = parse(small, small_failed);
  if (small_failed || boost::json::serialize(again) != boost::json::serialize(value)) std::abort();
  return 0;
}
