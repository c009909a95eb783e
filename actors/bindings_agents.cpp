// Messages to agents that take long, or may have been handed on before. An agent knows for the next
// hundred messages or so what it has answered, and its channel for longer: there it is looked for,
// so that what was refused becomes a dead letter, however late. For longer still it knows that it
// has answered, so that nothing is handled twice.
#include "actors/absence.hpp"
#include "actors/bindings_actor.hpp"
#include "base/hash.hpp"
#include "runtime/workflow/json_values.hpp"
#include "runtime/workflow/run_codec.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace callboard::actors {

namespace {

using namespace std::chrono_literals;
using runtime::run_event_kind;

constexpr std::chrono::milliseconds patience = 10s;
/// Beyond the wait of a call.
constexpr std::chrono::milliseconds call_patience = 15s;
constexpr std::chrono::milliseconds call_wait = 10s;
constexpr std::uint32_t page_events = 1000;
/// Shards do not share their time; what was sent cannot seem older than this before its event.
constexpr auto skew_max = 10s;
/// Of one binding; beyond them a message counts as handed on once its agent has it.
constexpr std::size_t parked_max = 4096;
/// The more there are, the longer each waits: all of them together cost as much.
constexpr std::chrono::milliseconds parked_min = 10s;
constexpr std::chrono::milliseconds parked_each = 25ms;
/// Nothing that is parked waits so long to come back.
constexpr boot_time parked_longest = 10min;
/// Messages and channels of one binding; beyond them channels are read anew.
constexpr std::size_t remembered_max = 50'000;
constexpr std::size_t watched_max = 128;
/// Before the channel of one of whom nothing could be heard is looked at.
constexpr std::chrono::milliseconds look_pause = 5s;

struct told_message {
  std::string id;
  /// Errors: agent_failed.
  result<message_state> state;
};

/// Which message the event tells of, and how it was answered; nothing if it tells of none.
std::optional<told_message> told_by(const runtime::delivered_event& stored) {
  const auto outline = runtime::outline_of(stored);
  const bool may_say =
      outline
      && (outline->kind == run_event_kind::issued || outline->kind == run_event_kind::signalled);
  if (!may_say) return std::nullopt;
  const auto event = runtime::decode_run_event(stored);
  if (!event) return std::nullopt;
  if (event->kind == run_event_kind::signalled) return told_message{event->id, message_state::open};
  const auto* reply = event->what == command_kind::reply ? event->data.if_object() : nullptr;
  if (reply == nullptr) return std::nullopt;
  told_message told{runtime::text_at(*reply, "id"), message_state::answered};
  if (const auto* failed = reply->if_contains("error")) {
    const auto why = runtime::read_failure(*failed);
    told.state = fail(errc::agent_failed, fmt::format("{}: {}", why.code, why.message));
  }
  return told;
}

bool is_final(const result<message_state>& state) {
  return !state || *state == message_state::answered;
}

}  // namespace

// -- what an agent's channel tells ---------------------------------------------------------------

void bindings_actor::find_message(
    const call_agent& call,
    time_ms since,
    std::move_only_function<void(result<message_state>)> then,
    std::shared_ptr<channel_memory> memory) {
  auto search = std::make_shared<message_search>();
  search->channel = call.topic;
  search->message = call.id;
  search->next = runtime::from_time{since - skew_max};
  search->memory = std::move(memory);
  search->then = std::move(then);
  read_channel(search);
}

void bindings_actor::read_channel(const std::shared_ptr<message_search>& search) {
  read_events read{.topic = search->channel, .from = search->next, .events_max = page_events};
  ask(std::move(read), patience, [this, search](const result<control_answer>& answered) {
    if (!answered && is_not_there(answered.error().code)) return search->then(search->state);
    if (!answered) return search->then(std::unexpected{answered.error()});
    const auto& page = std::get<event_page>(*answered);
    for (const auto& stored : page.batch->events) {
      const auto told = told_by(stored);
      if (!told) continue;
      if (search->memory) search->memory->messages.insert(hash_64(told->id));
      if (told->id != search->message || is_final(search->state)) continue;
      search->state = told->state;
      if (is_final(search->state) && !search->memory) return search->then(search->state);
    }
    if (page.batch->events.empty() || page.next_from > page.last_seq) {
      return search->then(search->state);
    }
    search->next = runtime::from_seq{page.next_from};
    read_channel(search);
  });
}

// -- of a binding --------------------------------------------------------------------------------

bool bindings_actor::is_settled_in() const {
  return boot() >= began_at_ + parked_longest;
}

