#include "actors/queues_actor.hpp"

#include "actors/relay_messages.hpp"
#include "base/log.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <type_traits>

namespace callboard::actors {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t early_requests_max = 10'000;
constexpr boot_time retry_after = 1s;
constexpr std::chrono::milliseconds gauges_every{2000};
/// For the age of the oldest task: how many queues of a shard are looked at how often, and how many
/// fairness keys of each. The whole truth about one queue is what its description tells.
constexpr std::size_t aged_queues_max = 64;
constexpr std::uint32_t aged_keys_max = 50;
constexpr boot_time age_every = 10s;

/// INTERNAL: bring the gauges up to date.
struct gauges_tick {};

bool has_backlog(const runtime::queue_counts& counts) {
  return std::ranges::any_of(counts.waiting, [](auto count) { return count > 0; });
}

}  // namespace

queues_actor::queues_actor(
    caf::actor_config& config, shard_id shard, const broker_parts& parts, caf::actor parent)
    : companion{config, shard, parts, std::move(parent)}, metrics_{parts.counters, shard} {}

caf::behavior queues_actor::make_behavior() {
  return common_handlers().or_else(
      [this](const boxed<control_request>& request, const caf::actor& reply_to) {
        on_request({request->correlation, std::move(request->body), reply_to, boot()});
      },
      [this](const boxed<control_reply>& reply) { on_told(*reply); },
      [this](const boxed<gauges_tick>&) {
        gauges_armed_ = false;
        on_gauges_tick();
      });
}

void queues_actor::on_exit() {
  early_.clear();
  queues_.clear();
  companion::on_exit();
}

void queues_actor::on_activated(bool first) {
  // A failed append of somebody else takes nothing from queues but what they offer again.
  if (first) load_directory();
}

void queues_actor::load_directory() {
  read<std::vector<named_queue>>(
      reader_pool::lane::control,
      [](storage::shard_reader& reader) { return read_queues(reader, std::nullopt); },
      [this](result<std::vector<named_queue>> queues) { on_directory(std::move(queues)); });
}

void queues_actor::on_directory(result<std::vector<named_queue>> queues) {
  if (!queues) {
    log::channel("actors")->error(
        "task queues of shard {} cannot be read: {}", shard_.raw(), queues.error().detail);
    directory_retry_ = boot() + retry_after;
    return arm_tick();
  }
  for (auto& one : *queues) {
    names_.emplace(one.row.entity, one.name);
    auto& slot = queues_[one.name];
    slot.row = one.row;
    slot.counts.waiting = one.counters.waiting;
    slot.counts.leased = one.counters.leased;
    slot.counts.dead = one.counters.dead;
    if (one.counters.leased == 0) continue;
    // Those leases end, whether or not anybody asks for the queue.
    slot.wake_at = boot();
    hot_.insert(one.name);
  }
  load_gone();
}

void queues_actor::begin() {
  ready_ = true;
  if (!hot_.empty()) arm_tick();
  if (!queues_.empty()) on_gauges_tick();
  look_for_endings();
  for (auto& request : std::exchange(early_, {}))
    on_request(std::move(request));
}

void queues_actor::on_request(pending_request request) {
  if (!ready_) {
    if (early_.size() >= early_requests_max && !is_leave(request)) {
      return answer(request, fail(errc::overloaded, "the queues of the shard are being read", 500));
    }
    early_.push_back(std::move(request));
    return;
  }
  const auto body = request.body;
  std::visit(
      [&]<class Body>(const Body& one) {
        if constexpr (std::is_same_v<Body, leave_queue>) {
          leave(one, std::move(request));
        } else if constexpr (std::is_same_v<Body, extend_lease>) {
          with_lease(one.tenant, one.extend.lease, std::move(request));
        } else if constexpr (std::is_same_v<Body, complete_task>) {
          with_lease(one.tenant, one.complete.lease, std::move(request));
        } else if constexpr (std::is_same_v<Body, fail_task>) {
          with_lease(one.tenant, one.fail.lease, std::move(request));
        } else if constexpr (queue_work<Body>) {
          with_queue(one.queue, std::move(request));
        } else {
          answer(request, fail(errc::internal, "this request is not about task queues"));
        }
      },
      body);
}

void queues_actor::on_tick() {
  if (!ready_ && activation_ && directory_retry_ != boot_time{}) {
    if (boot() < directory_retry_) return arm_tick();
    directory_retry_ = {};
    load_directory();
  }
  const std::vector<queue_ref> hot(hot_.begin(), hot_.end());
  for (const auto& ref : hot) {
    auto* slot = find_slot(ref);
    if (slot == nullptr) {
      hot_.erase(ref);
    } else {
      tick_slot(ref, *slot);
    }
  }
  tick_endings();
  if (!hot_.empty()) arm_tick();
}

