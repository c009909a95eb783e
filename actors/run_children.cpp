// Workflows that a run starts and waits for: the child tells its parent how it ended, until that is
// recorded. One that somebody else had started is waited for instead.
#include "actors/router.hpp"
#include "actors/run_host.hpp"
#include "actors/telling.hpp"
#include "runtime/workflow/agent_names.hpp"
#include "runtime/workflow/correlation.hpp"
#include "runtime/workflow/json_values.hpp"
#include "runtime/workflow/run_codec.hpp"
#include "runtime/workflow/run_limits.hpp"
#include "runtime/workflow/run_rerun.hpp"

#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>

namespace callboard::actors {

namespace {

using boost::json::object;
using runtime::text_at;

constexpr auto retry_pause = std::chrono::milliseconds{200};
/// How long one question for the end of somebody else's child waits in memory.
constexpr std::uint32_t end_wait_ms = 20'000;

/// How a child ended that did not complete, to its parent: its own failure, if it failed.
failure child_failure(
    const std::string& child, runtime::run_status status, const std::optional<failure>& why) {
  if (status == runtime::run_status::cancelled) {
    return {
        failure_class::permanent,
        "child_cancelled",
        fmt::format("workflow '{}' was cancelled{}", child, why ? ": " + why->message : ""),
        0,
        why ? why->details : ""};
  }
  return why.value_or(
      failure{failure_class::permanent, "child_failed", fmt::format("'{}' failed", child)});
}

/// Why `child` cannot be a child of `parent`, which has those above it.
std::optional<failure> refuses_below(
    const std::vector<std::string>& above, const std::string& parent, const std::string& child) {
  if (child == parent || std::ranges::find(above, child) != above.end()) {
    return failure{
        failure_class::bug,
        "child_cycle",
        child == parent
            ? fmt::format("workflow '{}' would wait for itself and never end", child)
            : fmt::format(
                  "workflow '{}' waits for '{}', which would wait for it: neither would end; give "
                  "the child another id",
                  child,
                  parent)};
  }
  if (above.size() + 1 < runtime::child_levels_max) return std::nullopt;
  return failure{
      failure_class::permanent,
      "children_too_deep",
      fmt::format(
          "{} workflows wait for '{}' already, each for its child, and no more may: let one "
          "higher up have the next as its child",
          above.size(),
          parent)};
}

}  // namespace

std::string run_host::child_id(std::uint32_t command, const boost::json::object& arguments) const {
  auto given = runtime::text_at(arguments, "id");
  return given.empty() ? command_id(command) : given;
}

void run_host::send_child(std::uint32_t command) {
  if (!may_carry_out()) return;
  if (is_busy_) {
    return after(std::chrono::milliseconds{1}, [this, command] { send_child(command); });
  }
  const auto found = engine_->open().find(command);
  if (found == engine_->open().end()) return;
  const auto& request = found->second.request;
  const auto child = child_id(command, request.arguments);
  auto topic = runtime::workflow_channel(child);
  if (!topic) return fail_command(command, topic.error());
  // Of no build: nobody has to wait for one that knows the type.
  if (runtime::is_agent_channel(*topic) || runtime::is_agent_type(request.name)) {
    return fail_command(
        command,
        error{
            errc::bad_request,
            fmt::format(
                "child '{}' of type '{}' would be an agent: call agents with ctx.call, and give "
                "children ids that do not begin with 'agent.'",
                child,
                request.name)});
  }
  auto above = start_->parent_above;
  if (!start_->parent_id.empty()) above.push_back(start_->parent_id);
  if (auto why = refuses_below(above, id(), child)) return fail_command(command, *std::move(why));
  // Else it would be found running, and then be cancelled.
  if (still_cancels(child)) {
    return after(retry_pause, [this, command] { send_child(command); });
  }
  start_workflow start;
  start.topic = {channel_.tenant, *topic};
  start.type = request.name;
  start.input = boost::json::serialize(request.arguments.at("input"));
  start.correlation_id = runtime::correlation_of(start_->identity);
  start.parent =
      workflow_parent{channel_, row_->run, command, start_->incarnation, std::move(above)};
  const auto correlation = next_correlation(command);
  auto asked = parts_.router->control({correlation, std::move(start)}, home_.run_handle());
  if (asked) return;
  asked_.erase(correlation.raw());
  after(pause_when_turned_away(command, asked.error()), [this, command] { send_child(command); });
}

bool run_host::is_of_same_parent(const workflow_parent& parent) const {
  const auto its_id = parent.channel.topic.str().substr(runtime::channel_prefix.size());
  return start_ && parent.channel.tenant == channel_.tenant && start_->parent_id == its_id
         && (start_->parent_incarnation == 0 || start_->parent_incarnation == parent.incarnation);
}

bool run_host::is_child_of(const workflow_parent& parent) const {
  return is_of_same_parent(parent) && start_->parent_run == parent.run
         && start_->parent_command == parent.command;
}

bool run_host::may_begin_for(const workflow_parent& parent) const {
  if (!is_of_same_parent(parent) || start_->parent_run >= parent.run) return false;
  if (!shown_) return is_being_cancelled_;
  // A cancel that only its row knows of ends it, too.
  if (!shown_->ended) return is_being_cancelled_ || shown_->cancel_asked;
  return shown_->status != runtime::run_status::completed;
}

void run_host::begin_for(const workflow_parent& parent, waiter from) {
  if (!shown_ || !shown_->ended) {
    return answer(from, fail(errc::overloaded, "the workflow is being cancelled; retry", 100));
  }
  auto start = *start_;
  start.parent_run = parent.run;
  start.parent_command = parent.command;
  start.parent_incarnation = parent.incarnation;
  start.parent_above = parent.above;
  // A cancel that its run before was begun with is not meant for this one.
  start.is_cancelled = false;
  runtime::rerun_plan plan;
  plan.start = runtime::make_started(start);
  plan.first = shown_->first_seq;
  plan.events = 1;
  begin_rerun anew;
  anew.topic = anew.source = channel_;
  anew.run = shown_->run;
  anew.order.who = start.parent_id;
  anew.order.reason = fmt::format("run {} of its parent starts it again", parent.run);
  anew.plan = std::make_shared<const runtime::rerun_plan>(std::move(plan));
  on_rerun(std::move(anew), std::move(from));
}

bool run_host::still_cancels(const std::string& child) const {
  return std::ranges::any_of(debts_, [&](const auto& one) {
    const auto& what = one.second.what;
    const auto who = parse_origin(what.origin);
    return what.kind == runtime::run_debt::what::cancel_child && what.target == child && who
           && who->run < row_->run;
  });
}

void run_host::tell_parent() {
  if (is_dead_ || is_retired_) return;
  owes_parent_ = true;
  auto told = end_for(
      {std::string{runtime::channel_prefix} + start_->parent_id,
       start_->parent_run,
       start_->parent_command,
       start_->parent_incarnation});
  const auto correlation = next_correlation(0);
  if (parts_.router->control({correlation, std::move(told)}, home_.run_handle())) return;
  asked_.erase(correlation.raw());
  after(pause_before_telling(parent_tries_++), [this] { tell_parent(); });
}

end_child run_host::end_for(const task_waiter& who) const {
  end_child told;
  told.topic = {channel_.tenant, topic_name::trusted(who.channel)};
  told.run = who.run;
  told.command = who.command;
  told.incarnation = who.seed;
  told.result = row_->result;
  if (row_->status != runtime::run_status::completed) {
    told.why = boost::json::serialize(
        runtime::describe_failure(child_failure(id(), row_->status, row_->why)));
  }
  return told;
}

bool run_host::is_parent_of(const boost::json::object& child, std::uint32_t command) const {
  const auto* parent = child.if_contains("parent");
  if (parent == nullptr) return false;
  object expected{{"id", id()}, {"run", row_->run}, {"command", command}};
  if (start_->incarnation != 0) {
    expected["incarnation"] = runtime::format_incarnation(start_->incarnation);
  }
  return *parent == json(std::move(expected));
}

void run_host::on_child_reply(std::uint32_t command, const workflow_answer& answer) {
  const auto told = read_json(answer.body).value_or(nullptr);
  const auto* child = told.if_object();
  const auto status =
      child == nullptr ? std::nullopt : runtime::run_status_named(text_at(*child, "status"));
  if (!status) return;
  if (*status == runtime::run_status::completed) {
    return complete_command(command, child->at("result"));
  }
  if (*status == runtime::run_status::failed || *status == runtime::run_status::cancelled) {
    const auto* why = child->if_contains("error");
    return fail_command(
        command,
        child_failure(
            text_at(*child, "id"),
            *status,
            why == nullptr ? std::nullopt : std::optional{runtime::read_failure(*why)}));
  }
  if (is_parent_of(*child, command)) return note_accepted(command);
  // The sweep asks for own ones, too.
  if (!accepted_.contains(command)) borrowed_.insert(command);
  if (!answer.is_watched) return await_child(command);
  // No part of the row, which is not behind for it.
  accepted_.insert(command);
}

void run_host::await_child(std::uint32_t command) {
  if (!may_carry_out()) return;
  const auto found = engine_->open().find(command);
  if (found == engine_->open().end()) return;
  const auto child = child_id(command, found->second.request.arguments);
  const topic_ref channel{
      channel_.tenant, topic_name::trusted(std::string{runtime::channel_prefix} + child)};
  const task_waiter self{channel_.topic.str(), row_->run, command, start_->incarnation};
  auto watcher = borrowed_.contains(command) ? format_origin(self) : std::string{};
  const auto correlation = next_correlation(command);
  if (parts_.router->control(
          {correlation, await_workflow{channel, end_wait_ms, std::move(watcher)}},
          home_.run_handle())) {
    return;
  }
  asked_.erase(correlation.raw());
  after(retry_pause, [this, command] { when_free([this, command] { await_child(command); }); });
}

}  // namespace callboard::actors
