#include "storage/wal_check.hpp"

#include "base/crc32c.hpp"
#include "storage/byte_order.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

namespace callboard::storage {

namespace {

constexpr std::size_t page_size = 32 << 10;
constexpr std::size_t frame_header_size = 7;

std::uint32_t masked(std::uint32_t crc) {
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8U;
}

/// Size of the sound frame at the front of `in`; 0 if it is not sound.
std::size_t frame_size(std::string_view in) {
  if (in.size() < frame_header_size) return 0;
  const auto length = load_little<std::uint16_t>(in.data() + 4);
  const auto type = in[6];
  if (type < 1 || type > 4 || in.size() < frame_header_size + length) return 0;
  const auto crc = masked(crc32c(in.substr(6, 1 + std::size_t{length})));
  return load_little<std::uint32_t>(in.data()) == crc ? frame_header_size + length : 0;
}

}  // namespace

wal_check_result check_wal(const std::filesystem::path& file) {
  std::ifstream stream{file, std::ios::binary};
  if (!stream) return {.is_sound = false};
  const std::string bytes{std::istreambuf_iterator<char>{stream}, {}};
  const std::string_view all{bytes};
  wal_check_result found{.size = bytes.size()};
  for (std::size_t page = 0; page < all.size(); page += page_size) {
    auto rest = all.substr(page, page_size);
    if (!found.is_sound && frame_size(rest) != 0) {
      found.has_more = true;
      return found;
    }
    while (found.is_sound && rest.size() >= frame_header_size) {
      const auto size = frame_size(rest);
      if (size == 0) {
        const auto at = static_cast<std::size_t>(rest.data() - all.data());
        // Written over zeros, or not at all.
        if (is_zero(all.substr(at))) return found;
        found.is_sound = false;
        found.offset = at;
        break;
      }
      rest.remove_prefix(size);
    }
  }
  return found;
}

std::vector<std::filesystem::path> wal_files(const std::filesystem::path& db) {
  std::vector<std::filesystem::path> found;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator{db, ignored}) {
    if (entry.path().extension() == ".log") found.push_back(entry.path());
  }
  std::ranges::sort(found);
  return found;
}

}  // namespace callboard::storage
