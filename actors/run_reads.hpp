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
/// has ended at most `ended_events_max` events are read: enough to show it. Nothing of the run before
/// it.
/// Errors: corruption.
[[nodiscard]] result<run_image>
read_run_image(storage::shard_reader& reader, const topic_ref& channel, entity_id entity);

/// Workflows that wait for something which only this process can bring about.
[[nodiscard]] result<std::vector<topic_ref>> find_runs_to_wake(storage::shard_reader& reader);

/// One look at timers, in order of key: what is due by `horizon` and has not been looked at, or
/// before `until` and still there.
struct timer_order {
  /// Of the shard's time, or of the wall clock; `horizon` is a time of the same.
  storage::view_id view = storage::view_id::workflow_timer;
  /// Keys (`runtime::timer_key`) of where to begin, and where to end; no end if empty.
  std::string from;
  std::string until;
  time_ms horizon{};
  /// Runs that are blocked, or without code here, can do nothing about their timers: they are woken
  /// when the shard starts, and by the sweep.
  const runtime::workflow_registry* code = nullptr;
};

/// Workflows with a timer that is due, earliest first. At most `timers_page_max` timers are looked
/// at.
struct due_runs {
  std::vector<topic_ref> due;
  /// When the first behind the horizon is due.
  std::optional<time_ms> next;
  /// The first key that was not looked at, if there was no room for it.
  std::string rest;
  /// Some timer is due.
  bool has_timers = false;
};

inline constexpr std::size_t timers_page_max = 1000;

[[nodiscard]] result<due_runs>
find_due_runs(storage::shard_reader& reader, const timer_order& order);

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