bool bindings_actor::may_have_been_parked(
    const binding_unit& unit, const runtime::delivered_event& event) const {
  return std::holds_alternative<runtime::agent_target>(unit.rule->target) && event.time < began_
         && !is_settled_in();
}

/// A channel is read once for the whole backlog that it has: since then it gets nothing of this
/// binding but what this has asked itself.
void bindings_actor::look_up(
    binding_unit& unit,
    const runtime::delivered_event& event,
    bool was_parked,
    const std::shared_ptr<const control_body>& request) {
  const auto& call = std::get<call_agent>(*request);
  const auto known = unit.channels.find(call.topic);
  const bool is_known = known != unit.channels.end() && known->second.since <= event.time;
  if (!was_parked && is_known && !known->second.messages.contains(hash_64(call.id))) {
    return ask_target(unit, event.seq, request);
  }
  std::shared_ptr<channel_memory> memory;
  if (!was_parked && !is_known) memory = std::make_shared<channel_memory>(event.time);
  find_message(
      call,
      event.time,
      [this, group = unit.group, life = unit.life, seq = event.seq, was_parked, request, memory](
          const result<message_state>& found) {
        const auto at = units_.find(group);
        if (at == units_.end() || at->second.life != life) return;
        const bool is_read = found || found.error().code == errc::agent_failed;
        if (memory && is_read) remember(at->second, std::get<call_agent>(*request).topic, *memory);
        on_looked_up(at->second, seq, was_parked, request, found);
        advance(at->second);
      },
      memory);
}

void bindings_actor::remember(
    binding_unit& unit, const topic_ref& channel, const channel_memory& found) {
  const auto count = found.messages.size() + 1;
  if (count > remembered_max) return;
  if (unit.remembered + count > remembered_max) {
    unit.channels.clear();
    unit.remembered = 0;
  }
  unit.remembered += count;
  unit.channels.insert_or_assign(channel, found);
}

void bindings_actor::on_looked_up(
    binding_unit& unit,
    sequence seq,
    bool was_parked,
    const std::shared_ptr<const control_body>& request,
    const result<message_state>& found) {
  if (!unit.works.contains(seq)) return;
  if (!found) {
    const bool is_refused = found.error().code == errc::agent_failed;
    return give_back(
        unit, seq, found.error(), is_refused ? nack_kind::give_up : nack_kind::put_back);
  }
  // Of what the agent had, and has so long ago answered that its channel tells nothing of it, no
  // more can be known.
  const bool is_forgotten = *found == message_state::unknown && was_parked;
  if (*found == message_state::answered || is_forgotten) return finish(unit, seq);
  if (*found == message_state::open && is_crowded(unit) && can_park(unit)) return park(unit, seq);
  ask_target(unit, seq, request);
}

/// Gives its place to others: it comes back when it may have been answered.
void bindings_actor::park(binding_unit& unit, sequence seq) const {
  auto ended = take_work(unit, seq);
  if (ended.token.empty()) return;
  unit.parked[seq] = boot();
  const auto count = static_cast<std::int64_t>(unit.parked.size());
  const auto wait = std::max<std::chrono::milliseconds>(parked_min, parked_each * count);
  // Those of one second are given back together.
  const auto delay = std::chrono::ceil<std::chrono::seconds>(wait);
  return_reason why{nack_kind::put_back, {}, {}};
  why.delay_ms = static_cast<std::uint32_t>(std::chrono::milliseconds{delay}.count());
  unit.returns[why].push_back(std::move(ended.token));
}

bool bindings_actor::can_park(binding_unit& unit) const {
  // The group keeps track of no more than so many: others need some, too.
  const auto most = std::min<std::size_t>(parked_max, parts_.settings.groups.ack_span_max / 2);
  if (unit.parked.size() < most) return true;
  std::erase_if(
      unit.parked, [now = boot()](const auto& one) { return one.second + parked_longest < now; });
  return unit.parked.size() < most;
}

// -- of a redrive by hand ------------------------------------------------------------------------

/// The letter stays one until the agent has answered. If the node dies before, the next redrive
/// finds the answer.
void bindings_actor::watch_letter(
    const dead_work& work,
    const runtime::delivered_event& letter,
    const std::shared_ptr<const control_body>& request) {
  if (is_watched(work.binding, letter.seq, work.epoch)) return;
  const auto unit = units_.find(redrive_of(work.binding));
  if (unit != units_.end() && can_park(unit->second)) unit->second.parked[letter.seq] = boot();
  // One of a topic that is gone since makes way.
  watched_.erase({work.binding, letter.seq});
  if (watched_.size() >= watched_max) return;
  auto watch = std::make_shared<watched_letter>(work.binding, letter, work.epoch, request);
  watched_.emplace(std::pair{work.binding, letter.seq}, watch);
  wait_for_letter(watch);
}

