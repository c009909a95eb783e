// What people do to a run that went wrong without beginning it anew: end a command by hand; and
// what its record says of the builds that worked on it.
#include "actors/run_host.hpp"
#include "base/build_id.hpp"
#include "runtime/workflow/json_values.hpp"
#include "runtime/workflow/run_codec.hpp"
#include "runtime/workflow/workflow_registry.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

namespace callboard::actors {

using boost::json::object;
using runtime::run_event;
using runtime::run_event_kind;

// -- commands that are ended by hand -------------------------------------------------------------

void run_host::on_resolve(const resolve_command& ask, waiter from) {
  from.what = waiter::ask::resolve;
  from.command = ask.command;
  auto with = runtime::value_of("what the command ends with", ask.with);
  if (!with) return answer(from, std::unexpected{with.error()});
  input next;
  next.run = shown_->run;
  next.event.command = ask.command;
  next.event.by_hand = object{{"how", ask.how}, {"who", ask.who}, {"reason", ask.reason}};
  if (ask.failed) {
    next.event.kind = run_event_kind::failed;
    next.event.why = runtime::read_failure(*with);
  } else {
    next.event.kind = run_event_kind::completed;
    next.event.data = *std::move(with);
  }
  next.waiters.push_back(std::move(from));
  offer(std::move(next));
}

void run_host::answer_not_open(const waiter& to) {
  const auto step = steps_.find(to.command);
  const auto* code = engine_ || shown_->ended ? "" : " (no node has its code, so nobody knows)";
  answer(
      to,
      fail(
          errc::wrong_kind,
          fmt::format(
              "command {} of workflow '{}' is not open: {}{}; `workflow explain` lists those that "
              "are",
              to.command,
              id(),
              step == steps_.end() ? std::string{"there is no such command"}
                                   : "it is " + step->second.status,
              code)));
}

// -- builds --------------------------------------------------------------------------------------

/// Of the module that has the class, or of this program.
const std::string& run_host::build_of(const run_identity& what) const {
  return parts_.workflows == nullptr ? build_id()
                                     : parts_.workflows->build_of(what.type, what.version);
}

/// A run that another build goes on with says so, once, with the first thing it does. One without
/// code that fits does not go on: who recorded it last stays known.
void run_host::note_build(time_ms when) {
  // What is copied says it itself.
  if (!row_ || !start_ || !anew_.empty()) return;
  auto first = engine_ ? engine_->commands() + 1 : 1;
  for (const auto& [event, run] : batch_) {
    if (run != row_->run) continue;
    if (event.kind == run_event_kind::started) builds_.take(event);
    if (event.kind == run_event_kind::issued) first = std::min(first, event.command);
  }
  const auto& build = build_of(start_->identity);
  if (row_->ended || builds_.latest() == build) return;
  if (!engine_ || engine_->blocked()) return;
  auto changed = runtime::make_build_changed(build, first);
  changed.time = when;
  builds_.take(changed);
  batch_.push_back({std::move(changed), row_->run});
}

std::uint64_t run_host::incarnation() const {
  return start_->incarnation != 0 ? start_->incarnation : start_->seed;
}

}  // namespace callboard::actors
