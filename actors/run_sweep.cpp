#include "actors/run_sweep.hpp"

#include "actors/group_reads.hpp"
#include "actors/requests.hpp"
#include "actors/router.hpp"
#include "actors/run_reads.hpp"
#include "actors/stuck_runs.hpp"
#include "actors/topic_loading.hpp"
#include "base/log.hpp"
#include "runtime/workflow/recorded_builds.hpp"
#include "runtime/workflow/run_codec.hpp"
#include "runtime/workflow/workflow_registry.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <iterator>
#include <utility>

namespace callboard::actors {

namespace {

/// `tenant/id` of a `workflow_key`.
std::string in_words(std::string key) {
  std::ranges::replace(key, '\0', '/');
  return key;
}

/// Of one look at least, also where there are few runs.
constexpr std::size_t checks_min = 20;
constexpr std::size_t reads_min = 200;
/// And at most: laps over more take longer.
constexpr std::size_t looks_at_max = 4000;
/// Runs that are asked at once: most are in memory, but each may have to be read for it.
constexpr std::size_t asked_at_once_max = 20;

/// Keeps the first `most`.
template <class Value>
void keep_first(
    std::map<std::string, Value>& kept, const std::string& key, Value value, std::size_t most) {
  kept.emplace(key, std::move(value));
  if (kept.size() > most) kept.erase(std::prev(kept.end()));
}

void add_to(run_page& page, const run_place& from, const std::string& key) {
  ++page.count;
  if (from.most == 0 || key <= from.after) return;
  if (page.runs.size() == from.most && key > page.runs.rbegin()->first) return;
  if (auto channel = runtime::channel_of_key(key)) {
    keep_first(page.runs, key, *std::move(channel), from.most);
  }
}

/// So many of `count` in a look that a lap takes `looks_per_lap`.
std::size_t share_of(std::size_t count, std::size_t least) {
  return std::clamp((count + looks_per_lap - 1) / looks_per_lap, least, looks_at_max);
}

/// Its code may not fit any more.
bool is_of_other_build(const run_image& run, const runtime::workflow_registry& code) {
  if (!run.row || run.row->ended) return false;
  runtime::recorded_builds recorded;
  for (const auto& event : run.history)
    recorded.take(event);
  return recorded.latest() != code.build_of(run.row->type, run.row->version);
}

bool is_expired(const runtime::workflow_row& row, const std::optional<time_ms>& cutoff) {
  if (!cutoff || !row.ended || *row.ended >= *cutoff) return false;
  return !row.needs_wake || *row.ended < *cutoff - owing_kept_max;
}

/// Its last events would never be handed on. Groups that cannot be read may be behind, too.
bool has_listeners(
    storage::shard_reader& reader,
    const topic_ref& channel,
    const runtime::workflow_row& row,
    time_ms cutoff) {
  if (*row.ended < cutoff - owing_kept_max) return false;
  const auto awaited = is_awaited(reader, channel);
  if (awaited) return *awaited;
  log::channel("actors")->warn(
      "groups of {} cannot be read: {}", channel.topic.str(), awaited.error().detail);
  return true;
}

run_census::counts counted_as(
    storage::shard_reader& reader,
    const topic_ref& channel,
    const runtime::workflow_registry* code) {
  run_census::counts one{};
  const auto row = read_workflow_row(reader, channel);
  if (row && *row) run_census::add(one, **row, stuck_because(**row, code).has_value());
  return one;
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
      if (channel && !has_listeners(reader, *channel, row, *order.cutoff)) {
        found.expired.push_back(*std::move(channel));
      }
      return;
    }
    const auto by_row = stuck_because(row, order.code);
    run_census::add(found.counts, row, by_row.has_value());
    if (auto why = stuck_because(key, row, order.code, order.known)) {
      ++found.stuck_count;
      keep_first(found.stuck, key, std::move(*why), stuck_named_max);
    }
    if (by_row) {
      if (by_row->code != "no_code") add_to(found.blocked, order.blocked, key);
    } else if (row.needs_wake || !row.accepted.empty()) {
      add_to(found.working, order.working, key);
    } else {
      add_to(found.parked, order.parked, key);
    }
  });
  if (!visited) return std::unexpected{visited.error()};
  return found;
}

struct run_sweep::seen {
  explicit seen(prometheus::Gauge& gauge) : count{gauge} {}

  prometheus::Gauge& count;
  /// By one look at a time, like all below that is not atomic. The names of those that were logged.
  std::map<std::string, failure> stuck;
  std::size_t stuck_count = 0;
  std::atomic<bool> is_looking{false};
  /// More are past their retention than one look deletes.
  std::atomic<bool> is_behind{false};
  run_place working{{}, checks_min};
  /// One lap: what is recorded from now on, this process can read.
  run_place parked{{}, reads_min};
  /// One lap: they are woken because their code may fit, which does not change.
  run_place blocked{{}, checks_min};

  /// `is_whole`: not only for those that are past their retention.
  void look(const broker_parts& parts, shard_id shard, const caf::actor& self, bool is_whole);

  /// Asks some of those that a look has left to be asked; false if there are more. What the shard
  /// has no room for now is asked later.
  [[nodiscard]] bool ask_some(const broker_parts& parts, const caf::actor& self);

private:
  void take_pages(const broker_parts& parts, shard_id shard, sweep_found& found);
  void count_stuck(sweep_found& found);
  void read_histories(const broker_parts& parts, shard_id shard, const run_page& found);
  /// True if these were the last of the lap.
  bool have_asked(run_place& place, run_page& page);

