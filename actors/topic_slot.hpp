// What a shard knows of a topic that is in memory or on its way there.
#pragma once

#include "actors/boxed.hpp"
#include "actors/requests.hpp"
#include "actors/topic_actor.hpp"
#include "actors/topic_interest.hpp"
#include "runtime/workflow/agent_names.hpp"

#include <caf/actor.hpp>

#include <deque>
#include <optional>
#include <variant>

namespace callboard::actors {

/// A message that waits for its topic.
struct waiting_publish {
  boxed<admitted_publish> message;
  caf::actor reply_to;
};

struct waiting_control {
  boxed<control_request> message;
  caf::actor reply_to;
};

using waiting = std::variant<waiting_publish, waiting_control, waiting_attach>;

enum class topic_stage : std::uint8_t { loading, making, active, passivating };

struct topic_slot {
  topic_stage stage = topic_stage::loading;
  /// Told to end: it is not to be used again, whatever it says.
  bool is_retired = false;
  /// It is to be loaded again once it has ended, whoever asks.
  bool is_wanted = false;
  caf::actor actor;
  std::deque<waiting> held;
  /// What the topic has, or will have once it is made.
  runtime::topic_settings settings;
  /// The request that made it, to be answered with its description.
  std::optional<waiting_control> maker;

  /// What was asked first is to start a workflow.
  [[nodiscard]] bool begins_run() const {
    const auto* first = held.empty() ? nullptr : std::get_if<waiting_control>(&held.front());
    return first != nullptr && std::holds_alternative<start_workflow>(first->message->body);
  }

  /// What was asked first is to terminate the run of this channel.
  [[nodiscard]] bool ends_run(const topic_ref& name) const {
    const auto* first = held.empty() ? nullptr : std::get_if<waiting_control>(&held.front());
    return first != nullptr && std::holds_alternative<terminate_workflow>(first->message->body)
           && !runtime::is_agent_channel(name.topic);
  }
};

}  // namespace callboard::actors
