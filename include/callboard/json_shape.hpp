// Why a JSON value is no T, and where in it: the words of failures for what came in another shape.
#pragma once

#include <boost/core/demangle.hpp>
#include <boost/describe/members.hpp>
#include <boost/json/array.hpp>
#include <boost/json/conversion.hpp>
#include <boost/json/object.hpp>
#include <boost/json/string.hpp>
#include <boost/json/value.hpp>
#include <boost/json/value_to.hpp>
#include <boost/mp11/algorithm.hpp>
#include <boost/system/system_error.hpp>

#include <cstddef>
#include <exception>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <typeinfo>

namespace callboard::detail {

template <class T>
inline constexpr bool is_optional = false;

template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;

/// Nobody but its own conversion knows what it looks at.
template <class T>
concept converts_itself = requires(const boost::json::value& from) {
  tag_invoke(boost::json::value_to_tag<T>{}, from);
} || requires(const boost::json::value& from) {
  tag_invoke(boost::json::try_value_to_tag<T>{}, from);
};

/// Any of its kind is one: there is nothing to look at inside.
template <class T>
inline constexpr bool is_json_itself =
    std::is_same_v<T, boost::json::value> || std::is_same_v<T, boost::json::object>
    || std::is_same_v<T, boost::json::array> || std::is_same_v<T, boost::json::string>;

template <class T>
concept object_shaped =
    boost::json::is_described_class<T>::value || boost::json::is_map_like<T>::value;

template <class T>
concept array_shaped =
    boost::json::is_sequence_like<T>::value || boost::json::is_tuple_like<T>::value;

/// What a value has to be to become a T.
template <class T>
[[nodiscard]] std::string name_of_shape() {
  if constexpr (std::is_same_v<T, bool>) {
    return "a boolean";
  } else if constexpr (std::is_integral_v<T>) {
    const auto bits = std::to_string(8 * sizeof(T));
    return std::is_signed_v<T> ? "an integer of " + bits + " bits"
                               : "an integer of " + bits + " bits, not below 0,";
  } else if constexpr (std::is_floating_point_v<T>) {
    return "a number";
  } else if constexpr (std::is_same_v<T, boost::json::object>) {
    return "an object";
  } else if constexpr (std::is_same_v<T, boost::json::array>) {
    return "an array";
  } else if constexpr (converts_itself<T> || std::is_enum_v<T>) {
    return "a " + boost::core::demangle(typeid(T).name());
  } else if constexpr (boost::json::is_string_like<T>::value) {
    return "a string";
  } else if constexpr (object_shaped<T>) {
    return "an object";
  } else if constexpr (array_shaped<T>) {
    return "an array";
  } else {
    return "a " + boost::core::demangle(typeid(T).name());
  }
}

[[nodiscard]] inline std::string_view name_of_what(const boost::json::value& value) {
  if (value.is_null()) return "null";
  if (value.is_bool()) return "a boolean";
  if (value.is_string()) return "a string";
  if (value.is_array()) return "an array";
  if (value.is_object()) return "an object";
  return "a number";
}

/// Why `value` is no T; nothing if it is one.
template <class T>
[[nodiscard]] std::optional<std::string> refusal_of(const boost::json::value& value) {
  try {
    static_cast<void>(boost::json::value_to<T>(value));
    return std::nullopt;
  } catch (const boost::system::system_error& thrown) {
    // Its own words name a line in Boost's source.
    return thrown.code().message();
  } catch (const std::exception& thrown) {
    return thrown.what();
  }
}

template <class T>
[[nodiscard]] std::string flaw_in_shape(const boost::json::value& value, const std::string& place);

/// The first of the parts that is not what its place in T asks for; nothing if none is.
template <class T>
[[nodiscard]] std::optional<std::string>
flaw_in_parts(const boost::json::value& value, const std::string& place) {
  const auto inner = [&](std::string_view name) {
    return place.empty() ? std::string{name} : place + "." + std::string{name};
  };
  std::optional<std::string> flaw;
  std::optional<std::string> missing;
  const auto look =
      [&]<class Part>(std::type_identity<Part>, const boost::json::value& part, std::string at) {
        if (!flaw && refusal_of<Part>(part)) flaw = flaw_in_shape<Part>(part, at);
      };
  if constexpr (boost::json::is_described_class<T>::value) {
    using members = boost::describe::
        describe_members<T, boost::describe::mod_public | boost::describe::mod_inherited>;
    const auto* object = value.if_object();
    if (object == nullptr) return std::nullopt;
    auto unknown = *object;
    boost::mp11::mp_for_each<members>([&](auto member) {
      using part = std::remove_cvref_t<decltype(std::declval<T&>().*member.pointer)>;
      const auto* found = object->if_contains(member.name);
      // Nor may one be missing that may be empty, for older versions of Boost.
      if (found == nullptr && (!missing || !is_optional<part>)) {
        missing = inner(member.name) + " is missing";
      }
      if (found != nullptr) look(std::type_identity<part>{}, *found, inner(member.name));
      unknown.erase(member.name);
    });
    if (!flaw) flaw = std::move(missing);
    if (!flaw && !unknown.empty()) flaw = inner(unknown.begin()->key()) + " is not known there";
  } else if constexpr (boost::json::is_map_like<T>::value) {
    const auto* object = value.if_object();
    if (object == nullptr) return std::nullopt;
    for (const auto& [key, part] : *object)
      look(std::type_identity<typename T::mapped_type>{}, part, inner(key));
  } else if constexpr (boost::json::is_sequence_like<T>::value) {
    const auto* array = value.if_array();
    if (array == nullptr) return std::nullopt;
    for (std::size_t i = 0; i < array->size(); ++i) {
      look(
          std::type_identity<std::iter_value_t<decltype(std::declval<T&>().begin())>>{},
          (*array)[i],
          place + "[" + std::to_string(i) + "]");
    }
  }
  return flaw;
}

/// Precondition: `value` is no T. `place`: of the value in the whole, empty for itself.
template <class T>
std::string flaw_in_shape(const boost::json::value& value, const std::string& place) {
  if constexpr (is_optional<T>) {
    return flaw_in_shape<typename T::value_type>(value, place);
  } else {
    constexpr bool has_parts = !converts_itself<T> && !is_json_itself<T>
                               && !boost::json::is_string_like<T>::value
                               && (object_shaped<T> || boost::json::is_sequence_like<T>::value);
    if constexpr (has_parts) {
      if (auto flaw = flaw_in_parts<T>(value, place)) return *std::move(flaw);
    }
    auto words = (place.empty() ? "it" : place) + " is " + std::string{name_of_what(value)}
                 + " where " + name_of_shape<T>() + " is expected";
    if constexpr (converts_itself<T>) {
      if (const auto why = refusal_of<T>(value)) words += " (" + *why + ")";
    }
    return words;
  }
}

}  // namespace callboard::detail
