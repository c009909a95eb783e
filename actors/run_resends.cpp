// What another process may have sent already: looked for where it went before it is sent again, so
// that it counts once however long the node was down.
#include "actors/absence.hpp"
#include "actors/command_id.hpp"
#include "actors/router.hpp"
#include "actors/run_host.hpp"
#include "actors/telling.hpp"
#include "base/hash.hpp"
#include "base/log.hpp"
#include "runtime/workflow/agent_names.hpp"
#include "runtime/workflow/json_values.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace callboard::actors {

namespace {

using namespace std::chrono_literals;
using runtime::run_event_kind;

constexpr auto retry_pause = 200ms;
/// Shards do not share their time; what was sent cannot seem older than this before it was issued.
constexpr auto skew_max = 10s;
constexpr std::uint32_t page_events = 1000;

std::chrono::milliseconds pause_of(const error& why) {
  return std::max<std::chrono::milliseconds>(
      retry_pause, std::chrono::milliseconds{why.retry_after_ms});
}

}  // namespace

std::optional<boost::json::object>
run_host::reply_in(const runtime::delivered_event& stored, const std::string& message) {
  const auto event = runtime::decode_run_event(stored);
  if (!event || event->kind != run_event_kind::issued || event->what != command_kind::reply) {
    return std::nullopt;
  }
  const auto& reply = event->data.as_object();
  if (runtime::text_at(reply, "id") != message) return std::nullopt;
  return reply;
}

std::string run_host::command_id(std::uint32_t command) const {
  return actors::command_id(channel_, *start_, row_->run, command);
}

time_ms run_host::issued_at(std::uint32_t command) const {
  const auto step = steps_.find(command);
  return step == steps_.end() ? row_->started : step->second.started;
}

void run_host::send_again(std::uint32_t command) {
  if (!may_carry_out()) return;
  const auto open = engine_->open().find(command);
  if (open == engine_->open().end()) return;
  const auto& request = open->second.request;
  if (accepted_.contains(command)) return;
  if (request.kind == command_kind::publish || request.kind == command_kind::update) {
    if (!is_its_turn(command, true)) return;
    auto topic = published_to(request);
    if (!topic) return carry_out(command);
    const topic_ref target{channel_.tenant, *std::move(topic)};
    return look({command, target}, get_topic{target});
  }
  if (request.kind == command_kind::call) {
    resent_calls_.insert(command);
    auto channel = runtime::agent_channel(
        runtime::text_at(request.arguments, "type"), runtime::text_at(request.arguments, "key"));
    if (!channel) return carry_out(command);
    return look_from(
        {command, {channel_.tenant, *std::move(channel)}},
        runtime::from_time{issued_at(command) - skew_max});
  }
  carry_out(command);
}

std::optional<time_ms> run_host::sent_since(std::uint32_t command) const {
  if (!resent_calls_.contains(command)) return std::nullopt;
  return issued_at(command) - skew_max;
}

void run_host::send_again_later(std::uint32_t command, std::chrono::milliseconds pause) {
  after(pause, [this, command] { when_free([this, command] { send_again(command); }); });
}

std::optional<std::chrono::milliseconds>
run_host::pause_before_sending(std::uint32_t command, const error& why) {
  if (is_retryable(why.code)) return pause_of(why);
  if (!is_damage(why.code)) return std::nullopt;
  return note_refused(command, why);
}

/// As with a run whose own code is not here: another build may have it.
std::chrono::milliseconds run_host::pause_when_turned_away(
    std::uint32_t command, const error& why, std::string_view missing) {
  if (is_retryable(why.code)) return pause_of(why);
  note_stuck(failure{
      failure_class::bug,
      std::string{missing},
      fmt::format(
          "command {} cannot be carried out: {}; it goes on once the node is started with it, or "
          "end the command by hand (`workflow resolve` or `skip`)",
          command,
          why.detail)});
  return note_refused(command, why);
}

bool run_host::lacks_type() const {
  return std::ranges::any_of(
      refused_, [](const auto& one) { return !is_damage(one.second.why.code); });
}

std::chrono::milliseconds run_host::note_refused(std::uint32_t command, const error& why) {
  auto& refused = refused_[command];
  const auto pause = pause_before_telling(refused.tries++);
  refused.why = why;
  refused.next = parts_.time.boot() + pause;
  return pause;
}

void run_host::look(sent_before what, control_body ask) {
  const auto command = what.command;
  const correlation_id correlation{++last_correlation_};
  lookups_.emplace(correlation.raw(), std::move(what));
  if (parts_.router->control({correlation, std::move(ask)}, home_.run_handle())) return;
  lookups_.erase(correlation.raw());
  send_again_later(command, retry_pause);
}

void run_host::look_from(sent_before what, runtime::position from) {
  read_events page{.topic = what.topic, .from = std::move(from), .events_max = page_events};
  look(std::move(what), std::move(page));
}

bool run_host::takes_lookup(const control_reply& reply) {
  auto found = lookups_.extract(reply.correlation.raw());
  if (!found) return false;
  auto what = std::move(found.mapped());
  const auto command = what.command;
  if (!may_carry_out() || !engine_->open().contains(command)) return true;
  if (!reply.outcome) {
    const auto& why = reply.outcome.error();
    if (is_not_there(why.code)) {
      carry_out(command);
    } else {
      log::channel("actors")->warn(
          "workflow {}: what command {} sent cannot be looked up: {}", id(), command, why.detail);
      send_again_later(command, pause_before_sending(command, why).value_or(retry_pause));
    }
    return true;
  }
  refused_.erase(command);
  if (const auto* topic = std::get_if<topic_description>(&*reply.outcome)) {
    const auto issued = issued_at(command);
    if (std::chrono::seconds{topic->settings.dedupe_window_s} > now() - issued + skew_max) {
      carry_out(command);
    } else {
      look_from(std::move(what), runtime::from_time{issued - skew_max});
    }
  } else if (const auto* page = std::get_if<event_page>(&*reply.outcome)) {
    look_through(std::move(what), *page);
  }
  return true;
}

void run_host::look_through(sent_before what, const event_page& page) {
  const auto command = what.command;
  const bool is_call = engine_->open().at(command).request.kind == command_kind::call;
  const auto identity = event_identity("/workflows/" + id(), command_id(command));
  for (const auto& one : page.batch->events) {
    if (!is_call && runtime::encoded_event{one.stored}.identity() == identity) {
      return complete_command(command, one.seq.raw());
    }
    if (!is_call) continue;
    const auto reply = reply_in(one, command_id(command));
    if (!reply) continue;
    if (const auto* failed = reply->if_contains("error")) {
      return fail_command(command, runtime::read_failure(*failed));
    }
    return complete_command(command, reply->at("result"));
  }
  if (page.next_from > page.last_seq) return carry_out(command);
  look_from(std::move(what), runtime::from_seq{page.next_from});
}

}  // namespace callboard::actors
