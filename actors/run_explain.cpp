// Why a run is where it is: what it waits for, since when, who has it, and what will wake it.
#include "actors/agent_activity.hpp"
#include "actors/run_host.hpp"
#include "actors/run_sweep.hpp"
#include "actors/run_waits.hpp"
#include "actors/stuck_runs.hpp"
#include "actors/task_origin.hpp"
#include "base/rfc3339.hpp"
#include "runtime/workflow/agent_names.hpp"
#include "runtime/workflow/json_values.hpp"
#include "runtime/workflow/run_codec.hpp"
#include "runtime/workflow/run_rerun.hpp"

#include <boost/json/serialize.hpp>
#include <caf/send.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace callboard::actors {

namespace {

using boost::json::object;
using runtime::run_status;
using runtime::text_at;

/// A replay, or a transition that is under way, is over soon: then there is more to say.
constexpr auto settling_patience = std::chrono::milliseconds{2000};
constexpr auto settling_pause = std::chrono::milliseconds{10};
/// Children and tasks that are looked at for one answer.
constexpr std::size_t looks_max = 20;
constexpr std::size_t named_max = 3;

/// What is told, and whom.
std::pair<std::string_view, std::string_view> words_of(runtime::run_debt::what kind) {
  switch (kind) {
  case runtime::run_debt::what::cancel_child:
    return {"cancel_child", "child"};
  case runtime::run_debt::what::withdraw_task:
    return {"withdraw_task", "queue"};
  case runtime::run_debt::what::tell_end:
    break;
  }
  return {"tell_end", "workflow"};
}

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

const std::map<std::uint32_t, runtime::open_command>& no_commands() {
  static const std::map<std::uint32_t, runtime::open_command> none;
  return none;
}

/// From what is shown of each wait.
std::string waits_in_words(const boost::json::array& waiting) {
  std::string waits;
  std::size_t count = 0;
  for (const auto& shown : waiting) {
    if (++count > named_max) continue;
    const auto& one = shown.as_object();
    if (!waits.empty()) waits += " and ";
    waits += text_at(one, "for");
    if (one.contains("detail")) waits += fmt::format(" ({})", text_at(one, "detail"));
    const auto* why = one.if_contains("error");
    if (why != nullptr) {
      const bool is_made = one.at("status") == "running";
      const auto* deferrals = one.if_contains("deferrals");
      waits += fmt::format(
          " (attempt {} {}; the last one failed: {}: {}{})",
          one.at("attempts").to_number<std::uint32_t>(),
          is_made ? "is made" : "comes next",
          text_at(why->as_object(), "code"),
          text_at(why->as_object(), "message"),
          deferrals == nullptr ? std::string{}
                               : fmt::format(
                                     "; {} asked to come back later, which counts as no attempt",
                                     deferrals->to_number<std::uint32_t>()));
    }
  }
  if (count > named_max) waits += fmt::format(" and {} more", count - named_max);
  return "it waits for " + waits;
}

/// To who carries a command out: how the last one came out, and when the next is made.
void add_request(
    object& out, const clock& time, std::uint32_t number, const std::string& why, boot_time due) {
  const auto next =
      time.wall()
      + std::chrono::ceil<std::chrono::milliseconds>(std::max(due - time.boot(), boot_time{0}));
  out["request"] =
      object{{"number", number}, {"last_error", why}, {"next_ms", runtime::shown_ms(next)}};
  out["detail"] = fmt::format(
      "{}: {}; the next may begin from {} on",
      number == 0 ? "nobody was asked yet" : fmt::format("request {} failed", number),
      why,
      format_time(next));
}

/// Of an agent: which message that is for, and how many wait.
void add_messages(storage::journal& journal, object& out, const topic_ref& agent) {
  auto found = look_at_agent(journal, agent, {});
  if (!found || !*found) return;
  const bool is_busy = (*found)->shown.contains("handling");
  out["agent"] = std::move((*found)->shown);
  if (!is_busy) return;
  out["summary"] = fmt::format("it {}; {}", (*found)->words, text_at(out, "summary"));
}

void add_what_is_seen(storage::journal& journal, object& out, const std::vector<awaited>& looks) {
  auto& waiting = out.at("waiting_for").as_array();
  for (const auto& look : looks) {
    auto seen = look_at(journal, look);
    for (auto& shown : waiting) {
      auto& one = shown.as_object();
      if (one.at("command").to_number<std::uint32_t>() != look.command) continue;
      one["detail"] = std::move(seen.words);
      for (auto& member : seen.shown)
        one.insert_or_assign(member.key(), std::move(member.value()));
    }
  }
  out["summary"] = waits_in_words(waiting);
}

std::string_view blocked_by(std::string_view code) {
  if (code == "no_code") return "its code is not here";
  const bool differs =
      code == "command_differs" || code == "command_missing" || code == "nothing_awaited";
  return differs ? "its code does not fit its history" : "its code failed";
}

}  // namespace

