// What the journal knows of an entity besides its records: one row, kept up to date by the
// projector (docs/formats.md "Head row").
#pragma once

#include "base/ids.hpp"
#include "storage/byte_order.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace callboard::storage {

struct entity_head {
  /// The entity's last record of any kind.
  lsn last{};
  /// Its last record that has a sequence of its own.
  sequence last_seq{};
  /// Trimmed up to and including this sequence.
  sequence floor{};
  /// Its snapshot covers up to and including this sequence.
  sequence covered{};
  lsn trim_lsn{};
  lsn snapshot_lsn{};
  lsn deleted_lsn{};
  /// Records of its presence before this one are dead.
  lsn presence_floor{};
  /// Its sequenced records are group progress: dead once a snapshot covers them.
  bool dies_below_snapshot = false;

  [[nodiscard]] bool is_deleted() const { return deleted_lsn.raw() != 0; }

  /// Sequenced records up to and including this one are dead.
  [[nodiscard]] sequence dead_floor() const {
    if (is_deleted()) return sequence{~std::uint64_t{0}};
    return dies_below_snapshot ? std::max(floor, covered) : floor;
  }
};

inline constexpr char entity_head_format = 2;
/// Without the last number; read as ever.
inline constexpr char entity_head_format_1 = 1;

inline void encode(std::string& out, const entity_head& head) {
  out.clear();
  out.push_back(entity_head_format);
  out.push_back(head.dies_below_snapshot ? '\1' : '\0');
  for (const auto value :
       {head.last.raw(),
        head.last_seq.raw(),
        head.floor.raw(),
        head.covered.raw(),
        head.trim_lsn.raw(),
        head.snapshot_lsn.raw(),
        head.deleted_lsn.raw(),
        head.presence_floor.raw()}) {
    append_little(out, value);
  }
}

[[nodiscard]] inline std::optional<entity_head> decode_head(std::string_view in) {
  const bool is_old = in.size() == 58 && in[0] == entity_head_format_1;
  if (!is_old && (in.size() != 66 || in[0] != entity_head_format)) return std::nullopt;
  const auto number = [&](std::size_t index) {
    return load_little<std::uint64_t>(in.data() + 2 + index * 8);
  };
  return entity_head{
      .last = lsn{number(0)},
      .last_seq = sequence{number(1)},
      .floor = sequence{number(2)},
      .covered = sequence{number(3)},
      .trim_lsn = lsn{number(4)},
      .snapshot_lsn = lsn{number(5)},
      .deleted_lsn = lsn{number(6)},
      .presence_floor = is_old ? lsn{} : lsn{number(7)},
      .dies_below_snapshot = in[1] != '\0'};
}

}  // namespace callboard::storage
