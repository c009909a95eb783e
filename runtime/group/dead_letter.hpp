// What a group publishes to its dead-letter topic.
#pragma once

#include "base/error.hpp"
#include "base/names.hpp"
#include "runtime/group/group_core.hpp"
#include "runtime/topic/event_batch.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace callboard::runtime {

/// Where a dead letter comes from.
struct dead_letter_origin {
  topic_ref topic;
  std::string epoch;
  group_name group;
};

/// The event as it was (type, source, subject, data, extensions), under an id made of epoch, seq
/// and group, so that publishing it twice is harmless, with these extension attributes:
/// deadletterid (its own id), deadlettertopic, deadlettergroup, deadletterseq, deadletterattempts
/// and deadletterhistory (a JSON array of the attempts; those that came by a redrive say by which,
/// counted from 1). A binding's has deadletterbinding instead of deadlettergroup, and
/// deadletterkey: under which its target knows the event. Errors: corruption.
[[nodiscard]] result<encoded_event>
make_dead_letter(const dead_letter& letter, const dead_letter_origin& origin);

/// Of a binding's letter, by its history: the first redrive (counted from 1) behind the last death
/// that the handler of its agent has caused; 0 if there was none.
[[nodiscard]] std::uint32_t redrive_after_refusal(std::string_view history);

/// A binding's letter that is to take the place of `letter` (deadletterreplaces), under the id
/// `id`. Errors: corruption.
[[nodiscard]] result<encoded_event>
edited_letter(const delivered_event& letter, const std::string& data, const std::string& id);

/// The same for a letter that a redrive by hand was refused for `why`: with that in its history.
[[nodiscard]] result<encoded_event> refused_letter(
    const delivered_event& letter, const std::string& why, time_ms when, const std::string& id);

/// The group's dead-letter topic: the chosen one, or `<stem>.<group>.dead` with the group's dots
/// as '-', shortened by a hash where it would be too long.
[[nodiscard]] topic_name
dead_letter_topic(const topic_name& topic, const group_name& group, const std::string& chosen);

}  // namespace callboard::runtime
