// Reads the members of a request body one by one and says precisely what is wrong with the first
// bad one. Unknown members are refused, so that a misspelt setting is not silently ignored.
#pragma once

#include "base/error.hpp"

#include <boost/json/object.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace callboard::gateway {

class json_members {
public:
  /// An empty body counts as `{}`. Errors are reported by `finish`.
  [[nodiscard]] static json_members parse(std::string_view body);

  /// No member is given.
  [[nodiscard]] bool is_empty() const { return members_.empty(); }

  /// The member is given, be it as null.
  [[nodiscard]] bool has(std::string_view name) const {
    return members_.contains({name.data(), name.size()});
  }

  /// Each returns nothing if the member is absent, null or bad.
  [[nodiscard]] std::optional<std::string> text(std::string_view name);
  [[nodiscard]] std::optional<std::uint64_t>
  number(std::string_view name, std::uint64_t min, std::uint64_t max);
  [[nodiscard]] std::optional<bool> flag(std::string_view name);
  [[nodiscard]] std::vector<std::string> texts(std::string_view name, std::size_t count_max);
  /// Positive integers.
  [[nodiscard]] std::vector<std::uint64_t> numbers(std::string_view name, std::size_t count_max);
  /// A string, or a number as its text.
  [[nodiscard]] std::optional<std::string> text_or_number(std::string_view name);
  /// Any value, as JSON text.
  [[nodiscard]] std::optional<std::string> value(std::string_view name);
  [[nodiscard]] json_members object(std::string_view name);

  /// Marks the request as bad for a reason of the caller's.
  void refuse(std::string detail);

  /// Takes over the first error of a nested object.
  void join(const json_members& nested);

  /// The first error, or an unknown member. Errors: invalid_json, bad_request.
  [[nodiscard]] result<void> finish() const;

private:
  const boost::json::value* take(std::string_view name);

  boost::json::object members_;
  std::vector<std::string_view> taken_;
  std::optional<error> first_;
  std::string prefix_;
};

}  // namespace callboard::gateway
