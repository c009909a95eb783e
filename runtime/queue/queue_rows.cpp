#include "runtime/queue/queue_rows.hpp"

#include "runtime/queue/queue_row_keys.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

namespace callboard::runtime {

namespace {

using storage::view_id;

constexpr auto last_fairness = std::numeric_limits<std::uint64_t>::max();

std::unexpected<error> broken(entity_id queue, const char* what) {
  return fail(errc::corruption, fmt::format("queue {}: {}", queue.raw(), what));
}

/// The first key behind all of one fairness key.
std::string end_of_key(entity_id queue, task_priority priority, std::uint64_t fairness) {
  if (fairness != last_fairness) return waiting_key(queue, priority, fairness + 1);
  auto key = queue_key(queue);
  key.push_back(static_cast<char>(static_cast<std::uint8_t>(priority) + 1));
  return key;
}

std::optional<task_state> read_waiting(std::string_view key, std::string_view value) {
  if (key.size() != waiting_key_size || value.size() < 24) return std::nullopt;
  key.remove_prefix(8);
  if (static_cast<unsigned char>(key.front()) >= priority_count) return std::nullopt;
  task_state state;
  state.priority = static_cast<task_priority>(key.front());
  key.remove_prefix(1);
  state.fairness = take_number(key);
  state.ready = time_ms{std::chrono::milliseconds{take_number(key)}};
  state.task = task_id{take_number(key)};
  state.place = sequence{take_number(value)};
  state.enqueued = time_ms{std::chrono::milliseconds{take_number(value)}};
  const auto attempts = take_number(value);
  state.attempts = static_cast<std::uint32_t>(attempts >> 32);
  state.attempts_max = static_cast<std::uint32_t>(attempts);
  state.origin = value;
  return state;
}

/// Reads tasks of the first fairness key in [first, last), one more than `tasks_max` to know
/// whether that is all.
result<key_page> read_first_key(
    const row_source& rows,
    entity_id queue,
    const std::string& first,
    const std::string& last,
    std::size_t tasks_max) {
  key_page page;
  page.is_whole = true;
  bool is_broken = false;
  auto scanned = rows.scan(view_id::queue_waiting, first, last, [&](auto key, auto value) {
    auto state = read_waiting(key, value);
    is_broken = !state;
    if (is_broken) return false;
    if (!page.tasks.empty() && state->fairness != page.fairness) return false;
    if (page.tasks.size() == tasks_max) {
      page.is_whole = false;
      return false;
    }
    page.fairness = state->fairness;
    page.tasks.push_back(*std::move(state));
    return true;
  });
  if (!scanned) return std::unexpected{scanned.error()};
  if (is_broken) return broken(queue, "a row of a waiting task");
  return page;
}

bool fits(const task_row& row, const dead_filter& filter) {
  if (!filter.fairness_key.empty() && row.fairness_key != filter.fairness_key) return false;
  // What killed it, whatever was done to it since.
  const task_attempt* last = nullptr;
  for (const auto& attempt : row.history) {
    if (attempt.outcome != "edited") last = &attempt;
  }
  const auto died = last == nullptr ? row.state.enqueued : last->ended;
  if (filter.died_from != time_ms{} && died < filter.died_from) return false;
  if (filter.died_before != time_ms{} && died >= filter.died_before) return false;
  if (filter.error_contains.empty()) return true;
  return last != nullptr && last->error.find(filter.error_contains) != std::string::npos;
}

/// Task rows that rows of another view name: by the number at the end of the key, or by value.
result<std::vector<std::uint64_t>> read_numbers(
    const row_source& rows,
    view_id view,
    entity_id queue,
    std::uint64_t from,
    std::size_t count_max,
    bool by_value) {
  std::vector<std::uint64_t> numbers;
  bool is_broken = false;
  const auto first = queue_key(queue, from);
  const auto last = queue_key(entity_id{queue.raw() + 1});
  auto scanned = rows.scan(view, first, last, [&](auto key, auto value) {
    if (numbers.size() == count_max) return false;
    auto rest = by_value ? value : key.substr(std::min<std::size_t>(8, key.size()));
    is_broken = rest.size() != 8;
    if (!is_broken) numbers.push_back(take_number(rest));
    return !is_broken;
  });
  if (!scanned) return std::unexpected{scanned.error()};
  if (is_broken) return broken(queue, "a row that names a task");
  return numbers;
}

result<task_row> read_known(const row_source& rows, entity_id queue, std::uint64_t task) {
  auto row = read_task(rows, queue, task_id{task});
  if (!row) return std::unexpected{row.error()};
  if (!*row) return broken(queue, "a task without a row");
  return **std::move(row);
}

}  // namespace

result<queue_image> read_queue_image(const row_source& rows, entity_id queue) {
  queue_image image;
  image.as_of = rows.as_of();
  auto value = rows.get(view_id::queue_counters, queue_key(queue));
  if (!value) return std::unexpected{value.error()};
  if (!*value) return fail(errc::queue_not_found, "there is no such queue");
  auto counters = decode_queue_counters(**value);
  if (!counters) return std::unexpected{counters.error()};
  image.counters = *counters;
  const auto all = std::numeric_limits<std::size_t>::max();
  auto leased = read_numbers(rows, view_id::queue_lease, queue, 0, all, false);
  if (!leased) return std::unexpected{leased.error()};
  for (const auto task : *leased) {
    auto row = read_known(rows, queue, task);
    if (!row) return std::unexpected{row.error()};
    image.leases.push_back({std::move(row->state), std::move(row->lease)});
  }
  return image;
}

result<segment_page> read_segment(const row_source& rows, entity_id queue, const segment_ask& ask) {
  segment_page page{ask.priority, ask.from, last_fairness, {}};
  const auto last = end_of_key(queue, ask.priority, last_fairness);
  auto first = waiting_key(queue, ask.priority, ask.from);
  while (true) {
    auto key = read_first_key(rows, queue, first, last, ask.key_tasks_max);
    if (!key) return std::unexpected{key.error()};
    if (key->tasks.empty()) return page;
    if (page.keys.size() == ask.keys_max) {
      page.to = key->fairness - 1;
      return page;
    }
    first = end_of_key(queue, ask.priority, key->fairness);
    const bool is_last = key->fairness == last_fairness;
    page.keys.push_back(*std::move(key));
    if (is_last) return page;
  }
}

result<key_page> read_key(const row_source& rows, entity_id queue, const key_ask& ask) {
  const auto last = end_of_key(queue, ask.priority, ask.fairness);
  auto first = waiting_key(queue, ask.priority, ask.fairness, ask.after);
  first.push_back('\0');
  auto page = read_first_key(rows, queue, first, last, ask.tasks_max);
  if (page) page->fairness = ask.fairness;
  return page;
}

result<std::optional<dedupe_entry>>
read_dedupe(const row_source& rows, entity_id queue, const hash128& hash) {
  auto value = rows.get(view_id::queue_dedupe, dedupe_hash_key(queue, hash));
  if (!value) return std::unexpected{value.error()};
  if (!*value) return std::optional<dedupe_entry>{};
  if ((*value)->size() != 24) return broken(queue, "a row of a dedupe key");
  std::string_view rest = **value;
  dedupe_entry entry;
  entry.task = task_id{take_number(rest)};
  entry.enqueued = time_ms{std::chrono::milliseconds{take_number(rest)}};
  return entry;
}

result<std::optional<task_row>> read_task(const row_source& rows, entity_id queue, task_id task) {
  auto value = rows.get(view_id::queue_task, queue_key(queue, task.raw()));
  if (!value) return std::unexpected{value.error()};
  if (!*value) return std::optional<task_row>{};
  auto row = decode_task_row(**value);
  if (!row) return std::unexpected{row.error()};
  return *std::move(row);
}

result<open_page> read_open(const row_source& rows, entity_id queue, const open_ask& ask) {
  open_page page;
  std::optional<error> broken_row;
  auto scanned = rows.scan(
      view_id::queue_task,
      queue_key(queue, ask.after.raw() + 1),
      queue_key(queue, ask.up_to.raw() + 1),
      [&](auto, auto value) {
        page.is_whole = page.tasks.size() < ask.count_max;
        if (!page.is_whole) return false;
        auto row = decode_task_row(value);
        if (!row) broken_row = row.error();
        if (row) page.tasks.push_back({std::move(row->state), row->phase});
        return row.has_value();
      });
  if (!scanned) return std::unexpected{scanned.error()};
  if (broken_row) return std::unexpected{*broken_row};
  return page;
}

result<dead_page> read_dead(
    const row_source& rows,
    entity_id queue,
    task_id after,
    const dead_filter& filter,
    std::size_t count_max,
    std::size_t visited_max) {
  auto numbers =
      read_numbers(rows, view_id::queue_dead, queue, after.raw() + 1, visited_max, false);
  if (!numbers) return std::unexpected{numbers.error()};
  dead_page page;
  page.as_of = rows.as_of();
  for (const auto task : *numbers) {
    page.next = task_id{task};
    auto row = read_known(rows, queue, task);
    if (!row) return std::unexpected{row.error()};
    if (fits(*row, filter)) page.tasks.push_back(*std::move(row));
    if (page.tasks.size() == count_max) return page;
  }
  if (numbers->size() < visited_max) page.next.reset();
  return page;
}

result<std::optional<task_id>>
read_origin(const row_source& rows, entity_id queue, const std::string& origin) {
  auto value = rows.get(view_id::queue_origin, origin_key(queue, origin));
  if (!value) return std::unexpected{value.error()};
  if (!*value) return std::optional<task_id>{};
  if ((*value)->size() != 8) return broken(queue, "a row of an origin");
  std::string_view rest = **value;
  return task_id{take_number(rest)};
}

result<old_endings>
read_old_endings(const row_source& rows, entity_id queue, const old_endings_ask& ask) {
  old_endings found;
  std::uint64_t bytes = 0;
  std::size_t visited = 0;
  bool is_broken = false;
  auto scanned = rows.scan(
      view_id::queue_ending,
      queue_key(queue, ask.from.raw()),
      queue_key(entity_id{queue.raw() + 1}),
      [&](auto key, auto value) {
        key.remove_prefix(queue_key(queue).size());
        const task_id task{take_number(key)};
        if (visited++ == ask.visited_max) {
          found.next = task;
          return false;
        }
        const auto place = decode_ending_place(value);
        is_broken = !place;
        if (is_broken) return false;
        if (*place > ask.up_to) {
          found.first_left = std::min(found.first_left.value_or(*place), *place);
          return true;
        }
        if (found.endings.size() == ask.count_max
            || (!found.endings.empty() && bytes + value.size() > ask.bytes_max)) {
          found.next = task;
          return false;
        }
        bytes += value.size();
        auto row = decode_ending_row(value, task);
        is_broken = !row;
        if (!is_broken) found.endings.push_back(std::move(row->ending));
        return !is_broken;
      });
  if (!scanned) return std::unexpected{scanned.error()};
  if (is_broken) return broken(queue, "a row of a task's end");
  return found;
}

result<ending_page> read_endings(
    const row_source& rows, const std::string& from, std::size_t count_max, std::size_t bytes_max) {
  ending_page page;
  std::size_t bytes = 0;
  bool is_broken = false;
  const std::string end(17, '\xff');
  auto scanned = rows.scan(view_id::queue_ending, from, end, [&](auto key, auto value) {
    if (page.endings.size() == count_max || bytes > bytes_max) {
      page.next = key;
      return false;
    }
    bytes += value.size();
    is_broken = key.size() != 16;
    if (is_broken) return false;
    const entity_id queue{take_number(key)};
    const task_id task{take_number(key)};
    auto row = decode_ending_row(value, task);
    is_broken = !row;
    if (!is_broken) page.endings.emplace_back(queue, std::move(row->ending));
    return !is_broken;
  });
  if (!scanned) return std::unexpected{scanned.error()};
  if (is_broken) return fail(errc::corruption, "a row of a task's end");
  return page;
}

result<std::vector<std::pair<entity_id, queue_deletion>>> read_gone_queues(const row_source& rows) {
  std::vector<std::pair<entity_id, queue_deletion>> gone;
  bool is_broken = false;
  auto scanned =
      rows.scan(view_id::queue_gone, {}, std::string(9, '\xff'), [&](auto key, auto value) {
        auto deletion = decode_queue_deleted(value);
        is_broken = key.size() != 8 || !deletion;
        if (!is_broken) gone.emplace_back(entity_id{take_number(key)}, *std::move(deletion));
        return !is_broken;
      });
  if (!scanned) return std::unexpected{scanned.error()};
  if (is_broken) return fail(errc::corruption, "a row of a deleted queue");
  return gone;
}

result<gone_page> read_gone_origins(
    const row_source& rows, entity_id queue, const std::string& after, std::size_t count_max) {
  gone_page page;
  bool is_broken = false;
  auto first = queue_key(queue);
  if (!after.empty()) first += after + '\0';
  auto scanned = rows.scan(
      view_id::queue_origin,
      first,
      queue_key(entity_id{queue.raw() + 1}),
      [&](auto key, auto value) {
        page.is_whole = page.origins.size() < count_max;
        if (!page.is_whole) return false;
        is_broken = key.size() < 8 || value.size() != 8;
        if (is_broken) return false;
        page.origins.emplace_back(key.substr(8), task_id{take_number(value)});
        return true;
      });
  if (!scanned) return std::unexpected{scanned.error()};
  if (is_broken) return broken(queue, "a row of an origin");
  return page;
}

result<audit_page>
read_audits(const row_source& rows, entity_id queue, std::uint64_t after, std::size_t count_max) {
  audit_page page;
  std::optional<error> broken;
  auto scanned = rows.scan(
      view_id::queue_audit,
      queue_key(queue, after + 1),
      queue_key(entity_id{queue.raw() + 1}),
      [&](std::string_view key, std::string_view value) {
        page.has_more = page.changes.size() == count_max;
        if (page.has_more) return false;
        auto audit = decode_task_audit(value);
        if (!audit) {
          broken = audit.error();
          return false;
        }
        key.remove_prefix(sizeof(std::uint64_t));
        page.changes.push_back({take_number(key), *std::move(audit)});
        return true;
      });
  if (!scanned) return std::unexpected{scanned.error()};
  if (broken) return std::unexpected{*broken};
  return page;
}

result<std::vector<task_row>>
read_oldest_places(const row_source& rows, entity_id queue, std::size_t count_max) {
  auto numbers = read_numbers(rows, view_id::queue_place, queue, 0, count_max, true);
  if (!numbers) return std::unexpected{numbers.error()};
  std::vector<task_row> tasks;
  for (const auto task : *numbers) {
    auto row = read_known(rows, queue, task);
    if (!row) return std::unexpected{row.error()};
    tasks.push_back(*std::move(row));
  }
  return tasks;
}

}  // namespace callboard::runtime
