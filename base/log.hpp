// Log channels: one spdlog logger per module, text or JSON lines on stderr.
// At info level and above no token and no payload is ever logged.
#pragma once

#include "base/config.hpp"

#include <spdlog/logger.h>

#include <memory>
#include <string_view>

namespace callboard::log {

/// Sets level and format for all channels. Call once, before threads start.
void configure(const config::log_section& settings);

/// The channel of a module, for example `log::channel("storage")`. Any thread.
[[nodiscard]] std::shared_ptr<spdlog::logger> channel(std::string_view name);

} // namespace callboard::log