void run_host::on_explain(waiter from, boot_time since) {
  const bool is_settling = is_replaying_ || (is_busy_ && !copy_);
  if (is_settling && !is_dead_ && !is_retired_
      && parts_.time.boot() - since < boot_time{settling_patience}) {
    explains_.emplace_back(std::move(from), since);
    if (explains_.size() == 1) home_.run_later(settling_pause, [this] { explain_again(); });
    return;
  }
  auto out = explain();
  auto looks = waits_elsewhere(looks_max);
  const bool says_waits = out.at("summary").is_null();
  if (says_waits) out["summary"] = waits_in_words(out.at("waiting_for").as_array());
  const bool may_look = says_waits && (is_agent() || !looks.empty());
  if (!may_look) {
    return answer(from, control_answer{workflow_answer{boost::json::serialize(out)}});
  }
  auto shared = std::make_shared<object>(std::move(out));
  auto posted = parts_.readers.post(
      reader_pool::lane::reads,
      [&journal = parts_.journal,
       shared,
       looks = std::move(looks),
       agent = is_agent() ? std::optional{channel_} : std::nullopt,
       from] {
        add_what_is_seen(journal, *shared, looks);
        if (agent) add_messages(journal, *shared, *agent);
        caf::anon_send(
            from.reply_to,
            box(control_reply{
                from.correlation,
                control_answer{workflow_answer{boost::json::serialize(*shared)}}}));
      });
  // What is known here is better than nothing.
  if (!posted) answer(from, control_answer{workflow_answer{boost::json::serialize(*shared)}});
}

void run_host::answer_when_begun(
    control_request request, const caf::actor& reply_to, boot_time since) {
  if (shown_ || !row_ || is_dead_ || is_retired_) return on_request(std::move(request), reply_to);
  const auto waited = parts_.time.boot() - since;
  if (waited < boot_time{settling_patience}) {
    return home_.run_later(
        settling_pause, [this, request = std::move(request), reply_to, since]() mutable {
          answer_when_begun(std::move(request), reply_to, since);
        });
  }
  answer(
      {.correlation = request.correlation, .reply_to = reply_to},
      fail(
          errc::timeout,
          "the workflow's code has been at work for two seconds at least and has not come to its "
          "first command: nothing is recorded of it yet; ask again, or end it (`workflow "
          "terminate`)",
          1000));
}

void run_host::explain_again() {
  for (auto& [from, since] : std::exchange(explains_, {}))
    on_explain(std::move(from), since);
}

