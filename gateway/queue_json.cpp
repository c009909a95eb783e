#include "gateway/queue_json.hpp"

#include "gateway/control_json.hpp"
#include "gateway/event_codec.hpp"
#include "gateway/json_members.hpp"
#include "gateway/problem.hpp"
#include "runtime/queue/priority_names.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <limits>
#include <numeric>

namespace callboard::gateway {

namespace {

using runtime::priority_names;

constexpr std::array<std::string_view, 4> phase_names{"waiting", "leased", "dead", "gone"};
constexpr std::uint64_t u32_max = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint64_t ms_max = 86'400'000;
constexpr std::uint64_t delay_ms_max = 31'622'400'000;
/// What is between may cut a connection that is silent for longer.
constexpr std::uint32_t wait_ms_max = 15'000;
constexpr std::size_t tasks_max = 1000;
/// Of one lease request.
constexpr std::uint64_t leases_max = 100;

std::optional<std::uint32_t>
small(json_members& body, std::string_view name, std::uint64_t min, std::uint64_t max) {
  const auto value = body.number(name, min, max);
  return value ? std::optional{static_cast<std::uint32_t>(*value)} : std::nullopt;
}

template <class T>
result<T> finish(json_members& body, T made) {
  if (auto sound = body.finish(); !sound) return std::unexpected{sound.error()};
  return made;
}

runtime::task_priority priority_of(json_members& body) {
  const auto text = body.text("priority");
  if (!text) return runtime::task_priority::normal;
  if (const auto named = runtime::priority_named(*text)) return *named;
  body.refuse("'priority' must be control, interactive, normal or bulk");
  return runtime::task_priority::normal;
}

shared_bytes payload_of(json_members& body) {
  if (!body.has("payload")) body.refuse("'payload' is missing: the task's, any JSON, also null");
  return shared_bytes{body.value("payload").value_or("null")};
}

/// Payloads of all tasks that one answer leases are in memory at a time.
result<void> check_size(const shared_bytes& payload, std::uint64_t most) {
  if (payload.size() <= most) return {};
  return fail(
      errc::too_large, fmt::format("a payload may have limits.event_bytes_max = {} bytes", most));
}

std::string_view name_of(runtime::task_priority priority) {
  return priority_names[static_cast<std::size_t>(priority)];
}

template <class... Args>
void add(std::string& out, fmt::format_string<Args...> form, Args&&... args) {
  fmt::format_to(std::back_inserter(out), form, std::forward<Args>(args)...);
}

std::string number_or_null(const std::optional<std::uint64_t>& number) {
  return number ? std::to_string(*number) : "null";
}

template <class Items, class Append>
void add_array(std::string& out, const Items& items, Append append) {
  out += '[';
  bool first = true;
  for (const auto& item : items) {
    if (!std::exchange(first, false)) out += ',';
    append(out, item);
  }
  out += ']';
}

void add_text(std::string& out, std::string_view lead, std::string_view text) {
  out += lead;
  append_json_string(out, text);
}

void add_time(std::string& out, std::string_view lead, time_ms time) {
  out += lead;
  append_json_time(out, time);
}

void add_object(std::string& out, const auto& of) {
  out += '{';
  append_members(out, of);
  out += '}';
}

/// What rows say of a task.
void add_row(std::string& out, const runtime::task_row& row) {
  const auto& state = row.state;
  add(out,
      R"("task":{},"phase":"{}","priority":"{}","attempts":{},"attempts_max":{},)"
      R"("payload_size":{})",
      state.task.raw(),
      phase_names[static_cast<std::size_t>(row.phase)],
      name_of(state.priority),
      state.attempts,
      state.attempts_max,
      row.payload_size);
  add_text(out, R"(,"fairness_key":)", row.fairness_key);
  add_text(out, R"(,"dedupe_key":)", row.dedupe_key);
  add_time(out, R"(,"enqueued":)", state.enqueued);
  if (row.phase == runtime::task_phase::waiting) add_time(out, R"(,"ready":)", state.ready);
  if (row.phase == runtime::task_phase::leased) {
    add_text(out, R"(,"worker":)", row.lease.worker);
    add_time(out, R"(,"leased":)", row.lease.started);
    add(out, R"(,"lease_ms":{})", row.lease.duration_ms);
  }
  if (row.phase == runtime::task_phase::dead) {
    const auto killed =
        std::ranges::find_if(row.history.rbegin(), row.history.rend(), [](const auto& each) {
          return each.outcome != "edited";
        });
    if (killed != row.history.rend()) {
      add_text(out, R"(,"error":)", killed->error);
      add_time(out, R"(,"died":)", killed->ended);
    }
  }
  out += R"(,"history":)";
  add_array(out, row.history, [](std::string& to, const runtime::task_attempt& each) {
    add(to, R"({{"attempt":{},"outcome":"{}")", each.number, each.outcome);
    add_text(to, R"(,"worker":)", each.worker);
    add_text(to, R"(,"error":)", each.error);
    add_time(to, R"(,"started":)", each.started);
    add_time(to, R"(,"ended":)", each.ended);
    to += '}';
  });
}

}  // namespace

// -- requests ---------------------------------------------------------------------------------

result<actors::put_queue> parse_put_queue(const queue_ref& queue, std::string_view text) {
  auto body = json_members::parse(text);
  actors::put_queue put;
  put.queue = queue;
  put.lease_ms = small(body, "lease_ms", 10, ms_max);
  put.attempts_max = small(body, "attempts_max", 1, 10'000);
  put.backoff_min_ms = small(body, "backoff_min_ms", 1, ms_max);
  put.backoff_max_ms = small(body, "backoff_max_ms", 1, ms_max);
  put.dedupe_window_s = small(body, "dedupe_window_s", 0, 2'678'400);
  put.concurrency = small(body, "concurrency", 0, 100'000);
  put.key_concurrency = small(body, "key_concurrency", 0, 100'000);
  put.aging_ms = small(body, "aging_ms", 0, ms_max);
  put.fairness_quantum = small(body, "fairness_quantum", 1, 1000);
  return finish(body, std::move(put));
}

result<actors::enqueue_task>
parse_enqueue(const queue_ref& queue, std::string_view text, std::uint64_t payload_max) {
  auto body = json_members::parse(text);
  actors::enqueue_task enqueue{queue, {}};
  auto& task = enqueue.task;
  task.payload = payload_of(body);
  task.priority = priority_of(body);
  task.delay_ms = body.number("delay_ms", 0, delay_ms_max).value_or(0);
  task.dedupe_key = body.text("dedupe_key").value_or("");
  task.fairness_key = body.text("fairness_key").value_or("");
  task.attempts_max = small(body, "max_attempts", 1, 10'000).value_or(0);
  if (auto sound = check_size(task.payload, payload_max); !sound) {
    return std::unexpected{sound.error()};
  }
  return finish(body, std::move(enqueue));
}

result<actors::lease_tasks>
parse_lease(const queue_ref& queue, std::string_view text, const std::string& default_worker) {
  auto body = json_members::parse(text);
  actors::lease_tasks ask{queue, {}};
  auto& lease = ask.lease;
  lease.worker = body.text("worker").value_or(default_worker);
  lease.max = small(body, "max", 1, leases_max).value_or(1);
  lease.lease_ms = small(body, "lease_ms", 1, ms_max).value_or(0);
  lease.wait_ms = std::min(small(body, "wait_ms", 0, u32_max).value_or(0), wait_ms_max);
  if (auto sound = body.finish(); !sound) return std::unexpected{sound.error()};
  if (auto sound = check_label("worker", lease.worker); !sound)
    return std::unexpected{sound.error()};
  return ask;
}

result<actors::complete_task>
parse_complete(const tenant_name& tenant, const std::string& lease, std::string_view text) {
  auto body = json_members::parse(text);
  actors::complete_task done{tenant, {{}, lease, body.value("result").value_or("")}};
  return finish(body, std::move(done));
}

result<actors::fail_task>
parse_fail(const tenant_name& tenant, const std::string& lease, std::string_view text) {
  auto body = json_members::parse(text);
  actors::fail_task failed{tenant, {}};
  failed.fail.lease = lease;
  failed.fail.error = body.text("error").value_or("");
  failed.fail.is_retryable = body.flag("retryable").value_or(true);
  failed.fail.retry_after_ms = body.number("retry_after_ms", 0, ms_max * 7);
  return finish(body, std::move(failed));
}

result<actors::extend_lease>
parse_extend(const tenant_name& tenant, const std::string& lease, std::string_view text) {
  auto body = json_members::parse(text);
  const auto lease_ms = small(body, "lease_ms", 1, ms_max).value_or(0);
  return finish(body, actors::extend_lease{tenant, {{}, lease, lease_ms}});
}

result<actors::purge_queue>
parse_purge(const queue_ref& queue, const std::string& who, std::string_view text) {
  auto body = json_members::parse(text.empty() ? "{}" : text);
  const bool with_dead = body.flag("dead").value_or(false);
  return finish(body, actors::purge_queue{queue, with_dead, who});
}

result<actors::control_body> parse_dead_change(
    const queue_ref& queue,
    runtime::dead_command::action what,
    const std::string& who,
    std::string_view text) {
  auto body = json_members::parse(text);
  const auto ids = body.numbers("tasks", tasks_max);
  const bool is_all = body.flag("all").value_or(false);
  runtime::dead_filter filter;
  filter.fairness_key = body.text("fairness_key").value_or("");
  filter.error_contains = body.text("error_contains").value_or("");
  const bool is_filtered = !filter.fairness_key.empty() || !filter.error_contains.empty();
  if (ids.empty() == (is_all || is_filtered)) {
    if (auto sound = body.finish(); !sound) return std::unexpected{sound.error()};
    actors::control_body made;
    if (ids.empty()) {
      made = actors::change_dead_where{queue, what, who, std::move(filter)};
    } else {
      actors::change_dead change{queue, {}};
      change.change.what = what;
      change.change.who = who;
      for (const auto id : ids)
        change.change.tasks.emplace_back(id);
      made = std::move(change);
    }
    return made;
  }
  body.refuse(
      "give 'tasks', or 'all', 'fairness_key' or 'error_contains' for all that fit; not both");
  return std::unexpected{body.finish().error()};
}

result<actors::change_dead> parse_dead_edit(
    const queue_ref& queue,
    runtime::task_id task,
    std::string_view text,
    std::uint64_t payload_max) {
  auto body = json_members::parse(text);
  actors::change_dead edit{queue, {}};
  edit.change.what = runtime::dead_command::action::edit;
  edit.change.tasks = {task};
  edit.change.payload = payload_of(body);
  if (auto sound = check_size(edit.change.payload, payload_max); !sound) {
    return std::unexpected{sound.error()};
  }
  return finish(body, std::move(edit));
}

// -- answers ----------------------------------------------------------------------------------

void append_members(std::string& out, const actors::queue_description& queue) {
  const auto& settings = queue.settings;
  add(out,
      R"("queue":"{}","lease_ms":{},"attempts_max":{},"backoff_min_ms":{},"backoff_max_ms":{},)"
      R"("dedupe_window_s":{},"concurrency":{},"key_concurrency":{},"aging_ms":{},)"
      R"("fairness_quantum":{},)",
      queue.queue,
      settings.lease_ms,
      settings.attempts_max,
      settings.backoff_min_ms,
      settings.backoff_max_ms,
      settings.dedupe_window_s,
      settings.concurrency,
      settings.key_concurrency,
      settings.aging_ms,
      settings.fairness_quantum);
  add(out,
      R"("depth":{},"waiting":{{)",
      std::accumulate(queue.waiting.begin(), queue.waiting.end(), std::uint64_t{0}));
  for (std::size_t i = 0; i < priority_names.size(); ++i)
    add(out, R"({}"{}":{})", i == 0 ? "" : ",", priority_names[i], queue.waiting[i]);
  add(out,
      R"(}},"in_flight":{},"dead":{},"workers_waiting":{},"oldest_age_ms":{})",
      queue.leased,
      queue.dead,
      number_or_null(queue.workers_waiting),
      number_or_null(queue.oldest_ready_age_ms));
}

void append_left_out(std::string& out, const std::vector<std::uint32_t>& shards) {
  if (!shards.empty()) add(out, R"(,"shards_left_out":[{}])", fmt::join(shards, ","));
}

void append_members(std::string& out, const actors::queue_list& list) {
  out += R"("queues":)";
  add_array(out, list.queues, [](std::string& to, const auto& each) { add_object(to, each); });
  add_text(out, R"(,"next_after":)", list.next_after);
  append_left_out(out, list.shards_left_out);
}

void append_members(std::string& out, const runtime::enqueued_task& task) {
  add(out, R"("task":{},"duplicate":{})", task.task.raw(), task.is_duplicate);
}

void append_members(std::string& out, const actors::leased_task& task) {
  add(out,
      R"("task":{},"lease":"{}","fencing":{},"attempt":{},"attempts_max":{},"priority":"{}",)"
      R"("lease_ms":{},"payload":)",
      task.task.raw(),
      task.lease,
      task.fencing,
      task.attempt,
      task.attempts_max,
      name_of(task.priority),
      task.lease_ms);
  out += task.payload.view();
  add_time(out, R"(,"enqueued":)", task.enqueued);
  add_time(out, R"(,"deadline":)", task.deadline);
}

void append_members(std::string& out, const actors::leased_tasks& list) {
  out += R"("tasks":)";
  add_array(out, list.tasks, [](std::string& to, const auto& each) { add_object(to, each); });
}

void append_members(std::string& out, const runtime::lease_extended& lease) {
  add(out, R"("lease_ms":{})", lease.lease_ms);
}

void append_members(std::string& out, const runtime::task_failed& told) {
  add(out, R"("dead":{},"retry_at":)", told.is_dead);
  if (told.is_dead) {
    out += "null";
  } else {
    append_json_time(out, told.ready);
  }
}

void append_members(std::string& out, const actors::dead_list& list) {
  out += R"("tasks":)";
  add_array(out, list.tasks, [](std::string& to, const runtime::task_row& each) {
    to += '{';
    add_row(to, each);
    to += '}';
  });
  out += R"(,"next":)";
  if (list.next) {
    add(out, "{}", list.next->raw());
  } else {
    out += "null";
  }
}

void append_members(std::string& out, const actors::task_description& task) {
  add_row(out, task.row);
  out += R"(,"payload":)";
  out += task.payload.view();
}

void append_members(std::string& out, const runtime::dead_changed& change) {
  const auto add_id = [](std::string& to, runtime::task_id each) { add(to, "{}", each.raw()); };
  add(out, R"("count":{},"changed":)", change.changed.size());
  add_array(out, change.changed, add_id);
}

void append_members(std::string& out, const actors::dead_change_count& count) {
  add(out, R"("count":{})", count.changed);
  if (count.more) out += R"(,"more":true)";
}

void append_members(std::string& out, const runtime::queue_purged& purged) {
  add(out, R"("count":{})", purged.count);
}

void append_members(std::string& out, const actors::queue_audit_list& list) {
  out += R"("changes":)";
  add_array(out, list.changes, [](std::string& to, const runtime::numbered_audit& each) {
    add(to, R"({{"number":{},"action":"{}")", each.number, each.audit.action);
    add_text(to, R"(,"who":)", each.audit.who);
    add_time(to, R"(,"time":)", each.audit.time);
    to += R"(,"tasks":)";
    add_array(to, each.audit.tasks, [](std::string& ids, runtime::task_id task) {
      add(ids, "{}", task.raw());
    });
    if (each.audit.up_to != runtime::task_id{}) {
      add(to, R"(,"up_to":{},"dead":{})", each.audit.up_to.raw(), each.audit.with_dead);
    }
    to += '}';
  });
  out += R"(,"next":)";
  if (list.next) {
    add(out, "{}", *list.next);
  } else {
    out += "null";
  }
}

}  // namespace callboard::gateway