void queues_actor::on_pause(boot_time pause) {
  for (const auto& ref : hot_) {
    if (auto* slot = find_slot(ref); slot != nullptr && slot->unit)
      slot->unit->core.paused(pause, now());
  }
}

void queues_actor::tick_slot(const queue_ref& ref, queue_slot& slot) {
  if (slot.look_again && *slot.look_again <= boot()) look_up(ref, slot);
  if (!slot.unit) {
    const bool is_free = !slot.loading && !slot.changing && slot.unsettled == 0;
    if (is_free && slot.wake_at && boot() >= *slot.wake_at) {
      slot.wake_at.reset();
      load(ref, slot);
    } else if (is_free && !slot.wake_at) {
      hot_.erase(ref);
    }
    return;
  }
  const auto leased = slot.unit->core.counts().leased;
  slot.unit->core.tick(now());
  metrics_.expired(leased - slot.unit->core.counts().leased);
  pump(ref, slot);
  if (!slot.unit) return;
  const auto& unit = *slot.unit;
  const auto patience =
      boot_time{std::chrono::milliseconds{parts_.settings.topics.passivate_after_ms}};
  const bool rests = unit.core.idle() && !unit.reading && !unit.offered && unit.flying == 0
                     && unit.requests.empty() && !slot.changing;
  if (!rests || boot() - unit.used < patience) return;
  slot.counts = unit.core.counts();
  slot.unit.reset();
  hot_.erase(ref);
}

void queues_actor::arm_gauges() {
  if (std::exchange(gauges_armed_, true)) return;
  delayed_send(this, gauges_every, box(gauges_tick{}));
}

void queues_actor::on_gauges_tick() {
  runtime::queue_counts sum;
  std::vector<std::pair<entity_id, runtime::queue_counts>> waiting;
  for (auto& [ref, slot] : queues_) {
    if (slot.unit) slot.counts = slot.unit->core.counts();
    const auto& counts = slot.counts;
    for (std::size_t i = 0; i < counts.waiting.size(); ++i)
      sum.waiting[i] += counts.waiting[i];
    sum.leased += counts.leased;
    sum.dead += counts.dead;
    if (slot.unit) sum.waiters += counts.waiters;
    if (has_backlog(counts) && waiting.size() < aged_queues_max) {
      waiting.emplace_back(slot.row.entity, counts);
    }
  }
  metrics_.report(sum);
  if (!queues_.empty()) arm_gauges();
  if (waiting.empty()) return metrics_.report_age(std::nullopt);
  if (aging_ || boot() < next_age_) return;
  aging_ = true;
  next_age_ = boot() + age_every;
  read<std::optional<time_ms>>(
      reader_pool::lane::reads,
      [waiting = std::move(waiting),
       when = shard_time()](storage::shard_reader& reader) -> result<std::optional<time_ms>> {
        std::optional<time_ms> oldest;
        for (const auto& [entity, counts] : waiting) {
          auto ready = oldest_ready(reader, entity, counts.waiting, when, aged_keys_max);
          if (!ready) return ready;
          if (*ready && (!oldest || **ready < *oldest)) oldest = *ready;
        }
        return oldest;
      },
      [this](result<std::optional<time_ms>> oldest) {
        aging_ = false;
        if (!oldest) return;
        metrics_.report_age(
            *oldest ? std::optional{std::max(shard_time() - **oldest, 0ms)} : std::nullopt);
      });
}

queue_slot* queues_actor::find_slot(const queue_ref& ref) {
  const auto it = queues_.find(ref);
  return it == queues_.end() ? nullptr : &it->second;
}

queue_slot* queues_actor::find_slot(const queue_ref& ref, entity_id entity) {
  auto* slot = find_slot(ref);
  return slot != nullptr && slot->row.entity == entity ? slot : nullptr;
}

queue_slot* queues_actor::find_at_work(const queue_ref& ref, std::uint64_t number) {
  auto* slot = find_slot(ref);
  return slot != nullptr && slot->unit && slot->unit->number == number ? slot : nullptr;
}

caf::actor spawn_queues(
    caf::actor_system& system,
    shard_id shard,
    const broker_parts& parts,
    const caf::actor& parent) {
  return system.spawn<queues_actor>(shard, parts, parent);
}

}  // namespace callboard::actors
