#include "node/library_file.hpp"

#include "node/library_bytes.hpp"
#include "node/library_tables.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <elf.h>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <vector>

namespace callboard::node {

namespace {

constexpr Elf64_Half own_machine =
#if defined(__x86_64__)
    EM_X86_64;
#elif defined(__aarch64__)
    EM_AARCH64;
#else
    EM_NONE;
#endif

std::unexpected<error> cut(const std::string& path, const library_bytes& bytes) {
  return fail(
      errc::corruption,
      fmt::format(
          "cannot load {}: it ends after {} bytes, before what its headers speak of; copy or build "
          "it again",
          path,
          bytes.size()));
}

std::unexpected<error> damaged(const std::string& path, std::string_view how) {
  return fail(
      errc::corruption, fmt::format("cannot load {}: {}; copy or build it again", path, how));
}

std::unexpected<error> no_library(const std::string& path) {
  return fail(errc::not_found, fmt::format("cannot load {}: it is no shared library", path));
}

result<void> check_kind(const std::string& path, const Elf64_Ehdr& header) {
  const auto* ident = header.e_ident;
  const bool is_own_kind = ident[EI_CLASS] == ELFCLASS64 && ident[EI_DATA] == ELFDATA2LSB
                           && (own_machine == EM_NONE || header.e_machine == own_machine);
  if (!is_own_kind) {
    return fail(
        errc::incompatible,
        fmt::format(
            "cannot load {}: it was built for another machine ({}), this node runs on {}",
            path,
            header.e_machine,
            own_machine));
  }
  if (header.e_type != ET_DYN) return no_library(path);
  const bool is_sound = header.e_ehsize == sizeof(Elf64_Ehdr) && header.e_phnum != 0
                        && header.e_phentsize == sizeof(Elf64_Phdr)
                        && (header.e_shnum == 0 || header.e_shentsize == sizeof(Elf64_Shdr));
  if (is_sound) return {};
  return damaged(path, "its headers are damaged");
}

/// The sections stand at the end of the file, so that one that has lost only what no segment has is
/// told, too.
result<std::vector<Elf64_Shdr>>
read_sections(const std::string& path, library_bytes& bytes, const Elf64_Ehdr& header) {
  std::vector<Elf64_Shdr> sections;
  bool has_names = header.e_shnum == 0 || header.e_shstrndx == SHN_UNDEF;
  for (std::uint64_t i = 0; i < header.e_shnum; ++i) {
    const auto section = bytes.at<Elf64_Shdr>(header.e_shoff + i * sizeof(Elf64_Shdr));
    const bool has_bytes = section && section->sh_type != SHT_NOBITS;
    if (!section || (has_bytes && !bytes.has(section->sh_offset, section->sh_size))) {
      return cut(path, bytes);
    }
    has_names |= i == header.e_shstrndx && section->sh_type == SHT_STRTAB;
    sections.push_back(*section);
  }
  if (has_names) return sections;
  return damaged(path, "the headers of its sections are blank");
}

/// All its code, which a linker begins to run while it loads it.
bool has_blank_code(library_bytes& bytes, const std::vector<Elf64_Phdr>& segments) {
  return std::ranges::any_of(segments, [&](const Elf64_Phdr& one) {
    return one.p_type == PT_LOAD && (one.p_flags & PF_X) != 0 && one.p_filesz != 0
           && bytes.is_blank(one.p_offset, one.p_filesz);
  });
}

}  // namespace

result<void> check_library_file(const std::string& path) {
  std::error_code problem;
  const bool is_file = std::filesystem::is_regular_file(path, problem);
  const auto size = is_file ? std::filesystem::file_size(path, problem) : 0;
  if (!is_file || problem) {
    const auto why = problem ? problem.message() : std::string{"it is no file"};
    return fail(errc::not_found, fmt::format("cannot load {}: {}", path, why));
  }
  library_bytes bytes{path, size};
  if (!bytes.is_open()) {
    const auto why = std::generic_category().message(errno);
    return fail(errc::not_found, fmt::format("cannot load {}: {}", path, why));
  }
  const auto magic = bytes.at<std::array<char, SELFMAG>>(0);
  if (magic && std::memcmp(magic->data(), ELFMAG, SELFMAG) != 0) return no_library(path);
  const auto header = bytes.at<Elf64_Ehdr>(0);
  if (!header) return cut(path, bytes);
  if (auto kind = check_kind(path, *header); !kind) return kind;
  std::vector<Elf64_Phdr> segments;
  for (std::uint64_t i = 0; i < header->e_phnum; ++i) {
    const auto segment = bytes.at<Elf64_Phdr>(header->e_phoff + i * sizeof(Elf64_Phdr));
    if (!segment || !bytes.has(segment->p_offset, segment->p_filesz)) return cut(path, bytes);
    segments.push_back(*segment);
  }
  const auto sections = read_sections(path, bytes, *header);
  if (!sections) return std::unexpected{sections.error()};
  if (const auto flaw = flaw_of_tables(bytes, segments, *sections)) return damaged(path, *flaw);
  if (has_blank_code(bytes, segments)) return damaged(path, "its code is blank");
  return {};
}

}  // namespace callboard::node
