// The descriptions of our interfaces, as they are served.
#pragma once

#include <string_view>

namespace callboard::gateway {

/// docs/openapi.yaml and docs/asyncapi.yaml of this build.
[[nodiscard]] std::string_view openapi_document();
[[nodiscard]] std::string_view asyncapi_document();

}  // namespace callboard::gateway
