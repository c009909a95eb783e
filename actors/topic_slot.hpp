// What a shard knows of a topic that is in memory or on its way there.
#pragma once

#include "actors/boxed.hpp"
#include "actors/requests.hpp"
#include "actors/run_memory.hpp"
#include "actors/topic_actor.hpp"
#include "actors/topic_answers.hpp"
#include "actors/topic_interest.hpp"
#include "actors/topic_loading.hpp"
#include "base/lazy_deque.hpp"
#include "runtime/workflow/agent_names.hpp"

#include <caf/actor.hpp>

#include <algorithm>
#include <iterator>
#include <optional>
#include <type_traits>
#include <variant>
#include <vector>

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

/// What is held for a topic that is not there makes it.
[[nodiscard]] inline bool makes(const waiting& one) {
  const auto* publish = std::get_if<waiting_publish>(&one);
  if (publish != nullptr) return publish->message->batch.makes_topic;
  const auto* control = std::get_if<waiting_control>(&one);
  return control != nullptr && makes_topic(control->message->body);
}

/// What it hears of a topic that is not there.
[[nodiscard]] inline std::optional<error> absent_to(const waiting& one, const topic_ref& name) {
  const auto* control = std::get_if<waiting_control>(&one);
  return control == nullptr ? not_there(name) : not_there(name, control->message->body);
}

enum class topic_stage : std::uint8_t { loading, making, active, passivating };

struct topic_slot {
  topic_stage stage = topic_stage::loading;
  /// Told to end: it is not to be used again, whatever it says.
  bool is_retired = false;
  /// It has work to do: it is to be loaded, also again once it has ended, whoever asks. Who only
  /// looks at it comes again by himself.
  bool is_wanted = false;
  /// It is being read to be ended.
  bool is_read_to_end = false;
  caf::actor actor;
  lazy_deque<waiting> held;
  /// What the topic has, or will have once it is made.
  runtime::topic_settings settings;
  /// The request that made it, to be answered with its description.
  std::optional<waiting_control> maker;
  /// Room for the run that is being begun.
  run_charge charge;

  /// Of a topic that is not there: all that is held before what makes it, and why it is refused.
  [[nodiscard]] std::vector<std::pair<waiting, error>>
  take_refused(const topic_ref& name, const broker_parts& parts) {
    std::vector<std::pair<waiting, error>> refused;
    for (; !held.empty(); held.pop_front()) {
      auto& one = held.front();
      auto why = makes(one) ? take_room(one, parts) : absent_to(one, name);
      if (!why) break;
      refused.emplace_back(std::move(one), *std::move(why));
    }
    return refused;
  }

  /// Of the topic that what is held first makes. A channel's maker goes to its run.
  void take_settings(const topic_ref& name, const config& from) {
    settings = runtime::topic_settings::defaults(from.topics);
    if (is_channel(name.topic)) {
      settings = channel_settings(name.topic, from);
    } else if (auto* control = std::get_if<waiting_control>(&held.front())) {
      const auto& patch = std::get<put_topic>(control->message->body).patch;
      settings.kind = patch.kind.value_or(settings.kind);
      settings = *patch_settings(settings, patch);
      maker = std::move(*control);
      held.pop_front();
    }
  }

  /// What was asked first is to start a workflow.
  [[nodiscard]] bool begins_run() const { return first_start() != nullptr; }

  /// And nothing can be on disk of it.
  [[nodiscard]] bool begins_new_run() const {
    const auto* start = first_start();
    return start != nullptr && start->is_new;
  }

  /// The run of this channel has been woken by its time, or by the sweep, and nobody needs it now.
  [[nodiscard]] bool may_wait(const topic_ref& name) const {
    return is_channel(name.topic) && std::ranges::all_of(held, is_of_sweep);
  }

  /// The run of this channel is to be terminated, whoever else asks for it: that needs less of it
  /// than all that might come before.
  [[nodiscard]] bool ends_run(const topic_ref& name) const {
    return !runtime::is_agent_channel(name.topic) && std::ranges::any_of(held, terminates);
  }

  /// Also one that is only being begun hears some, as its code may hang.
  template <class Body>
  [[nodiscard]] bool hears(const Body& body) const {
    return stage == topic_stage::active
           || (stage == topic_stage::making && actor && is_for_begun(body));
  }

  /// Its actor may end if it says that it is idle. That of a run that is only being begun says so
  /// when its first transition was refused.
  [[nodiscard]] bool may_rest() const {
    return stage == topic_stage::active || (stage == topic_stage::making && actor);
  }

  /// In memory, and not to end for good. One that has said it is idle may find that it is not.
  [[nodiscard]] bool may_go_on() const {
    return stage == topic_stage::active
           || (stage == topic_stage::passivating && actor && !is_retired);
  }

  /// What is held that a run hears which is only being begun.
  [[nodiscard]] std::vector<waiting> take_for_begun() {
    const auto is_taken = [](const waiting& one) {
      const auto* control = std::get_if<waiting_control>(&one);
      return control != nullptr
             && std::visit(
                 [](const auto& body) { return is_for_begun(body); }, control->message->body);
    };
    std::vector<waiting> taken;
    std::ranges::copy_if(held, std::back_inserter(taken), is_taken);
    erase_if(held, is_taken);
    return taken;
  }

private:
  /// Why what makes it cannot: there is no room for the run that it begins.
  [[nodiscard]] std::optional<error> take_room(const waiting& one, const broker_parts& parts) {
    const auto* control = std::get_if<waiting_control>(&one);
    if (control == nullptr) return std::nullopt;
    auto room = room_for(parts, control->message->body);
    if (!room) return std::move(room.error());
    charge = *std::move(room);
    return std::nullopt;
  }

  /// What ends it, and who asks after it. The cancel of a parent waits until it is heard.
  template <class Body>
  static bool is_for_begun(const Body& body) {
    if constexpr (std::is_same_v<Body, cancel_workflow>) return !body.parent;
    return std::is_same_v<Body, terminate_workflow> || std::is_same_v<Body, explain_workflow>
           || std::is_same_v<Body, get_workflow>;
  }

  [[nodiscard]] const start_workflow* first_start() const {
    const auto* first = held.empty() ? nullptr : std::get_if<waiting_control>(&held.front());
    return first == nullptr ? nullptr : std::get_if<start_workflow>(&first->message->body);
  }

  static bool is_of_sweep(const waiting& one) {
    const auto* control = std::get_if<waiting_control>(&one);
    const auto* check =
        control == nullptr ? nullptr : std::get_if<check_run>(&control->message->body);
    return check != nullptr && !check->is_replied;
  }

  static bool terminates(const waiting& one) {
    const auto* control = std::get_if<waiting_control>(&one);
    return control != nullptr && std::holds_alternative<terminate_workflow>(control->message->body);
  }
};

}  // namespace callboard::actors
