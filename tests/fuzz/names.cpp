// Names, patterns, positions and problem documents from any bytes.
#include "base/names.hpp"

#include "gateway/problem.hpp"
#include "runtime/topic/position.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace callboard;
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  const auto topic = topic_name::parse(text);
  const auto pattern = topic_pattern::parse(text);
  // A name is a pattern that matches itself.
  if (topic && (!pattern || pattern->is_wildcard() || !pattern->matches(text))) std::abort();
  (void)tenant_name::parse(text);
  (void)group_name::parse(text);
  (void)runtime::parse_position(text);
  std::string quoted;
  gateway::append_json_string(quoted, text);
  if (quoted.find_first_of("\r\n") != std::string::npos) std::abort();
  return 0;
}
