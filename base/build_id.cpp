#include "base/build_id.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <link.h>
#include <string_view>
#include <utility>

namespace callboard {

namespace {

constexpr std::size_t bytes_shown = 8;

constexpr std::size_t aligned(std::size_t size) {
  return (size + 3) & ~std::size_t{3};
}

std::string hexadecimal(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes)
    text += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return text;
}

/// The build id among notes; empty if it is not there.
std::string find_in(std::string_view notes) {
  while (notes.size() >= sizeof(ElfW(Nhdr))) {
    ElfW(Nhdr) note;
    std::memcpy(&note, notes.data(), sizeof note);
    const auto name = sizeof note;
    const auto description = name + aligned(note.n_namesz);
    const auto next = description + aligned(note.n_descsz);
    if (next > notes.size()) break;
    if (note.n_type == NT_GNU_BUILD_ID && notes.substr(name, 3) == "GNU") {
      return hexadecimal(
          notes.substr(description, std::min<std::size_t>(note.n_descsz, bytes_shown)));
    }
    notes.remove_prefix(next);
  }
  return {};
}

/// Of the first object, which is the executable.
int visit(dl_phdr_info* info, std::size_t, void* into) {
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& segment = info->dlpi_phdr[i];
    if (segment.p_type != PT_NOTE) continue;
    const auto* begin = reinterpret_cast<const char*>(info->dlpi_addr + segment.p_vaddr);
    auto found = find_in({begin, segment.p_memsz});
    if (!found.empty()) *static_cast<std::string*>(into) = std::move(found);
  }
  return 1;
}

}  // namespace

const std::string& build_id() {
  static const auto id = [] {
    std::string found;
    ::dl_iterate_phdr(visit, &found);
    return found;
  }();
  return id;
}

}  // namespace callboard
