#include "actors/local_router.hpp"

#include "actors/queue_routing.hpp"
#include "actors/run_reads.hpp"
#include "actors/run_rerun_reads.hpp"
#include "actors/shard_actor.hpp"
#include "actors/topic_answers.hpp"
#include "actors/topic_reads.hpp"
#include "base/log.hpp"
#include "runtime/workflow/agent_names.hpp"
#include "runtime/workflow/workflow_registry.hpp"

#include <caf/actor_system.hpp>
#include <caf/scoped_actor.hpp>
#include <caf/send.hpp>
#include <fmt/format.h>

#include <algorithm>

namespace callboard::actors {

namespace {

constexpr std::uint32_t overloaded_retry_ms = 50;
constexpr auto stop_patience = std::chrono::seconds{5};
constexpr auto kill_patience = std::chrono::seconds{1};

const topic_ref* topic_of(const control_body& body) {
  return std::visit(
      [](const auto& one) -> const topic_ref* {
        if constexpr (requires { one.group.topic; }) {
          return &one.group.topic;
        } else if constexpr (requires { one.topic.topic; }) {
          return &one.topic;
        } else {
          return nullptr;
        }
      },
      body);
}

std::unexpected<error> is_draining() {
  return fail(errc::draining, "the node is shutting down; reconnect", 1000);
}

}  // namespace

local_router::local_router(caf::actor_system& system, broker_parts& parts)
    : system_{system},
      parts_{parts},
      counters_{parts.counters},
      census_{parts.counters, parts.journal.shard_count()},
      runs_{parts.settings.workflows, parts.time, parts.counters},
      bulk_events_{parts.settings.topics.bulk_in_flight_max} {
  parts_.router = this;
  parts_.stuck = &stuck_;
  parts_.census = &census_;
  parts_.runs = &runs_;
  const auto count = parts_.journal.shard_count();
  for (std::uint32_t i = 0; i < count; ++i) {
    admission_.push_back(
        std::make_unique<shard_admission>(parts_.settings.topics.shard_in_flight_max));
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    shards_.push_back(spawn_shard(
        system_,
        {.parts = parts_,
         .admission = {bulk_events_, *admission_[i]},
         .counters = counters_,
         .shard = shard_id{i}}));
  }
  add_gauges();
  // A shard that begins wakes runs, and what they send goes to any shard: all must be there.
  for (const auto& shard : shards_)
    caf::anon_send(shard, box(begin_shard{}));
}

void local_router::add_gauges() {
  auto& counters = parts_.counters;
  auto& in_flight =
      counters.gauge("events_in_flight", "Events between admission and commit, all shards.");
  auto& busiest =
      counters.gauge("shard_events_in_flight_highest", "Events in flight of the busiest shard.");
  auto& bound = counters.gauge("shard_events_in_flight_max", "Bound of one shard.");
  auto& bulk = counters.gauge("bulk_events_in_flight", "Those of bulk topics.");
  auto& oldest = counters.gauge(
      "oldest_publish_age_seconds", "How long the oldest unanswered publish has waited.");
  const std::string help = "Batches waiting in mailboxes, by class of actor.";
  auto& at_shards = counters.gauge("mailbox_depth", help, {{"class", "shard"}});
  auto& at_topics = counters.gauge("mailbox_depth", help, {{"class", "topic"}});
  bound.Set(parts_.settings.topics.shard_in_flight_max);
  counters.add_sampler([this, &in_flight, &busiest, &bulk, &oldest, &at_shards, &at_topics] {
    std::uint64_t sum = 0;
    std::uint64_t highest = 0;
    const auto now = parts_.time.boot();
    boot_time age{};
    for (const auto& one : admission_) {
      const auto used = one->used();
      sum += used;
      highest = std::max(highest, used);
      if (const auto since = one->oldest()) age = std::max(age, now - *since);
    }
    in_flight.Set(static_cast<double>(sum));
    busiest.Set(static_cast<double>(highest));
    bulk.Set(static_cast<double>(bulk_events_.used()));
    oldest.Set(std::chrono::duration<double>(age).count());
    at_shards.Set(static_cast<double>(counters_.shard_mailbox.load()));
    at_topics.Set(static_cast<double>(counters_.topic_mailbox.load()));
  });
}

local_router::~local_router() {
  stop();
}

std::size_t local_router::index_of(const topic_ref& topic) const {
  return shard_index(topic, parts_.journal.shard_count());
}

result<void> local_router::publish(publish_batch batch, const caf::actor& reply_to) {
  if (draining_) return is_draining();
  const auto index = index_of(batch.topic);
  auto ticket =
      admission_[index]->admit(batch.topic, events_in(batch.requests), parts_.time.boot());
  if (!ticket) {
    counters_.refused(errc::overloaded, batch.requests.size());
    const error full{
        errc::overloaded,
        fmt::format(
            "{} events of this topic's shard wait for their commit; retry later",
            admission_[index]->used()),
        overloaded_retry_ms};
    const auto most = admission_[index]->events_max_of(batch.topic);
    const bool is_quarter = most < parts_.settings.topics.shard_in_flight_max;
    const events_bound bound{
        most,
        is_quarter ? "a quarter of topics.shard_in_flight_max, as bulk topics may have"
                   : "topics.shard_in_flight_max"};
    if (!is_beyond(batch.requests, bound)) return std::unexpected{full};
    caf::anon_send(reply_to, box(refusals_of(batch.requests, full, bound)));
    return {};
  }
  ++counters_.shard_mailbox;
  caf::anon_send(
      shards_[index], box(admitted_publish{std::move(batch), std::move(*ticket)}), reply_to);
  return {};
}

result<void> local_router::control(control_request request, const caf::actor& reply_to) {
  const auto& body = request.body;
  if (std::holds_alternative<list_topics>(body) || std::holds_alternative<get_topic>(body)
      || std::holds_alternative<read_events>(body) || std::holds_alternative<list_workflows>(body)
      || is_queue_look(body)) {
    return read(std::move(request), reply_to);
  }
  if (std::holds_alternative<restart_workflow>(body)
      || std::holds_alternative<fork_workflow>(body)) {
    return rerun(std::move(request), reply_to);
  }
  // What ends or gives back work is let through to the last.
  const bool gives_back = std::holds_alternative<ack_deliveries>(body)
                          || std::holds_alternative<nack_deliveries>(body)
                          || std::holds_alternative<leave_group>(body)
                          || std::holds_alternative<presence_leave>(body) || gives_back_task(body);
  if (draining_ && !gives_back) return is_draining();
  if (const auto* start = std::get_if<start_workflow>(&body)) {
    // Before a channel is made for it.
    if (parts_.workflows == nullptr || parts_.workflows->newest(start->type) == nullptr) {
      return fail(
          errc::bad_request, fmt::format("this node has no workflow type '{}'", start->type));
    }
    if (runtime::is_agent_channel(start->topic.topic) || runtime::is_agent_type(start->type)) {
      return fail(errc::bad_request, "agents are made by their first message, not started");
    }
  } else if (auto* call = std::get_if<call_agent>(&request.body)) {
    // One that exists keeps the message until its code is here; whether it does its shard knows.
    call->makes_agent =
        parts_.workflows != nullptr && parts_.workflows->newest(call->type) != nullptr;
  }
  if (is_queue_work(body)) {
    const auto shard = shard_of_queue(body, parts_.journal.shard_count());
    if (!shard) return std::unexpected{shard.error()};
    caf::anon_send(shards_[shard->raw()], box(std::move(request)), reply_to);
    return {};
  }
  const auto index = index_of(*topic_of(body));
  caf::anon_send(shards_[index], box(std::move(request)), reply_to);
  return {};
}

result<void> local_router::read(control_request request, const caf::actor& reply_to) {
  return parts_.readers.post(
      reader_pool::lane::reads,
      [&journal = parts_.journal,
       workflows = parts_.workflows,
       &stuck = stuck_,
       request = std::move(request),
       reply_to]() mutable {
        const auto answer = [&]() -> result<control_answer> {
          if (const auto* get = std::get_if<get_topic>(&request.body)) {
            return describe_topic(journal, get->topic);
          }
          if (const auto* list = std::get_if<list_topics>(&request.body)) {
            return list_topics_page(journal, *list);
          }
          if (const auto* list = std::get_if<list_workflows>(&request.body)) {
            return list_workflows_page(journal, workflows, stuck, *list);
          }
          if (is_queue_look(request.body)) return look_at_queues(journal, request.body);
          return read_event_page(journal, std::get<read_events>(request.body));
        };
        caf::anon_send(reply_to, box(control_reply{request.correlation, answer()}));
      });
}

result<void> local_router::rerun(control_request request, const caf::actor& reply_to) {
  if (draining_) return is_draining();
  const auto* restart = std::get_if<restart_workflow>(&request.body);
  const auto* fork = std::get_if<fork_workflow>(&request.body);
  const auto source = restart != nullptr ? restart->topic : fork->topic;
  const auto target = restart != nullptr ? restart->topic : fork->target;
  if (source.topic == target.topic && fork != nullptr) {
    return fail(errc::workflow_exists, "a fork needs an id of its own");
  }
  const auto order = restart != nullptr ? restart->order : fork->order;
  return parts_.readers.post(
      reader_pool::lane::reads,
      [&parts = parts_,
       shard = shards_[index_of(target)],
       correlation = request.correlation,
       source,
       target,
       order,
       reply_to] {
        auto begin = read_rerun(parts.journal, parts.workflows, source, target, order);
        if (begin) {
          caf::anon_send(shard, box(control_request{correlation, std::move(*begin)}), reply_to);
        } else {
          caf::anon_send(reply_to, box(control_reply{correlation, std::unexpected{begin.error()}}));
        }
      });
}

void local_router::attach(attach_relay message, const caf::actor& relay) {
  const auto index = index_of(message.topic);
  caf::anon_send(shards_[index], box(std::move(message)), relay);
}

void local_router::detach(detach_relay message, const caf::actor& relay) {
  const auto index = index_of(message.topic);
  caf::anon_send(shards_[index], box(std::move(message)), relay);
}

void local_router::watch(const watch_pattern& message, const caf::actor& hub) {
  for (const auto& shard : shards_)
    caf::anon_send(shard, box(watch_pattern{message}), hub);
}

void local_router::unwatch(const unwatch_pattern& message, const caf::actor& hub) {
  for (const auto& shard : shards_)
    caf::anon_send(shard, box(unwatch_pattern{message}), hub);
}

time_ms local_router::event_time() const {
  auto earliest = time_ms::max();
  for (std::uint32_t i = 0; i < parts_.journal.shard_count(); ++i)
    earliest = std::min(earliest, parts_.journal.shard_time(shard_id{i}));
  return earliest;
}

void local_router::drain() {
  draining_ = true;
}

void local_router::begin_stop() {
  draining_ = true;
  if (stopping_.exchange(true)) return;
  for (const auto& shard : shards_)
    caf::anon_send(shard, box(stop_shard{}));
}

void local_router::stop() {
  if (stopped_.exchange(true)) return;
  begin_stop();
  caf::scoped_actor waiter{system_, true};
  std::size_t left = shards_.size();
  for (const auto& shard : shards_)
    waiter->monitor(shard);
  const auto wait = [&](auto patience) {
    bool expired = false;
    while (left > 0 && !expired) {
      waiter->receive(
          [&](const caf::down_msg&) { --left; }, caf::after(patience) >> [&] { expired = true; });
    }
  };
  wait(stop_patience);
  if (left > 0) {
    log::channel("actors")->error("{} shards did not end in time and are stopped", left);
    for (const auto& shard : shards_)
      caf::anon_send_exit(shard, caf::exit_reason::kill);
    wait(kill_patience);
  }
}

}  // namespace callboard::actors
