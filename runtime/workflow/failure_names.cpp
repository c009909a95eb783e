// The stable names of failure classes: apart from the rest of workflows, since clients read them,
// too.
#include <algorithm>
#include <array>
#include <callboard/failure.hpp>

namespace callboard {

namespace {

constexpr std::array<std::string_view, 5> names{"retryable", "rate", "quota", "permanent", "bug"};

}  // namespace

std::string_view name_of(failure_class kind) {
  return names.at(static_cast<std::size_t>(kind));
}

std::optional<failure_class> failure_class_named(std::string_view name) {
  const auto* found = std::ranges::find(names, name);
  if (found == names.end()) return std::nullopt;
  return static_cast<failure_class>(found - names.begin());
}

}  // namespace callboard