std::vector<awaited> run_host::waits_elsewhere(std::size_t count_max) const {
  std::vector<awaited> waits;
  if (!engine_ || is_busy_ || shown_->ended) return waits;
  for (const auto& [command, one] : engine_->open()) {
    if (waits.size() == count_max) break;
    if (refused_.contains(command)) continue;
    if (one.request.kind == command_kind::child) {
      auto topic = topic_name::parse(
          std::string{runtime::channel_prefix} + child_id(command, one.request.arguments));
      if (topic) waits.push_back({command, topic_ref{channel_.tenant, *topic}, {}, {}});
    } else if (const auto task = tasks_.find(command); task != tasks_.end()) {
      // The queue does not have it yet.
      if (lanes_.is_waiting(command)) continue;
      auto queue = queue_name::parse(task->second.queue);
      if (!queue) continue;
      waits.push_back({command, {}, queue_ref{channel_.tenant, *queue}, task->second.origin});
    }
  }
  for (const auto& [command, one] : engine_->open()) {
    if (waits.size() == count_max) break;
    if (one.request.kind != command_kind::call || refused_.contains(command)) continue;
    auto agent = runtime::agent_channel(
        text_at(one.request.arguments, "type"), text_at(one.request.arguments, "key"));
    if (!agent) continue;
    waits.push_back(
        {.command = command,
         .origin = command_id(command),
         .agent = topic_ref{channel_.tenant, *agent}});
  }
  return waits;
}

boost::json::object run_host::explain() const {
  object out{
      {"id", id()},
      {"status", name_of(shown_->status)},
      {"since_ms", runtime::shown_ms(changed_)},
      {"summary", nullptr},
      {"history_size", runtime::history_size(*shown_)},
      {"inputs_waiting", inputs_.size()},
      {"signals_unread", signals_.unread_count()},
      {"signals_unread_bytes", signals_.unread_bytes()},
      {"steps_running_here", steps_running_ + async_steps_running_}};
  if (shown_->history_bytes != 0) out["history_bytes"] = shown_->history_bytes;
  if (const auto took = costs_.replay_took()) out["replay_ms"] = took->count();
  if (is_long()) {
    out["warning"] = fmt::format(
        "it has {} commands and {} bytes of history, which each replay goes through; "
        "continue_as_new begins anew",
        shown_->commands,
        shown_->history_bytes);
  }
  if (costs_.long_turns() != 0) {
    const auto longest =
        std::chrono::duration_cast<std::chrono::milliseconds>(costs_.longest_turn());
    out["long_turns"] = object{{"count", costs_.long_turns()}, {"longest_ms", longest.count()}};
  }
  if (shown_->why) out["last_error"] = runtime::describe_failure(*shown_->why);
  auto stuck = stuck_because(*shown_, parts_.workflows);
  if (!stuck && !shown_->ended && parts_.stuck != nullptr) stuck = parts_.stuck->find(key());
  if (stuck) out["stuck"] = runtime::describe_failure(*stuck);
  boost::json::array waiting;
  for (const auto& [command, step] : steps_) {
    if (shown_->ended || (step.status != "running" && step.status != "retrying")) continue;
    const bool is_made = stops_.is_under_way(command) || models_.is_under_way(command);
    object one{
        {"command", command},
        {"kind", step.kind},
        {"name", step.name},
        {"status", is_made ? "running" : step.status},
        {"since_ms", runtime::shown_ms(step.started)},
        {"for",
         is_agent() && step.kind == "signal" ? "a message" : in_words(step.kind, step.name)}};
    if (step.attempts != 0) one["attempts"] = step.attempts;
    if (step.deferrals != 0) one["deferrals"] = step.deferrals;
    if (step.due) one["due_ms"] = runtime::shown_ms(*step.due);
    if (step.why) one["error"] = runtime::describe_failure(*step.why);
    if (const auto pause = models_.pause_of(command)) {
      add_request(one, parts_.time, pause->round, pause->why, pause->next);
    } else if (const auto refused = refused_.find(command); refused != refused_.end()) {
      const auto& [tries, why, next] = refused->second;
      const auto said = fmt::format("{}: {}", name_of(why.code), why.detail);
      add_request(one, parts_.time, tries, said, next);
    }
    waiting.push_back(std::move(one));
  }
  // Of many commands the oldest are no longer shown as steps; they are waited for all the same.
  const bool may_ask = engine_ && !is_busy_ && !is_replaying_ && !shown_->ended;
  for (const auto& [command, open] : may_ask ? engine_->open() : no_commands()) {
    if (steps_.contains(command) || waiting.size() >= looks_max) continue;
    const std::string kind{runtime::name_of(open.request.kind)};
    waiting.push_back(object{
        {"command", command},
        {"kind", kind},
        {"name", open.request.name},
        {"status", "running"},
        {"for", in_words(kind, open.request.name)}});
  }
  add_turns(waiting);
  if (auto owed = shown_debts(); !owed.empty()) out["owes"] = std::move(owed);
  if (auto said = summary(waiting.empty()); !said.empty()) out["summary"] = std::move(said);
  out["waiting_for"] = std::move(waiting);
  if (const auto next = next_timers(); !shown_->ended && (next.by_shard || next.by_wall)) {
    constexpr auto never = time_ms::max();
    out["next_wake_ms"] =
        runtime::shown_ms(std::min(next.by_shard.value_or(never), next.by_wall.value_or(never)));
  }
  return out;
}

