// A block: all records that one group commit gave one shard, up to 64 KiB, in one row.
// Byte tables: docs/formats.md "Block".
#pragma once

#include "base/error.hpp"
#include "base/ids.hpp"
#include "storage/record.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace callboard::storage {

inline constexpr std::size_t block_header_size = 16;
inline constexpr std::size_t record_header_size = 64;

/// A block is closed before the record that would make it larger; a larger record stands alone.
inline constexpr std::size_t block_size_max = 64 << 10;

using block_bytes = std::shared_ptr<const std::string>;

/// Builds a block in a buffer that is reused. Lsns follow each other from `start`.
class block_builder {
public:
  /// Begins a block whose lsns begin at `first`.
  void start(lsn first);

  /// Adds a record; `head.payload` is ignored. Precondition: `head.lsn >= next()`; an lsn that is
  /// jumped over makes the block sparse (its record is dead and was left out).
  void add(const record& head, std::string_view payload);

  /// Says that lsns up to `last` belong to the block although their records were left out.
  void extend_to(lsn last);

  [[nodiscard]] bool empty() const { return count_ == 0; }

  [[nodiscard]] bool has_room_for(std::size_t payload_size) const {
    return empty() || buffer_.size() + record_header_size + payload_size <= block_size_max;
  }

  [[nodiscard]] lsn first() const { return first_; }

  /// The lsn after the last one of the block.
  [[nodiscard]] lsn next() const { return first_.plus(span_); }

  [[nodiscard]] std::uint32_t count() const { return count_; }

  /// The finished block; the builder is empty afterwards.
  [[nodiscard]] std::string finish();

private:
  lsn first_{};
  std::uint32_t count_ = 0;
  std::uint32_t span_ = 0;
  std::string buffer_;
};

enum class block_step : std::uint8_t { record, end, bad };

/// Reads the records of a block in order and checks each before it is given out.
class block_reader {
public:
  /// `first` is the lsn of the block's key. Nothing is checked yet.
  block_reader(block_bytes bytes, lsn first) : bytes_{std::move(bytes)}, first_{first} {}

  /// Checks the header. Errors: corruption.
  [[nodiscard]] result<void> open();

  [[nodiscard]] lsn first() const { return first_; }

  /// Lsns the block stands for: `first() .. first() + span() - 1`.
  [[nodiscard]] std::uint32_t span() const { return span_; }

  [[nodiscard]] std::uint32_t count() const { return count_; }

  [[nodiscard]] lsn last() const { return lsn{first_.raw() + span_ - 1}; }

  /// Reads the next record into `out`. `bad`: see `problem()`; nothing more can be read.
  [[nodiscard]] block_step next(record& out);

  /// As `next`, without the checksum: for blocks this process made itself.
  [[nodiscard]] block_step next_trusted(record& out);

  /// Lsn of the record that `next` would give; nothing at the end.
  [[nodiscard]] std::optional<lsn> peek() const;

  /// Passes over records below `target` without checking them, so that `next` gives the first at
  /// or above it.
  [[nodiscard]] block_step skip_to(lsn target);

  [[nodiscard]] const error& problem() const { return problem_; }

private:
  [[nodiscard]] block_step read(record& out, bool check);
  [[nodiscard]] block_step bad(std::string what);

  block_bytes bytes_;
  lsn first_{};
  std::uint32_t span_ = 0;
  std::uint32_t count_ = 0;
  std::uint32_t seen_ = 0;
  std::size_t offset_ = 0;
  lsn expected_{};
  error problem_;
};

}  // namespace callboard::storage
