// What a TOPIC tells itself, and what the reader pool and the journal tell it.
#pragma once

#include "actors/topic_reads.hpp"
#include "runtime/topic/topic_core.hpp"
#include "storage/journal.hpp"

#include <vector>

namespace callboard::actors {

/// INTERNAL: how far an append has come.
struct append_told {
  runtime::append_key key{};
  storage::append_stage stage{};
  result<storage::append_receipt> outcome;
};

/// INTERNAL: identities of stored events, or why they cannot be read.
struct candidates_told {
  result<std::vector<runtime::window_row>> rows;
};

/// INTERNAL: how far retention may trim.
struct trim_told {
  result<trim_target> target;
};

/// INTERNAL: time has passed.
struct topic_tick {};

/// INTERNAL: a change of settings or the deletion is on disk, or is not.
struct change_told {
  result<storage::append_receipt> outcome;
  /// Refused at the journal's door: nothing was written, nothing else is touched.
  bool is_refused = false;
};

}  // namespace callboard::actors
