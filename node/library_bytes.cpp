#include "node/library_bytes.hpp"

#include <algorithm>

namespace callboard::node {

namespace {

constexpr std::uint64_t page_bytes = 4096;

}  // namespace

bool library_bytes::read(std::uint64_t offset, char* into, std::uint64_t count) {
  if (!has(offset, count)) return false;
  file_.seekg(static_cast<std::streamoff>(offset));
  return static_cast<bool>(file_.read(into, static_cast<std::streamsize>(count)));
}

bool library_bytes::is_blank(std::uint64_t offset, std::uint64_t count) {
  std::array<char, page_bytes> page{};
  for (const auto end = offset + count; offset < end;) {
    const auto part = std::min(end - offset, page_bytes);
    if (!read(offset, page.data(), part)) return true;
    if (std::ranges::any_of(page.begin(), page.begin() + part, [](char c) { return c != 0; })) {
      return false;
    }
    offset += part;
  }
  return true;
}

bool library_bytes::has_blank_page(std::uint64_t offset, std::uint64_t count) {
  const auto end = offset + count;
  for (auto page = (offset + page_bytes - 1) / page_bytes * page_bytes; page + page_bytes <= end;
       page += page_bytes) {
    if (is_blank(page, page_bytes)) return true;
  }
  return false;
}

}  // namespace callboard::node