  std::deque<topic_ref> to_ask_;
};

run_sweep::run_sweep(const broker_parts& parts, shard_id shard)
    : parts_{parts},
      shard_{shard},
      seen_{std::make_shared<seen>(parts.counters.gauge(
          "workflows_stuck",
          "Workflows that nothing would wake: blocked, without code, unreadable, or waiting for "
          "what is not there."))} {}

void run_sweep::look(const caf::actor& self) {
  if (parts_.workflows == nullptr || seen_->is_looking) return;
  const bool has_asked = seen_->ask_some(parts_, self);
  const auto now = parts_.time.boot();
  const bool is_whole = has_asked && now >= next_;
  if ((!is_whole && !seen_->is_behind) || seen_->is_looking.exchange(true)) return;
  if (is_whole) next_ = now + std::chrono::milliseconds{parts_.settings.workflows.sweep_ms};
  auto posted = parts_.readers.post(
      reader_pool::lane::reads, [&parts = parts_, shard = shard_, seen = seen_, self, is_whole] {
        seen->look(parts, shard, self, is_whole);
        seen->is_looking = false;
      });
  if (!posted) seen_->is_looking = false;
}

void run_sweep::seen::look(
    const broker_parts& parts, shard_id shard, const caf::actor& self, bool is_whole) {
  is_behind = false;
  const std::chrono::seconds kept{parts.settings.workflows.retention_s};
  sweep_order order{parts.workflows, *parts.stuck, {}};
  if (is_whole) {
    order.blocked = blocked;
    order.working = working;
    order.parked = parked;
  }
  if (kept.count() != 0) order.cutoff = parts.journal.shard_time(shard) - kept;
  if (parts.census != nullptr) parts.census->begin_count(shard);
  const auto find = [&]() -> result<sweep_found> {
    auto reader = parts.journal.read(shard);
    if (!reader) return std::unexpected{reader.error()};
    auto looked = look_through(**reader, order);
    if (looked && parts.census != nullptr) {
      parts.census->end_count(shard, looked->counts, [&](const topic_ref& channel) {
        return counted_as(**reader, channel, parts.workflows);
      });
    }
    return looked;
  };
  auto found = find();
  if (!found) {
    if (parts.census != nullptr) parts.census->give_up_count(shard);
    log::channel("actors")->warn(
        "workflows of shard {} cannot be looked through: {}", shard.raw(), found.error().detail);
    return;
  }
  if (is_whole) take_pages(parts, shard, *found);
  count_stuck(*found);
  for (auto& channel : found->expired) {
    // The next look finds what was refused.
    (void)parts.router->control(
        {correlation_id{}, delete_topic{std::move(channel), order.cutoff}}, self);
  }
  is_behind = found->expired.size() == expired_max;
}

void run_sweep::seen::take_pages(const broker_parts& parts, shard_id shard, sweep_found& found) {
  if (parked.most != 0) read_histories(parts, shard, found.parked);
  if (have_asked(working, found.working)) working.after.clear();
  working.most = share_of(found.working.count, checks_min);
  if (blocked.most == 0) return;
  const bool was_last = have_asked(blocked, found.blocked);
  blocked.most = was_last ? 0 : share_of(found.blocked.count, checks_min);
}

void run_sweep::seen::count_stuck(sweep_found& found) {
  for (const auto& [key, why] : found.stuck) {
    if (stuck.contains(key)) continue;
    log::channel("actors")->warn(
        "workflow {} is stuck: {}: {}", in_words(key), why.code, why.message);
  }
  if (found.stuck_count > found.stuck.size() && found.stuck_count > stuck_count) {
    log::channel("actors")->warn(
        "{} workflows are stuck; the log names the first {}", found.stuck_count, stuck_named_max);
  }
  count.Increment(static_cast<double>(found.stuck_count) - static_cast<double>(stuck_count));
  stuck = std::move(found.stuck);
  stuck_count = found.stuck_count;
}

/// Loading notes what it cannot read. Those that work were loaded when the shard began; those that
/// another build has recorded are replayed now, in their actors.
void run_sweep::seen::read_histories(
    const broker_parts& parts, shard_id shard, const run_page& found) {
  for (const auto& [key, channel] : found.runs) {
    const auto loaded = load_topic(parts, shard, channel, load_purpose::look);
    if (loaded && loaded->run && is_of_other_build(*loaded->run, *parts.workflows)) {
      to_ask_.push_back(channel);
    }
    parked.after = key;
  }
  const bool was_last = found.runs.size() < parked.most;
  parked.most = was_last ? 0 : share_of(found.count, reads_min);
}

bool run_sweep::seen::have_asked(run_place& place, run_page& page) {
  const bool was_last = page.runs.size() < place.most;
  if (!page.runs.empty()) place.after = page.runs.rbegin()->first;
  for (auto& [key, channel] : page.runs)
    to_ask_.push_back(std::move(channel));
  return was_last;
}

bool run_sweep::seen::ask_some(const broker_parts& parts, const caf::actor& self) {
  for (std::size_t n = 0; n < asked_at_once_max && !to_ask_.empty(); ++n) {
    if (!parts.router->control({correlation_id{}, check_run{to_ask_.front()}}, self)) return false;
    to_ask_.pop_front();
  }
  return to_ask_.empty();
}

}  // namespace callboard::actors
