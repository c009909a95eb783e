#include "gateway/principal.hpp"

#include <algorithm>

namespace callboard::gateway {

namespace {

/// Takes the first token off `rest`.
std::string_view take_token(std::string_view& rest) {
  const auto dot = rest.find('.');
  const auto token = rest.substr(0, dot);
  rest.remove_prefix(dot == std::string_view::npos ? rest.size() : dot + 1);
  return token;
}

/// True if everything that `wanted` (a topic or a pattern) matches is matched by `allowed` too.
bool covers(std::string_view allowed, std::string_view wanted) {
  while (!allowed.empty() && !wanted.empty()) {
    const auto mine = take_token(allowed);
    const auto theirs = take_token(wanted);
    if (mine == ">") return true;
    if (theirs == ">") return false;
    if (mine != "*" && mine != theirs) return false;
  }
  return allowed.empty() && wanted.empty();
}

}  // namespace

bool principal::may_publish(std::string_view topic) const {
  return std::ranges::any_of(publish, [&](const auto& p) { return p.matches(topic); });
}

bool principal::may_publish_all(std::string_view pattern) const {
  return std::ranges::any_of(publish, [&](const auto& p) { return covers(p.str(), pattern); });
}

bool principal::may_subscribe(std::string_view topic_or_pattern) const {
  return std::ranges::any_of(
      subscribe, [&](const auto& p) { return covers(p.str(), topic_or_pattern); });
}

bool principal::may_work(std::string_view queue) const {
  return std::ranges::any_of(work, [&](const auto& allowed) { return covers(allowed, queue); });
}

}  // namespace callboard::gateway
