// What shards, topics and readers of history read from the journal about topics. Runs on the
// reader pool: blocks on disk, touches no actor.
#pragma once

#include "actors/requests.hpp"
#include "base/error.hpp"
#include "runtime/topic/topic_codec.hpp"
#include "runtime/topic/topic_core.hpp"
#include "storage/journal.hpp"

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace callboard::actors {

/// The topic's catalogue row, tail included; nothing if there is no such topic.
[[nodiscard]] result<std::optional<runtime::topic_row>>
find_topic_row(storage::shard_reader& reader, const topic_ref& name);

/// Changes that the tail makes to the rows of topics, by name.
using topic_changes = std::map<topic_ref, std::optional<runtime::topic_row>>;
[[nodiscard]] result<topic_changes> read_topic_changes(storage::shard_reader& reader);

/// The same for many topics, with what `reader` tells of its tail.
[[nodiscard]] result<std::optional<runtime::topic_row>>
find_topic_row(storage::shard_reader& reader, const topic_changes& tail, const topic_ref& name);

/// A topic as committed records leave it.
[[nodiscard]] result<runtime::topic_image> read_topic_image(
    storage::shard_reader& reader, const runtime::topic_row& row, incarnation_id incarnation);

using window_visitor = std::function<void(const runtime::window_row&)>;

/// Visits the ids of all events recorded at or after `cutoff`, in order of seq, also of those that
/// retention let go meanwhile.
[[nodiscard]] result<void> read_id_window(
    storage::shard_reader& reader, entity_id topic, time_ms cutoff, const window_visitor& visit);

/// What was published under these seqs; events whose ids are gone, too, are left out.
[[nodiscard]] result<std::vector<runtime::window_row>>
read_window_rows(storage::shard_reader& reader, entity_id topic, const std::vector<sequence>& seqs);

/// How far retention may trim; `up_to` 0 = nothing to do.
struct trim_target {
  sequence up_to{};
  std::uint64_t bytes = 0;
};

/// Carries out a plan for a topic whose oldest event is `first`. Looks at no more than
/// `trim_events_max` events, so a large trim takes several turns.
[[nodiscard]] result<trim_target> find_trim_target(
    storage::shard_reader& reader,
    entity_id topic,
    sequence first,
    const runtime::topic_effects::plan_trim& plan);

/// Nothing to do, and a line in the log, if it could not be read.
[[nodiscard]] trim_target
found_or_nothing(const result<trim_target>& found, const topic_ref& topic);

/// Topics after `after` (a catalogue key, empty = from the start) that retention wants to touch.
struct sweep_page {
  std::vector<topic_ref> due;
  /// Where the next page begins; empty at the end.
  std::string next;
};

[[nodiscard]] result<sweep_page>
find_due_topics(storage::shard_reader& reader, const std::string& after, time_ms now);

// -- answers to clients, across shards -------------------------------------------------------

[[nodiscard]] result<topic_description>
describe_topic(storage::journal& journal, const topic_ref& name);

[[nodiscard]] result<topic_list>
list_topics_page(storage::journal& journal, const list_topics& ask);

/// Errors: as `not_there` says; cursor_expired with the first available seq.
[[nodiscard]] result<event_page> read_event_page(storage::journal& journal, const read_events& ask);

}  // namespace callboard::actors
