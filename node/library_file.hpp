// What is looked at of a shared library before it is loaded.
#pragma once

#include "base/error.hpp"

#include <string>

namespace callboard::node {

/// Nothing if the file is an ELF library of this machine and has all the bytes that its headers
/// speak of: mapping one that was cut kills the process (SIGBUS) as soon as what is missing is
/// touched, and so does loading one whose tables were lost. Errors: not_found (no such file, no
/// library), incompatible (of another machine), corruption (cut; or its headers, its tables or all
/// its code are damaged). What is wrong within its code or data nobody sees here.
[[nodiscard]] result<void> check_library_file(const std::string& path);

}  // namespace callboard::node
