#include "actors/run_census.hpp"

#include "runtime/workflow/agent_names.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace callboard::actors {

namespace {

constexpr std::array<std::string_view, 3> states{"running", "waiting", "blocked"};
constexpr std::array<std::string_view, 2> kinds{"workflow", "agent"};

/// Nothing for one that has ended.
std::optional<std::size_t> place_of(const runtime::workflow_row& row, bool is_blocked) {
  if (row.ended) return std::nullopt;
  std::size_t state = row.needs_wake ? 0 : 1;
  if (is_blocked || row.status == runtime::run_status::blocked) state = 2;
  return (runtime::is_agent_type(row.type) ? states.size() : 0) + state;
}

}  // namespace

run_census::run_census(metrics& counters, std::uint32_t shard_count) : shards_(shard_count) {
  for (std::size_t i = 0; i < gauges_.size(); ++i) {
    gauges_[i] = &counters.gauge(
        "workflow_runs",
        "Runs that have not ended, by what they do: running (a step, a model or an agent is at "
        "work), "
        "waiting (for a signal, a message, a time, a child or a task), or blocked.",
        {{"kind", std::string{kinds[i / states.size()]}},
         {"state", std::string{states[i % states.size()]}}});
  }
}

run_census::~run_census() {
  for (const auto& one : shards_) {
    if (!one.is_counted) continue;
    report(one.base, -1);
    report(one.moved, -1);
  }
}

void run_census::add(
    counts& to, const runtime::workflow_row& row, bool is_blocked, std::int64_t by) {
  if (const auto place = place_of(row, is_blocked)) to[*place] += by;
}

void run_census::moved(
    shard_id shard, const runtime::workflow_row* before, const runtime::workflow_row& after) {
  counts change{};
  if (before != nullptr) add(change, *before, false, -1);
  add(change, after, false);
  if (change == counts{}) return;
  const std::lock_guard guard{mutex_};
  auto& here = shards_[shard.raw()];
  for (std::size_t i = 0; i < change.size(); ++i)
    here.moved[i] += change[i];
  if (here.is_counted) report(change, 1);
}

run_census::counts run_census::moved_so_far(shard_id shard) const {
  const std::lock_guard guard{mutex_};
  return shards_[shard.raw()].moved;
}

void run_census::counted(shard_id shard, const counts& rows, const counts& mark) {
  const std::lock_guard guard{mutex_};
  auto& here = shards_[shard.raw()];
  if (here.is_counted) {
    report(here.base, -1);
  } else {
    report(here.moved, 1);
  }
  for (std::size_t i = 0; i < rows.size(); ++i)
    here.base[i] = rows[i] - mark[i];
  here.is_counted = true;
  report(here.base, 1);
}

void run_census::report(const counts& change, std::int64_t sign) {
  for (std::size_t i = 0; i < change.size(); ++i) {
    if (change[i] != 0) gauges_[i]->Increment(static_cast<double>(sign * change[i]));
  }
}

void count_moved(
    const broker_parts& parts,
    shard_id shard,
    const std::optional<runtime::workflow_row>& before,
    const runtime::workflow_row& after) {
  if (parts.census == nullptr) return;
  parts.census->moved(shard, before ? &*before : nullptr, after);
}

}  // namespace callboard::actors
