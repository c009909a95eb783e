// View rows of task queues, as the journal's projector keeps them.
#pragma once

#include "storage/projection.hpp"
#include "storage/record.hpp"

namespace callboard::runtime {

/// Applies one committed record: queue_*, task_* and a queue's trimmed. All other kinds, and trims
/// of other entities, change nothing. A change of a task that has no row is ignored: its records
/// were given back because it had ended.
void apply_queue_record(const storage::record& record, storage::view_writer& out);

}  // namespace callboard::runtime
