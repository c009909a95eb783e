// What the dynamic linker reads of a shared library while it loads it.
#pragma once

#include "node/library_bytes.hpp"

#include <elf.h>
#include <optional>
#include <string>
#include <vector>

namespace callboard::node {

/// Nothing if the tables that the dynamic section names are in the file and have contents: the
/// linker believes them, and a library whose contents were lost crashes it. Else what is wrong.
[[nodiscard]] std::optional<std::string> flaw_of_tables(
    library_bytes& bytes,
    const std::vector<Elf64_Phdr>& segments,
    const std::vector<Elf64_Shdr>& sections);

}  // namespace callboard::node
