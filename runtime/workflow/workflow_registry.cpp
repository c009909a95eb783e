#include "runtime/workflow/workflow_registry.hpp"

#include "base/build_id.hpp"
#include "base/names.hpp"

#include <fmt/format.h>

namespace callboard::runtime {

result<void> workflow_registry::add(workflow_definition definition, std::string build) {
  if (const auto name = topic_name::parse(definition.type); !name) {
    return std::unexpected{name.error()};
  }
  const std::pair key{definition.type, definition.version};
  if (build.empty()) build = build_id();
  const auto [place, is_new] =
      definitions_.try_emplace(key, std::move(definition), std::move(build));
  if (!is_new) {
    return fail(
        errc::exists,
        fmt::format("workflow '{}' version {} is registered twice", key.first, key.second));
  }
  return {};
}

const workflow_definition* workflow_registry::newest(const std::string& type) const {
  auto behind = definitions_.lower_bound({type, 0xffff'ffffU});
  if (behind != definitions_.end() && behind->first.first == type) {
    return &behind->second.definition;
  }
  if (behind == definitions_.begin()) return nullptr;
  --behind;
  return behind->first.first == type ? &behind->second.definition : nullptr;
}

const workflow_definition*
workflow_registry::find(const std::string& type, std::uint32_t version) const {
  const auto found = definitions_.find({type, version});
  return found == definitions_.end() ? nullptr : &found->second.definition;
}

const std::string&
workflow_registry::build_of(const std::string& type, std::uint32_t version) const {
  const auto found = definitions_.find({type, version});
  return found == definitions_.end() ? build_id() : found->second.build;
}

std::vector<std::string> workflow_registry::types() const {
  std::vector<std::string> names;
  for (const auto& [key, definition] : definitions_) {
    if (names.empty() || names.back() != key.first) names.push_back(key.first);
  }
  return names;
}

}  // namespace callboard::runtime
