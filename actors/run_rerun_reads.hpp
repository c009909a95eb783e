// What a restart or a fork copies, from the journal. Blocks on disk: reader pool only.
#pragma once

#include "actors/requests.hpp"
#include "base/error.hpp"
#include "runtime/workflow/run_event.hpp"
#include "storage/journal.hpp"

#include <cstddef>
#include <vector>

namespace callboard::runtime {
class workflow_registry;
struct rerun_plan;
}  // namespace callboard::runtime

namespace callboard::actors {

/// Where the record of the current run of `source` is cut by `order`, to be begun in `target`,
/// which is the same channel for a restart. Errors: bad_request (a version that this program does
/// not have), workflow_not_found, not_found, corruption.
[[nodiscard]] result<begin_rerun> read_rerun(
    storage::journal& journal,
    const runtime::workflow_registry* workflows,
    const topic_ref& source,
    const topic_ref& target,
    const rerun_order& order);

/// What was signalled to that run of `source` from `plan.signals_from` on, in order: read by its
/// code or not, as what has read it is not copied. Errors: workflow_not_found (deleted meanwhile),
/// too_large (the new run would have more unread than `unread_max` bytes), corruption.
[[nodiscard]] result<std::vector<runtime::run_event>> read_signals_behind(
    storage::journal& journal,
    const topic_ref& source,
    std::uint32_t run,
    const runtime::rerun_plan& plan,
    std::size_t unread_max);

/// Events that are copied, in order.
struct rerun_slice {
  std::vector<runtime::run_event> events;
  /// Where the next slice begins.
  sequence next{};
};

/// At most `events_max` of one run, and as many as a slice may have; at least one.
/// Errors: workflow_not_found (deleted meanwhile), overloaded (trimmed meanwhile), corruption
/// (there are fewer).
[[nodiscard]] result<rerun_slice> read_rerun_slice(
    storage::journal& journal,
    const topic_ref& source,
    std::uint32_t run,
    sequence from,
    std::size_t events_max);

}  // namespace callboard::actors
