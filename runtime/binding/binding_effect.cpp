#include "runtime/binding/binding_effect.hpp"

#include "base/hash.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace callboard::runtime {

namespace {

constexpr std::string_view channel_prefix = "workflow.";
constexpr std::string_view agent_prefix = "workflow.agent.";
/// Of a queue's fairness key.
constexpr std::size_t key_size_max = 1024;

result<topic_name>
channel_of(std::string_view prefix, const template_text& name, bound_event& event) {
  auto expanded = name.expand(event);
  if (!expanded) return std::unexpected{expanded.error()};
  auto channel = topic_name::parse(std::string{prefix} + *expanded);
  if (channel) return channel;
  return fail(
      errc::invalid_name,
      fmt::format("'{}' of this event cannot be a name: {}", name.str(), channel.error().detail));
}

struct effect_maker {
  bound_event& event;
  const std::string& event_id;

  result<binding_effect> operator()(const workflow_target& to) const {
    auto channel = to.id.empty() ? topic_name::parse(std::string{channel_prefix} + event_id)
                                 : channel_of(channel_prefix, to.id, event);
    if (!channel) return std::unexpected{channel.error()};
    auto input = to.takes_event ? event.event_text() : event.data_text();
    if (!input) return std::unexpected{input.error()};
    return start_effect{*std::move(channel), to.type, *std::move(input), event.correlation_id()};
  }

  result<binding_effect> operator()(const signal_target& to) const {
    auto channel = channel_of(channel_prefix, to.workflow, event);
    if (!channel) return std::unexpected{channel.error()};
    auto payload = event.data_text();
    if (!payload) return std::unexpected{payload.error()};
    return signal_effect{*std::move(channel), to.name, *std::move(payload), event_id};
  }

  result<binding_effect> operator()(const agent_target& to) const {
    auto channel = channel_of(fmt::format("{}{}.", agent_prefix, to.type), to.key, event);
    if (!channel) return std::unexpected{channel.error()};
    auto payload = event.data_text();
    if (!payload) return std::unexpected{payload.error()};
    return call_effect{
        *std::move(channel),
        "agent:" + to.type,
        to.message,
        *std::move(payload),
        event_id,
        event.correlation_id()};
  }

  result<binding_effect> operator()(const queue_target& to) const {
    auto payload = event.data_text();
    if (!payload) return std::unexpected{payload.error()};
    enqueue_effect enqueue{to.queue, *std::move(payload), to.priority, {}, event_id};
    if (!to.fairness_key.empty()) {
      auto key = to.fairness_key.expand(event);
      if (!key) return std::unexpected{key.error()};
      if (key->size() > key_size_max) {
        return fail(
            errc::invalid_name,
            fmt::format("the fairness key of this event is longer than {} bytes", key_size_max));
      }
      enqueue.fairness_key = *std::move(key);
    }
    return enqueue;
  }
};

/// What names the one that events are in order for; null where there is no such order.
const template_text* ordered_by(const binding_target& target) {
  if (const auto* workflow = std::get_if<workflow_target>(&target)) {
    return workflow->id.empty() ? nullptr : &workflow->id;
  }
  if (const auto* signal = std::get_if<signal_target>(&target)) return &signal->workflow;
  if (const auto* agent = std::get_if<agent_target>(&target)) return &agent->key;
  return nullptr;
}

}  // namespace

result<binding_effect>
make_effect(const binding_rule& rule, bound_event& event, const std::string& event_id) {
  return std::visit(effect_maker{event, event_id}, rule.target);
}

std::uint64_t order_key(const binding_rule& rule, bound_event& event) {
  const auto* by = ordered_by(rule.target);
  if (by == nullptr || !rule.filter.matches(event)) return 0;
  const auto name = by->expand(event);
  return name ? std::max<std::uint64_t>(hash_64(*name), 1) : 0;
}

}  // namespace callboard::runtime
