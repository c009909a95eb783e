// Active groups: loaded, fed, written, dropped.
#include "actors/groups_actor.hpp"
#include "base/hash.hpp"
#include "base/log.hpp"
#include "base/uuid.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>

namespace callboard::actors {

namespace {

using namespace std::chrono_literals;

/// Bytes of events that one read brings into memory for a group.
constexpr std::uint64_t read_bytes_max = 1 << 20;
/// Progress records between two snapshots: what a restart replays at most, and a bit.
constexpr std::uint32_t snapshot_interval = 256;

/// A random number from the one source there is: the random bits of a UUID.
std::uint64_t random_number(time_ms now) {
  return hash_64(make_uuid(now));
}

}  // namespace

void groups_actor::load(group_topic& topic, const group_name& name) {
  auto& slot = topic.groups.at(name);
  if (std::exchange(slot.loading, true)) return;
  using loaded_or_gone = std::optional<loaded_group>;
  read<loaded_or_gone>(
      reader_pool::lane::control,
      [key = runtime::group_key{topic.ref, name},
       row = slot.row](storage::shard_reader& reader) -> result<loaded_or_gone> {
        auto stored = find_group(reader, key);
        if (!stored) return std::unexpected{stored.error()};
        // What was deleted reads like what has never handled anything.
        if (!*stored || (*stored)->entity != row.entity) return std::nullopt;
        return read_group(reader, row);
      },
      [this, ref = topic.ref, name, entity = slot.row.entity](result<loaded_or_gone> loaded) {
        auto* after = find_topic(ref);
        auto* found = find_slot(ref, name);
        if (found == nullptr || found->row.entity != entity) return;
        found->loading = false;
        if (!loaded) return refuse_waiting(*found, loaded.error());
        if (!*loaded) return forget(*after, name);
        if (after->state != group_topic::link::attached) {
          // The topic's end is not known any more: attach first, then load again.
          auto waiting = std::exchange(found->waiting, {});
          for (auto& request : waiting) {
            with_topic(*after, std::move(request));
          }
          return;
        }
        activate(*after, name, **std::move(loaded));
        run_waiting(*after, name);
      });
}

void groups_actor::activate(group_topic& topic, const group_name& name, loaded_group loaded) {
  auto& slot = topic.groups.at(name);
  const bool was_ahead = loaded.ledger.clamp(topic.last_seq);
  if (was_ahead) {
    clamped_.Increment();
    log::channel("actors")->warn(
        "group {} of topic {} was ahead of its topic and starts again at {}",
        name.str(),
        topic.ref.topic.str(),
        topic.last_seq.raw());
  }
  const auto& limits = parts_.settings.groups;
  runtime::group_core::options options;
  options.settings = slot.row.settings;
  options.limits.ack_span_max = limits.ack_span_max;
  options.limits.fetch_wait_ms_max = limits.fetch_wait_ms_max;
  options.nonce = std::max(static_cast<std::uint32_t>(random_number(parts_.time.wall())), 1U);
  options.random = [this] { return random_number(parts_.time.wall()); };
  slot.unit = std::make_unique<group_unit>(
      runtime::group_core{std::move(options), std::move(loaded.ledger), topic.last_seq, now()});
  auto& unit = *slot.unit;
  unit.number = ++unit_numbers_;
  unit.last_progress = loaded.last_progress;
  unit.since_snapshot = loaded.since_snapshot;
  unit.snapshot_due = was_ahead;
  unit.used = boot();
  if (topic.first_seq > sequence{1}) {
    unit.core.gone(sequence{topic.first_seq.raw() - 1}, now());
  }
  slot.needed_after = unit.core.ledger().needed_after();
  tell_floor(topic);
  hot_.insert(topic.ref);
  arm_tick();
}

void groups_actor::pump(group_topic& topic, const group_name& name) {
  auto& slot = topic.groups.at(name);
  auto& unit = *slot.unit;
  const auto time = now();
  unit.core.match(time);
  if (topic.state == group_topic::link::attached) {
    if (auto plan = unit.core.plan_read(time)) {
      start_read(topic, name, unit, std::move(*plan));
    }
  }
  unit.core.expire_waiters(time);
  send_answers(topic, unit);
  publish_letters(topic, name, slot);
  start_append(topic, name, slot);
}

void groups_actor::start_read(
    group_topic& topic, const group_name& name, group_unit& unit, runtime::read_plan plan) {
  read<runtime::read_result>(
      reader_pool::lane::reads,
      [entity = topic.entity, plan = std::move(plan), rule = topic.groups.at(name).rule](
          storage::shard_reader& reader) {
        return read_planned(reader, entity, plan, {read_bytes_max, rule.get()});
      },
      [this, ref = topic.ref, name, number = unit.number](result<runtime::read_result> found) {
        auto* after = find_unit(ref, name, number);
        if (after == nullptr) return;
        if (found) {
          after->core.loaded(std::move(*found), now());
          return pump(*find_topic(ref), name);
        }
        after->core.read_failed();
        // Too many reads at once: the next tick asks again. Anything else is told.
        if (found.error().code == errc::overloaded) return;
        for (const auto key : after->core.drop_waiters()) {
          const auto node = after->fetches.extract(key);
          if (node) answer(node.mapped(), std::unexpected{found.error()});
        }
      });
}

void groups_actor::send_answers(group_topic& topic, group_unit& unit) {
  for (auto& ready : unit.core.take_answers()) {
    const auto node = unit.fetches.extract(ready.key);
    if (!node) continue;
    unit.used = boot();
    delivery_list list;
    list.epoch = topic.epoch;
    if (const auto* asked = std::get_if<fetch_deliveries>(&node.mapped().body)) {
      list.group = asked->group;
    }
    std::size_t again = 0;
    for (auto& one : ready.deliveries) {
      if (one.token.attempt > 1) ++again;
      list.deliveries.push_back(
          {runtime::format_token(one.token),
           one.token.attempt,
           std::move(one.event),
           unit.core.root_of(one.token.seq)});
    }
    deliveries_.Increment(static_cast<double>(list.deliveries.size()));
    redeliveries_.Increment(static_cast<double>(again));
    answer(node.mapped(), control_answer{std::move(list)});
  }
}

void groups_actor::start_append(group_topic& topic, const group_name& name, group_slot& slot) {
  auto& unit = *slot.unit;
  if (unit.appending || slot.changing || !activation_) return;
  if (!unit.writing) {
    const bool asked = !unit.on_next_record.empty();
    if (!asked && !unit.snapshot_due && !unit.core.wants_append(now())) return;
    unit.writing = unit.core.take_progress();
    unit.on_this_record = std::exchange(unit.on_next_record, {});
  }
  std::vector<storage::record_draft> records;
  const auto covered = unit.last_progress;
  if (unit.snapshot_due || unit.since_snapshot >= snapshot_interval) {
    // Takes the place of all progress that it covers; that is given back with it.
    records.push_back(
        {storage::record_kind::snapshot,
         slot.row.entity,
         covered,
         shared_bytes{runtime::encode_group_snapshot(unit.core.ledger(), slot.row.settings)}});
  }
  records.push_back(
      {storage::record_kind::group_progress,
       slot.row.entity,
       covered.next(),
       shared_bytes{runtime::encode_group_progress(*unit.writing)}});
  auto queued = append(
      std::move(records),
      true,
      [this, ref = topic.ref, name, number = unit.number](
          const result<storage::append_receipt>& outcome) {
        on_appended(ref, name, number, outcome);
      });
  if (queued) {
    unit.appending = true;
    return;
  }
  if (!may_be_offered_again(queued.error())) return fail_unit(topic, name, queued.error());
  offer_again(queued.error());
}

void groups_actor::on_appended(
    const topic_ref& ref,
    const group_name& name,
    std::uint64_t number,
    const result<storage::append_receipt>& outcome) {
  auto* topic = find_topic(ref);
  auto* unit = find_unit(ref, name, number);
  if (unit == nullptr) return;
  auto& slot = topic->groups.at(name);
  unit->appending = false;
  if (!outcome) {
    if (may_be_offered_again(outcome.error())) return arm_tick();
    return fail_unit(*topic, name, outcome.error());
  }
  if (const auto missed = unit->writing->missed; missed != 0) {
    missed_.Increment(static_cast<double>(missed));
    log::channel("actors")->warn(
        "group {} of topic {} was too far behind: retention took {} events before it had them",
        name.str(),
        ref.topic.str(),
        missed);
  }
  const bool had_snapshot = outcome->count > 1;
  unit->last_progress = unit->last_progress.next();
  unit->since_snapshot = had_snapshot ? 1 : unit->since_snapshot + 1;
  unit->snapshot_due = false;
  unit->core.committed(*std::exchange(unit->writing, std::nullopt));
  const auto floor = unit->core.ledger().floor();
  for (auto& waiter : std::exchange(unit->on_this_record, {})) {
    answer(waiter.request, control_answer{ack_result{std::move(waiter.lost), floor}});
  }
  const auto needed = unit->core.ledger().needed_after();
  if (slot.needed_after != needed) {
    slot.needed_after = needed;
    tell_floor(*topic);
  }
  pump(*topic, name);
}

void groups_actor::fail_unit(group_topic& topic, const group_name& name, const error& why) {
  auto& slot = topic.groups.at(name);
  log::channel("actors")->warn(
      "group {} of topic {} is read again: {}", name.str(), topic.ref.topic.str(), why.detail);
  drop_unit(slot, why);
  slot.needed_after.reset();
}

void groups_actor::drop_unit(group_slot& slot, const error& why) {
  if (!slot.unit) return;
  auto unit = std::exchange(slot.unit, nullptr);
  for (auto* list : {&unit->on_this_record, &unit->on_next_record}) {
    for (const auto& waiter : *list) {
      answer(waiter.request, std::unexpected{why});
    }
  }
  for (const auto& [key, request] : unit->fetches) {
    answer(request, std::unexpected{why});
  }
}

}  // namespace callboard::actors
