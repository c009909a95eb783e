// JSON values that mean the same as the same text: members in order of their names, whole numbers
// without a fraction. What a client sends twice is compared by it, however the client spells it.
#pragma once

#include <callboard/json.hpp>
#include <cstdint>
#include <string>
#include <string_view>

namespace callboard::runtime {

[[nodiscard]] std::string canonical_text(const json& value);

/// Of something with a name: a signal and its payload, a message and its, a type and its input.
[[nodiscard]] std::uint64_t hash_of_named(std::string_view name, const json& value);

}  // namespace callboard::runtime
