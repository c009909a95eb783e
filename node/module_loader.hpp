// Workflow and agent classes from shared libraries (include/callboard/module.hpp).
#pragma once

#include "base/error.hpp"

#include <string>

namespace callboard::runtime {
class workflow_registry;
}  // namespace callboard::runtime

namespace callboard::node {

/// Loads the library for the life of the process and adds its classes. Errors: not_found (no such
/// file, or no module), corruption (cut short or damaged), incompatible (built with something else;
/// the detail says with what), exists, invalid_name (of a class).
[[nodiscard]] result<void> load_module(const std::string& path, runtime::workflow_registry& into);

}  // namespace callboard::node
