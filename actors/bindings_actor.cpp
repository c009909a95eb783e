#include "actors/bindings_actor.hpp"

#include "actors/router.hpp"
#include "actors/task_origin.hpp"
#include "actors/telling.hpp"
#include "base/log.hpp"
#include "base/random.hpp"
#include "runtime/binding/binding_names.hpp"
#include "runtime/group/dead_letter.hpp"
#include "runtime/workflow/json_values.hpp"
#include "runtime/workflow/run_codec.hpp"

#include <caf/actor_system.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <callboard/json_text.hpp>

namespace callboard::actors {

namespace {

using namespace std::chrono_literals;
using runtime::binding_effect;

/// As whom bindings fetch; each group has this one member.
constexpr std::string_view member = "binding";
/// As its group allows.
constexpr std::size_t works_max = binding_in_flight_max;
/// Of their events, all of which wait somewhere for an answer; a fetch may bring one read more.
constexpr std::size_t works_bytes_max = 4 << 20;
constexpr std::uint32_t fetch_wait_ms = 20'000;
/// Beyond the wait of a fetch, and for all other questions.
constexpr std::chrono::milliseconds patience = 15s;
/// For the reply of an agent, before it is asked again.
constexpr std::chrono::milliseconds call_wait = 10s;
constexpr boot_time expiry_interval = 1s;
constexpr std::chrono::milliseconds pause_min = 50ms;
constexpr std::uint32_t pause_doublings_max = 7;
/// How long an event whose workflow has not read enough waits at least, and up to twice as long.
constexpr std::uint32_t inbox_pause_min_ms = 500;
constexpr std::uint32_t inbox_pause_max_ms = 32'000;
/// Deliveries that come back from full targets within such a pause.
constexpr std::uint32_t inbox_returns_max = 100;
/// Longer than anything that was given back waits at most.
constexpr boot_time redrive_awake = 4min;
constexpr std::size_t acks_max = 10'000;

struct request_maker {
  const tenant_name& tenant;
  const task_event& event;

  control_body operator()(runtime::start_effect& from) const {
    start_workflow start;
    start.topic = {tenant, std::move(from.channel)};
    start.type = std::move(from.type);
    start.input = std::move(from.input);
    start.correlation_id = std::move(from.correlation_id);
    return start;
  }

  control_body operator()(runtime::signal_effect& from) const {
    return signal_workflow{
        {tenant, std::move(from.channel)},
        std::move(from.name),
        std::move(from.payload),
        std::move(from.id)};
  }

  control_body operator()(runtime::call_effect& from) const {
    call_agent call;
    call.topic = {tenant, std::move(from.channel)};
    call.type = std::move(from.type);
    call.message = std::move(from.message);
    call.payload = std::move(from.payload);
    call.id = std::move(from.id);
    call.is_once = true;
    call.correlation_id = std::move(from.correlation_id);
    return call;
  }

