// Messages to agents: how they come in and are answered, and how a run calls an agent.
#include "actors/router.hpp"
#include "actors/run_host.hpp"
#include "actors/topic_loading.hpp"
#include "runtime/workflow/agent_names.hpp"
#include "runtime/workflow/canonical_json.hpp"
#include "runtime/workflow/correlation.hpp"
#include "runtime/workflow/json_values.hpp"
#include "runtime/workflow/run_limits.hpp"

#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <callboard/agent.hpp>
#include <utility>

namespace callboard::actors {

namespace {

using boost::json::object;
using runtime::run_event_kind;

constexpr auto retry_pause = std::chrono::milliseconds{200};
/// How long a call waits for the reply; then it is the agent's to say that there is one. When it is
/// asked for again later the agent need only say how things are.
constexpr std::uint32_t call_wait_ms = 20'000;
constexpr std::uint32_t late_call_wait_ms = 1'000;
constexpr auto call_patience = std::chrono::milliseconds{call_wait_ms};
/// More than an agent hands on to its next run, so that what it remembers is found here, too.
constexpr std::size_t replies_max = 4 * detail::recent_replies::replies_max;
constexpr std::size_t replies_bytes_max = 16 * detail::recent_replies::bytes_max;
constexpr std::uint32_t page_events = 1000;

object forgotten_reply(const std::string& message) {
  return {
      {"id", message},
      {"error",
       runtime::describe_failure(
           {failure_class::permanent,
            "reply_forgotten",
            "the agent may have handled the message already, and what it replied is no longer kept "
            "(workflows.agent_events_kept); it is not handled again"})}};
}

workflow_answer reply_answer(const object& reply, bool duplicate) {
  object body{{"message", reply.at("id")}, {"duplicate", duplicate}};
  const auto* failed = reply.if_contains("error");
  if (failed != nullptr) {
    body["error"] = *failed;
  } else {
    body["result"] = reply.at("result");
  }
  return {.body = boost::json::serialize(body), .failed = failed != nullptr};
}

}  // namespace

bool run_host::is_agent() const {
  return runtime::is_agent_channel(channel_.topic);
}

// -- messages that come in -----------------------------------------------------------------------

void run_host::on_call(const call_agent& ask, waiter from) {
  from.what = waiter::ask::call;
  from.wait_ms = ask.wait_ms;
  from.message = ask.id;
  if (std::ranges::find(ask.chain, id()) != ask.chain.end()) {
    return answer(
        from, fail(errc::bad_request, "agent_cycle: the agent waits for the one that calls it"));
  }
  auto payload = runtime::value_of("the payload of a message", ask.payload);
  if (!payload) return answer(from, std::unexpected{payload.error()});
  const auto said = runtime::hash_of_named(ask.message, *payload);
  from.is_conflict = !ask.id_suffices && is_reused(ask.id, said);
  if (from.is_conflict && joins_signal(ask.id, from)) return;
  if (from.is_conflict) return answer(from, std::unexpected{conflict_of(from, id())});
  if (const auto known = replies_.find(ask.id); known != replies_.end()) {
    return answer(from, control_answer{reply_answer(known->second, true)});
  }
  if (is_replied(ask.id)) {
    if (ask.wait_ms == 0) return answer_pending(from);
    await_answer(std::move(from));
    return find_reply(ask.id, row_->first_seq);
  }
  if (shown_ && shown_->ended) return turn_away(from);
  const auto open = open_messages_.find(ask.id);
  // A version that recorded no caller has heard it.
  if (open != open_messages_.end() && open->second.caller.empty()) open->second.caller = ask.caller;
  if (open == open_messages_.end() && was_answered_once(ask)) {
    await_answer(std::move(from));
    return find_reply(ask.id, sequence{1});
  }
  if (open == open_messages_.end()) {
    if (open_messages_.size() >= limits().messages_waiting_max) {
      return answer(
          from,
          fail(
              errc::inbox_full,
              "too many messages of this agent wait (workflows.messages_waiting_max); retry later",
              100));
    }
    if (ask.payload.size() > limits().message_bytes_max) {
      return answer(
          from,
          too_large(
              "the payload of a message",
              limits().message_bytes_max,
              "workflows.message_bytes_max"));
    }
    const auto bytes = runtime::unread_overhead + ask.id.size() + ask.payload.size();
    if (const auto why = refuses_unread(std::string{detail::agent_signal}, bytes)) {
      return answer(from, std::unexpected{*why});
    }
    if (!row_ && !begin({ask.type, {}, ask.correlation_id, {}, {}}, std::nullopt)) {
      return answer(from, fail(errc::agent_not_found, "no node has code for this agent"));
    }
    input next;
    next.event.kind = run_event_kind::signalled;
    next.event.name = detail::agent_signal;
    next.event.id = ask.id;
    boost::json::array chain;
    for (const auto& one : ask.chain)
      chain.emplace_back(one);
    open_messages_.emplace(ask.id, open_message{said, ask.caller});
    object message{
        {"id", ask.id},
        {"message", ask.message},
        {"payload", *std::move(payload)},
        {"chain", std::move(chain)},
        {"said", fmt::format("{:016x}", said)}};
    if (!ask.caller.empty()) message["caller"] = ask.caller;
    next.event.data = std::move(message);
    next.bytes = bytes;
    if (ask.wait_ms == 0) next.waiters.push_back(from);
    if (ask.wait_ms != 0) await_answer(std::move(from));
    return offer(std::move(next));
  }
  if (ask.wait_ms != 0) return await_answer(std::move(from));
  if (!joins_signal(ask.id, from)) answer_pending(from);
}

bool run_host::is_reused(const std::string& id, std::uint64_t said) const {
  // Also of those that are answered, as far as this run has read them.
  const auto heard = signal_ids_.find(id);
  if (heard != signal_ids_.end() && heard->second == said) return false;
  const auto open = open_messages_.find(id);
  const auto reply = replies_.find(id);
  const bool is_other_reply =
      reply != replies_.end() && reply->second.contains("said")
      && runtime::text_at(reply->second, "said") != fmt::format("{:016x}", said);
  return is_other_reply || heard != signal_ids_.end()
         || (open != open_messages_.end() && open->second.said != said);
}

void run_host::answer_pending(const waiter& to) {
  answer(
      to,
      control_answer{workflow_answer{
          .body = boost::json::serialize(object{{"message", to.message}}), .pending = true}});
}

void run_host::note_reply(const object& reply) {
  const auto id = runtime::text_at(reply, "id");
  open_messages_.erase(id);
  // Now, as it may not be kept until all that is committed with it is noted.
  if (has_caller(id)) tell_callers(id, control_answer{reply_answer(reply, false)});
  if (!replies_.emplace(id, reply).second) return;
  const auto size = boost::json::serialize(reply).size();
  replies_bytes_ += size;
  reply_order_.emplace_back(id, size);
  while (reply_order_.size() > replies_max
         || (replies_bytes_ > replies_bytes_max && reply_order_.size() > 1)) {
    replies_bytes_ -= reply_order_.front().second;
    replies_.erase(reply_order_.front().first);
    reply_order_.pop_front();
  }
}

void run_host::recall_replies(const json& input) {
  if (!is_agent() || !input.is_object()) return;
  for (const auto& one : input.at("recent").as_array())
    note_reply(one.as_object());
  keep_replies();
}

void run_host::keep_replies() {
  using detail::recent_replies;
  for (const auto& id : std::exchange(recalled_, {}))
    replies_.erase(id);
  std::size_t bytes = 0;
  while (!reply_order_.empty() && recalled_.size() < recent_replies::replies_max) {
    auto& [id, size] = reply_order_.back();
    bytes += size;
    if (!recalled_.empty() && bytes > recent_replies::bytes_max) return;
    replies_bytes_ -= size;
    recalled_.push_back(std::move(id));
    reply_order_.pop_back();
  }
}

// -- replies that are no longer in memory --------------------------------------------------------

bool run_host::is_replied(const std::string& message) const {
  return signal_ids_.contains(message) && !open_messages_.contains(message);
}

bool run_host::was_answered_once(const call_agent& ask) const {
  if (!ask.is_once || !start_) return false;
  return start_->answered.contains(ask.id)
         || (ask.sent_since && start_->answered.lacks_some_of(*ask.sent_since));
}

bool run_host::has_caller(const std::string& message) const {
  return std::ranges::any_of(result_waiters_, [&](const auto& one) {
    return one.second.what == waiter::ask::call && one.second.message == message;
  });
}

void run_host::find_reply(const std::string& message, sequence from) {
  const bool is_asked = std::ranges::any_of(
      found_replies_, [&](const auto& one) { return one.second.first == message; });
  if (is_retired_ || is_dead_ || is_asked || !has_caller(message)) return;
  const correlation_id correlation{++last_correlation_};
  found_replies_.emplace(correlation.raw(), std::pair{message, from});
  read_events page{.topic = channel_, .from = runtime::from_seq{from}, .events_max = page_events};
  if (parts_.router->control({correlation, std::move(page)}, home_.run_handle())) return;
  found_replies_.erase(correlation.raw());
  after(retry_pause, [this, message, from] { find_reply(message, from); });
}

bool run_host::takes_found_reply(const control_reply& reply) {
  auto found = found_replies_.extract(reply.correlation.raw());
  if (!found) return false;
  const auto& [message, from] = found.mapped();
  if (!reply.outcome) {
    if (reply.outcome.error().code == errc::cursor_expired) {
      // What stood there has been let go meanwhile.
      find_reply(message, sequence{1});
    } else if (is_retryable(reply.outcome.error().code)) {
      after(retry_pause, [this, message, from] { find_reply(message, from); });
    } else {
      tell_callers(message, std::unexpected{reply.outcome.error()});
    }
    return true;
  }
  const auto* page = std::get_if<event_page>(&*reply.outcome);
  if (page == nullptr) return true;
  for (const auto& one : page->batch->events) {
    if (const auto said = reply_in(one, message)) {
      tell_callers(message, control_answer{reply_answer(*said, true)});
      return true;
    }
  }
  if (page->next_from <= page->last_seq) {
    find_reply(message, page->next_from);
  } else if (is_replied(message)) {
    tell_callers(message, fail(errc::corruption, "the agent's channel has no reply to it"));
  } else {
    tell_callers(message, control_answer{reply_answer(forgotten_reply(message), true)});
  }
  return true;
}

void run_host::tell_callers(const std::string& message, const result<control_answer>& with) {
  std::erase_if(result_waiters_, [&](const auto& one) {
    if (one.second.what != waiter::ask::call || one.second.message != message) return false;
    answer(one.second, with);
    return true;
  });
}

// -- calls of this run ---------------------------------------------------------------------------

void run_host::send_call(std::uint32_t command) {
  if (!may_carry_out()) return;
  if (is_busy_) {
    return after(std::chrono::milliseconds{1}, [this, command] { send_call(command); });
  }
  const auto found = engine_->open().find(command);
  if (found == engine_->open().end()) return;
  const auto& arguments = found->second.request.arguments;
  const auto type = runtime::text_at(arguments, "type");
  auto channel = runtime::agent_channel(type, runtime::text_at(arguments, "key"));
  if (!channel) return fail_command(command, channel.error());
  call_agent call;
  if (const auto* chain = arguments.if_contains("chain")) {
    for (const auto& one : chain->as_array())
      call.chain.emplace_back(one.as_string());
  }
  if (is_agent()) call.chain.push_back(id());
  const auto target = channel->str().substr(runtime::channel_prefix.size());
  if (std::ranges::find(call.chain, target) != call.chain.end()) {
    return fail_command(
        command,
        failure{
            failure_class::permanent,
            "agent_cycle",
            fmt::format("'{}' waits for the reply to the message that calls it", target)});
  }
  call.topic = {channel_.tenant, std::move(*channel)};
  call.type = std::string{detail::agent_type_prefix} + type;
  call.message = runtime::text_at(arguments, "message");
  call.payload = boost::json::serialize(arguments.at("payload"));
  call.id = command_id(command);
  call.correlation_id = runtime::correlation_of(start_->identity);
  call.caller = id();
  call.wait_ms = now() - issued_at(command) < call_patience ? call_wait_ms : late_call_wait_ms;
  call.id_suffices = true;
  call.is_once = true;
  call.sent_since = sent_since(command);
  const auto correlation = next_correlation(command);
  auto asked = parts_.router->control({correlation, std::move(call)}, home_.run_handle());
  if (asked) return;
  asked_.erase(correlation.raw());
  after(pause_when_turned_away(command, asked.error()), [this, command] { send_call(command); });
}

void run_host::on_called(std::uint32_t command, const workflow_answer& reply) {
  if (reply.pending && woken_calls_.erase(command) != 0) return send_call(command);
  if (reply.pending) {
    // No part of the row, which is not behind for it.
    accepted_.insert(command);
    return;
  }
  const auto told = read_json(reply.body);
  if (!told || !told->is_object()) {
    return fail_command(
        command,
        runtime::not_json("the answer of the agent", told ? "is no object" : told.error()));
  }
  const auto& body = told->get_object();
  if (reply.failed) return fail_command(command, runtime::read_failure(body.at("error")));
  complete_command(command, body.at("result"));
}

}  // namespace callboard::actors
