// The few record payloads that the journal itself must understand.
#pragma once

#include "base/error.hpp"
#include "base/ids.hpp"

#include <string_view>

namespace callboard::storage {

/// The sequence a `trimmed` record trims up to. Errors: corruption.
[[nodiscard]] result<sequence> decode_trimmed(std::string_view payload);

}  // namespace callboard::storage
