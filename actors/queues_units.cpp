// Task queues at work: loading, the loop of the core, answers.
#include "actors/queues_actor.hpp"
#include "base/log.hpp"
#include "base/random.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <deque>
#include <iterator>
#include <type_traits>

namespace callboard::actors {

namespace {

using namespace std::chrono_literals;

constexpr boot_time wake_retry = 1s;

runtime::queue_limits limits_of(const config& from) {
  const auto& queues = from.queues;
  runtime::queue_limits limits;
  limits.enqueues_in_flight_max = queues.enqueues_in_flight_max;
  limits.leases_max = queues.leases_max;
  limits.waiters_max = queues.waiters_max;
  limits.window_keys_max = queues.window_keys_max;
  limits.window_tasks_max = queues.window_tasks_max;
  limits.window_key_tasks_max = queues.window_key_tasks_max;
  limits.window_payload_bytes_max = queues.window_payload_bytes_max;
  limits.recent_keys_max = queues.recent_keys_max;
  limits.result_bytes_max = from.workflows.result_bytes_max;
  return limits;
}

/// What is left of a long poll that is put to another core.
void shorten(lease_tasks& body, boot_time waited) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(waited).count();
  const auto most = static_cast<std::uint64_t>(std::max<std::int64_t>(ms, 0));
  auto& left = body.lease.wait_ms;
  left -= static_cast<std::uint32_t>(std::min<std::uint64_t>(left, most));
}

}  // namespace

void queues_actor::load(const queue_ref& ref, queue_slot& slot) {
  slot.loading = true;
  hot_.insert(ref);
  arm_tick();
  read<runtime::queue_image>(
      reader_pool::lane::control,
      [entity = slot.row.entity](storage::shard_reader& reader) {
        return load_queue(reader, entity);
      },
      [this, ref, entity = slot.row.entity](result<runtime::queue_image> image) {
        auto* after = find_slot(ref, entity);
        if (after == nullptr) return;
        after->loading = false;
        if (image) {
          open(ref, *after, *image);
          return run_waiting(ref);
        }
        log::channel("actors")->warn(
            "task queue {} cannot be read: {}", ref.queue.str(), image.error().detail);
        refuse_waiting(*after, image.error());
        // Unless it is going to stay so: leases that are out must end.
        if (after->counts.leased > 0 && image.error().code != errc::quarantined) {
          after->wake_at = boot() + wake_retry;
        }
      });
}

void queues_actor::open(const queue_ref& ref, queue_slot& slot, const runtime::queue_image& image) {
  slot.unit = std::make_unique<queue_unit>(
      runtime::queue_core::options{
          shard_,
          slot.row.entity,
          slot.row.settings,
          limits_of(parts_.settings),
          [] { return random_64(); }},
      image,
      now(),
      ++unit_numbers_);
  slot.wake_at.reset();
  hot_.insert(ref);
  arm_tick();
  arm_gauges();
  settle_again(slot.row.entity);
}

runtime::queue_request queues_actor::note(queue_unit& unit, pending_request request) {
  const runtime::queue_request key{++request_keys_};
  unit.used = boot();
  unit.requests.emplace(key, queue_unit::asked{std::move(request), std::nullopt});
  return key;
}

void queues_actor::pump(const queue_ref& ref, queue_slot& slot) {
  slot.unit->core.match(now());
  start_read(ref, slot);
  slot.unit->core.expire_waiters(now());
  start_appends(ref, slot);
  if (slot.unit) send_answers(ref, slot);
}

void queues_actor::start_read(const queue_ref& ref, queue_slot& slot) {
  auto& unit = *slot.unit;
  if (unit.reading) return;
  auto plan = unit.core.plan_read(now());
  if (!plan) return;
  unit.reading = true;
  read<runtime::queue_read_result>(
      reader_pool::lane::reads,
      [entity = slot.row.entity, plan = *std::move(plan), before = gone_before(ref)](
          storage::shard_reader& reader) { return read_planned(reader, entity, plan, before); },
      [this, ref, number = unit.number](result<runtime::queue_read_result> found) {
        auto* after = find_at_work(ref, number);
        if (after == nullptr) return;
        after->unit->reading = false;
        if (found) {
          after->unit->core.loaded(*std::move(found), now());
          return pump(ref, *after);
        }
        after->unit->core.read_failed(found.error(), now());
        // The tick asks again: the pool is full, or has just said so.
        if (found.error().code == errc::overloaded) return arm_tick();
        pump(ref, *after);
      });
}

void queues_actor::start_appends(const queue_ref& ref, queue_slot& slot) {
  auto& unit = *slot.unit;
  while (true) {
    if (!unit.offered) unit.offered = unit.core.take_append();
    if (!unit.offered) return;
    const auto last = unit.offered->records.back().entity_seq;
    auto queued = append(
        unit.offered->records,
        unit.offered->frees_space,
        [this, ref, entity = slot.row.entity, number = unit.number](
            const result<storage::append_receipt>& outcome) {
          on_appended(ref, entity, number, outcome);
        });
    if (!queued && may_be_offered_again(queued.error())) return offer_again(queued.error());
    if (!queued) return fail_unit(ref, slot, queued.error());
    ++unit.flying;
    unit.last_seq = last;
    unit.offered.reset();
  }
}

