// Ids of commands as tests name them.
#pragma once

#include <string>
#include <string_view>

namespace callboard::testing {

/// The id of a command, or of what it made, without the mark of its workflow: a dash and 16
/// hexadecimal digits, which no test can foresee.
inline std::string unmarked(std::string_view id) {
  constexpr std::size_t mark_size = 17;
  const auto has_mark = id.size() > mark_size && id[id.size() - mark_size] == '-';
  return std::string{has_mark ? id.substr(0, id.size() - mark_size) : id};
}

}  // namespace callboard::testing
