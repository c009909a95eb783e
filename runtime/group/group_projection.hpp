// Catalogue rows of consumer groups, as the journal's projector keeps them.
#pragma once

#include "storage/projection.hpp"
#include "storage/record.hpp"

namespace callboard::runtime {

/// Applies one committed record: group_created, group_configured, group_deleted. All other kinds
/// change nothing: the rows of a deleted topic's groups stay until each is deleted, too.
void apply_group_record(const storage::record& record, storage::view_writer& out);

}  // namespace callboard::runtime
