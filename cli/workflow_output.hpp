// How a workflow is printed by all commands that answer with one.
#pragma once

#include "cli/output.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace callboard::cli {

/// The members of an object and, for people, its list `name` as a table below them.
void print_with_list(
    const context& run,
    const std::string& body,
    std::string_view name,
    const std::vector<column>& columns);

/// With its steps as a table.
void print_workflow(const context& run, const std::string& body);

/// Why it is where it is, with what it waits for as a table.
void print_explanation(const context& run, const std::string& body);

}  // namespace callboard::cli
