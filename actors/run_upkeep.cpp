// Whether what a run waits for elsewhere is still there: asked by the sweep, so that no run waits
// for what nobody will ever tell it.
#include "actors/run_host.hpp"
#include "actors/run_waits.hpp"
#include "actors/stuck_runs.hpp"
#include "actors/wait_cycle.hpp"
#include "base/log.hpp"
#include "runtime/workflow/agent_names.hpp"
#include "runtime/workflow/json_values.hpp"

#include <caf/send.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace callboard::actors {

namespace {

using runtime::text_at;

/// Of one check; more are looked at when these have ended.
constexpr std::size_t looks_max = 200;

failure missing(const seen_wait& seen) {
  const bool is_child = seen.shown.contains("child");
  return {
      failure_class::bug,
      is_child ? "child_missing" : "task_missing",
      fmt::format(
          "command {} waits for {}, so nothing would tell of its end: end it by hand (`workflow "
          "resolve` or `skip`), or restart the run from there",
          seen.command,
          seen.words)};
}

}  // namespace

std::string run_host::key() const {
  return runtime::workflow_key(channel_.tenant, id());
}

bool run_host::is_on_its_way(std::uint32_t command) const {
  if (std::ranges::any_of(asked_, [&](const auto& ask) { return ask.second == command; })) {
    return true;
  }
  return !accepted_.contains(command);
}

/// Whoever waits for its own child, which nobody else waits for, is told of a cycle by those that
/// are below it.
std::vector<topic_ref> run_host::waits_alone_for() const {
  const auto young = now() - std::chrono::milliseconds{limits().sweep_ms};
  std::vector<topic_ref> all;
  bool may_be_in_cycle = false;
  for (const auto& [command, one] : engine_->open()) {
    if (all.size() == cycle_runs_max || one.due || issued_at(command) > young) return {};
    const auto& arguments = one.request.arguments;
    if (one.request.kind == command_kind::call) {
      auto agent = runtime::agent_channel(text_at(arguments, "type"), text_at(arguments, "key"));
      if (!agent) return {};
      may_be_in_cycle = true;
      all.push_back({channel_.tenant, *std::move(agent)});
    } else if (one.request.kind == command_kind::child) {
      const auto child = child_id(command, arguments);
      auto topic = topic_name::parse(std::string{runtime::channel_prefix} + child);
      if (!topic) return {};
      const auto known = parts_.stuck == nullptr
                             ? std::nullopt
                             : parts_.stuck->find(runtime::workflow_key(channel_.tenant, child));
      may_be_in_cycle |= borrowed_.contains(command) || !accepted_.contains(command)
                         || (known && known->code == wait_cycle_code);
      all.push_back({channel_.tenant, *std::move(topic)});
    } else {
      return {};
    }
  }
  return may_be_in_cycle ? all : std::vector<topic_ref>{};
}

/// Of those that are on their way the answer tells.
void run_host::on_check(bool is_replied) {
  if (is_retired_ || is_dead_) return;
  if (is_busy_) {
    is_check_wanted_ |= is_replaying_ || is_replied;
    is_check_replied_ |= is_replied;
    return;
  }
  ask_for_replies(is_replied);
  if (is_checking_ || is_busy_ || !engine_ || engine_->blocked() || row_->ended) return;
  // Told where it is turned away.
  if (lacks_type()) return;
  auto waits = waits_elsewhere(looks_max);
  const auto young = now() - std::chrono::milliseconds{limits().sweep_ms};
  std::erase_if(waits, [&](const awaited& one) {
    return one.agent || is_on_its_way(one.command) || issued_at(one.command) > young;
  });
  auto alone = waits_alone_for();
  if (waits.empty() && alone.empty()) return note_stuck(std::nullopt);
  auto posted = parts_.readers.post(
      reader_pool::lane::reads,
      [this,
       run = row_->run,
       last = row_->last_seq,
       self = home_.run_handle(),
       &journal = parts_.journal,
       channel = channel_,
       age = std::chrono::milliseconds{limits().sweep_ms},
       alone = std::move(alone),
       waits = std::move(waits)] {
        std::vector<seen_wait> seen;
        for (const auto& one : waits)
          seen.push_back(look_at(journal, one));
        auto cycle = find_wait_cycle(journal, channel, alone, age);
        caf::anon_send(
            self,
            box(run_continuation{
                [this, run, last, seen = std::move(seen), cycle = std::move(cycle)] {
                  // What was recorded meanwhile may be that it goes on.
                  const bool holds = row_ && row_->last_seq == last;
                  on_checked(run, seen, holds ? cycle : std::nullopt);
                }}));
      });
  is_checking_ = posted.has_value();
}

void run_host::check_if_wanted() {
  if (is_busy_ || !std::exchange(is_check_wanted_, false)) return;
  on_check(std::exchange(is_check_replied_, false));
}

void run_host::on_checked(
    std::uint32_t run, const std::vector<seen_wait>& all, std::optional<failure> cycle) {
  is_checking_ = false;
  // It went on meanwhile; the next check sees.
  if (is_dead_ || is_retired_ || is_busy_ || !engine_ || row_->run != run) return;
  std::optional<failure> stuck;
  std::vector<std::uint32_t> lost_queues;
  for (const auto& seen : all) {
    if (!engine_->open().contains(seen.command) || is_on_its_way(seen.command)) continue;
    if (seen.state == wait_state::missing) {
      if (!stuck) stuck = missing(seen);
    } else if (seen.state == wait_state::queue_missing) {
      lost_queues.push_back(seen.command);
    } else if (seen.state == wait_state::ended && seen.shown.contains("child")) {
      log::channel("actors")->info(
          "workflow {}: command {} asks again how its child ended", id(), seen.command);
      await_child(seen.command);
    }
  }
  note_stuck(stuck ? std::move(stuck) : std::move(cycle));
  for (const auto command : lost_queues)
    fail_for_queue(command);
}

void run_host::note_stuck(std::optional<failure> why) {
  if (parts_.stuck == nullptr) return;
  const bool was_noted = std::exchange(is_noted_stuck_, why.has_value());
  if (why) {
    parts_.stuck->note(key(), *std::move(why));
  } else if (was_noted || parts_.stuck->find(key())) {
    parts_.stuck->clear(key());
  }
}

}  // namespace callboard::actors
