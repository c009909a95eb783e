// What the journal knows of workflows: a run to be replayed, who must be woken, and lists. Blocks
// on disk: reader pool only.
#pragma once

#include "actors/requests.hpp"
#include "actors/run_host.hpp"
#include "base/error.hpp"
#include "storage/journal.hpp"

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace callboard::actors {

/// What is recorded last of the workflow whose channel it is; nothing if it has no run.
[[nodiscard]] result<std::optional<runtime::workflow_row>>
read_workflow_row(storage::shard_reader& reader, const topic_ref& channel);

/// Calls `visit` with each event of one run and its record, from `from` on, in order, until it
/// returns false. Between them may be what a copy that was never finished left behind: that is
/// another run's. Errors: corruption.
[[nodiscard]] result<void> visit_history(
    storage::shard_reader& reader,
    entity_id entity,
    sequence from,
    std::uint32_t run,
    const std::function<bool(runtime::run_event, const storage::record&)>& visit);

/// Row and current history, tail included; empty where the channel has no run yet. Of a run that
/// has ended at most `ended_events_max` events are read: enough to show it.
/// Errors: corruption.
[[nodiscard]] result<run_image>
read_run_image(storage::shard_reader& reader, const topic_ref& channel, entity_id entity);

/// Workflows that wait for something which only this process can bring about.
[[nodiscard]] result<std::vector<topic_ref>> find_runs_to_wake(storage::shard_reader& reader);

/// Workflows with a timer due by `horizon`, earliest first, and when the next after those is due.
struct due_runs {
  std::vector<topic_ref> due;
  std::optional<time_ms> next;
};

[[nodiscard]] result<due_runs> find_due_runs(storage::shard_reader& reader, time_ms horizon);

/// One page in order of id, across shards.
[[nodiscard]] result<workflow_answer> list_workflows_page(
    storage::journal& journal,
    const runtime::workflow_registry* code,
    const stuck_runs& stuck,
    const list_workflows& ask);

/// The latest row of every workflow of a shard, tail included, with its `workflow_key`.
[[nodiscard]] result<void> visit_workflow_rows(
    storage::shard_reader& reader,
    const std::function<void(const std::string&, const runtime::workflow_row&)>& visit);

}  // namespace callboard::actors
