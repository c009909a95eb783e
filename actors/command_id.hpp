// What the receivers of a run's commands know them by: no other workflow has the same, in no tenant
// and under no second life of its own id.
#pragma once

#include "base/names.hpp"
#include "runtime/workflow/run_codec.hpp"

#include <cstdint>
#include <string>

namespace callboard::actors {

/// Of run `run` of the workflow whose channel it is. A child without an id of its own is called so.
[[nodiscard]] std::string command_id(
    const topic_ref& channel,
    const runtime::run_start& start,
    std::uint32_t run,
    std::uint32_t command);

}  // namespace callboard::actors
