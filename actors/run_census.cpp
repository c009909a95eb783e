#include "actors/run_census.hpp"

#include "runtime/workflow/agent_names.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

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

void add_to(run_census::counts& to, const run_census::counts& more, std::int64_t sign) {
  for (std::size_t i = 0; i < to.size(); ++i)
    to[i] += sign * more[i];
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
    shard_id shard,
    const topic_ref& channel,
    const runtime::workflow_row* before,
    const runtime::workflow_row* after) {
  counts change{};
  counts now{};
  if (before != nullptr) add(change, *before, false, -1);
  if (after != nullptr) add(now, *after, false);
  add_to(change, now, 1);
  const std::lock_guard guard{mutex_};
  auto& here = shards_[shard.raw()];
  if (here.is_being_counted) here.moved_meanwhile[channel] = now;
  if (change == counts{}) return;
  add_to(here.moved, change, 1);
  if (here.is_counted) report(change, 1);
}

void run_census::begin_count(shard_id shard) {
  const std::lock_guard guard{mutex_};
  auto& here = shards_[shard.raw()];
  here.is_being_counted = true;
  here.moved_meanwhile.clear();
}

void run_census::end_count(shard_id shard, const counts& rows, const count_of& seen) {
  auto& here = shards_[shard.raw()];
  std::map<topic_ref, counts> looked_at;
  for (;;) {
    std::vector<topic_ref> others;
    {
      const std::lock_guard guard{mutex_};
      for (const auto& [channel, now] : here.moved_meanwhile) {
        if (!looked_at.contains(channel)) others.push_back(channel);
      }
      if (others.empty()) {
        auto base = rows;
        for (const auto& [channel, now] : std::exchange(here.moved_meanwhile, {})) {
          add_to(base, looked_at.at(channel), -1);
          add_to(base, now, 1);
        }
        add_to(base, here.moved, -1);
        report(here.is_counted ? here.base : here.moved, here.is_counted ? -1 : 1);
        here.base = base;
        here.is_counted = true;
        here.is_being_counted = false;
        return report(here.base, 1);
      }
    }
    for (auto& channel : others) {
      auto was = seen(channel);
      looked_at.emplace(std::move(channel), was);
    }
  }
}

void run_census::give_up_count(shard_id shard) {
  const std::lock_guard guard{mutex_};
  auto& here = shards_[shard.raw()];
  here.is_being_counted = false;
  here.moved_meanwhile.clear();
}

void run_census::report(const counts& change, std::int64_t sign) {
  for (std::size_t i = 0; i < change.size(); ++i) {
    if (change[i] != 0) gauges_[i]->Increment(static_cast<double>(sign * change[i]));
  }
}

void count_moved(
    const broker_parts& parts,
    shard_id shard,
    const topic_ref& channel,
    const std::optional<runtime::workflow_row>& before,
    const std::optional<runtime::workflow_row>& after) {
  if (parts.census == nullptr) return;
  parts.census->moved(shard, channel, before ? &*before : nullptr, after ? &*after : nullptr);
}

}  // namespace callboard::actors
