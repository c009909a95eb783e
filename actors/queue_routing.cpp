#include "actors/queue_routing.hpp"

#include "actors/queue_reads.hpp"
#include "base/hash.hpp"
#include "runtime/queue/lease_token.hpp"

#include <fmt/format.h>

#include <memory>
#include <type_traits>
#include <utility>

namespace callboard::actors {

namespace {

/// Names of queues have the letters of topics, and share their hash.
shard_id shard_of(const queue_ref& queue, std::uint32_t shard_count) {
  const topic_ref ref{queue.tenant, topic_name::trusted(queue.queue.str())};
  return shard_id{shard_index(ref, shard_count)};
}

/// The lease that a request is about; null for one about a queue.
const std::string* lease_of(const control_body& body) {
  if (const auto* extend = std::get_if<extend_lease>(&body)) return &extend->extend.lease;
  if (const auto* complete = std::get_if<complete_task>(&body)) return &complete->complete.lease;
  if (const auto* fail = std::get_if<fail_task>(&body)) return &fail->fail.lease;
  return nullptr;
}

struct open_queue {
  std::unique_ptr<storage::shard_reader> reader;
  entity_id entity{};
};

result<open_queue> open(storage::journal& journal, const queue_ref& queue) {
  auto reader = journal.read(shard_of(queue, journal.shard_count()));
  if (!reader) return std::unexpected{reader.error()};
  auto row = find_queue(**reader, queue);
  if (!row) return std::unexpected{row.error()};
  if (!*row) {
    return fail(errc::queue_not_found, fmt::format("there is no task queue '{}'", queue.queue.str()));
  }
  return open_queue{*std::move(reader), (*row)->entity};
}

result<control_answer> look(storage::journal& journal, const list_dead& ask) {
  auto queue = open(journal, ask.queue);
  if (!queue) return std::unexpected{queue.error()};
  auto page = read_dead_letters(*queue->reader, queue->entity, ask.after, ask.filter, ask.limit);
  if (!page) return std::unexpected{page.error()};
  return dead_list{std::move(page->tasks), page->next};
}

result<control_answer> look(storage::journal& journal, const get_task& ask) {
  auto queue = open(journal, ask.queue);
  if (!queue) return std::unexpected{queue.error()};
  auto task = read_whole_task(*queue->reader, queue->entity, ask.task);
  if (!task) return std::unexpected{task.error()};
  return task_description{std::move(task->row), std::move(task->payload)};
}

result<control_answer> look(storage::journal& journal, const list_queue_audit& ask) {
  auto queue = open(journal, ask.queue);
  if (!queue) return std::unexpected{queue.error()};
  auto page = read_queue_audit(*queue->reader, queue->entity, ask.after, ask.limit);
  if (!page) return std::unexpected{page.error()};
  queue_audit_list list{std::move(page->changes), std::nullopt};
  if (page->has_more) list.next = list.changes.back().number;
  return list;
}

}  // namespace

bool is_queue_work(const control_body& body) {
  return std::visit([]<class Body>(const Body&) { return queue_work<Body>; }, body);
}

bool is_queue_look(const control_body& body) {
  return std::visit([]<class Body>(const Body&) { return queue_look<Body>; }, body);
}

bool gives_back_task(const control_body& body) {
  return lease_of(body) != nullptr || std::holds_alternative<leave_queue>(body);
}

result<shard_id> shard_of_queue(const control_body& body, std::uint32_t shard_count) {
  if (const auto* lease = lease_of(body)) {
    const auto token = runtime::parse_lease(*lease);
    if (token && token->shard.raw() < shard_count) return token->shard;
    return fail(errc::lease_lost, "this is not a lease of this server");
  }
  return std::visit(
      [&]<class Body>(const Body& one) -> result<shard_id> {
        if constexpr (requires { one.queue.queue; }) {
          return shard_of(one.queue, shard_count);
        } else {
          return fail(errc::internal, "this request is not about a task queue");
        }
      },
      body);
}

result<control_answer> look_at_queues(storage::journal& journal, const control_body& body) {
  if (const auto* dead = std::get_if<list_dead>(&body)) return look(journal, *dead);
  if (const auto* task = std::get_if<get_task>(&body)) return look(journal, *task);
  if (const auto* audit = std::get_if<list_queue_audit>(&body)) return look(journal, *audit);
  auto page = list_queues_page(journal, std::get<list_queues>(body));
  if (!page) return std::unexpected{page.error()};
  return control_answer{*std::move(page)};
}

}  // namespace callboard::actors