void queues_actor::on_appended(
    const queue_ref& ref,
    entity_id entity,
    std::uint64_t number,
    const result<storage::append_receipt>& outcome) {
  auto* slot = find_at_work(ref, number);
  if (slot == nullptr) {
    // Of a core that was dropped. What it wrote is known only when all of it has come back.
    slot = find_slot(ref, entity);
    if (slot == nullptr || slot->unsettled == 0 || --slot->unsettled > 0) return;
    // Not at once: it would fail and be read for as long as the journal of the shard cannot go on.
    if (!slot->waiting.empty() && !slot->wake_at) slot->wake_at = boot();
    if (!slot->wake_at) return;
    hot_.insert(ref);
    return arm_tick();
  }
  --slot->unit->flying;
  if (!outcome) return fail_unit(ref, *slot, outcome.error());
  slot->unit->core.committed(lsn{outcome->first.raw() + outcome->count - 1}, now());
  pump(ref, *slot);
}

void queues_actor::send_answers(const queue_ref& ref, queue_slot& slot) {
  for (auto& ending : slot.unit->core.take_endings())
    owe(slot.row.entity, ref, std::move(ending));
  forget_told(slot.row.entity, slot.unit->core.take_told());
  for (auto& one : slot.unit->core.take_answers()) {
    auto node = slot.unit->requests.extract(one.key);
    if (!node) continue;
    if (one.outcome) {
      answer_outcome(ref, std::move(node.mapped()), *std::move(one.outcome));
    } else {
      if (one.outcome.error().code == errc::lease_lost) metrics_.lease_lost();
      answer(node.mapped().request, std::unexpected{one.outcome.error()});
    }
  }
}

void queues_actor::answer_outcome(
    const queue_ref& ref, queue_unit::asked asked, runtime::queue_outcome outcome) {
  if (asked.rest) {
    return on_walked(
        ref, std::move(asked), std::get<runtime::dead_changed>(outcome).changed.size());
  }
  control_answer with;
  std::visit(
      [&]<class Outcome>(Outcome& one) {
        if constexpr (std::is_same_v<Outcome, runtime::granted_tasks>) {
          with = lease_answer(std::move(one));
        } else if constexpr (std::is_same_v<Outcome, runtime::task_completed>) {
          metrics_.completed();
          with = actors::done{};
        } else if constexpr (
            std::is_same_v<Outcome, runtime::task_withdrawn>
            || std::is_same_v<Outcome, runtime::task_cancelled>
            || std::is_same_v<Outcome, runtime::worker_left>) {
          with = actors::done{};
        } else {
          if constexpr (std::is_same_v<Outcome, runtime::enqueued_task>) {
            if (!one.is_duplicate) metrics_.enqueued();
          } else if constexpr (std::is_same_v<Outcome, runtime::task_failed>) {
            metrics_.failed(one.is_dead);
          }
          with = std::move(one);
        }
      },
      outcome);
  answer(asked.request, std::move(with));
}

leased_tasks queues_actor::lease_answer(runtime::granted_tasks granted) {
  leased_tasks made;
  for (auto& one : granted.tasks) {
    metrics_.leased(one.attempt, std::max(shard_time() - one.enqueued, 0ms));
    made.tasks.push_back(
        {runtime::format_lease(one.token),
         one.token.task,
         one.token.number,
         one.attempt,
         one.attempts_max,
         one.priority,
         one.enqueued,
         one.lease_ms,
         parts_.time.wall() + std::chrono::milliseconds{one.lease_ms},
         *std::move(one.payload)});
  }
  return made;
}

void queues_actor::fail_unit(const queue_ref& ref, queue_slot& slot, const error& why) {
  ask_again(ref, slot, drop_unit(slot), why);
}

queue_unit::asked_requests queues_actor::drop_unit(queue_slot& slot) {
  const auto unit = std::move(slot.unit);
  slot.unsettled += unit->flying;
  slot.counts = unit->core.counts();
  return std::move(unit->requests);
}

void queues_actor::ask_again(
    const queue_ref& ref, queue_slot& slot, queue_unit::asked_requests requests, const error& why) {
  const bool is_unwritten = may_be_offered_again(why);
  std::deque<pending_request> again;
  for (auto& [key, asked] : requests) {
    // Whoever has gone does not ask again, and would hold its leases until they run out.
    if (is_leave(asked.request) && why.code != errc::draining) {
      again.push_back(std::move(asked.request));
      continue;
    }
    auto* lease = std::get_if<lease_tasks>(&asked.request.body);
    // Of what is done in parts some may have been done.
    const bool is_in_parts = asked.rest || std::holds_alternative<purge_queue>(asked.request.body);
    if (is_in_parts && is_unwritten) {
      answer(
          asked.request,
          fail(errc::overloaded, "the queue is read again: ask again for what is not done", 200));
      continue;
    }
    if (is_in_parts || (lease == nullptr && !is_unwritten) || why.code == errc::draining) {
      answer(asked.request, std::unexpected{why});
      continue;
    }
    if (lease != nullptr) {
      shorten(*lease, boot() - std::exchange(asked.request.since, boot()));
    }
    // Whoever polls is told why there is nothing for it, though the next core does no better.
    const bool is_over = lease != nullptr && lease->lease.wait_ms == 0;
    if (is_over || why.code == errc::storage_full) {
      answer(asked.request, std::unexpected{why});
      continue;
    }
    again.push_back(std::move(asked.request));
  }
  // They came before what waits already: whoever has left since must not get anything.
  slot.waiting.insert(
      slot.waiting.begin(),
      std::make_move_iterator(again.begin()),
      std::make_move_iterator(again.end()));
  if (why.code == errc::draining) return;
  // Ends that nobody was told of may be on disk.
  look_for_endings();
  // Read again a little later: until then nothing of what is under way may be known.
  slot.wake_at = boot() + (why.code == errc::storage_full ? wake_retry : boot_time{});
  hot_.insert(ref);
  arm_tick();
}

}  // namespace callboard::actors
