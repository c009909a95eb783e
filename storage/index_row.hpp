// Index rows: in which blocks an entity has records, and where in them (docs/formats.md "Index
// row"). A row has a segment for each block; what one pass of the projector made of an entity's
// blocks is one row, not one for each.
#pragma once

#include "base/error.hpp"
#include "base/ids.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace callboard::storage {

/// Of a new row. They bound how much is read to find one block, and written again to take one out.
inline constexpr std::size_t index_row_segments_max = 64;
inline constexpr std::size_t index_row_bytes_max = 2048;

/// The records of an entity in one block, of one class.
struct index_segment {
  /// First sequence, or lsn of the first record.
  std::uint64_t number = 0;
  lsn block{};
  std::uint32_t span = 0;
  time_ms time{};
  std::uint32_t count = 0;
  /// As block_entry has them.
  std::string_view runs;

  /// The lsn behind the block.
  [[nodiscard]] lsn block_end() const { return block.plus(span); }

  friend bool operator==(const index_segment&, const index_segment&) = default;
};

/// Makes the value of a row of these segments; its key has the number of the first.
/// Precondition: at least one; numbers and blocks rise.
void encode_index_row(std::string& out, std::span<const index_segment> segments);

/// Makes the value of a new row of as many of them, from the first on, as it takes; returns their
/// number. One that begins before the end of the one before it, as damage can have it, begins a row
/// of its own. Precondition: at least one.
[[nodiscard]] std::size_t
encode_new_index_row(std::string& out, std::span<const index_segment> segments);

/// The segments of the row with this number in its key, at least one; numbers and blocks rise. They
/// point into `value`. Errors: corruption.
[[nodiscard]] result<std::vector<index_segment>>
decode_index_row(std::uint64_t number, std::string_view value);

}  // namespace callboard::storage
