// The JSON of task queues: request bodies, and the broker's answers. HTTP and the JSON WebSocket
// say the same with the same words.
#pragma once

#include "actors/requests.hpp"

#include <string>
#include <string_view>

namespace callboard::gateway {

// All parsers: errors are invalid_json or bad_request with the member and the rule.

/// `{"lease_ms","attempts_max","backoff_min_ms","backoff_max_ms","dedupe_window_s","concurrency",
/// "key_concurrency","aging_ms","fairness_quantum"}`, all optional.
[[nodiscard]] result<actors::put_queue>
parse_put_queue(const queue_ref& queue, std::string_view body);

/// `{"payload","priority"?,"delay_ms"?,"dedupe_key"?,"fairness_key"?,"max_attempts"?}`. The payload
/// is any JSON value of at most `payload_max` bytes (else too_large); without one it is null.
[[nodiscard]] result<actors::enqueue_task>
parse_enqueue(const queue_ref& queue, std::string_view body, std::uint64_t payload_max);

/// `{"worker"?,"max"?,"lease_ms"?,"wait_ms"?}`; the wait is cut to 15 s.
[[nodiscard]] result<actors::lease_tasks>
parse_lease(const queue_ref& queue, std::string_view body, const std::string& default_worker);

/// `{"result"?}`: any JSON value.
[[nodiscard]] result<actors::complete_task>
parse_complete(const tenant_name& tenant, const std::string& lease, std::string_view body);

/// `{"error"?,"retryable"?,"retry_after_ms"?}`; of the error the queue keeps the beginning.
[[nodiscard]] result<actors::fail_task>
parse_fail(const tenant_name& tenant, const std::string& lease, std::string_view body);

/// `{"lease_ms"?}`
[[nodiscard]] result<actors::extend_lease>
parse_extend(const tenant_name& tenant, const std::string& lease, std::string_view body);

/// `{"dead"?}`; an empty body is `{}`.
[[nodiscard]] result<actors::purge_queue>
parse_purge(const queue_ref& queue, const std::string& who, std::string_view text);

/// Redrive or abandon: `{"tasks":[id...]}`, or all that fit `{"fairness_key"?,"error_contains"?}`,
/// of which one may be given or `"all":true`.
[[nodiscard]] result<actors::control_body> parse_dead_change(
    const queue_ref& queue,
    runtime::dead_command::action what,
    const std::string& who,
    std::string_view body);

/// `{"payload"}` of at most `payload_max` bytes. Who it is remains to be set.
[[nodiscard]] result<actors::change_dead> parse_dead_edit(
    const queue_ref& queue,
    runtime::task_id task,
    std::string_view body,
    std::uint64_t payload_max);

/// Members of a JSON object, without its braces.
void append_members(std::string& out, const actors::queue_description& queue);
void append_members(std::string& out, const actors::queue_list& list);
/// `,"shards_left_out":[…]` of a list, if there are any.
void append_left_out(std::string& out, const std::vector<std::uint32_t>& shards);
void append_members(std::string& out, const runtime::enqueued_task& task);
void append_members(std::string& out, const actors::leased_task& task);
void append_members(std::string& out, const actors::leased_tasks& list);
void append_members(std::string& out, const runtime::lease_extended& lease);
void append_members(std::string& out, const runtime::task_failed& told);
void append_members(std::string& out, const actors::dead_list& list);
void append_members(std::string& out, const actors::task_description& task);
void append_members(std::string& out, const runtime::dead_changed& change);
void append_members(std::string& out, const actors::dead_change_count& count);
void append_members(std::string& out, const runtime::queue_purged& purged);
void append_members(std::string& out, const actors::queue_audit_list& list);

/// True for answers that `append_members` takes.
template <class Answer>
concept queue_answer =
    requires(std::string& out, const Answer& answer) { append_members(out, answer); };

}  // namespace callboard::gateway
