// Everything that reads what a journal holds, each from any bytes.
#pragma once

#include "storage/record.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace callboard::tests {

struct journal_reader {
  std::string_view name;
  /// True if the bytes are what it reads. Aborts if what was understood does not hold.
  bool (*read)(std::string_view bytes);
};

/// Their order is that of the first byte of an input of journal_records_fuzz.
[[nodiscard]] std::span<const journal_reader> journal_readers();

/// Kind, entity and sequence of a record, one byte each, and the size of its payload, two bytes.
inline constexpr std::size_t projected_head_size = 5;

/// Appends a record to an input of the reader `projected`. Precondition: its kind fits into a byte
/// and the size of its payload into two.
void add_projected(std::string& to, const storage::record& one, std::uint8_t entity);

}  // namespace callboard::tests
