// Ends of tasks are told to the runs that wait for them: again and again until the run has said
// that it knows, and then no more. What is to be told is in the views until that is recorded, so
// that a restart, a failed append or too much at a time costs nothing but a look at the disk.
//
// A binding waits for no end. Until its event is acked it may enqueue the task again, though, which
// has to be known until then: its group is asked in the same way.
#include "actors/queues_actor.hpp"
#include "actors/router.hpp"
#include "actors/telling.hpp"
#include "base/log.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

namespace callboard::actors {

namespace {

using namespace std::chrono_literals;

/// In memory at a time; the rest waits on disk.
constexpr std::size_t owed_max = 1000;
constexpr std::size_t owed_bytes_max = 32 << 20;
constexpr std::size_t endings_page_max = 200;
constexpr std::size_t endings_page_bytes_max = 4 << 20;
constexpr std::size_t gone_page_max = 500;
/// Between two tellings: doubles up to the latter.
constexpr boot_time told_again_min = 100ms;
constexpr boot_time told_again_max = 10s;
/// An answer that does not come by then is not coming.
constexpr boot_time answer_patience = 60s;
constexpr boot_time disk_retry = 1s;
/// Between two pages that only find room because others made it: so many are told per second
/// that nobody hears.
constexpr boot_time page_pause = 1s;

std::size_t size_of(const runtime::task_ending& ending) {
  return ending.origin.size() + ending.text.size();
}

/// What whoever the task is for is told; nothing if it cannot be known who that is.
std::optional<control_body> message_of(const queue_ref& queue, const runtime::task_ending& ending) {
  if (auto what = parse_event_origin(ending.origin)) {
    return check_settled{
        {{queue.tenant, std::move(what->topic)}, std::move(what->group)},
        std::move(what->epoch),
        what->seq};
  }
  auto who = parse_origin(ending.origin);
  auto channel = who ? topic_name::parse(who->channel) : fail(errc::corruption, "no origin");
  if (!channel) return std::nullopt;
  end_task told;
  told.topic = {queue.tenant, *std::move(channel)};
  told.who = *std::move(who);
  told.how = ending.end;
  told.attempts = ending.attempts;
  told.text = told.how == runtime::task_end::queue_deleted ? queue.queue.str() : ending.text;
  return told;
}

}  // namespace

void queues_actor::owe(entity_id entity, const queue_ref& ref, runtime::task_ending ending) {
  const ending_key key{entity, ending.task};
  if (owed_.contains(key)) return;
  if (is_full()) put_off(1);
  if (is_full()) return look_for_endings();
  owed_bytes_ += size_of(ending);
  owed_.emplace(key, owed_ending{ref, std::move(ending)});
  tell(key);
}

void queues_actor::tell(const ending_key& key) {
  auto& one = owed_.at(key);
  arm_tick();
  auto message = message_of(one.queue, one.ending);
  if (!message) {
    log::channel("actors")->error(
        "nobody can be told how task {} of queue {} ended: its origin is unreadable",
        one.ending.task.raw(),
        one.queue.queue.str());
    // The tick records it.
    one.is_heard = true;
    return;
  }
  const correlation_id correlation{++last_telling_};
  const auto shift = std::min(one.tries++, 10U);
  one.next = boot() + std::min(told_again_max, boot_time{told_again_min * (1U << shift)});
  auto sent =
      parts_.router->control({correlation, *std::move(message)}, caf::actor_cast<caf::actor>(this));
  if (!sent) return;
  one.is_asked = true;
  one.next = boot() + answer_patience;
  telling_.emplace(correlation.raw(), key);
}

void queues_actor::on_told(const control_reply& reply) {
  const auto asked = telling_.find(reply.correlation.raw());
  if (asked == telling_.end()) return;
  const auto key = asked->second;
  telling_.erase(asked);
  const auto found = owed_.find(key);
  if (found == owed_.end()) return;
  auto& one = found->second;
  one.is_asked = false;
  if (!is_heard(reply)) {
    const auto shift = std::min(one.tries - 1, 10U);
    one.next = boot() + std::min(told_again_max, boot_time{told_again_min * (1U << shift)});
    return arm_tick();
  }
  one.is_heard = true;
  settle(key.first);
}

void queues_actor::settle(entity_id entity) {
  const auto name = names_.find(entity);
  if (name == names_.end()) return settle_gone(entity);
  std::vector<runtime::task_id> tasks;
  const auto end = owed_.lower_bound({entity_id{entity.raw() + 1}, {}});
  for (auto one = owed_.lower_bound({entity, {}}); one != end; ++one) {
    if (one->second.is_heard && !one->second.is_recording) tasks.push_back(one->first.second);
  }
  if (tasks.empty()) return;
  const auto ref = name->second;
  auto* slot = find_slot(ref, entity);
  if (slot == nullptr) return;
  if (slot->unit && !slot->changing) {
    for (const auto task : tasks)
      owed_.at({entity, task}).is_recording = true;
    slot->unit->used = boot();
    slot->unit->core.told(tasks);
    return pump(ref, *slot);
  }
  if (!slot->loading && !slot->changing) slot->wake_at = boot();
  hot_.insert(ref);
  arm_tick();
}

/// Those that a core before this one was told may not be on disk.
void queues_actor::settle_again(entity_id entity) {
  const auto end = owed_.lower_bound({entity_id{entity.raw() + 1}, {}});
  for (auto one = owed_.lower_bound({entity, {}}); one != end; ++one)
    one->second.is_recording = false;
  settle(entity);
}

void queues_actor::forget_told(entity_id entity, const std::vector<runtime::task_id>& tasks) {
  for (const auto task : tasks) {
    const auto found = owed_.find({entity, task});
    if (found == owed_.end()) continue;
    owed_bytes_ -= size_of(found->second.ending);
    owed_.erase(found);
  }
}

bool queues_actor::is_full() const {
  return owed_.size() >= owed_max || owed_bytes_ >= owed_bytes_max;
}

/// Those who cannot hear now must not hold up those who can: what was told in vain is found on
/// disk again in its turn. Begins behind the last that was put off.
void queues_actor::put_off(std::size_t count_max) {
  const auto now = boot();
  auto one = owed_.upper_bound(last_put_off_);
  for (std::size_t left = owed_.size(); left > 0 && count_max > 0; --left) {
    if (one == owed_.end()) one = owed_.begin();
    const auto& [key, ending] = *one;
    const bool is_vain =
        ending.tries > 0 && !ending.is_heard && (!ending.is_asked || ending.next <= now);
    if (!is_vain) {
      ++one;
      continue;
    }
    if (ending.is_asked)
      std::erase_if(telling_, [&](const auto& asked) { return asked.second == key; });
    last_put_off_ = key;
    if (const auto gone = gone_.find(key.first); gone != gone_.end()) {
      gone->second.is_put_off = true;
    } else if (!next_lap_) {
      next_lap_ = now + told_again_max;
    }
    owed_bytes_ -= size_of(ending.ending);
    one = owed_.erase(one);
    --count_max;
  }
}

void queues_actor::tick_endings() {
  const auto now = boot();
  if (gone_retry_ && *gone_retry_ <= now) {
    gone_retry_.reset();
    load_gone();
  }
  std::vector<entity_id> gone;
  for (const auto& [entity, queue] : gone_) {
    if (!queue.is_busy && queue.next <= now) gone.push_back(entity);
  }
  for (const auto entity : gone)
    settle_gone(entity);
  read_more_endings();
  std::vector<ending_key> due;
  std::set<entity_id> heard;
  for (auto& [key, one] : owed_) {
    if (one.is_heard && !one.is_recording) heard.insert(key.first);
    if (one.is_heard || one.next > now) continue;
    if (one.is_asked)
      std::erase_if(telling_, [&](const auto& asked) { return asked.second == key; });
    one.is_asked = false;
    due.push_back(key);
  }
  for (const auto& key : due) {
    if (owed_.contains(key)) tell(key);
  }
  for (const auto entity : heard)
    settle(entity);
  if (!owed_.empty() || !gone_.empty() || endings_from_ || next_lap_ || gone_retry_) arm_tick();
}

// -- what is on disk only ------------------------------------------------------------------------

void queues_actor::look_for_endings() {
  if (endings_from_) {
    endings_again_ = true;
  } else {
    endings_from_.emplace();
  }
  arm_tick();
}

void queues_actor::read_more_endings() {
  const auto now = boot();
  if (next_lap_ && *next_lap_ <= now) {
    next_lap_.reset();
    look_for_endings();
  }
  if (!endings_from_ || endings_reading_ || now < endings_retry_) return;
  const auto is_crowded = [this] {
    return owed_.size() > owed_max / 2 || owed_bytes_ > owed_bytes_max / 2;
  };
  if (is_crowded()) {
    put_off(endings_page_max);
    if (is_crowded()) return;
    endings_retry_ = now + page_pause;
  }
  endings_reading_ = true;
  read<runtime::ending_page>(
      reader_pool::lane::reads,
      [from = *endings_from_](storage::shard_reader& reader) {
        return read_endings_page(reader, from, endings_page_max, endings_page_bytes_max);
      },
      [this](result<runtime::ending_page> page) {
        endings_reading_ = false;
        arm_tick();
        if (!page) {
          endings_retry_ = boot() + disk_retry;
          if (page.error().code == errc::overloaded) return;
          log::channel("actors")->warn(
              "ends of tasks of shard {} cannot be read: {}", shard_.raw(), page.error().detail);
          return;
        }
        on_endings(*std::move(page));
      });
}

void queues_actor::on_endings(runtime::ending_page page) {
  endings_from_.reset();
  if (!page.next.empty()) {
    endings_from_ = page.next;
  } else if (std::exchange(endings_again_, false)) {
    endings_from_.emplace();
  }
  for (auto& [entity, ending] : page.endings) {
    // Those of deleted queues are told with what else these leave behind.
    const auto name = names_.find(entity);
    if (name != names_.end()) owe(entity, queue_ref{name->second}, std::move(ending));
  }
}

// -- deleted queues ------------------------------------------------------------------------------

void queues_actor::load_gone() {
  read<std::vector<std::pair<entity_id, runtime::queue_deletion>>>(
      reader_pool::lane::control,
      [](storage::shard_reader& reader) { return read_gone_queues(reader); },
      [this](result<std::vector<std::pair<entity_id, runtime::queue_deletion>>> queues) {
        if (!queues && queues.error().code == errc::draining) return;
        if (!queues) {
          log::channel("actors")->error(
              "deleted queues of shard {} cannot be read: {}", shard_.raw(), queues.error().detail);
          gone_retry_ = boot() + disk_retry;
          return arm_tick();
        }
        for (auto& [entity, deletion] : *queues)
          gone_.emplace(entity, gone_queue{.deletion = std::move(deletion)});
        if (!gone_.empty()) arm_tick();
        if (!ready_) begin();
      });
}

std::vector<entity_id> queues_actor::gone_before(const queue_ref& ref) const {
  std::vector<entity_id> before;
  for (const auto& [entity, queue] : gone_) {
    if (queue.deletion.name == ref) before.push_back(entity);
  }
  return before;
}

void queues_actor::settle_gone(entity_id entity) {
  const auto found = gone_.find(entity);
  if (found == gone_.end() || found->second.is_busy) return;
  runtime::ends_told ends;
  bool is_waiting = false;
  const auto end = owed_.lower_bound({entity_id{entity.raw() + 1}, {}});
  for (auto one = owed_.lower_bound({entity, {}}); one != end; ++one) {
    if (!one->second.is_heard) {
      is_waiting = true;
      continue;
    }
    ends.tasks.push_back(one->first.second);
    ends.origins.push_back(one->second.ending.origin);
  }
  if (!ends.tasks.empty()) return end_gone(entity, std::move(ends));
  const bool is_told = !is_waiting && !found->second.is_put_off;
  if (is_told || found->second.next_walk <= boot()) walk_gone(entity);
}

/// Page after page, then from the first again while some have not heard.
void queues_actor::walk_gone(entity_id entity) {
  auto& walked = gone_.at(entity);
  if (is_full()) put_off(gone_page_max);
  if (is_full()) {
    walked.next = boot() + disk_retry;
    return;
  }
  walked.is_busy = true;
  read<gone_endings>(
      reader_pool::lane::reads,
      [entity, after = walked.after](storage::shard_reader& reader) {
        return read_gone_endings(reader, entity, after, gone_page_max);
      },
      [this, entity](result<gone_endings> page) {
        auto& queue = gone_.at(entity);
        queue.is_busy = false;
        queue.next = boot() + (page ? boot_time{} : disk_retry);
        arm_tick();
        if (!page) return;
        if (page->endings.empty() && queue.after.empty()) return end_gone(entity, {{}, {}, true});
        queue.is_put_off = false;
        queue.after = page->next;
        queue.next_walk = boot() + (page->next.empty() ? told_again_max : page_pause);
        for (auto& one : page->endings)
          owe(entity, queue_ref{queue.deletion.name}, std::move(one));
      });
}

void queues_actor::end_gone(entity_id entity, runtime::ends_told ends) {
  auto& queue = gone_.at(entity);
  const bool is_last = ends.all;
  // Before its end the entity cannot go: its records are what the rows of views made anew come
  // from.
  const bool ends_entity = is_last && queue.deletion.is_closed_first;
  auto payload =
      ends_entity ? runtime::encode_queue_deleted(queue.deletion) : runtime::encode_ends_told(ends);
  auto queued = append(
      {{ends_entity ? storage::record_kind::queue_deleted : storage::record_kind::task_ends_told,
        entity,
        {},
        shared_bytes{std::move(payload)}}},
      true,
      [this, entity, is_last, tasks = std::move(ends.tasks)](
          const result<storage::append_receipt>& outcome) {
        auto& after = gone_.at(entity);
        after.is_busy = false;
        arm_tick();
        if (!outcome) {
          after.next = boot() + disk_retry;
          return;
        }
        forget_told(entity, tasks);
        if (is_last) gone_.erase(entity);
      });
  queue.is_busy = queued.has_value();
  queue.next = boot() + (queued ? boot_time{} : disk_retry);
  if (!queued && may_be_offered_again(queued.error())) offer_again(queued.error());
}

}  // namespace callboard::actors
