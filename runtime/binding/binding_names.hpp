// How the parts of a binding are called: the consumer group it stands on, the topic of its dead
// letters, and the id under which its target hears of an event.
#pragma once

#include "base/error.hpp"
#include "base/ids.hpp"
#include "base/names.hpp"

#include <string>
#include <string_view>

namespace callboard::runtime {

/// No group of a client can begin so: '~' is not in the grammar of names.
inline constexpr char binding_group_prefix = '~';

/// A binding's name is 1 to 64 bytes of `[A-Za-z0-9_:-]`; its group is that with the prefix.
/// Errors: invalid_name.
[[nodiscard]] result<group_name> binding_group(std::string_view name);

/// The group on its topic of dead letters through which the binding redrives them.
[[nodiscard]] group_name redrive_group(const group_name& binding);

/// Also for the group of a redrive.
[[nodiscard]] bool is_binding_group(const group_name& group);
[[nodiscard]] bool is_redrive_group(const group_name& group);

/// Precondition: `is_binding_group(group)`.
[[nodiscard]] std::string binding_name_of(const group_name& group);

/// The topic, under which its dead letters have their own: the same, but `run.{id}` for the channel
/// `workflow.{id}` of a run, below which only runs may publish.
[[nodiscard]] std::string dead_letter_stem(const topic_name& topic);

/// `<stem>.binding.<name>.dead`, shortened by a hash where that would be too long.
[[nodiscard]] topic_name binding_dead_topic(const topic_name& topic, const group_name& group);

/// Who redrove or gave up which dead letters; named like their topic, with `audit` at its end.
[[nodiscard]] topic_name binding_audit_topic(const topic_name& topic, const group_name& group);

/// The same whenever the same event of the same binding is handed on, so that it counts once: id of
/// the workflow, the signal or the message, and dedupe key of the task. Also a valid token of a
/// topic.
[[nodiscard]] std::string
binding_event_id(const group_name& group, std::string_view epoch, sequence seq);

/// Ids of all bindings begin so; a dedupe key of anybody else's task must not.
inline constexpr std::string_view binding_event_prefix = "bind:";

/// False for what `binding_event_id` would not give for an event of this binding: anybody who may
/// publish to the topic of its dead letters can say so there.
[[nodiscard]] bool is_binding_event_id(const group_name& group, std::string_view text);

}  // namespace callboard::runtime
