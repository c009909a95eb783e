// Immutable bytes that many owners share: an event is encoded once and then only referred to.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace callboard {

/// A slice of an immutable, reference-counted buffer. Copying shares, never copies bytes.
/// Several slices may share one buffer (all events of a frame do). Any thread.
class shared_bytes {
public:
  shared_bytes() = default;

  /// Takes `bytes` over as a buffer of its own.
  explicit shared_bytes(std::string bytes)
    : owner_{std::make_shared<const std::string>(std::move(bytes))}, view_{*owner_} {}

  /// A part of `owner`. Precondition: `view` lies inside `*owner`.
  shared_bytes(std::shared_ptr<const std::string> owner, std::string_view view)
    : owner_{std::move(owner)}, view_{view} {}

  [[nodiscard]] std::string_view view() const { return view_; }

  [[nodiscard]] std::size_t size() const { return view_.size(); }

  [[nodiscard]] bool empty() const { return view_.empty(); }

  /// The rest from `offset` on, sharing the same buffer. Precondition: `offset <= size()`.
  [[nodiscard]] shared_bytes from(std::size_t offset) const {
    return {owner_, view_.substr(offset)};
  }

  friend bool operator==(const shared_bytes& a, const shared_bytes& b) {
    return a.view_ == b.view_;
  }

private:
  std::shared_ptr<const std::string> owner_;
  std::string_view view_;
};

} // namespace callboard
