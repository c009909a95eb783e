#include "node/library_tables.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <string_view>

namespace callboard::node {

namespace {

/// Values of the dynamic section by their tags.
using dynamic_values = std::map<Elf64_Sxword, Elf64_Xword>;

struct table {
  std::string_view name;
  Elf64_Sxword address;
  Elf64_Sxword size;
};

constexpr table strings{"the string table", DT_STRTAB, DT_STRSZ};
/// A library may do without these.
constexpr std::array relocations{
    table{"the table of relocations", DT_RELA, DT_RELASZ},
    table{"the table of calls", DT_JMPREL, DT_PLTRELSZ}};

const Elf64_Phdr* loaded_at(const std::vector<Elf64_Phdr>& segments, Elf64_Addr address) {
  const auto found = std::ranges::find_if(segments, [&](const Elf64_Phdr& one) {
    return one.p_type == PT_LOAD && address >= one.p_vaddr && address - one.p_vaddr < one.p_filesz;
  });
  return found == segments.end() ? nullptr : &*found;
}

/// Addresses of tables and what the file has of them.
class loaded_bytes {
public:
  loaded_bytes(library_bytes& bytes, const std::vector<Elf64_Phdr>& segments)
      : bytes_{bytes}, segments_{segments} {}

  [[nodiscard]] std::optional<std::string>
  flaw(std::string_view what, Elf64_Addr address, std::uint64_t size) {
    const auto* in = loaded_at(segments_, address);
    if (in == nullptr || size > in->p_filesz - (address - in->p_vaddr)) {
      return fmt::format("{} is not in the file", what);
    }
    const auto begin = offset_in(*in, address);
    if (bytes_.is_blank(begin, size) || bytes_.has_blank_page(begin, size)) {
      return fmt::format("{} is blank", what);
    }
    return std::nullopt;
  }

  template <class Header>
  [[nodiscard]] std::optional<Header> at(Elf64_Addr address) {
    const auto* in = loaded_at(segments_, address);
    return in == nullptr ? std::nullopt : bytes_.at<Header>(offset_in(*in, address));
  }

private:
  static std::uint64_t offset_in(const Elf64_Phdr& segment, Elf64_Addr address) {
    return segment.p_offset + (address - segment.p_vaddr);
  }

  library_bytes& bytes_;
  const std::vector<Elf64_Phdr>& segments_;
};

dynamic_values read_dynamic(library_bytes& bytes, const Elf64_Phdr& section) {
  dynamic_values values;
  for (std::uint64_t at = 0; at + sizeof(Elf64_Dyn) <= section.p_filesz; at += sizeof(Elf64_Dyn)) {
    const auto entry = bytes.at<Elf64_Dyn>(section.p_offset + at);
    if (!entry || entry->d_tag == DT_NULL) break;
    values.emplace(entry->d_tag, entry->d_un.d_val);
  }
  return values;
}

/// No value of the dynamic section says it. Without sections the first two symbols have to do, of
/// which the first is blank.
std::uint64_t size_of_symbols(const std::vector<Elf64_Shdr>& sections, Elf64_Addr address) {
  const auto found = std::ranges::find_if(sections, [&](const Elf64_Shdr& one) {
    return one.sh_type == SHT_DYNSYM && one.sh_addr == address;
  });
  return found == sections.end() ? 2 * sizeof(Elf64_Sym) : found->sh_size;
}

/// The linker divides by the number of buckets.
std::optional<std::string> flaw_of_hashes(loaded_bytes& loaded, const dynamic_values& values) {
  for (const auto tag : {DT_GNU_HASH, DT_HASH}) {
    const auto table = values.find(tag);
    if (table == values.end()) continue;
    const auto buckets = loaded.at<Elf64_Word>(table->second);
    if (!buckets || *buckets == 0) return "its hash table is blank or not in the file";
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> flaw_of_tables(
    library_bytes& bytes,
    const std::vector<Elf64_Phdr>& segments,
    const std::vector<Elf64_Shdr>& sections) {
  const auto section = std::ranges::find(segments, Elf64_Word{PT_DYNAMIC}, &Elf64_Phdr::p_type);
  if (section == segments.end()) return "it has no dynamic section";
  const auto values = read_dynamic(bytes, *section);
  const bool names_all = values.contains(DT_STRTAB) && values.contains(DT_STRSZ)
                         && values.contains(DT_SYMTAB)
                         && (values.contains(DT_GNU_HASH) || values.contains(DT_HASH));
  if (!names_all) return "its dynamic section is blank or names no tables";
  loaded_bytes loaded{bytes, segments};
  const auto flaw_of = [&](const table& one) {
    return loaded.flaw(one.name, values.at(one.address), values.at(one.size));
  };
  if (auto flaw = flaw_of(strings)) return flaw;
  const auto symbols = values.at(DT_SYMTAB);
  const auto symbols_size = size_of_symbols(sections, symbols);
  if (auto flaw = loaded.flaw("the table of symbols", symbols, symbols_size)) return flaw;
  for (const auto& one : relocations) {
    const bool is_there =
        values.contains(one.address) && values.contains(one.size) && values.at(one.size) != 0;
    if (!is_there) continue;
    if (auto flaw = flaw_of(one)) return flaw;
  }
  return flaw_of_hashes(loaded, values);
}

}  // namespace callboard::node
