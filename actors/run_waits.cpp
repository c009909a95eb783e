#include "actors/run_waits.hpp"

#include "actors/agent_activity.hpp"
#include "actors/queue_reads.hpp"
#include "actors/queue_routing.hpp"
#include "actors/run_reads.hpp"
#include "base/hash.hpp"
#include "base/rfc3339.hpp"
#include "runtime/workflow/json_values.hpp"
#include "runtime/workflow/run_codec.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace callboard::actors {

namespace {

using boost::json::object;

seen_wait unreadable(std::uint32_t command, const error& why) {
  return {
      command,
      wait_state::unknown,
      fmt::format("which cannot be looked at now: {}", why.detail),
      {}};
}

seen_wait look_at_child(storage::journal& journal, std::uint32_t command, const topic_ref& child) {
  auto reader = journal.read(shard_id{shard_index(child, journal.shard_count())});
  if (!reader) return unreadable(command, reader.error());
  const auto row = read_workflow_row(**reader, child);
  if (!row) return unreadable(command, row.error());
  const auto id = child.topic.str().substr(runtime::channel_prefix.size());
  if (!*row) {
    return {
        command,
        wait_state::missing,
        fmt::format("workflow '{}', which does not exist", id),
        {{"child", object{{"id", id}, {"status", "missing"}}}}};
  }
  const auto status = name_of((*row)->status);
  return {
      command,
      (*row)->ended ? wait_state::ended : wait_state::there,
      fmt::format("workflow '{}', which {} {}", id, (*row)->ended ? "has ended as" : "is", status),
      {{"child", object{{"id", id}, {"run", (*row)->run}, {"status", status}}}}};
}

/// Of its latest attempt that had one, whoever redrove or edited it meanwhile.
std::string last_error(const runtime::task_row& row) {
  const auto failed = std::ranges::find_if(
      row.history.rbegin(), row.history.rend(), [](const auto& one) { return !one.error.empty(); });
  return failed == row.history.rend() ? std::string{} : failed->error;
}

object shown_task(const runtime::task_row& row) {
  const auto& state = row.state;
  object task{
      {"task", state.task.raw()},
      {"phase", "waiting"},
      {"attempt", state.attempts + 1},
      {"attempts_max", state.attempts_max},
      {"enqueued_ms", runtime::shown_ms(state.enqueued)}};
  if (row.phase == runtime::task_phase::leased) {
    task["phase"] = "leased";
    task["worker"] = row.lease.worker;
    task["leased_ms"] = runtime::shown_ms(row.lease.started);
    task["lease_ms"] = row.lease.duration_ms;
    task["lease_until_ms"] = runtime::shown_ms(row.lease.started) + row.lease.duration_ms;
  } else {
    task["ready_ms"] = runtime::shown_ms(state.ready);
  }
  if (auto error = last_error(row); !error.empty()) task["last_error"] = std::move(error);
  return task;
}

std::string in_words(const runtime::task_row& row) {
  const auto& state = row.state;
  const auto error = last_error(row);
  const auto before = error.empty() ? std::string{} : fmt::format("; an attempt before: {}", error);
  if (row.phase == runtime::task_phase::leased) {
    return fmt::format(
        "task {}: worker '{}' has had it since {}, under a lease of {} ms that it may renew "
        "(attempt {} of {}){}",
        state.task.raw(),
        row.lease.worker,
        format_time(row.lease.started),
        row.lease.duration_ms,
        state.attempts + 1,
        state.attempts_max,
        before);
  }
  return fmt::format(
      "task {}: no worker has it; attempt {} of {} may begin from {} on{}",
      state.task.raw(),
      state.attempts + 1,
      state.attempts_max,
      format_time(state.ready),
      before);
}

/// The task of a queue of that name that was deleted, if somebody is still to be told of it.
result<std::optional<runtime::task_id>>
find_gone_task(storage::shard_reader& reader, const queue_ref& queue, const std::string& origin) {
  const auto gone = read_gone_queues(reader);
  if (!gone) return std::unexpected{gone.error()};
  for (const auto& [entity, deletion] : *gone) {
    if (deletion.name != queue) continue;
    queue_rows rows{reader};
    if (auto applied = rows.apply_tail(entity); !applied) return std::unexpected{applied.error()};
    auto task = runtime::read_origin(rows, entity, origin);
    if (!task || *task) return task;
  }
  return std::nullopt;
}

/// Not in the queue, or there is none: a deleted one tells what became of its tasks by and by.
seen_wait
look_at_gone_task(storage::shard_reader& reader, const awaited& what, seen_wait otherwise) {
  const auto gone = find_gone_task(reader, *what.queue, what.origin);
  if (!gone) return unreadable(what.command, gone.error());
  if (!*gone) return otherwise;
  return {
      what.command,
      wait_state::ended,
      fmt::format(
          "task {} of a queue that was deleted: how it ended is being told", (*gone)->raw()),
      {{"task", object{{"task", (*gone)->raw()}, {"phase", "ended"}}}}};
}

seen_wait look_at_task(storage::journal& journal, const awaited& what) {
  const auto command = what.command;
  const auto& queue = *what.queue;
  const auto& origin = what.origin;
  const auto shard = shard_of_queue(get_queue{queue}, journal.shard_count());
  if (!shard) return unreadable(command, shard.error());
  auto reader = journal.read(*shard);
  if (!reader) return unreadable(command, reader.error());
  const auto found = find_queue(**reader, queue);
  if (!found) return unreadable(command, found.error());
  if (!*found) {
    return look_at_gone_task(
        **reader,
        what,
        {command,
         wait_state::queue_missing,
         "a queue that does not exist",
         {{"task", object{{"phase", "queue_missing"}}}}});
  }
  queue_rows rows{**reader};
  const auto entity = (*found)->entity;
  if (auto applied = rows.apply_tail(entity); !applied) return unreadable(command, applied.error());
  const auto task = runtime::read_origin(rows, entity, origin);
  if (!task) return unreadable(command, task.error());
  if (!*task) {
    return look_at_gone_task(
        **reader,
        what,
        {command,
         wait_state::missing,
         "a task that the queue does not have",
         {{"task", object{{"phase", "missing"}}}}});
  }
  const auto row = runtime::read_task(rows, entity, **task);
  if (!row) return unreadable(command, row.error());
  const bool is_open = *row
                       && ((*row)->phase == runtime::task_phase::waiting
                           || (*row)->phase == runtime::task_phase::leased);
  if (!is_open) {
    return {
        command,
        wait_state::ended,
        fmt::format("task {}: it has ended, and the queue is telling so", (*task)->raw()),
        {{"task", object{{"task", (*task)->raw()}, {"phase", "ended"}}}}};
  }
  return {command, wait_state::there, in_words(**row), {{"task", shown_task(**row)}}};
}

/// One that there is not is made by its first message.
seen_wait look_at_call(storage::journal& journal, const awaited& what) {
  auto found = look_at_agent(journal, *what.agent, what.origin);
  if (!found) return unreadable(what.command, found.error());
  if (!*found) return {what.command, wait_state::there, "an agent that has no message yet", {}};
  return {
      what.command,
      wait_state::there,
      "which " + (*found)->words,
      {{"agent", std::move((*found)->shown)}}};
}

}  // namespace

seen_wait look_at(storage::journal& journal, const awaited& what) {
  if (what.child) return look_at_child(journal, what.command, *what.child);
  if (what.agent) return look_at_call(journal, what);
  return look_at_task(journal, what);
}

}  // namespace callboard::actors
