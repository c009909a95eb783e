// Presence rows, as the journal's projector keeps them.
#pragma once

#include "storage/projection.hpp"
#include "storage/record.hpp"

namespace callboard::runtime {

/// Applies one committed record: presence_changed, and topic_deleted, which takes the topic's
/// presence with it. All other kinds change nothing.
void apply_presence_record(const storage::record& record, storage::view_writer& out);

}  // namespace callboard::runtime
