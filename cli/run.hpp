// Parses a command line and runs what it asks for.
#pragma once

#include "cli/command.hpp"
#include "cli/families.hpp"

#include <span>

namespace callboard::cli {

/// `arguments[0]` is the program's name. Returns the exit code. Environment variables
/// CALLBOARD_SERVER, CALLBOARD_TENANT and CALLBOARD_TOKEN stand in for their options.
/// `workflows`: what a node of this program runs.
[[nodiscard]] int
run(std::span<const char* const> arguments,
    const streams& io,
    std::span<const family> families,
    const runtime::workflow_registry* workflows = nullptr);

}  // namespace callboard::cli
