// How large what a run takes in and gives may be. It all becomes part of its history, which is read
// whole when the run is replayed.
#pragma once

#include <callboard/failure.hpp>
#include <callboard/json.hpp>
#include <cstddef>

namespace callboard::runtime {

/// Input of a workflow, also of a child, as JSON.
inline constexpr std::size_t input_bytes_max = 4U << 20;
/// Result of a step or of a run, also the input it leaves to its next.
inline constexpr std::size_t result_bytes_max = 4U << 20;
/// Payload of a signal.
inline constexpr std::size_t signal_bytes_max = 1U << 20;
/// What `set_status` shows: it is written with every transition.
inline constexpr std::size_t state_bytes_max = 256U << 10;

/// True if `value` takes more than `most` bytes as JSON, give or take what is escaped. Stops
/// counting there.
[[nodiscard]] bool is_larger(const json& value, std::size_t most);

/// What becomes of a step or a run that gives more.
[[nodiscard]] failure result_too_large();

}  // namespace callboard::runtime
