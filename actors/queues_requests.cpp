// What clients ask of task queues.
#include "actors/queues_actor.hpp"
#include "runtime/binding/binding_names.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <type_traits>

namespace callboard::actors {

namespace {

constexpr std::size_t worker_size_max = 300;
constexpr std::size_t key_size_max = 1024;
constexpr std::size_t dead_page_max = 500;
constexpr boot_time look_again_after = std::chrono::milliseconds{200};
constexpr std::uint32_t ms_max = 86'400'000;

error lost() {
  return {errc::lease_lost, "the lease has ended or has passed to somebody else"};
}

error not_there(const queue_ref& ref) {
  return {errc::queue_not_found, fmt::format("there is no task queue '{}'", ref.queue.str())};
}

result<void>
check_range(std::string_view key, std::uint32_t value, std::uint32_t least, std::uint32_t most) {
  if (value >= least && value <= most) return {};
  return fail(
      errc::invalid_setting,
      fmt::format("{} is {}, not within {} and {}", key, value, least, most));
}

result<void> check_settings(const runtime::queue_settings& settings) {
  for (const auto& checked :
       {check_range("lease_ms", settings.lease_ms, 10, ms_max),
        check_range("attempts_max", settings.attempts_max, 1, 10'000),
        check_range("backoff_min_ms", settings.backoff_min_ms, 1, ms_max),
        check_range("backoff_max_ms", settings.backoff_max_ms, settings.backoff_min_ms, ms_max),
        check_range("dedupe_window_s", settings.dedupe_window_s, 0, 31 * 86'400),
        check_range("concurrency", settings.concurrency, 0, 100'000),
        check_range("key_concurrency", settings.key_concurrency, 0, 100'000),
        check_range("aging_ms", settings.aging_ms, 0, ms_max),
        check_range("fairness_quantum", settings.fairness_quantum, 1, 1000)}) {
    if (!checked) return checked;
  }
  return {};
}

runtime::queue_settings merge(runtime::queue_settings base, const put_queue& patch) {
  base.lease_ms = patch.lease_ms.value_or(base.lease_ms);
  base.attempts_max = patch.attempts_max.value_or(base.attempts_max);
  base.backoff_min_ms = patch.backoff_min_ms.value_or(base.backoff_min_ms);
  base.backoff_max_ms = patch.backoff_max_ms.value_or(base.backoff_max_ms);
  base.dedupe_window_s = patch.dedupe_window_s.value_or(base.dedupe_window_s);
  base.concurrency = patch.concurrency.value_or(base.concurrency);
  base.key_concurrency = patch.key_concurrency.value_or(base.key_concurrency);
  base.aging_ms = patch.aging_ms.value_or(base.aging_ms);
  base.fairness_quantum = patch.fairness_quantum.value_or(base.fairness_quantum);
  return base;
}

/// Texts that are kept in memory or in records are bounded here, whoever sends them.
result<void> check_sizes(const control_body& body) {
  const auto within = [](std::string_view text, std::size_t most, const char* what) {
    return text.size() <= most
               ? result<void>{}
               : fail(errc::too_large, fmt::format("{}: at most {} bytes", what, most));
  };
  if (const auto* enqueue = std::get_if<enqueue_task>(&body)) {
    const auto& task = enqueue->task;
    if (task.origin.empty() && task.dedupe_key.starts_with(runtime::binding_event_prefix)) {
      return fail(
          errc::bad_request, "dedupe_key: 'bind:' begins the keys of bindings; choose another");
    }
    auto sound = within(enqueue->task.dedupe_key, key_size_max, "dedupe_key");
    return sound ? within(enqueue->task.fairness_key, key_size_max, "fairness_key") : sound;
  }
  if (const auto* lease = std::get_if<lease_tasks>(&body)) {
    return within(lease->lease.worker, worker_size_max, "worker");
  }
  return {};
}

bool makes_queue(const control_body& body) {
  return std::holds_alternative<put_queue>(body) || std::holds_alternative<enqueue_task>(body)
         || std::holds_alternative<lease_tasks>(body);
}

bool is_at_rest(const queue_slot& slot) {
  return !slot.loading && !slot.changing && slot.unsettled == 0 && !slot.wake_at
         && slot.waiting.empty();
}

queue_description
describe_slot(const queue_ref& ref, const queue_slot& slot, const runtime::queue_counts& counts) {
  queue_description made;
  made.queue = ref.queue.str();
  made.settings = slot.row.settings;
  made.waiting = counts.waiting;
  made.leased = counts.leased;
  made.dead = counts.dead;
  made.workers_waiting = counts.waiters;
  return made;
}

}  // namespace

void queues_actor::with_queue(const queue_ref& ref, pending_request request) {
  if (auto sound = check_sizes(request.body); !sound) {
    return answer(request, std::unexpected{sound.error()});
  }
  auto* slot = find_slot(ref);
  if (slot == nullptr) {
    if (!makes_queue(request.body)) return answer(request, std::unexpected{not_there(ref)});
    return put(ref, std::move(request));
  }
  if (slot->unit && !slot->changing) return handle(ref, *slot, std::move(request));
  hold(ref, *slot, std::move(request));
}

void queues_actor::with_lease(
    const tenant_name& tenant, const std::string& lease, pending_request request) {
  const auto token = runtime::parse_lease(lease);
  const auto name = token && token->shard == shard_ ? names_.find(token->queue) : names_.end();
  // Nobody learns of another tenant's leases more than that this is none.
  if (name == names_.end() || name->second.tenant != tenant) {
    metrics_.lease_lost();
    return answer(request, std::unexpected{lost()});
  }
  const auto ref = name->second;
  with_queue(ref, std::move(request));
}

void queues_actor::hold(const queue_ref& ref, queue_slot& slot, pending_request request) {
  if (slot.waiting.size() >= queue_requests_waiting_max && !is_leave(request)) {
    return answer(request, fail(errc::overloaded, "the queue is being read", 200));
  }
  slot.waiting.push_back(std::move(request));
  if (!slot.loading && !slot.changing && slot.unsettled == 0) load(ref, slot);
}

void queues_actor::handle(const queue_ref& ref, queue_slot& slot, pending_request request) {
  auto& unit = *slot.unit;
  unit.used = boot();
  auto body = request.body;
  const auto hand_over = [&](auto command, auto give) {
    command.key = note(unit, std::move(request));
    give(std::move(command));
    pump(ref, slot);
  };
  std::visit(
      [&]<class Body>(Body& one) {
        if constexpr (std::is_same_v<Body, put_queue>) {
          put(ref, std::move(request));
        } else if constexpr (std::is_same_v<Body, delete_queue>) {
          remove(ref, slot, std::move(request));
        } else if constexpr (std::is_same_v<Body, get_queue>) {
          describe(ref, slot, std::move(request), false);
        } else if constexpr (std::is_same_v<Body, enqueue_task>) {
          // Before it shares a record with completions, which a full disk does not stop.
          if (parts_.journal.status().below_soft) {
            return answer(request, fail(errc::storage_full, "the disk is almost full", 1000));
          }
          hand_over(std::move(one.task), [&](auto c) { unit.core.enqueue(std::move(c), now()); });
        } else if constexpr (std::is_same_v<Body, lease_tasks>) {
          hand_over(std::move(one.lease), [&](auto c) { unit.core.lease(std::move(c), now()); });
        } else if constexpr (std::is_same_v<Body, extend_lease>) {
          hand_over(std::move(one.extend), [&](auto c) { unit.core.extend(c, now()); });
        } else if constexpr (std::is_same_v<Body, complete_task>) {
          hand_over(
              std::move(one.complete), [&](auto c) { unit.core.complete(std::move(c), now()); });
        } else if constexpr (std::is_same_v<Body, fail_task>) {
          hand_over(std::move(one.fail), [&](auto c) { unit.core.fail_task(c, now()); });
        } else if constexpr (std::is_same_v<Body, change_dead>) {
          hand_over(std::move(one.change), [&](auto c) { unit.core.change_dead(std::move(c)); });
        } else if constexpr (std::is_same_v<Body, cancel_task>) {
          hand_over(runtime::cancel_command{{}, one.task, std::move(one.who)}, [&](auto c) {
            unit.core.cancel(std::move(c));
          });
        } else if constexpr (std::is_same_v<Body, purge_queue>) {
          hand_over(runtime::purge_command{{}, one.with_dead, std::move(one.who)}, [&](auto c) {
            unit.core.purge(std::move(c));
          });
        } else if constexpr (std::is_same_v<Body, withdraw_task>) {
          hand_over(runtime::withdraw_command{{}, std::move(one.origin)}, [&](auto c) {
            unit.core.withdraw(std::move(c));
          });
        } else if constexpr (std::is_same_v<Body, change_dead_where>) {
          walk_dead(ref, slot, std::move(request), {0, runtime::task_id{}});
        } else if constexpr (std::is_same_v<Body, leave_queue>) {
          leave(one, std::move(request));
        }
      },
      body);
}

void queues_actor::leave(const leave_queue& body, pending_request request) {
  auto* slot = find_slot(body.queue);
  // Of a queue that is being read or changed, or is about to be, it may hold leases, or a long poll
  // of it waits there; of one at rest it holds none.
  if (slot != nullptr && !slot->unit && !is_at_rest(*slot)) {
    return hold(body.queue, *slot, std::move(request));
  }
  if (slot == nullptr || !slot->unit) return answer(request, control_answer{actors::done{}});
  runtime::leave_command command{{}, body.worker, body.unseen, body.leases == left_leases::kept};
  command.key = note(*slot->unit, std::move(request));
  slot->unit->core.leave(command, now());
  pump(body.queue, *slot);
}

/// Makes the queue, with settings if they were given; the request goes on when it is there.
void queues_actor::put(const queue_ref& ref, pending_request request) {
  auto* slot = find_slot(ref);
  const auto* body = std::get_if<put_queue>(&request.body);
  const auto before = slot == nullptr ? runtime::queue_settings{} : slot->row.settings;
  const auto settings = body == nullptr ? before : merge(before, *body);
  if (auto sound = check_settings(settings); !sound) {
    return answer(request, std::unexpected{sound.error()});
  }
  if (slot == nullptr) return make(ref, std::move(request), settings);
  if (settings == before) return describe(ref, *slot, std::move(request), false);
  configure(ref, *slot, std::move(request), settings);
}

void queues_actor::make(
    const queue_ref& ref, pending_request request, const runtime::queue_settings& settings) {
  if (const auto most = parts_.settings.queues.queues_per_shard_max; queues_.size() >= most) {
    return answer(
        request,
        fail(
            errc::too_large,
            fmt::format(
                "this shard has {} queues already (queues.queues_per_shard_max): delete some, or "
                "raise it",
                most)));
  }
  auto& slot = queues_[ref];
  slot.row = {entity_id{}, settings};
  slot.changing = true;
  auto shared = std::make_shared<pending_request>(std::move(request));
  auto queued = append(
      {{storage::record_kind::queue_created,
        {},
        {},
        shared_bytes{runtime::encode_queue_created({ref, settings})}}},
      false,
      [this, ref, shared](const result<storage::append_receipt>& outcome) {
        auto* made = find_slot(ref, entity_id{});
        if (!outcome) {
          answer(*shared, std::unexpected{outcome.error()});
          if (made == nullptr) return;
          if (!may_be_offered_again(outcome.error())) return look_up(ref, *made);
          refuse_waiting(*made, outcome.error());
          queues_.erase(ref);
          return;
        }
        if (made == nullptr) return;
        made->row.entity = entity_id{outcome->first.raw()};
        made->changing = false;
        names_.emplace(made->row.entity, ref);
        open(ref, *made, {});
        if (std::holds_alternative<put_queue>(shared->body)) {
          describe(ref, *made, std::move(*shared), true);
        } else {
          handle(ref, *made, std::move(*shared));
        }
        run_waiting(ref);
      });
  if (queued) return;
  queues_.erase(ref);
  answer(*shared, std::unexpected{queued.error()});
}

/// Until it was read what the journal has of the queue, requests wait.
void queues_actor::look_up(const queue_ref& ref, queue_slot& slot) {
  slot.look_again.reset();
  hot_.insert(ref);
  read<std::optional<runtime::queue_row>>(
      reader_pool::lane::control,
      [ref](storage::shard_reader& reader) { return find_queue(reader, ref); },
      [this, ref](result<std::optional<runtime::queue_row>> row) {
        if (auto* slot = find_slot(ref)) on_looked_up(ref, *slot, std::move(row));
      });
}

void queues_actor::on_looked_up(
    const queue_ref& ref, queue_slot& slot, result<std::optional<runtime::queue_row>> row) {
  if (!row) {
    // The store may be opened again just now, after the same failure.
    refuse_waiting(slot, row.error());
    slot.look_again = boot() + look_again_after;
    return arm_tick();
  }
  if (!*row) return on_absent(ref, slot);
  slot.row = **row;
  names_.emplace(slot.row.entity, ref);
  on_there(ref, slot);
}

/// The queue was deleted, or not made.
void queues_actor::on_absent(const queue_ref& ref, queue_slot& slot) {
  const auto entity = slot.row.entity;
  for (const auto& [key, asked] : slot.left)
    answer(asked.request, std::unexpected{not_there(ref)});
  auto waiting = std::move(slot.waiting);
  names_.erase(entity);
  queues_.erase(ref);
  if (entity != entity_id{}) {
    gone_.emplace(entity, gone_queue{.deletion = {ref}});
    settle(entity);
  }
  arm_tick();
  // One of them may make it anew.
  for (auto& one : waiting)
    on_request(std::move(one));
}

/// The queue works on, with what its row says.
void queues_actor::on_there(const queue_ref& ref, queue_slot& slot) {
  slot.changing = false;
  if (slot.unit) {
    slot.unit->core.change_settings(slot.row.settings);
    pump(ref, slot);
  } else {
    // Of what went before its deletion nobody knows whether it was written, but where the node
    // goes.
    ask_again(
        ref,
        slot,
        std::exchange(slot.left, {}),
        {errc::outcome_unknown, "the queue was to be deleted, which failed: ask again"});
  }
  run_waiting(ref);
}

void queues_actor::configure(
    const queue_ref& ref,
    queue_slot& slot,
    pending_request request,
    const runtime::queue_settings& settings) {
  slot.changing = true;
  auto shared = std::make_shared<pending_request>(std::move(request));
  auto queued = append(
      {{storage::record_kind::queue_configured,
        slot.row.entity,
        slot.unit->last_seq,
        shared_bytes{runtime::encode_queue_configured({ref, settings})}}},
      false,
      [this, ref, entity = slot.row.entity, shared, settings](
          const result<storage::append_receipt>& outcome) {
        auto* changed = find_slot(ref, entity);
        if (!outcome) {
          answer(*shared, std::unexpected{outcome.error()});
        }
        if (changed == nullptr) return;
        if (!outcome && !may_be_offered_again(outcome.error())) return look_up(ref, *changed);
        changed->changing = false;
        if (outcome) {
          changed->row.settings = settings;
          if (changed->unit) changed->unit->core.change_settings(settings);
          with_queue(ref, std::move(*shared));
          if (changed->unit) pump(ref, *changed);
        }
        run_waiting(ref);
      });
  if (queued) return;
  slot.changing = false;
  answer(*shared, std::unexpected{queued.error()});
}

void queues_actor::remove(const queue_ref& ref, queue_slot& slot, pending_request request) {
  slot.changing = true;
  auto shared = std::make_shared<pending_request>(std::move(request));
  auto queued = append(
      {{storage::record_kind::queue_closed,
        slot.row.entity,
        slot.unit->last_seq,
        shared_bytes{runtime::encode_queue_deleted({ref})}}},
      true,
      [this, ref, entity = slot.row.entity, shared](
          const result<storage::append_receipt>& outcome) {
        auto* removed = find_slot(ref, entity);
        if (removed == nullptr) return;
        answer(
            *shared,
            outcome ? result<control_answer>{actors::done{}} : std::unexpected{outcome.error()});
        if (outcome) return on_absent(ref, *removed);
        if (!may_be_offered_again(outcome.error())) return look_up(ref, *removed);
        on_there(ref, *removed);
      });
  if (!queued) {
    slot.changing = false;
    return answer(*shared, std::unexpected{queued.error()});
  }
  slot.left = drop_unit(slot);
}

void queues_actor::describe(
    const queue_ref& ref, queue_slot& slot, pending_request request, bool created) {
  auto made = describe_slot(ref, slot, slot.unit->core.counts());
  made.created = created;
  if (std::ranges::all_of(made.waiting, [](auto count) { return count == 0; })) {
    return answer(request, control_answer{std::move(made)});
  }
  read<std::optional<time_ms>>(
      reader_pool::lane::reads,
      [entity = slot.row.entity, waiting = made.waiting, when = shard_time()](
          storage::shard_reader& reader) {
        return oldest_ready(reader, entity, waiting, when, oldest_keys_max);
      },
      [this, made, request = std::move(request)](result<std::optional<time_ms>> oldest) mutable {
        if (!oldest) return answer(request, std::unexpected{oldest.error()});
        if (*oldest) {
          const auto age = (shard_time() - **oldest).count();
          made.oldest_ready_age_ms = static_cast<std::uint64_t>(std::max<std::int64_t>(age, 0));
        }
        answer(request, control_answer{std::move(made)});
      });
}

/// One page of dead letters after the other: each is one atomic change.
void queues_actor::walk_dead(
    const queue_ref& ref, queue_slot& slot, pending_request request, queue_unit::walk walk) {
  const auto& body = std::get<change_dead_where>(request.body);
  read<runtime::dead_page>(
      reader_pool::lane::reads,
      [entity = slot.row.entity,
       after = *walk.next,
       filter = body.filter,
       most =
           parts_.settings.limits.dead_changes_max - walk.changed](storage::shard_reader& reader) {
        const auto room = static_cast<std::uint32_t>(std::min<std::uint64_t>(most, dead_page_max));
        return read_dead_letters(reader, entity, after, filter, room);
      },
      [this, ref, entity = slot.row.entity, walk, request = std::move(request)](
          result<runtime::dead_page> page) mutable {
        if (!page) return answer(request, std::unexpected{page.error()});
        auto* after = find_slot(ref, entity);
        if (after == nullptr || !after->unit) {
          return answer(request, fail(errc::overloaded, "the queue is being read; retry", 200));
        }
        walk.next = page->next;
        if (page->tasks.empty()) {
          return on_walked(ref, {std::move(request), walk}, 0);
        }
        const auto& where = std::get<change_dead_where>(request.body);
        runtime::dead_command command;
        command.what = where.what;
        command.who = where.who;
        command.is_found = true;
        for (const auto& row : page->tasks)
          command.tasks.push_back(row.state.task);
        command.key = note(*after->unit, std::move(request));
        after->unit->requests.at(command.key).rest = walk;
        after->unit->core.change_dead(std::move(command));
        pump(ref, *after);
      });
}

void queues_actor::on_walked(const queue_ref& ref, queue_unit::asked asked, std::size_t changed) {
  auto walk = *asked.rest;
  walk.changed += changed;
  auto* slot = find_slot(ref);
  const bool is_cut = walk.next && walk.changed >= parts_.settings.limits.dead_changes_max;
  if (!walk.next || slot == nullptr || is_cut) {
    return answer(asked.request, control_answer{dead_change_count{walk.changed, is_cut}});
  }
  walk_dead(ref, *slot, std::move(asked.request), walk);
}

void queues_actor::run_waiting(const queue_ref& ref) {
  auto* slot = find_slot(ref);
  if (slot == nullptr) return;
  for (auto& request : std::exchange(slot->waiting, {}))
    on_request(std::move(request));
}

void queues_actor::refuse_waiting(queue_slot& slot, const error& why) {
  for (const auto& request : std::exchange(slot.waiting, {}))
    answer(request, std::unexpected{why});
}

}  // namespace callboard::actors
