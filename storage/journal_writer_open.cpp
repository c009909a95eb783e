// The journal writer's other half: opening the store, and what happens when a write fails.
#include "base/log.hpp"
#include "storage/journal_writer.hpp"
#include "storage/keys.hpp"
#include "storage/time_note.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace callboard::storage {

namespace {

constexpr std::chrono::milliseconds reopen_delay_min{50};
constexpr std::chrono::milliseconds reopen_delay_max{2000};
constexpr std::chrono::milliseconds nap{10};
/// Projection of a tail that is found when opening: bytes of blocks per batch.
constexpr std::size_t recovery_batch_bytes = 4 << 20;
constexpr std::size_t heads_max = 65'536;
/// Between shard time and the wall clock at a start, to be told.
constexpr std::chrono::milliseconds told_difference = std::chrono::seconds{10};

error being_opened(const error& why) {
  return {errc::overloaded, "the store is being opened again: " + why.detail, 100};
}

}  // namespace

result<void> journal_writer::start(const mark_state& mark) {
  durable_ = mark.lsns;
  batch_.Clear();
  auto opened = open_store(parts_.paths, mark, db_options_);
  if (!opened) return std::unexpected{opened.error()};
  time_ms newest{};
  for (std::uint32_t i = 0; i < parts_.shards.shard_count(); ++i) {
    const auto last = load_shard(**opened, shard_id{i});
    if (!last) return std::unexpected{last.error()};
    newest = std::max(newest, *last);
  }
  start_time(newest);
  auto writer = mark_writer::open(*files_, parts_.paths.mark.string(), mark);
  if (!writer) return std::unexpected{writer.error()};
  mark_ = std::move(*writer);
  parts_.shards.install(std::move(*opened));
  projection_.start();
  thread_ = std::jthread{[this] { run(); }};
  return {};
}

void journal_writer::start_time(time_ms newest) {
  const auto file = parts_.paths.time.string();
  const auto noted = go_on_from(read_time_note(*files_, file), parts_.time);
  const auto begin = std::max(noted, newest);
  const auto wall = parts_.time.wall();
  time_.start(parts_.time, begin);
  // For all the same, as they judge by it what others have written. It goes on when the store is
  // opened again within one process.
  for (std::uint32_t i = 0; i < parts_.shards.shard_count(); ++i)
    parts_.shards.slot(shard_id{i}).clock.start(parts_.time, begin);
  if (std::chrono::abs(wall - begin) < told_difference) return;
  if (begin > noted) {
    log::channel("storage")->warn(
        "the time of records goes on from that of the newest, {} ms since 1970, while the "
        "machine's "
        "clock shows {} ms: it was set back. They come closer by a thousandth of what passes",
        begin.time_since_epoch().count(),
        wall.time_since_epoch().count());
    return;
  }
  log::channel("storage")->warn(
      "the time of records goes on from {} ms since 1970, as it went in this boot of the machine, "
      "while its clock shows {} ms: it was set, or the machine was paused. They come closer by a "
      "thousandth of what passes. To take the clock's time at once, stop the node, remove {}, and "
      "start it",
      begin.time_since_epoch().count(),
      wall.time_since_epoch().count(),
      file);
}

result<time_ms> journal_writer::load_shard(database& db, shard_id shard) {
  auto at = locate_shard(db, shard);
  if (!at) return std::unexpected{at.error()};
  auto& slot = parts_.shards.slot(shard);
  projection_.set_generation(shard, at->view_generation);
  if (!at->view_version && at->last == lsn{}) {
    projector::put_views_version(db, shard, parts_.views->version(), batch_);
    at->view_version = parts_.views->version();
  }
  if (at->incarnation == incarnation_id{}) {
    at->incarnation = draw_incarnation();
    put_incarnation(db, shard, at->incarnation, batch_);
  }
  {
    const std::lock_guard guard{slot.mutex};
    slot.first = at->first;
    slot.applied = at->applied;
    slot.committed = at->last;
    slot.incarnation = at->incarnation;
    slot.view_version = at->view_version;
    slot.tail.clear();
  }
  durable_[shard.raw()] = std::max(durable_[shard.raw()], at->last.raw());
  auto projected = project_tail(db, shard, *at);
  if (!projected) return std::unexpected{projected.error()};
  const std::lock_guard guard{slot.mutex};
  slot.applied = *projected;
  return at->last_time;
}

result<lsn> journal_writer::project_tail(database& db, shard_id shard, const shard_position& at) {
  head_table heads{heads_max};
  projector rows{parts_.views, heads};
  const auto flush = [&](lsn applied) -> result<void> {
    rows.finish_pass(db, batch_);
    if (applied > at.applied) {
      projector::put_applied(db, shard, applied, at.view_generation, batch_);
    }
    auto written =
        checked(db.raw().Write(rocksdb::WriteOptions{}, &batch_), "writing the projection");
    batch_.Clear();
    rows.end_pass();
    heads.forget_old();
    return written;
  };
  lsn reached = at.applied;
  std::size_t pass_bytes = 0;
  auto visited = visit_blocks(
      db,
      shard,
      at.applied,
      at.last,
      [&](const block_bytes& bytes, lsn first, lsn last) -> result<bool> {
        auto block = rows.reread(db, shard, bytes, first);
        if (!block) return std::unexpected{block.error()};
        auto done = rows.project(db, **block, at.view_generation, batch_);
        if (!done && done.error().code == errc::corruption) {
          // As when it was written: the other shards serve on.
          parts_.shards.quarantine(shard, done.error());
          return false;
        }
        if (!done) return std::unexpected{done.error()};
        reached = last;
        pass_bytes += bytes->size();
        if (pass_bytes < recovery_batch_bytes) return true;
        pass_bytes = 0;
        if (auto flushed = flush(reached); !flushed) return std::unexpected{flushed.error()};
        return true;
      });
  if (!visited) {
    batch_.Clear();
    return std::unexpected{visited.error()};
  }
  if (batch_.Count() != 0 || reached != at.applied) {
    if (auto flushed = flush(reached); !flushed) return std::unexpected{flushed.error()};
  }
  return reached;
}

