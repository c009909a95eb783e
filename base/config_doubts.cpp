// Settings that a node starts with, though they most likely do not do what is wanted.
#include "base/config.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace callboard {

std::vector<std::string> doubts_about(const config& settings) {
  std::vector<std::string> out;
  const auto& models = settings.models;
  for (std::size_t i = 1; i < models.order.size(); ++i) {
    const auto found =
        std::ranges::find(models.providers, models.order[i], &config::model_provider::name);
    if (found == models.providers.end() || !found->default_model.empty()) continue;
    out.push_back(fmt::format(
        "models.{}.default_model is empty: calls that fall back to it ask for the model that they "
        "began with, which it must have under the same name",
        found->name));
  }
  return out;
}

}  // namespace callboard
