// The JSON of everything that is not an event: request bodies of topics, groups and presence, and
// the answers of the broker. HTTP and the JSON WebSocket say the same with the same words.
#pragma once

#include "actors/requests.hpp"
#include "base/config.hpp"
#include "runtime/binding/binding_rule.hpp"

#include <span>
#include <string>
#include <string_view>

namespace callboard::gateway {

// All parsers: errors are invalid_json or bad_request with the member and the rule.

/// `{"kind","lane","retention":{"max_age_s","max_bytes","max_events"},"dedupe_window_s",
/// "hold_for_groups"}`, all optional.
[[nodiscard]] result<actors::topic_settings_patch> parse_topic_patch(std::string_view body);

/// `{"hold_ms","deliveries_max","in_flight_max","backoff_min_ms","backoff_max_ms",
/// "ordered_by_subject","dead_letter_topic","from"}`, all optional.
[[nodiscard]] result<actors::put_group>
parse_put_group(const actors::group_ref& group, std::string_view body);

/// `{"filter"?,"target","from"?}`; see runtime/binding/binding_rule.hpp. It begins at "now" unless
/// told otherwise.
struct parsed_binding {
  actors::put_group put;
  runtime::binding_rule rule;
};

[[nodiscard]] result<parsed_binding>
parse_put_binding(const actors::group_ref& group, std::string_view body);

/// `{"member"?,"max"?,"wait_ms"?}`; the wait is cut to `groups.fetch_wait_ms_max`.
[[nodiscard]] result<actors::fetch_deliveries> parse_fetch(
    const actors::group_ref& group,
    std::string_view body,
    const std::string& default_member,
    const config::groups_section& limits);

/// `{"deliveries":[token...]?,"up_to_seq"?}`, at least one of them.
[[nodiscard]] result<actors::ack_deliveries>
parse_ack(const actors::group_ref& group, std::string_view body);

/// `{"deliveries":[token...],"delay_ms"?,"error"?}`
[[nodiscard]] result<actors::nack_deliveries>
parse_nack(const actors::group_ref& group, std::string_view body);

/// The state of a presence member: a JSON object of at most 4 KiB, returned without whitespace; an
/// empty body is `{}`.
[[nodiscard]] result<std::string> parse_presence_state(std::string_view body);

/// The name of a member, a worker, a signal or a message, which `of` says: 1 to 255 bytes of
/// printable UTF-8. Errors: invalid_name.
[[nodiscard]] result<void> check_label(std::string_view of, std::string_view text);

/// Appends an answer as a JSON object.
void append_answer_json(std::string& out, const actors::control_answer& answer);

/// Appends `"topic":...,"seq":...,"cursor":...,"id":...,"duplicate":...,"durability":...` of event
/// `index` of a publish; an ephemeral one has `"ephemeral":true` instead of seq, cursor and
/// durability.
void append_publish_members(
    std::string& out,
    std::string_view topic,
    const std::string& id,
    const actors::publish_outcome& outcome,
    std::size_t index);

}  // namespace callboard::gateway