void journal_writer::fail_group(const error& why) {
  instruments_.failures.Increment();
  log::channel("storage")->error("a group commit failed: {}", why.detail);
  // What is read from now on must be of the store that is opened next, which may have the group.
  parts_.shards.damage_node(being_opened(why));
  group_.abandon();
  const error unknown{
      errc::outcome_unknown,
      fmt::format("it may or may not be on disk ({}). Retry with the same id.", why.detail)};
  for (auto& staged : group_.staged()) {
    answer(staged.append, append_stage::committed, std::unexpected{unknown});
  }
  group_.clear();
  refuse_waiting_of_failed_shards();
}

void journal_writer::refuse_waiting_of_failed_shards() {
  parts_.queue.take(waiting_);
  std::deque<queued_append> kept;
  for (auto& append : waiting_) {
    auto& slot = parts_.shards.slot(append.request.shard);
    bool is_cancelled = false;
    {
      const std::lock_guard guard{slot.mutex};
      is_cancelled = append.request.activation <= slot.failed;
    }
    if (is_cancelled) {
      answer(
          append,
          append_stage::committed,
          fail(errc::cancelled, "an earlier append of this shard failed"));
    } else {
      kept.push_back(std::move(append));
    }
  }
  waiting_ = std::move(kept);
}

void journal_writer::refuse_all_waiting(const error& why) {
  for (auto& append : std::exchange(waiting_, {})) {
    auto& slot = parts_.shards.slot(append.request.shard);
    error answer_with = why;
    {
      const std::lock_guard guard{slot.mutex};
      if (append.request.activation <= slot.failed) {
        answer_with = {errc::cancelled, "an earlier append of this shard failed"};
      } else if (append.request.activation == slot.activation) {
        fail_activation(slot);
      }
    }
    answer(append, append_stage::committed, std::unexpected{answer_with});
  }
}

void journal_writer::reopen(const error& why) {
  if (why.code == errc::corruption) {
    // Nothing gets better by opening damaged files again; what is sound stays readable.
    parts_.shards.damage_node(why);
    return;
  }
  log::channel("storage")->warn("opening the store again after: {}", why.detail);
  parts_.shards.damage_node(being_opened(why));
  projection_.reset();
  batch_.Clear();
  heads_.clear();
  blocks_when_forgotten_ = 0;
  cached_.clear();
  cached_bytes_ = 0;
  mark_.reset();
  parts_.shards.close_database();
  auto delay = reopen_delay_min;
  while (!stopping_) {
    refuse_waiting_of_failed_shards();
    auto opened = open_database();
    if (opened) {
      projection_.resume();
      static_cast<void>(background_->take());
      parts_.shards.clear_node_damage();
      log::channel("storage")->info("the store is open again");
      return;
    }
    if (opened.error().code == errc::corruption) {
      parts_.shards.damage_node(opened.error());
      return;
    }
    parts_.shards.damage_node(opened.error());
    if (opened.error().code == errc::storage_full) {
      logs_->give_up_spares();
      parts_.space.give_up_ballast();
    }
    // It is not over soon, so nobody is left waiting. Nothing of theirs was written.
    parts_.queue.take(waiting_);
    refuse_all_waiting(refusal_for(opened.error()));
    for (auto slept = std::chrono::milliseconds{0}; slept < delay && !stopping_; slept += nap) {
      std::this_thread::sleep_for(nap);
    }
    delay = std::min(delay * 2, reopen_delay_max);
  }
}

result<void> journal_writer::open_database() {
  auto mark = read_mark(*files_, parts_.paths.mark.string(), parts_.shards.shard_count());
  if (!mark) return std::unexpected{mark.error()};
  // What this process knows to be fsynced counts, also where the mark's own write failed.
  mark->lsns = durable_;
  auto opened = open_store(parts_.paths, *mark, db_options_);
  if (!opened) return std::unexpected{opened.error()};
  for (std::uint32_t i = 0; i < parts_.shards.shard_count(); ++i) {
    auto loaded = load_shard(**opened, shard_id{i});
    if (!loaded) return std::unexpected{loaded.error()};
  }
  auto writer = mark_writer::open(*files_, parts_.paths.mark.string(), *mark);
  if (!writer) return std::unexpected{writer.error()};
  mark_ = std::move(*writer);
  {
    // Whatever asked for it meanwhile has got it.
    const std::lock_guard guard{requests_mutex_};
    reopen_request_.reset();
  }
  parts_.shards.install(std::move(*opened));
  return {};
}

}  // namespace callboard::storage