  control_body operator()(runtime::enqueue_effect& from) const {
    enqueue_task enqueue{{tenant, std::move(from.queue)}, {}};
    enqueue.task.payload = shared_bytes{std::move(from.payload)};
    enqueue.task.priority = from.priority;
    enqueue.task.fairness_key = std::move(from.fairness_key);
    enqueue.task.dedupe_key = std::move(from.dedupe_key);
    enqueue.task.origin = format_event_origin(event);
    return enqueue;
  }
};

/// What a refusal of the target means for the delivery.
nack_kind kind_of(const error& why) {
  // It may only be about to be started.
  if (why.code == errc::workflow_not_found || why.code == errc::internal) return nack_kind::retry;
  // Operators have to see to damage, and events must not die of it.
  const bool is_to_wait = is_damage(why.code) || is_retryable(why.code);
  return is_to_wait ? nack_kind::put_back : nack_kind::give_up;
}

}  // namespace

control_body
request_of(const group_ref& from, const std::string& epoch, sequence seq, binding_effect effect) {
  const task_event event{from.group, from.topic.topic, epoch, seq};
  return std::visit(request_maker{from.topic.tenant, event}, effect);
}

void wait_for_reply(control_body& request, std::chrono::milliseconds how_long) {
  if (auto* call = std::get_if<call_agent>(&request)) {
    call->wait_ms = static_cast<std::uint32_t>(how_long.count());
  }
}

result<std::optional<control_answer>> heard_from(const result<control_answer>& told) {
  if (!told) return std::unexpected{told.error()};
  const auto* answer = std::get_if<workflow_answer>(&*told);
  if (answer != nullptr && answer->pending) return std::nullopt;
  if (answer == nullptr || !answer->failed) return *told;
  const auto body = read_json(answer->body).value_or(nullptr);
  const auto* why = body.is_object() ? body.get_object().if_contains("error") : nullptr;
  const auto failed = runtime::read_failure(why == nullptr ? json{} : *why);
  return fail(errc::agent_failed, fmt::format("{}: {}", failed.code, failed.message));
}

std::string redriven_id(
    const group_ref& from,
    const runtime::binding_rule& rule,
    const runtime::bound_event& letter,
    const std::string& epoch,
    sequence seq) {
  auto id = letter.key_at_death();
  if (!runtime::is_binding_event_id(from.group, id)) {
    // Somebody published it there.
    id = runtime::binding_event_id(from.group, epoch, seq);
  }
  if (!std::holds_alternative<runtime::agent_target>(rule.target)) return id;
  const auto anew = runtime::redrive_after_refusal(letter.history_at_death());
  return anew == 0 ? id : fmt::format("{}:{}", id, anew);
}

bindings_actor::bindings_actor(
    caf::actor_config& config, shard_id shard, const broker_parts& parts, caf::actor parent)
    : companion{config, shard, parts, std::move(parent)} {
  // In the order of runtime::binding_target.
  for (const auto* kind : {"workflow", "signal", "agent", "queue"}) {
    const metrics::labels with{{"target", kind}};
    auto& counters = parts.counters;
    counters_.push_back(
        {counters.counter(
             "binding_handled_total",
             "events that a binding's target has taken, and durably",
             with),
         counters.counter(
             "binding_failed_total", "attempts that a binding's target refused for now", with),
         counters.counter(
             "binding_dead_total", "events that became dead letters of a binding", with)});
  }
}

caf::behavior bindings_actor::make_behavior() {
  return common_handlers().or_else(
      [this](const boxed<control_request>& request, const caf::actor& reply_to) {
        on_request({request->correlation, std::move(request->body), reply_to});
      },
      [this](const boxed<binding_news>& news) { on_news(*news); },
      [this](const boxed<control_reply>& reply) { on_reply(*reply); },
      [this](const boxed<publish_replies>& replies) { on_published(*replies); });
}

void bindings_actor::on_exit() {
  questions_.clear();
  units_.clear();
  watched_.clear();
  companion::on_exit();
}

void bindings_actor::on_activated(bool first) {
  if (!first) return;
  began_at_ = boot();
  began_ = shard_time();
}

void bindings_actor::on_news(const binding_news& news) {
  const group_ref group{news.topic, news.group};
  if (news.rule.empty()) {
    units_.erase(group);
    for (const auto& ledger : {group, redrive_of(group)}) {
      orphan_free_.erase(ledger);
      doubted_.erase(ledger);
    }
    std::erase_if(watched_, [&](const auto& one) { return one.first.first == group; });
    return;
  }
  auto rule = runtime::parse_binding(news.rule);
  if (!rule) return;
  auto& unit = units_[group];
  if (unit.life == 0) {
    unit.life = ++lives_;
    // What was given back before the node died may still wait.
    unit.awake_until = boot() + redrive_awake;
  }
  unit.group = group;
  unit.rule = std::make_shared<const runtime::binding_rule>(*std::move(rule));
  unit.is_redrive = news.is_redrive;
  unit.is_asleep = false;
  advance(unit);
  arm_tick();
}

// -- questions and their answers
// -------------------------------------------------------------------

void bindings_actor::ask(
    control_body body, std::chrono::milliseconds how_long, answer_handler then) {
  const auto number = ++correlations_;
  auto asked = parts_.router->control(
      {correlation_id{number}, std::move(body)}, caf::actor_cast<caf::actor>(this));
  if (!asked) return then(std::unexpected{asked.error()});
  questions_.emplace(number, open_question{std::move(then), boot() + how_long});
}

void bindings_actor::publish(
    publish_batch batch, std::chrono::milliseconds how_long, answer_handler then) {
  const auto number = ++correlations_;
  batch.requests.front().correlation = correlation_id{number};
  auto asked = parts_.router->publish(std::move(batch), caf::actor_cast<caf::actor>(this));
  if (!asked) return then(std::unexpected{asked.error()});
  questions_.emplace(number, open_question{std::move(then), boot() + how_long});
}

void bindings_actor::on_published(const publish_replies& replies) {
  for (const auto& reply : replies.replies) {
    auto node = questions_.extract(reply.correlation.raw());
    if (!node) continue;
    if (reply.outcome) {
      const auto& events = reply.outcome->events;
      const auto seq = events.empty() ? reply.outcome->first_seq : events.front().seq;
      node.mapped().then(control_answer{binding_edited{seq}});
    } else {
      node.mapped().then(std::unexpected{reply.outcome.error()});
    }
  }
}

/// The same for a binding, which may be gone when the answer comes, or be another of its name.
void bindings_actor::ask_for(
    const binding_unit& unit,
    control_body body,
    std::chrono::milliseconds how_long,
    std::move_only_function<void(binding_unit&, result<control_answer>)> then) {
  ask(std::move(body),
      how_long,
      [this, group = unit.group, life = unit.life, then = std::move(then)](
          result<control_answer> outcome) mutable {
        const auto found = units_.find(group);
        if (found == units_.end() || found->second.life != life) return;
        then(found->second, std::move(outcome));
      });
}

void bindings_actor::on_reply(control_reply& reply) {
  auto node = questions_.extract(reply.correlation.raw());
  if (node) node.mapped().then(std::move(reply.outcome));
}

void bindings_actor::expire() {
  if (boot() < next_expiry_) return;
  next_expiry_ = boot() + expiry_interval;
  std::vector<std::uint64_t> late;
  for (const auto& [number, question] : questions_) {
    if (question.deadline <= boot()) late.push_back(number);
  }
  for (const auto number : late) {
    if (auto node = questions_.extract(number)) {
      node.mapped().then(fail(errc::timeout, "no answer in time"));
    }
  }
}

void bindings_actor::on_tick() {
  expire();
  for (auto& [group, unit] : units_) {
    if (is_settled_in()) unit.channels.clear();
    advance(unit);
  }
  look_at_letters();
  if (!units_.empty() || !questions_.empty() || !watched_.empty()) arm_tick();
}

// -- deliveries
// ------------------------------------------------------------------------------------

/// Whatever is due next.
void bindings_actor::advance(binding_unit& unit) {
  send_acks(unit);
  send_returns(unit);
  fetch(unit);
}

void bindings_actor::fetch(binding_unit& unit) {
  if (unit.is_fetching || unit.is_asleep || boot() < unit.paused_until) return;
  if (unit.works.size() >= works_max || unit.works_bytes >= works_bytes_max) return;
  unit.is_fetching = true;
  const auto wait = std::min(fetch_wait_ms, parts_.settings.groups.fetch_wait_ms_max);
  fetch_deliveries body{
      unit.group,
      std::string{member},
      static_cast<std::uint32_t>(works_max - unit.works.size()),
      wait};
  ask_for(
      unit,
      std::move(body),
      std::chrono::milliseconds{wait} + patience,
      [this](binding_unit& after, result<control_answer> outcome) {
        after.is_fetching = false;
        on_fetched(after, std::move(outcome));
      });
}

void bindings_actor::on_fetched(binding_unit& unit, result<control_answer> outcome) {
  if (!outcome) return set_back(unit, outcome.error());
  auto* list = std::get_if<delivery_list>(&*outcome);
  if (list == nullptr) return;
  if (unit.is_redrive && list->deliveries.empty() && unit.works.empty() && unit.returns.empty()
      && unit.parked.empty() && boot() >= unit.awake_until) {
    unit.is_asleep = true;
  }
  for (auto& one : list->deliveries)
    hand_on(unit, list->epoch, one);
  advance(unit);
}

void bindings_actor::hand_on(binding_unit& unit, const std::string& epoch, delivery& one) {
  const auto seq = one.event.seq;
  if (const auto known = unit.works.find(seq); known != unit.works.end()) {
    // The group was read again meanwhile; its target is being asked.
    known->second.token = std::move(one.token);
    known->second.attempt = one.attempt;
    return;
  }
  const bool was_parked = unit.parked.erase(seq) != 0;
  const auto start_work = [&] {
    const auto size = one.event.stored.size();
    unit.works.emplace(seq, binding_unit::work{std::move(one.token), one.attempt, size});
    unit.works_bytes += size;
  };
  auto event = runtime::bound_event::read(one.event.stored, one.event.time);
  if (!event) {
    start_work();
    return give_back(unit, seq, event.error(), nack_kind::give_up);
  }
  if (!unit.is_redrive && !unit.rule->filter.matches(*event)) {
    unit.done.push_back(std::move(one.token));
    return;
  }
  start_work();
  if (unit.is_redrive && event->is_replacement() && !one.root) {
    unit.done.push_back(take_work(unit, seq).token);
    return;
  }
  const auto id = unit.is_redrive ? redriven_id(unit.group, *unit.rule, *event, epoch, seq)
                                  : runtime::binding_event_id(unit.group.group, epoch, seq);
  auto effect = runtime::make_effect(*unit.rule, *event, id);
  if (!effect) return give_back(unit, seq, effect.error(), nack_kind::give_up);
  auto request = request_of(unit.group, epoch, one.root.value_or(seq), *std::move(effect));
  wait_for_reply(request, call_wait);
  auto shared = std::make_shared<const control_body>(std::move(request));
  // To another target it was handed on, by the rule of before.
  if (was_parked && !std::holds_alternative<call_agent>(*shared)) return finish(unit, seq);
  if (was_parked || may_have_been_parked(unit, one.event)) {
    return look_up(unit, one.event, was_parked, shared);
  }
  ask_target(unit, seq, std::move(shared));
}

void bindings_actor::ask_target(
    binding_unit& unit, sequence seq, std::shared_ptr<const control_body> request) {
  auto body = *request;
  ask_for(
      unit,
      std::move(body),
      patience,
      [this, seq, request = std::move(request)](
          binding_unit& after, const result<control_answer>& answered) {
        on_target(after, seq, request, answered);
        advance(after);
      });
}

binding_unit::work bindings_actor::take_work(binding_unit& unit, sequence seq) {
  auto node = unit.works.extract(seq);
  if (!node) return {};
  unit.works_bytes -= node.mapped().size;
  return std::move(node.mapped());
}

void bindings_actor::on_target(
    binding_unit& unit,
    sequence seq,
    std::shared_ptr<const control_body> request,
    const result<control_answer>& outcome) {
  const auto heard = heard_from(outcome);
  if (!heard) return give_back(unit, seq, heard.error(), kind_of(heard.error()));
  // Slow agents must not keep others from being called.
  if (!*heard && unit.works.contains(seq)) {
    if (!is_crowded(unit)) return ask_target(unit, seq, std::move(request));
    if (can_park(unit)) return park(unit, seq);
  }
  finish(unit, seq);
}

bool bindings_actor::is_crowded(const binding_unit& unit) {
  return unit.works.size() > works_max / 2 || unit.works_bytes > works_bytes_max / 2;
}

void bindings_actor::finish(binding_unit& unit, sequence seq) {
  auto ended = take_work(unit, seq);
  if (ended.token.empty()) return;
  unit.setbacks = 0;
  unit.done.push_back(std::move(ended.token));
  counters_of(unit).handled.Increment();
}

void bindings_actor::give_back(binding_unit& unit, sequence seq, const error& why, nack_kind kind) {
  auto ended = take_work(unit, seq);
  if (ended.token.empty()) return;
  // Others have room: only this one waits, and with it what is behind it in its subject.
  const bool is_its_own = why.code == errc::inbox_full;
  if (kind == nack_kind::put_back && !is_its_own) set_back(unit, why);
  const auto delay = is_its_own ? std::max(why.retry_after_ms, inbox_pause(unit)) : 0U;
  const auto text = fmt::format("{}: {}", name_of(why.code), why.detail);
  unit.returns[{kind, text, delay}].push_back(std::move(ended.token));
  unit.awake_until = boot() + redrive_awake;
  const bool is_last = kind == nack_kind::retry && ended.attempt >= binding_attempts_max;
  auto& counters = counters_of(unit);
  (kind == nack_kind::give_up || is_last ? counters.died : counters.failed).Increment();
}

/// Each is a read, a request and a record: those of many full targets must leave room for others.
std::uint32_t bindings_actor::inbox_pause(binding_unit& unit) const {
  if (boot() >= unit.inbox_counted_until) {
    if (unit.inbox_returns > inbox_returns_max) unit.inbox_pause_ms *= 2;
    if (unit.inbox_returns < inbox_returns_max / 4) unit.inbox_pause_ms /= 2;
    unit.inbox_pause_ms = std::clamp(unit.inbox_pause_ms, inbox_pause_min_ms, inbox_pause_max_ms);
    unit.inbox_returns = 0;
    unit.inbox_counted_until = boot() + std::chrono::milliseconds{unit.inbox_pause_ms};
  }
  ++unit.inbox_returns;
  return unit.inbox_pause_ms;
}

void bindings_actor::send_acks(binding_unit& unit) {
  if (unit.done.empty() || !unit.acking.empty()) return;
  const auto count = std::min(unit.done.size(), acks_max);
  const auto end = unit.done.begin() + static_cast<std::ptrdiff_t>(count);
  unit.acking.assign(std::make_move_iterator(unit.done.begin()), std::make_move_iterator(end));
  unit.done.erase(unit.done.begin(), end);
  ask_for(
      unit,
      ack_deliveries{unit.group, unit.acking, {}},
      patience,
      [this](binding_unit& after, const result<control_answer>& outcome) {
        auto acked = std::exchange(after.acking, {});
        if (!outcome) {
          // Whatever of them is stale by then comes back as lost, and changes nothing.
          std::ranges::move(acked, std::back_inserter(after.done));
          return set_back(after, outcome.error());
        }
        advance(after);
      });
}

void bindings_actor::send_returns(binding_unit& unit) {
  if (unit.returns.empty() || !unit.returning.second.empty()) return;
  auto node = unit.returns.extract(unit.returns.begin());
  unit.returning = {node.key(), std::move(node.mapped())};
  const auto& [reason, tokens] = unit.returning;
  nack_deliveries body{unit.group, tokens, {}, reason.error, reason.kind};
  if (reason.delay_ms != 0) {
    body.delay_ms = reason.delay_ms + static_cast<std::uint32_t>(random_64() % reason.delay_ms);
  } else if (reason.kind == nack_kind::put_back) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(unit.paused_until - boot());
    body.delay_ms = static_cast<std::uint32_t>(std::max(left, 0ms).count());
  }
  ask_for(
      unit,
      std::move(body),
      patience,
      [this](binding_unit& after, const result<control_answer>& outcome) {
        auto [why, returned] =
            std::exchange(after.returning, std::pair<return_reason, std::vector<std::string>>{});
        if (!outcome) {
          std::ranges::move(returned, std::back_inserter(after.returns[why]));
          return set_back(after, outcome.error());
        }
        advance(after);
      });
}

/// Waits before anything more is asked: longer from time to time.
void bindings_actor::set_back(binding_unit& unit, const error& why) {
  // One overloaded target refuses many deliveries at once: they are one setback.
  if (boot() < unit.paused_until) return;
  const auto pause = pause_min * (1U << std::min(unit.setbacks, pause_doublings_max));
  ++unit.setbacks;
  const std::chrono::milliseconds jitter{
      random_64() % static_cast<std::uint64_t>(pause.count() / 2 + 1)};
  const auto asked = std::min(std::chrono::milliseconds{why.retry_after_ms}, 10'000ms);
  unit.paused_until = boot() + std::max(pause + jitter, asked);
  arm_tick();
}

binding_counters& bindings_actor::counters_of(const binding_unit& unit) {
  return counters_[unit.rule->target.index()];
}

caf::actor spawn_bindings(
    caf::actor_system& system,
    shard_id shard,
    const broker_parts& parts,
    const caf::actor& parent) {
  return system.spawn<bindings_actor>(shard, parts, parent);
}

}  // namespace callboard::actors
