// A shared library's file, read in pieces and not mapped.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>

namespace callboard::node {

/// Of known size. Owned by one thread.
class library_bytes {
public:
  library_bytes(const std::string& path, std::uint64_t size)
      : file_{path, std::ios::binary}, size_{size} {}

  [[nodiscard]] bool is_open() const { return file_.is_open(); }

  [[nodiscard]] bool has(std::uint64_t offset, std::uint64_t count) const {
    return offset <= size_ && count <= size_ - offset;
  }

  template <class Header>
  [[nodiscard]] std::optional<Header> at(std::uint64_t offset) {
    std::array<char, sizeof(Header)> bytes{};
    if (!read(offset, bytes.data(), bytes.size())) return std::nullopt;
    Header header;
    std::memcpy(&header, bytes.data(), bytes.size());
    return header;
  }

  /// Nothing but zeros: what a file system leaves that knew the size of the file before a power
  /// cut, and not what was to be in it.
  [[nodiscard]] bool is_blank(std::uint64_t offset, std::uint64_t count);
  /// One page of the file, at least, that has nothing else.
  [[nodiscard]] bool has_blank_page(std::uint64_t offset, std::uint64_t count);

  [[nodiscard]] std::uint64_t size() const { return size_; }

private:
  [[nodiscard]] bool read(std::uint64_t offset, char* into, std::uint64_t count);

  std::ifstream file_;
  std::uint64_t size_;
};

}  // namespace callboard::node
