#include "actors/run_sweep.hpp"

#include "actors/requests.hpp"
#include "actors/router.hpp"
#include "actors/run_reads.hpp"
#include "actors/stuck_runs.hpp"
#include "actors/topic_loading.hpp"
#include "base/log.hpp"
#include "runtime/workflow/run_codec.hpp"
#include "runtime/workflow/workflow_registry.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <iterator>
#include <set>
#include <utility>

namespace callboard::actors {

namespace {

/// `tenant/id` of a `workflow_key`.
std::string in_words(std::string key) {
  std::ranges::replace(key, '\0', '/');
  return key;
}

/// Keeps the first `most` behind `after`.
void keep_first(
    std::map<std::string, topic_ref>& kept,
    const std::string& after,
    const std::string& key,
    std::size_t most) {
  if (key <= after || (kept.size() == most && key > kept.rbegin()->first)) return;
  auto channel = runtime::channel_of_key(key);
  if (!channel) return;
  kept.emplace(key, *std::move(channel));
  if (kept.size() > most) kept.erase(std::prev(kept.end()));
}

/// Its code may not fit any more.
bool is_of_other_build(const run_image& run, const runtime::workflow_registry& code) {
  if (!run.row || run.row->ended) return false;
  std::string recorded;
  for (const auto& event : run.history) {
    if (auto build = runtime::build_in(event)) recorded = *std::move(build);
  }
  return recorded != code.build_of(run.row->type, run.row->version);
}

bool is_expired(const runtime::workflow_row& row, const std::optional<time_ms>& cutoff) {
  if (!cutoff || !row.ended || *row.ended >= *cutoff) return false;
  return !row.needs_wake || *row.ended < *cutoff - owing_kept_max;
}

}  // namespace

failure unreadable_history(std::string_view detail) {
  return {
      failure_class::bug,
      std::string{unreadable_code},
      fmt::format(
          "its history cannot be read: {}; look at it with `callboard journal verify`, or start "
          "another workflow in its place",
          detail)};
}

std::optional<failure>
stuck_because(const runtime::workflow_row& row, const runtime::workflow_registry* code) {
  if (row.ended) return std::nullopt;
  if (code == nullptr || code->find(row.type, row.version) == nullptr) {
    return failure{
        failure_class::bug,
        "no_code",
        fmt::format("no node has workflow '{}' version {}", row.type, row.version)};
  }
  if (row.status != runtime::run_status::blocked) return std::nullopt;
  return row.why.value_or(
      failure{failure_class::bug, "blocked", "its code does not fit its history"});
}

std::optional<failure> stuck_because(
    const std::string& key,
    const runtime::workflow_row& row,
    const runtime::workflow_registry* code,
    const stuck_runs& known) {
  if (row.ended) return std::nullopt;
  if (auto found = known.find(key)) return found;
  return stuck_because(row, code);
}

result<sweep_found> look_through(storage::shard_reader& reader, const sweep_order& order) {
  sweep_found found;
  auto visited = visit_workflow_rows(reader, [&](const std::string& key, const auto& row) {
    if (row.ended) {
      order.known.clear(key);
      auto channel = is_expired(row, order.cutoff) && found.expired.size() < expired_max
                         ? runtime::channel_of_key(key)
                         : std::nullopt;
      if (channel) found.expired.push_back(*std::move(channel));
      return;
    }
    const auto by_row = stuck_because(row, order.code);
    if (auto why = stuck_because(key, row, order.code, order.known)) {
      found.stuck.emplace(key, std::move(*why));
    }
    if (by_row) {
      auto channel = by_row->code == "no_code" ? std::nullopt : runtime::channel_of_key(key);
      if (channel) found.blocked.emplace(key, *std::move(channel));
    } else if (row.needs_wake || !row.accepted.empty()) {
      keep_first(found.working, order.working_after, key, checks_max);
    } else {
      keep_first(found.parked, order.parked_after, key, reads_max);
    }
  });
  if (!visited) return std::unexpected{visited.error()};
  return found;
}

struct run_sweep::seen {
  explicit seen(prometheus::Gauge& gauge) : count{gauge} {}

  prometheus::Gauge& count;
  /// By one look at a time, like all below that is not atomic.
  std::map<std::string, failure> stuck;
  std::atomic<bool> is_looking{false};
  /// More are past their retention than one look deletes.
  std::atomic<bool> is_behind{false};
  std::string working_after;
  std::string parked_after;
  /// What is recorded from now on, this process can read.
  bool has_read_all = false;
  /// Those that were woken because their code may fit: once, as it does not change.
  std::set<std::string> tried;

