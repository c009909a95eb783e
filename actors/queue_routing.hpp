// Which shard a request about task queues is for, and the answers that need no actor.
#pragma once

#include "actors/requests.hpp"
#include "storage/journal.hpp"

namespace callboard::actors {

/// True for what the shard's QUEUES actor is asked.
[[nodiscard]] bool is_queue_work(const control_body& body);

/// True for what the reader pool answers.
[[nodiscard]] bool is_queue_look(const control_body& body);

/// True for what ends work on a task; a node that drains still takes it.
[[nodiscard]] bool gives_back_task(const control_body& body);

/// Where the queue is: the hash of its names, or what the lease says. Errors: lease_lost, if a
/// lease is none. Precondition: `is_queue_work(body)`.
[[nodiscard]] result<shard_id> shard_of_queue(const control_body& body, std::uint32_t shard_count);

/// Blocks on disk: reader pool only. Precondition: `is_queue_look(body)`.
[[nodiscard]] result<control_answer>
look_at_queues(storage::journal& journal, const control_body& body);

}  // namespace callboard::actors