bool bindings_actor::is_watched(
    const group_ref& binding, sequence seq, const std::string& epoch) const {
  const auto found = watched_.find({binding, seq});
  return found != watched_.end() && found->second->epoch == epoch;
}

bool bindings_actor::is_watched(const std::shared_ptr<watched_letter>& watch) const {
  const auto found = watched_.find({watch->binding, watch->letter.seq});
  return found != watched_.end() && found->second == watch;
}

void bindings_actor::unwatch(const group_ref& binding, sequence seq) {
  watched_.erase({binding, seq});
  const auto unit = units_.find(redrive_of(binding));
  if (unit != units_.end()) unit->second.parked.erase(seq);
}

void bindings_actor::wait_for_letter(const std::shared_ptr<watched_letter>& watch) {
  auto body = *watch->request;
  wait_for_reply(body, call_wait);
  ask(std::move(body), call_patience, [this, watch](const result<control_answer>& answered) {
    if (!is_watched(watch)) return;
    const auto heard = heard_from(answered);
    if (heard && !*heard) return wait_for_letter(watch);
    on_letter_answered(watch, heard ? result<void>{} : std::unexpected{heard.error()});
  });
}

void bindings_actor::look_later(watched_letter& watch, const error& why) {
  watch.look_at = boot() + std::max(look_pause, std::chrono::milliseconds{why.retry_after_ms});
  arm_tick();
}

void bindings_actor::look_at_letters() {
  std::vector<std::shared_ptr<watched_letter>> due;
  for (const auto& [at, watch] : watched_) {
    if (watch->look_at && *watch->look_at <= boot()) due.push_back(watch);
  }
  for (const auto& watch : due)
    look_at_letter(watch);
}

/// Who was not heard may have answered since, and forgotten that.
void bindings_actor::look_at_letter(const std::shared_ptr<watched_letter>& watch) {
  watch->look_at.reset();
  find_message(
      std::get<call_agent>(*watch->request),
      watch->letter.time,
      [this, watch](const result<message_state>& found) {
        if (!is_watched(watch)) return;
        if (found && *found == message_state::open) return wait_for_letter(watch);
        // The agent had it: of what its channel has not kept, no more can be known.
        on_letter_answered(watch, found ? result<void>{} : std::unexpected{found.error()});
      });
}

/// The letter may be gone meanwhile, with its topic, and another be where it was.
void bindings_actor::on_letter_answered(
    const std::shared_ptr<watched_letter>& watch, result<void> outcome) {
  const auto seq = watch->letter.seq;
  if (!outcome && is_retryable(outcome.error().code)) return look_later(*watch, outcome.error());
  if (!outcome && outcome.error().code != errc::agent_failed) {
    watched_.erase({watch->binding, seq});
    return;
  }
  read_events read{.topic = redrive_of(watch->binding).topic, .from = runtime::from_seq{seq}};
  read.events_max = 1;
  ask(std::move(read),
      patience,
      [this, watch, outcome = std::move(outcome)](const result<control_answer>& page) {
        if (!is_watched(watch)) return;
        const bool is_later = !page && is_retryable(page.error().code);
        if (is_later) return look_later(*watch, page.error());
        const auto* batch = page ? std::get<event_page>(*page).batch.get() : nullptr;
        const bool is_there = batch != nullptr && batch->epoch == watch->epoch
                              && !batch->events.empty()
                              && batch->events.front().seq == watch->letter.seq;
        if (is_there) return end_watch(watch, outcome);
        unwatch(watch->binding, watch->letter.seq);
      });
}

void bindings_actor::end_watch(
    const std::shared_ptr<watched_letter>& watch, const result<void>& outcome) {
  if (!outcome) {
    unwatch(watch->binding, watch->letter.seq);
    return let_die_again(watch->binding, watch->letter, outcome.error(), [] {});
  }
  ack_deliveries ack{redrive_of(watch->binding), {}, {}};
  ack.seqs = {watch->letter.seq};
  ask(std::move(ack), patience, [this, watch](const result<control_answer>& settled) {
    if (!is_watched(watch)) return;
    const bool is_later = !settled && is_retryable(settled.error().code);
    if (is_later) return look_later(*watch, settled.error());
    unwatch(watch->binding, watch->letter.seq);
  });
}

}  // namespace callboard::actors