/// To what is not sent yet, as others of its target come first.
void run_host::add_turns(boost::json::array& waiting) const {
  std::map<std::uint32_t, object*> shown;
  for (auto& one : waiting)
    shown.emplace(one.at("command").to_number<std::uint32_t>(), &one.as_object());
  lanes_.visit_waiting([&](std::uint32_t command, const place_in_lane& place) {
    const auto found = shown.find(command);
    if (found == shown.end()) return;
    auto& one = *found->second;
    const auto step = steps_.find(command);
    one["turn"] = object{{"behind", place.behind}, {"command", place.first}};
    one["detail"] = fmt::format(
        "{}it waits for its turn to be sent, behind {} to the same {}, of which command {} is the "
        "first",
        step == steps_.end() ? std::string{}
                             : fmt::format("since {} ", format_time(step->second.started)),
        place.behind == 1 ? "1 earlier send" : fmt::format("{} earlier sends", place.behind),
        one.at("kind") == "task" ? "queue" : "topic",
        place.first);
  });
}

/// What others have not heard yet, or are not known to.
boost::json::array run_host::shown_debts() const {
  boost::json::array owed;
  for (const auto& [origin, one] : debts_) {
    if (owed.size() == looks_max) break;
    const auto [what, whom] = words_of(one.what.kind);
    const auto who = parse_origin(origin);
    object shown{
        {"what", what}, {whom, one.what.target}, {"tries", one.tries + (one.is_under_way ? 1 : 0)}};
    if (who) {
      shown["run"] = who->run;
      shown["command"] = who->command;
    }
    owed.push_back(std::move(shown));
  }
  if (shown_ && owes_parent(*shown_) && start_) {
    owed.push_back(object{
        {"what", "tell_parent"}, {"parent", start_->parent_id}, {"tries", parent_tries_ + 1}});
  }
  return owed;
}

/// Empty if what it waits for says it all.
std::string run_host::summary(bool waits_for_nothing) const {
  const auto& row = *shown_;
  if (copy_) {
    return fmt::format(
        "it is being begun anew: {} of {} events are copied",
        copy_->copied,
        copy_->ask->plan->events);
  }
  if (row.ended) {
    if (!row.why) return fmt::format("it has ended as {}", name_of(row.status));
    return fmt::format(
        "it has ended as {}: {}: {}", name_of(row.status), row.why->code, row.why->message);
  }
  if (row.status == run_status::blocked && row.why) {
    return fmt::format(
        "{}, so nothing of it runs: {}: {}",
        blocked_by(row.why->code),
        row.why->code,
        row.why->message);
  }
  const auto* cancel = row.cancel_asked ? "; it is cancelled once this turn of its code ends" : "";
  if (is_replaying_) return fmt::format("its history is being replayed{}", cancel);
  if (is_busy_ && append_refused_.why) {
    return fmt::format(
        "what it did is not on the disk, and is tried again until it is: {}: {}{}",
        name_of(append_refused_.why->code),
        append_refused_.why->detail,
        cancel);
  }
  if (is_busy_) {
    return fmt::format("its code is at work, or what it did is on its way to the disk{}", cancel);
  }
  if (!waits_for_nothing) return {};
  return "nothing would ever wake it: it awaits no command";
}

}  // namespace callboard::actors
