// Distinct integer types, so that a shard number can never be passed where a sequence is meant.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace callboard {

/// An integer with a meaning. Construction is explicit, `raw()` leads out; there is no arithmetic.
template <class Tag, class Raw>
class strong_id {
public:
  using raw_type = Raw;

  constexpr strong_id() = default;

  constexpr explicit strong_id(Raw value) : value_{value} {}

  [[nodiscard]] constexpr Raw raw() const { return value_; }

  friend constexpr auto operator<=>(strong_id, strong_id) = default;

private:
  Raw value_{};
};

/// A dense counter: a strong id that also knows its successor and the distance to another.
template <class Tag>
class counter_id : public strong_id<Tag, std::uint64_t> {
public:
  using strong_id<Tag, std::uint64_t>::strong_id;

  [[nodiscard]] constexpr counter_id next() const { return counter_id{this->raw() + 1}; }

  /// The counter `count` places further on.
  [[nodiscard]] constexpr counter_id plus(std::uint64_t count) const {
    return counter_id{this->raw() + count};
  }

  /// How many steps lead from `from` to here. Precondition: `from <= *this`.
  [[nodiscard]] constexpr std::uint64_t distance_from(counter_id from) const {
    return this->raw() - from.raw();
  }
};

} // namespace callboard

template <class Tag, class Raw>
struct std::hash<callboard::strong_id<Tag, Raw>> {
  std::size_t operator()(callboard::strong_id<Tag, Raw> id) const noexcept {
    return std::hash<Raw>{}(id.raw());
  }
};

template <class Tag>
struct std::hash<callboard::counter_id<Tag>> {
  std::size_t operator()(callboard::counter_id<Tag> id) const noexcept {
    return std::hash<std::uint64_t>{}(id.raw());
  }
};
