// Signals of the run that went on as the current one: whoever was not told that one counts sends it
// again. Blocks on disk: reader pool only.
#pragma once

#include "base/error.hpp"
#include "base/ids.hpp"
#include "runtime/workflow/run_row.hpp"
#include "storage/journal.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

namespace callboard::actors {

/// Before the current run at most so many events are looked through. A signal that made its run go
/// on as new is among the last few.
inline constexpr std::uint64_t earlier_signals_reach = 1000;

/// Fewer are, if they are larger than this together; the last sixteen in any case.
inline constexpr std::size_t earlier_signals_bytes_max = 4U << 20;

/// What each said, by its id: of the run that went on as the current one, and those that the
/// current one names, as runs between have waited for nothing. One that names none may be of an
/// older build: then also those of the transition that began it. A run that was begun anew by hand
/// goes on from what the one it was begun from did. They are a help and no need: what cannot be
/// decoded is left out.
/// Errors: those of reading.
[[nodiscard]] result<std::map<std::string, std::uint64_t>> read_earlier_signals(
    storage::shard_reader& reader, entity_id entity, const runtime::workflow_row& of);

}  // namespace callboard::actors
