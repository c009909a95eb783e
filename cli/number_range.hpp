// Bounds of numbers on the command line.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <limits>

namespace callboard::cli {

/// CLI11's own is one of doubles, whose upper bound it prints with all its 309 digits.
inline const CLI::Range at_least_one{
    std::uint32_t{1}, std::numeric_limits<std::uint32_t>::max(), "POSITIVE"};

}  // namespace callboard::cli
