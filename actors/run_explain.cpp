// Why a run is where it is: what it waits for, since when, and what will wake it.
#include "actors/run_host.hpp"
#include "runtime/workflow/json_values.hpp"
#include "runtime/workflow/run_codec.hpp"

#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <string>

namespace callboard::actors {

namespace {

using boost::json::object;

std::string in_words(const std::string& kind, const std::string& name) {
  if (kind == "step") return fmt::format("the step '{}' to end", name);
  if (kind == "sleep") return "its timer";
  if (kind == "signal") return fmt::format("the signal '{}'", name);
  if (kind == "publish") return fmt::format("its event to be on disk in topic '{}'", name);
  if (kind == "update") return "its update to be on disk in the topic that mirrors it";
  if (kind == "child") return fmt::format("its child of type '{}' to end", name);
  if (kind == "call") return fmt::format("the reply of agent '{}'", name);
  if (kind == "model") return fmt::format("a model's answer to '{}'", name);
  if (kind == "task") return fmt::format("the task in queue '{}' to end", name);
  return fmt::format("the {} '{}'", kind, name);
}

}  // namespace

workflow_answer run_host::explain() const {
  object out{
      {"id", id()},
      {"status", name_of(shown_->status)},
      {"since_ms", runtime::shown_ms(changed_)},
      {"summary", summary()},
      {"history_size", shown_->last_seq.raw() - shown_->first_seq.raw() + 1},
      {"inputs_waiting", inputs_.size()},
      {"steps_running_here", steps_running_ + async_steps_running_}};
  if (replay_took_) out["replay_ms"] = replay_took_->count();
  if (shown_->why) out["last_error"] = runtime::describe_failure(*shown_->why);
  boost::json::array waiting;
  for (const auto& [command, step] : steps_) {
    if (shown_->ended || (step.status != "running" && step.status != "retrying")) continue;
    object one{
        {"command", command},
        {"kind", step.kind},
        {"name", step.name},
        {"status", step.status},
        {"since_ms", runtime::shown_ms(step.started)},
        {"for", in_words(step.kind, step.name)}};
    if (step.attempts != 0) one["attempts"] = step.attempts;
    if (step.due) one["due_ms"] = runtime::shown_ms(*step.due);
    if (step.why) one["error"] = runtime::describe_failure(*step.why);
    waiting.push_back(std::move(one));
  }
  out["waiting_for"] = std::move(waiting);
  if (const auto next = next_timer(); next && !shown_->ended)
    out["next_wake_ms"] = runtime::shown_ms(*next);
  return {.body = boost::json::serialize(out)};
}

std::string run_host::summary() const {
  const auto& row = *shown_;
  if (row.ended) {
    if (!row.why) return fmt::format("it has ended as {}", name_of(row.status));
    return fmt::format(
        "it has ended as {}: {}: {}", name_of(row.status), row.why->code, row.why->message);
  }
  if (row.status == runtime::run_status::blocked && row.why) {
    return fmt::format(
        "its code does not fit its history, so nothing of it runs: {}: {}",
        row.why->code,
        row.why->message);
  }
  if (is_replaying_) return "its history is being replayed";
  if (is_busy_) return "its code is at work, or what it did is on its way to the disk";
  std::string waits;
  std::size_t count = 0;
  for (const auto& [command, step] : steps_) {
    if (step.status != "running" && step.status != "retrying") continue;
    if (++count > 3) continue;
    if (!waits.empty()) waits += " and ";
    waits += in_words(step.kind, step.name);
    if (step.status == "retrying" && step.why) {
      waits += fmt::format(
          " (attempt {} comes next; the last one failed: {}: {})",
          step.attempts,
          step.why->code,
          step.why->message);
    }
  }
  if (count == 0) return "nothing would ever wake it: it awaits no command";
  if (count > 3) waits += fmt::format(" and {} more", count - 3);
  return "it waits for " + waits;
}

}  // namespace callboard::actors
