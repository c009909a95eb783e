// Text with places for what an event says: `order-{data.order_id}`.
#pragma once

#include "base/error.hpp"

#include <cstddef>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace callboard::runtime {

class bound_event;

/// Places are `{id}`, `{source}`, `{type}`, `{subject}` and `{data.a.b}`; a brace has no other use.
/// Immutable once parsed.
class template_text {
public:
  static constexpr std::size_t size_max = 512;

  template_text() = default;

  /// Errors: bad_request with the place that is wrong.
  [[nodiscard]] static result<template_text> parse(std::string_view text);

  /// Puts in what the event says: texts as they are, numbers and truth values as JSON spells them.
  /// Errors: invalid_event if the event does not say it, or says something else there.
  [[nodiscard]] result<std::string> expand(bound_event& event) const;

  /// With `stand_in` in all places: what can be said of the result without an event.
  [[nodiscard]] std::string sample(std::string_view stand_in) const;

  [[nodiscard]] const std::string& str() const { return text_; }

  [[nodiscard]] bool empty() const { return text_.empty(); }

  friend bool operator==(const template_text& a, const template_text& b) {
    return a.text_ == b.text_;
  }

private:
  enum class attribute : std::uint8_t { id, source, type, subject };
  /// Names of members from `data` down; indexes where there is an array.
  using data_path = std::vector<std::string>;
  using piece = std::variant<std::string, attribute, data_path>;

  [[nodiscard]] static result<piece> parse_place(std::string_view place);
  [[nodiscard]] static result<std::string> look_up(bound_event& event, const data_path& path);
  [[nodiscard]] static result<std::string> look_up(bound_event& event, attribute which);

  std::string text_;
  std::vector<piece> pieces_;
};

}  // namespace callboard::runtime
