// What a restart or a fork copies, from the journal. Blocks on disk: reader pool only.
#pragma once

#include "actors/requests.hpp"
#include "base/error.hpp"
#include "runtime/workflow/run_event.hpp"
#include "storage/journal.hpp"

namespace callboard::runtime {
class workflow_registry;
}  // namespace callboard::runtime

namespace callboard::actors {

/// The record of the current run of `source` up to the place that `order` names, to be begun in
/// `target`, which is the same channel for a restart.
/// Errors: bad_request (a version that this program does not have), workflow_not_found, not_found,
/// too_large, corruption.
[[nodiscard]] result<begin_rerun> read_rerun(
    storage::journal& journal,
    const runtime::workflow_registry* workflows,
    const topic_ref& source,
    const topic_ref& target,
    const rerun_order& order);

}  // namespace callboard::actors
