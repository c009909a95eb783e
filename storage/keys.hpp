// The layout of every key on disk: big-endian parts of fixed width, numeric ids only
// (docs/formats.md "Keys"). Never changed; a new kind of row gets a new tag.
#pragma once

#include "base/ids.hpp"
#include "storage/byte_order.hpp"
#include "storage/projection.hpp"

#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

namespace callboard::storage::keys {

/// A key of known size that needs no allocation.
template <std::size_t Size>
struct fixed_key {
  std::array<char, Size> bytes{};

  // NOLINTNEXTLINE(google-explicit-constructor): a key is its bytes.
  operator std::string_view() const { return {bytes.data(), bytes.size()}; }
};

/// Every key begins with its shard.
inline constexpr std::size_t shard_size = 4;

// ---- log: shard, first lsn of the block

[[nodiscard]] inline fixed_key<12> log_block(shard_id shard, lsn first) {
  fixed_key<12> key;
  store_big(key.bytes.data(), shard.raw());
  store_big(key.bytes.data() + 4, first.raw());
  return key;
}

[[nodiscard]] inline lsn lsn_of_log_block(std::string_view key) {
  return lsn{load_big<std::uint64_t>(key.data() + 4)};
}

[[nodiscard]] inline shard_id shard_of(std::string_view key) {
  return shard_id{load_big<std::uint32_t>(key.data())};
}

/// First key of a shard in any column family; with `shard + 1`, the end of its range.
[[nodiscard]] inline fixed_key<shard_size> shard_prefix(std::uint32_t shard) {
  fixed_key<shard_size> key;
  store_big(key.bytes.data(), shard);
  return key;
}

// ---- index: shard, entity, class, number

enum class index_class : std::uint8_t {
  /// Number 0. The entity's head (entity_head.hpp).
  head = 0,
  /// Number = lsn of the first of the entity's records without own sequence in one block.
  others = 1,
  /// Number = first sequence in one block.
  sequenced = 2,
  /// Number = first sequence of a range that a repair could not save; the value is its last.
  lost = 3,
};

[[nodiscard]] inline fixed_key<21>
index_row(shard_id shard, entity_id entity, index_class kind, std::uint64_t number) {
  fixed_key<21> key;
  store_big(key.bytes.data(), shard.raw());
  store_big(key.bytes.data() + 4, entity.raw());
  key.bytes[12] = static_cast<char>(kind);
  store_big(key.bytes.data() + 13, number);
  return key;
}

[[nodiscard]] inline fixed_key<21> head_row(shard_id shard, entity_id entity) {
  return index_row(shard, entity, index_class::head, 0);
}

[[nodiscard]] inline entity_id entity_of_index_row(std::string_view key) {
  return entity_id{load_big<std::uint64_t>(key.data() + 4)};
}

[[nodiscard]] inline index_class class_of_index_row(std::string_view key) {
  return static_cast<index_class>(key[12]);
}

[[nodiscard]] inline std::uint64_t number_of_index_row(std::string_view key) {
  return load_big<std::uint64_t>(key.data() + 13);
}

inline constexpr std::size_t index_row_size = 21;

/// Before all rows of the entity and behind those of the ones before it; no row itself. Ranges of
/// rows that are deleted begin with it (storage/database.cpp).
[[nodiscard]] inline fixed_key<12> before_index_of(shard_id shard, entity_id entity) {
  fixed_key<12> key;
  store_big(key.bytes.data(), shard.raw());
  store_big(key.bytes.data() + 4, entity.raw());
  return key;
}

/// True if `key` is a row of this entity and class.
[[nodiscard]] inline bool
is_index_row(std::string_view key, shard_id shard, entity_id entity, index_class kind) {
  return key.size() == index_row_size && shard_of(key) == shard
         && entity_of_index_row(key) == entity && class_of_index_row(key) == kind;
}

// ---- snapshot: shard, entity

[[nodiscard]] inline fixed_key<12> snapshot_row(shard_id shard, entity_id entity) {
  fixed_key<12> key;
  store_big(key.bytes.data(), shard.raw());
  store_big(key.bytes.data() + 4, entity.raw());
  return key;
}

// ---- view: shard, generation, view, key of the projection

inline constexpr std::size_t view_prefix_size = 6;

inline void view_row(
    std::string& out, shard_id shard, std::uint8_t generation, view_id view, std::string_view key) {
  out.resize(view_prefix_size);
  store_big(out.data(), shard.raw());
  out[4] = static_cast<char>(generation);
  out[5] = static_cast<char>(view);
  out.append(key);
}

// ---- meta: shard (or `node_wide`), tag, number

inline constexpr std::uint32_t node_wide = std::numeric_limits<std::uint32_t>::max();

enum class meta_tag : std::uint8_t {
  /// Per shard: applied lsn, and the generation of view rows that stand for it.
  applied = 1,
  /// Per shard: incarnation.
  incarnation = 2,
  /// Per shard, number = term: the first lsn written under it.
  term = 3,
  /// Per shard, number = first lsn that is gone on purpose: the last lsn of that hole.
  hole = 4,
  /// Per shard: the projection version its view rows are of.
  views = 5,
  /// Node-wide, then shard, entity, lsn of a record that made others dead: their space waits to be
  /// given back. The value is the lsn of a record of the same kind that it replaced, or 0;
  /// then, if it is about presence, the lsn before which that was dead already.
  reclaim = 6,
};

[[nodiscard]] inline fixed_key<13>
meta_row(std::uint32_t shard, meta_tag tag, std::uint64_t number = 0) {
  fixed_key<13> key;
  store_big(key.bytes.data(), shard);
  key.bytes[4] = static_cast<char>(tag);
  store_big(key.bytes.data() + 5, number);
  return key;
}

[[nodiscard]] inline std::uint64_t number_of_meta_row(std::string_view key) {
  return load_big<std::uint64_t>(key.data() + 5);
}

/// `change` is the lsn of the record that made something dead; a row is deleted only by who has
/// seen that record's effect.
[[nodiscard]] inline fixed_key<25> reclaim_row(shard_id shard, entity_id entity, lsn change) {
  fixed_key<25> key;
  store_big(key.bytes.data(), node_wide);
  key.bytes[4] = static_cast<char>(meta_tag::reclaim);
  store_big(key.bytes.data() + 5, shard.raw());
  store_big(key.bytes.data() + 9, entity.raw());
  store_big(key.bytes.data() + 17, change.raw());
  return key;
}

inline constexpr std::size_t reclaim_row_size = 25;

[[nodiscard]] inline shard_id shard_of_reclaim_row(std::string_view key) {
  return shard_id{load_big<std::uint32_t>(key.data() + 5)};
}

[[nodiscard]] inline entity_id entity_of_reclaim_row(std::string_view key) {
  return entity_id{load_big<std::uint64_t>(key.data() + 9)};
}

}  // namespace callboard::storage::keys
