// Names that clients choose, checked once where they enter and trusted afterwards.
#pragma once

#include "base/error.hpp"

#include <compare>
#include <string>
#include <string_view>

namespace callboard {

/// A checked string. `parse` of the concrete type is the only way in from outside.
template <class Tag>
class checked_name {
public:
  checked_name() = default;

  /// Parses what a client sent. Errors: invalid_name with the rule that was broken.
  [[nodiscard]] static result<checked_name> parse(std::string_view text);

  /// For names that were parsed before (journal, views). Precondition: `parse(text)` succeeds.
  [[nodiscard]] static checked_name trusted(std::string text) {
    checked_name name;
    name.text_ = std::move(text);
    return name;
  }

  [[nodiscard]] const std::string& str() const { return text_; }

  friend auto operator<=>(const checked_name&, const checked_name&) = default;

private:
  std::string text_;
};

/// `[a-z0-9][a-z0-9-]{0,62}`
using tenant_name = checked_name<struct tenant_name_tag>;

/// 1..=255 bytes, dot-separated non-empty tokens of `[A-Za-z0-9_:-]`
using topic_name = checked_name<struct topic_name_tag>;

/// 1..=255 bytes of `[A-Za-z0-9_:.-]`
using group_name = checked_name<struct group_name_tag>;

/// 1..=255 bytes of `[A-Za-z0-9_:.-]`
using queue_name = checked_name<struct queue_name_tag>;

template <>
result<tenant_name> tenant_name::parse(std::string_view text);
template <>
result<topic_name> topic_name::parse(std::string_view text);
template <>
result<group_name> group_name::parse(std::string_view text);
template <>
result<queue_name> queue_name::parse(std::string_view text);

/// A topic name in which a token may be `*` (exactly one token) and the last may be `>` (one or
/// more tokens). A pattern without either matches exactly one topic.
class topic_pattern {
public:
  [[nodiscard]] static result<topic_pattern> parse(std::string_view text);

  [[nodiscard]] bool matches(std::string_view topic) const;

  /// True if it has a wildcard, that is, if it may match several topics.
  [[nodiscard]] bool is_wildcard() const { return wildcard_; }

  [[nodiscard]] const std::string& str() const { return text_; }

  friend bool operator==(const topic_pattern&, const topic_pattern&) = default;

private:
  std::string text_;
  bool wildcard_ = false;
};

/// A topic within its tenant: what HTTP paths and WebSocket operations name.
struct topic_ref {
  tenant_name tenant;
  topic_name topic;

  friend auto operator<=>(const topic_ref&, const topic_ref&) = default;
};

/// A task queue within its tenant.
struct queue_ref {
  tenant_name tenant;
  queue_name queue;

  friend auto operator<=>(const queue_ref&, const queue_ref&) = default;
};

} // namespace callboard

template <>
struct std::hash<callboard::topic_ref> {
  std::size_t operator()(const callboard::topic_ref& ref) const noexcept {
    return std::hash<std::string>{}(ref.tenant.str()) * 1099511628211ULL
           ^ std::hash<std::string>{}(ref.topic.str());
  }
};
