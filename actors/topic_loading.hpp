// A topic, and the run whose channel it may be, as the journal has them. Reader pool only.
#pragma once

#include "actors/broker_parts.hpp"
#include "actors/run_host.hpp"
#include "base/ids.hpp"
#include "base/names.hpp"
#include "runtime/topic/topic_core.hpp"

#include <caf/actor.hpp>

#include <cstdint>
#include <memory>
#include <optional>

namespace callboard::actors {

/// Ready to be spawned; `core` is null if there is no such topic.
struct loaded_topic {
  std::unique_ptr<runtime::topic_core> core;
  std::optional<run_image> run;
};

/// True for the channels of workflows: they belong to their runs.
[[nodiscard]] bool is_channel(const topic_name& topic);

/// True for what is not refused where there is no such topic, but makes it.
[[nodiscard]] bool makes_topic(const control_body& ask);

/// Of the channel of a workflow: nothing goes but what an agent has left behind, and ids are made
/// here, so each is new.
[[nodiscard]] runtime::topic_settings
channel_settings(const topic_name& channel, const config& settings);

/// A run whose channel was deleted is not stuck.
void forget_stuck(const broker_parts& parts, const topic_ref& channel);

/// What is said of a topic, or of the workflow whose channel it would be, that is not there.
[[nodiscard]] error not_there(const topic_ref& name);

/// The same to what was asked: a message does not make an agent whose class is not here.
[[nodiscard]] error not_there(const topic_ref& name, const control_body& ask);

/// `what` is above the limit that `setting` names.
[[nodiscard]] std::unexpected<error>
too_large(std::string_view what, std::uint64_t most, std::string_view setting);

/// What a topic is read for.
enum class load_purpose : std::uint8_t {
  /// Its actor goes on with it.
  work,
  /// Its run is about to be terminated, so that nothing of it is executed, and a history nobody can
  /// read is no error.
  end,
  /// To see what is there: its run is not asked for anything.
  look
};

[[nodiscard]] result<loaded_topic>
load_topic(const broker_parts& parts, shard_id shard, const topic_ref& name, load_purpose purpose);

/// What a shard wants of a topic.
struct load_order {
  bool is_to_end = false;
  /// Nobody asks for it: a run that has not ended may be put off until there is room for it.
  bool may_wait = false;
};

/// Sends `to` the `topic_loaded` of this activation.
void load_for(
    const caf::actor& to,
    const broker_parts& parts,
    shard_id shard,
    activation_id activation,
    const topic_ref& name,
    load_order order);

/// Room for the run that `ask` would begin; no charge if it begins none. Errors: overloaded.
[[nodiscard]] result<run_charge> room_for(const broker_parts& parts, const control_body& ask);

[[nodiscard]] std::unique_ptr<runtime::topic_core>
make_topic_core(const broker_parts& parts, runtime::topic_image image);

}  // namespace callboard::actors
