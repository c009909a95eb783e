// Workflows that a run starts and waits for: the child tells its parent how it ended, until that is
// recorded. One that somebody else had started is waited for instead.
#include "actors/router.hpp"
#include "actors/run_host.hpp"
#include "actors/telling.hpp"
#include "runtime/workflow/json_values.hpp"

#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <utility>

namespace callboard::actors {

namespace {

using runtime::run_event_kind;
using runtime::text_at;

constexpr auto retry_pause = std::chrono::milliseconds{200};
/// How long one question for the end of somebody else's child waits; it is asked again.
constexpr std::uint32_t end_wait_ms = 20'000;

/// What a run fails with that waited for a child which failed.
failure child_failure(const std::string& detail) {
  return {failure_class::permanent, std::string{name_of(errc::cancelled)}, detail};
}

}  // namespace

std::string run_host::child_id(std::uint32_t command, const boost::json::object& arguments) const {
  auto given = runtime::text_at(arguments, "id");
  return given.empty() ? command_id(command) : given;
}

void run_host::send_child(std::uint32_t command) {
  if (is_retired_ || is_dead_ || !engine_) return;
  if (is_busy_) {
    return after(std::chrono::milliseconds{1}, [this, command] { send_child(command); });
  }
  const auto found = engine_->open().find(command);
  if (found == engine_->open().end()) return;
  const auto& request = found->second.request;
  const auto child = child_id(command, request.arguments);
  auto topic = topic_name::parse(std::string{runtime::channel_prefix} + child);
  if (!topic) return fail_command(command, topic.error());
  start_workflow start;
  start.topic = {channel_.tenant, *topic};
  start.type = request.name;
  start.input = boost::json::serialize(request.arguments.at("input"));
  start.correlation_id = row_->correlation_id;
  start.parent = workflow_parent{channel_, row_->run, command};
  const auto correlation = next_correlation(command);
  if (parts_.router->control({correlation, std::move(start)}, home_.run_handle())) return;
  asked_.erase(correlation.raw());
  after(retry_pause, [this, command] { send_child(command); });
}

bool run_host::is_child_of(const workflow_parent& parent) const {
  const auto its_id = parent.channel.topic.str().substr(runtime::channel_prefix.size());
  return start_ && parent.channel.tenant == channel_.tenant && start_->parent_id == its_id
         && start_->parent_run == parent.run && start_->parent_command == parent.command;
}

void run_host::tell_parent() {
  if (is_dead_ || is_retired_) return;
  owes_parent_ = true;
  end_child told;
  told.topic = {
      channel_.tenant,
      topic_name::trusted(std::string{runtime::channel_prefix} + start_->parent_id)};
  told.run = start_->parent_run;
  told.command = start_->parent_command;
  told.result = row_->result;
  if (row_->status != runtime::run_status::completed) {
    const auto code =
        row_->status == runtime::run_status::cancelled ? "child_cancelled" : "child_failed";
    told.why = error{
        errc::cancelled,
        row_->why ? fmt::format("{}: {}", row_->why->code, row_->why->message) : code,
        0};
  }
  const auto correlation = next_correlation(0);
  if (parts_.router->control({correlation, std::move(told)}, home_.run_handle())) return;
  asked_.erase(correlation.raw());
  after(pause_before_telling(parent_tries_++), [this] { tell_parent(); });
}

bool run_host::is_parent_of(const boost::json::object& child, std::uint32_t command) const {
  const auto* parent = child.if_contains("parent");
  return parent != nullptr
         && *parent == json{{"id", id()}, {"run", row_->run}, {"command", command}};
}

void run_host::on_child_reply(std::uint32_t command, const workflow_answer& answer) {
  if (answer.created) return;
  const auto told = runtime::parsed_or_null(answer.body);
  const auto* child = told.if_object();
  const auto status =
      child == nullptr ? std::nullopt : runtime::run_status_named(text_at(*child, "status"));
  if (!status) return;
  if (*status == runtime::run_status::completed) {
    return complete_command(command, child->at("result"));
  }
  if (*status == runtime::run_status::failed || *status == runtime::run_status::cancelled) {
    const auto* why = child->if_contains("error");
    const auto known = why == nullptr ? failure{} : runtime::read_failure(*why);
    return fail_command(
        command,
        child_failure(
            why == nullptr ? std::string{"child_cancelled"}
                           : fmt::format("{}: {}", known.code, known.message)));
  }
  if (!is_parent_of(*child, command)) await_child(command);
}

void run_host::await_child(std::uint32_t command) {
  if (is_retired_ || is_dead_ || !engine_) return;
  const auto found = engine_->open().find(command);
  if (found == engine_->open().end()) return;
  const auto child = child_id(command, found->second.request.arguments);
  const topic_ref channel{
      channel_.tenant, topic_name::trusted(std::string{runtime::channel_prefix} + child)};
  const auto correlation = next_correlation(command);
  if (parts_.router->control(
          {correlation, await_workflow{channel, end_wait_ms}}, home_.run_handle())) {
    return;
  }
  asked_.erase(correlation.raw());
  after(retry_pause, [this, command] { when_free([this, command] { await_child(command); }); });
}

}  // namespace callboard::actors
