// The settings of model calls, as the client takes them.
#pragma once

#include "base/config.hpp"
#include "model/settings.hpp"

namespace callboard::node {

/// Providers in their order, each with those behind it to fall back to; then those that no order
/// names, which are asked by name only.
[[nodiscard]] model::client_settings model_settings(const config::models_section& from);

}  // namespace callboard::node
