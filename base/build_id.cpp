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

std::string find_in(const dl_phdr_info& object) {
  for (int i = 0; i < object.dlpi_phnum; ++i) {
    const auto& segment = object.dlpi_phdr[i];
    if (segment.p_type != PT_NOTE) continue;
    const auto* begin = reinterpret_cast<const char*>(object.dlpi_addr + segment.p_vaddr);
    if (auto found = find_in({begin, segment.p_memsz}); !found.empty()) return found;
  }
  return {};
}

bool holds(const dl_phdr_info& object, const void* address) {
  const auto at = reinterpret_cast<ElfW(Addr)>(address);
  for (int i = 0; i < object.dlpi_phnum; ++i) {
    const auto& segment = object.dlpi_phdr[i];
    const auto begin = object.dlpi_addr + segment.p_vaddr;
    if (segment.p_type == PT_LOAD && begin <= at && at < begin + segment.p_memsz) return true;
  }
  return false;
}

struct search {
  const void* address;
  std::string found;
};

int visit(dl_phdr_info* object, std::size_t, void* into) {
  auto& wanted = *static_cast<search*>(into);
  if (!holds(*object, wanted.address)) return 0;
  wanted.found = find_in(*object);
  return 1;
}

}  // namespace

const std::string& build_id() {
  // The first object is the executable.
  static const auto id = [] {
    std::string found;
    ::dl_iterate_phdr(
        [](dl_phdr_info* object, std::size_t, void* into) {
          *static_cast<std::string*>(into) = find_in(*object);
          return 1;
        },
        &found);
    return found;
  }();
  return id;
}

std::string build_id_of(const void* address) {
  search wanted{address, {}};
  ::dl_iterate_phdr(visit, &wanted);
  return wanted.found;
}

}  // namespace callboard