  void look(const broker_parts& parts, shard_id shard, const caf::actor& self);

private:
  void count_stuck(std::map<std::string, failure> found);
  void read_histories(
      const broker_parts& parts, shard_id shard, const sweep_found& found, const caf::actor& self);
  void have_checked(const broker_parts& parts, const sweep_found& found, const caf::actor& self);
};

run_sweep::run_sweep(const broker_parts& parts, shard_id shard)
    : parts_{parts},
      shard_{shard},
      seen_{std::make_shared<seen>(parts.counters.gauge(
          "workflows_stuck",
          "Workflows that nothing would wake: blocked, without code, unreadable, or waiting for "
          "what is not there."))} {}

void run_sweep::look(const caf::actor& self) {
  const auto now = parts_.time.boot();
  if (parts_.workflows == nullptr || (now < next_ && !seen_->is_behind)
      || seen_->is_looking.exchange(true)) {
    return;
  }
  next_ = now + std::chrono::milliseconds{parts_.settings.workflows.sweep_ms};
  auto posted = parts_.readers.post(
      reader_pool::lane::reads, [&parts = parts_, shard = shard_, seen = seen_, self] {
        seen->look(parts, shard, self);
        seen->is_looking = false;
      });
  if (!posted) seen_->is_looking = false;
}

void run_sweep::seen::look(const broker_parts& parts, shard_id shard, const caf::actor& self) {
  is_behind = false;
  const std::chrono::seconds kept{parts.settings.workflows.retention_s};
  sweep_order order{parts.workflows, *parts.stuck, {}, working_after, parked_after};
  if (kept.count() != 0) order.cutoff = parts.journal.shard_time(shard) - kept;
  const auto find = [&]() -> result<sweep_found> {
    auto reader = parts.journal.read(shard);
    if (!reader) return std::unexpected{reader.error()};
    return look_through(**reader, order);
  };
  auto found = find();
  if (!found) {
    log::channel("actors")->warn(
        "workflows of shard {} cannot be looked through: {}", shard.raw(), found.error().detail);
    return;
  }
  if (!has_read_all) read_histories(parts, shard, *found, self);
  have_checked(parts, *found, self);
  count_stuck(std::move(found->stuck));
  for (auto& channel : found->expired) {
    // The next look finds what was refused.
    (void)parts.router->control(
        {correlation_id{}, delete_topic{std::move(channel), order.cutoff}}, self);
  }
  is_behind = found->expired.size() == expired_max;
}

void run_sweep::seen::count_stuck(std::map<std::string, failure> found) {
  for (const auto& [key, why] : found) {
    if (stuck.contains(key)) continue;
    log::channel("actors")->warn(
        "workflow {} is stuck: {}: {}", in_words(key), why.code, why.message);
  }
  count.Increment(static_cast<double>(found.size()) - static_cast<double>(stuck.size()));
  stuck = std::move(found);
}

/// Loading notes what it cannot read. Those that work were loaded when the shard began; those that
/// another build has recorded are replayed now, in their actors.
void run_sweep::seen::read_histories(
    const broker_parts& parts, shard_id shard, const sweep_found& found, const caf::actor& self) {
  std::size_t replays = 0;
  for (const auto& [key, channel] : found.parked) {
    const auto loaded = load_topic(parts, shard, channel);
    if (loaded && loaded->run && is_of_other_build(*loaded->run, *parts.workflows)) {
      // Those that work are not to wait for many of these.
      if (++replays > checks_max) return;
      if (!parts.router->control({correlation_id{}, check_run{channel}}, self)) return;
    }
    parked_after = key;
  }
  has_read_all = found.parked.size() < reads_max;
}

void run_sweep::seen::have_checked(
    const broker_parts& parts, const sweep_found& found, const caf::actor& self) {
  const auto check = [&](const topic_ref& channel) {
    return parts.router->control({correlation_id{}, check_run{channel}}, self).has_value();
  };
  for (const auto& [key, channel] : found.working) {
    (void)check(channel);
    working_after = key;
  }
  if (found.working.size() < checks_max) working_after.clear();
  std::size_t woken = 0;
  for (const auto& [key, channel] : found.blocked) {
    if (woken == checks_max || tried.contains(key)) continue;
    ++woken;
    if (check(channel)) tried.insert(key);
  }
}

}  // namespace callboard::actors
