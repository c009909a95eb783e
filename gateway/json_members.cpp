#include "gateway/json_members.hpp"

#include "gateway/event_fields.hpp"
#include "gateway/json_text.hpp"

#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <algorithm>

namespace callboard::gateway {

namespace json = boost::json;

json_members json_members::parse(std::string_view body) {
  json_members members;
  if (trim_json(body).empty()) return members;
  auto value = parse_value("the body", body);
  if (!value) {
    members.first_ = value.error();
  } else if (!value->is_object()) {
    members.refuse("the body must be a JSON object");
  } else {
    members.members_ = std::move(value->as_object());
  }
  return members;
}

const json::value* json_members::take(std::string_view name) {
  taken_.push_back(name);
  const auto* value = members_.if_contains({name.data(), name.size()});
  return value == nullptr || value->is_null() ? nullptr : value;
}

std::optional<std::string> json_members::text(std::string_view name) {
  const auto* value = take(name);
  if (value == nullptr) return std::nullopt;
  if (const auto* string = value->if_string()) return std::string{string->data(), string->size()};
  refuse(fmt::format("'{}{}' must be a string", prefix_, name));
  return std::nullopt;
}

std::optional<std::uint64_t>
json_members::number(std::string_view name, std::uint64_t min, std::uint64_t max) {
  const auto* value = take(name);
  if (value == nullptr) return std::nullopt;
  std::optional<std::uint64_t> number;
  if (value->is_uint64()) number = value->as_uint64();
  if (value->is_int64() && value->as_int64() >= 0) {
    number = static_cast<std::uint64_t>(value->as_int64());
  }
  if (number && *number >= min && *number <= max) return number;
  refuse(fmt::format("'{}{}' must be an integer from {} to {}", prefix_, name, min, max));
  return std::nullopt;
}

std::optional<bool> json_members::flag(std::string_view name) {
  const auto* value = take(name);
  if (value == nullptr) return std::nullopt;
  if (value->is_bool()) return value->as_bool();
  refuse(fmt::format("'{}{}' must be true or false", prefix_, name));
  return std::nullopt;
}

std::vector<std::string> json_members::texts(std::string_view name, std::size_t count_max) {
  std::vector<std::string> texts;
  const auto* value = take(name);
  if (value == nullptr) return texts;
  const auto* array = value->if_array();
  const bool fits =
      array != nullptr && array->size() <= count_max
      && std::ranges::all_of(*array, [](const auto& each) { return each.is_string(); });
  if (!fits) {
    refuse(fmt::format("'{}{}' must be an array of at most {} strings", prefix_, name, count_max));
    return texts;
  }
  for (const auto& each : *array) {
    texts.emplace_back(each.as_string().data(), each.as_string().size());
  }
  return texts;
}

std::vector<std::uint64_t> json_members::numbers(std::string_view name, std::size_t count_max) {
  std::vector<std::uint64_t> numbers;
  const auto* value = take(name);
  if (value == nullptr) return numbers;
  const auto* array = value->if_array();
  const bool fits = array != nullptr && array->size() <= count_max
                    && std::ranges::all_of(*array, [](const auto& one) {
                         return (one.is_int64() && one.as_int64() > 0)
                                || (one.is_uint64() && one.as_uint64() > 0);
                       });
  if (!fits) {
    refuse(fmt::format("'{}{}' must be an array of at most {} ids", prefix_, name, count_max));
    return numbers;
  }
  for (const auto& one : *array)
    numbers.push_back(one.template to_number<std::uint64_t>());
  return numbers;
}

std::optional<std::string> json_members::text_or_number(std::string_view name) {
  const auto* value = members_.if_contains({name.data(), name.size()});
  if (value == nullptr || !value->is_number()) return text(name);
  const auto parsed = number(name, 0, INT64_MAX);
  return parsed ? std::optional{std::to_string(*parsed)} : std::nullopt;
}

std::optional<std::string> json_members::value(std::string_view name) {
  const auto* found = take(name);
  if (found == nullptr) return std::nullopt;
  return boost::json::serialize(*found);
}

json_members json_members::object(std::string_view name) {
  json_members nested;
  nested.prefix_ = fmt::format("{}{}.", prefix_, name);
  const auto* value = take(name);
  if (value == nullptr) return nested;
  if (value->is_object()) {
    nested.members_ = value->as_object();
  } else {
    nested.refuse(fmt::format("'{}{}' must be an object", prefix_, name));
  }
  return nested;
}

void json_members::refuse(std::string detail) {
  if (!first_) first_ = error{errc::bad_request, std::move(detail)};
}

void json_members::join(const json_members& nested) {
  if (first_) return;
  if (auto sound = nested.finish(); !sound) first_ = sound.error();
}

result<void> json_members::finish() const {
  if (first_) return std::unexpected{*first_};
  for (const auto& member : members_) {
    const std::string_view name{member.key().data(), member.key().size()};
    if (std::ranges::find(taken_, name) == taken_.end()) {
      return fail(errc::bad_request, fmt::format("'{}{}' is not known here", prefix_, shown(name)));
    }
  }
  return {};
}

}  // namespace callboard::gateway
