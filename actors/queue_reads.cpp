#include "actors/queue_reads.hpp"

#include "runtime/queue/queue_projection.hpp"
#include "runtime/queue/queue_row_keys.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <limits>

namespace callboard::actors {

namespace {

using runtime::stored_task;
using storage::record;
using storage::view_id;

/// Records that are read past rather than sought over.
constexpr std::uint64_t gap_max = 128;
/// Dead letters looked at per page when a filter lets few of them through.
constexpr std::size_t dead_visited_max = 10'000;

std::unexpected<error> missing(entity_id queue, sequence place) {
  return fail(
      errc::corruption,
      fmt::format("queue {}: the record {} of a task is missing", queue.raw(), place.raw()));
}

/// Tasks as they were stored at these places, by place; with `bytes_max` bytes of payloads, the
/// rest is left out.
result<std::map<sequence, stored_task>> read_places(
    storage::shard_reader& reader,
    entity_id queue,
    std::vector<sequence> places,
    std::uint64_t bytes_max = std::numeric_limits<std::uint64_t>::max()) {
  std::ranges::sort(places);
  std::map<sequence, stored_task> found;
  std::optional<error> broken;
  std::uint64_t bytes = 0;
  std::size_t at = 0;
  while (at < places.size() && bytes < bytes_max) {
    const auto before = at;
    auto visited = reader.visit_entity(queue, places[at], [&](const record& from) {
      if (from.entity_seq == places[at]) {
        auto task = runtime::decode_stored_task(from.payload.view(), from.entity_seq);
        if (!task) {
          broken = task.error();
          return false;
        }
        bytes += task->payload.size();
        found.emplace(places[at], *std::move(task));
        while (at < places.size() && places[at] == from.entity_seq)
          ++at;
      }
      return at < places.size() && bytes < bytes_max && from.entity_seq < places[at]
             && places[at].distance_from(from.entity_seq) < gap_max;
    });
    if (!visited) return std::unexpected{visited.error()};
    if (broken) return std::unexpected{*broken};
    if (at == before) return missing(queue, places[at]);
  }
  return found;
}

result<std::vector<runtime::stored_payload>>
read_payloads(storage::shard_reader& reader, entity_id queue, const runtime::queue_read& plan) {
  std::vector<sequence> places;
  for (const auto& ask : plan.payloads)
    places.push_back(ask.place);
  auto found = read_places(reader, queue, std::move(places), plan.payload_bytes_max);
  if (!found) return std::unexpected{found.error()};
  std::vector<runtime::stored_payload> payloads;
  for (const auto& ask : plan.payloads) {
    const auto task = found->find(ask.place);
    if (task != found->end()) payloads.push_back({ask.task, task->second.payload});
  }
  return payloads;
}

result<runtime::trim_page> read_trim(
    storage::shard_reader& reader,
    const queue_rows& rows,
    entity_id queue,
    const runtime::trim_ask& ask) {
  runtime::trim_page page;
  auto span = reader.entity_span(queue);
  if (!span) return std::unexpected{span.error()};
  if (*span) page.last_seq = (*span)->last;
  if (ask.keep_from) {
    auto first = reader.first_at_or_after(queue, *ask.keep_from);
    if (!first) return std::unexpected{first.error()};
    page.keep_from = *first;
  }
  if (ask.endings) {
    auto endings = runtime::read_old_endings(rows, queue, *ask.endings);
    if (!endings) return std::unexpected{endings.error()};
    page.endings = *std::move(endings);
  }
  auto oldest = runtime::read_oldest_places(rows, queue, ask.tasks_max);
  if (!oldest) return std::unexpected{oldest.error()};
  std::vector<sequence> places;
  std::uint64_t bytes = 0;
  for (const auto& row : *oldest) {
    if (!places.empty() && bytes + row.payload_size > ask.bytes_max) break;
    bytes += row.payload_size;
    places.push_back(row.state.place);
  }
  auto found = read_places(reader, queue, places);
  if (!found) return std::unexpected{found.error()};
  for (std::size_t i = 0; i < places.size(); ++i)
    page.oldest.push_back({std::move((*oldest)[i]), found->at(places[i]).payload});
  return page;
}

/// Calls `make` for each ask and keeps what comes.
template <class Out, class Asks, class Make>
result<void> read_each(std::vector<Out>& out, const Asks& asks, const Make& make) {
  for (const auto& ask : asks) {
    auto found = make(ask);
    if (!found) return std::unexpected{found.error()};
    out.push_back(*std::move(found));
  }
  return {};
}

}  // namespace

result<void>
queue_rows::apply_tail(std::optional<entity_id> queue, const std::vector<entity_id>& gone) {
  const auto concerns = [&](const record& from) {
    if (!queue || from.entity == *queue) return true;
    return from.kind != storage::record_kind::queue_closed
           && from.kind != storage::record_kind::queue_deleted
           && std::ranges::find(gone, from.entity) != gone.end();
  };
  auto visited = reader_.visit_tail([&](const record& from) {
    if (concerns(from)) runtime::apply_queue_record(from, *this);
    return !failure_;
  });
  if (failure_) return std::unexpected{*failure_};
  return visited;
}

void queue_rows::put(view_id view, std::string_view key, std::string_view value) {
  changes_[{view, std::string{key}}] = std::string{value};
}

void queue_rows::erase(view_id view, std::string_view key) {
  changes_[{view, std::string{key}}] = std::nullopt;
}

void queue_rows::erase_range(view_id view, std::string_view first, std::string_view last) {
  std::vector<std::string> gone;
  auto scanned = scan(view, first, last, [&](std::string_view key, auto) {
    gone.emplace_back(key);
    return true;
  });
  if (!scanned) failure_ = scanned.error();
  for (const auto& key : gone)
    erase(view, key);
}

void queue_rows::report_damage(const record&, const error& why) {
  failure_ = why;
}

std::optional<std::string> queue_rows::get(view_id view, std::string_view key) {
  auto found = std::as_const(*this).get(view, key);
  if (found) return *std::move(found);
  failure_ = found.error();
  return std::nullopt;
}

result<std::optional<std::string>> queue_rows::get(view_id view, std::string_view key) const {
  const auto changed = changes_.find({view, std::string{key}});
  if (changed != changes_.end()) return changed->second;
  return reader_.get(view, key);
}

result<void> queue_rows::scan(
    view_id view, std::string_view first, std::string_view last, const visitor& visit) const {
  auto changed = changes_.lower_bound({view, std::string{first}});
  const auto end = changes_.lower_bound({view, std::string{last}});
  bool goes_on = true;
  const auto give_changed = [&] {
    if (changed->second) goes_on = visit(changed->first.second, *changed->second);
    ++changed;
  };
  auto scanned = reader_.scan(view, first, last, [&](auto key, auto value) {
    while (goes_on && changed != end && changed->first.second < key)
      give_changed();
    if (!goes_on) return false;
    if (changed != end && changed->first.second == key) {
      give_changed();
    } else {
      goes_on = visit(key, value);
    }
    return goes_on;
  });
  if (!scanned) return scanned;
  while (goes_on && changed != end)
    give_changed();
  return {};
}

namespace {

/// Adds the queues of one tenant.
result<void> add_queues(
    const runtime::row_source& rows, const tenant_name& tenant, std::vector<named_queue>& to) {
  const auto first = runtime::queue_row_prefix(tenant);
  auto last = first;
  ++last.back();
  std::optional<error> broken;
  auto scanned = rows.scan(view_id::catalogue, first, last, [&](auto key, auto value) {
    auto name = runtime::parse_queue_row_key(key);
    auto row = runtime::decode_queue_row(value);
    if (!name || !row) {
      broken = error{errc::corruption, "a queue's catalogue row is unreadable"};
      return false;
    }
    auto counters = rows.get(view_id::queue_counters, runtime::queue_key(row->entity));
    auto decoded = counters && *counters ? runtime::decode_queue_counters(**counters)
                                         : fail(errc::corruption, "a queue without counters");
    if (!decoded) {
      broken = counters ? decoded.error() : counters.error();
      return false;
    }
    to.push_back({*std::move(name), *row, *decoded});
    return true;
  });
  if (!scanned) return std::unexpected{scanned.error()};
  if (broken) return std::unexpected{*broken};
  return {};
}

/// How long the task of the queue that has waited longest could have been leased.
result<std::optional<std::uint64_t>>
oldest_age(storage::journal& journal, shard_id shard, const named_queue& queue) {
  const auto& waiting = queue.counters.waiting;
  if (std::ranges::all_of(waiting, [](auto count) { return count == 0; })) return std::nullopt;
  auto reader = journal.read(shard);
  if (!reader) return std::unexpected{reader.error()};
  const auto now = journal.shard_time(shard);
  auto oldest = oldest_ready(**reader, queue.row.entity, waiting, now, oldest_keys_max);
  if (!oldest) return std::unexpected{oldest.error()};
  if (!*oldest) return std::nullopt;
  return static_cast<std::uint64_t>(std::max<std::int64_t>((now - **oldest).count(), 0));
}

}  // namespace

result<std::vector<named_queue>>
read_queues(storage::shard_reader& reader, const std::optional<tenant_name>& of) {
  queue_rows rows{reader};
  if (auto applied = rows.apply_tail(std::nullopt); !applied) {
    return std::unexpected{applied.error()};
  }
  std::vector<named_queue> queues;
  if (of) {
    if (auto added = add_queues(rows, *of, queues); !added) return std::unexpected{added.error()};
    return queues;
  }
  std::string from;
  // Behind every key: names are ASCII.
  const std::string end{"\x7f"};
  while (true) {
    std::optional<std::string> tenant;
    auto found = rows.scan(view_id::catalogue, from, end, [&](std::string_view key, auto) {
      tenant = key.substr(0, key.find('\0'));
      return false;
    });
    if (!found) return std::unexpected{found.error()};
    if (!tenant) return queues;
    if (auto added = add_queues(rows, tenant_name::trusted(*tenant), queues); !added) {
      return std::unexpected{added.error()};
    }
    from = *tenant + '\1';
  }
}

result<queue_list> list_queues_page(storage::journal& journal, const list_queues& ask) {
  std::map<std::string, std::pair<shard_id, named_queue>> found;
  queue_list page;
  for (std::uint32_t shard = 0; shard < journal.shard_count(); ++shard) {
    auto reader = journal.read(shard_id{shard});
    if (!reader && reader.error().code == errc::quarantined) {
      page.shards_left_out.push_back(shard);
      // Of no shard at all there is nothing to tell.
      if (page.shards_left_out.size() < journal.shard_count()) continue;
    }
    if (!reader) return std::unexpected{reader.error()};
    auto queues = read_queues(**reader, ask.tenant);
    if (!queues) return std::unexpected{queues.error()};
    for (auto& one : *queues) {
      if (one.name.queue.str() <= ask.after) continue;
      auto name = one.name.queue.str();
      found.emplace(std::move(name), std::pair{shard_id{shard}, std::move(one)});
      if (found.size() > ask.limit + std::size_t{1}) found.erase(std::prev(found.end()));
    }
  }
  for (const auto& [name, place] : found) {
    const auto& [shard, one] = place;
    if (page.queues.size() == ask.limit) {
      page.next_after = page.queues.back().queue;
      break;
    }
    auto& made = page.queues.emplace_back();
    made.queue = name;
    made.settings = one.row.settings;
    made.waiting = one.counters.waiting;
    made.leased = one.counters.leased;
    made.dead = one.counters.dead;
    auto age = oldest_age(journal, shard, one);
    if (!age) return std::unexpected{age.error()};
    made.oldest_ready_age_ms = *age;
  }
  return page;
}

result<std::optional<runtime::queue_row>>
find_queue(storage::shard_reader& reader, const queue_ref& name) {
  queue_rows rows{reader};
  if (auto applied = rows.apply_tail(std::nullopt); !applied) {
    return std::unexpected{applied.error()};
  }
  auto value = std::as_const(rows).get(view_id::catalogue, runtime::queue_row_key(name));
  if (!value) return std::unexpected{value.error()};
  if (!*value) return std::nullopt;
  auto row = runtime::decode_queue_row(**value);
  if (!row) return std::unexpected{row.error()};
  return *row;
}

result<runtime::queue_image> load_queue(storage::shard_reader& reader, entity_id queue) {
  queue_rows rows{reader};
  if (auto applied = rows.apply_tail(queue); !applied) return std::unexpected{applied.error()};
  return runtime::read_queue_image(rows, queue);
}

result<runtime::queue_read_result> read_planned(
    storage::shard_reader& reader,
    entity_id queue,
    const runtime::queue_read& plan,
    const std::vector<entity_id>& before) {
  queue_rows rows{reader};
  const auto gone = plan.origins.empty() ? std::vector<entity_id>{} : before;
  if (auto applied = rows.apply_tail(queue, gone); !applied) {
    return std::unexpected{applied.error()};
  }
  runtime::queue_read_result found;
  found.as_of = rows.as_of();
  auto done = read_each(found.segments, plan.segments, [&](const auto& ask) {
    return runtime::read_segment(rows, queue, ask);
  });
  if (done) {
    done = read_each(found.keys, plan.keys, [&](const auto& ask) {
      return runtime::read_key(rows, queue, ask);
    });
  }
  if (done) {
    done = read_each(found.dedupe, plan.dedupe, [&](const auto& hash) {
      return runtime::read_dedupe(rows, queue, hash);
    });
  }
  if (done) {
    done = read_each(
        found.dead, plan.dead, [&](auto task) { return runtime::read_task(rows, queue, task); });
  }
  if (done) {
    done = read_each(found.origins, plan.origins, [&](const auto& origin) {
      auto task = runtime::read_origin(rows, queue, origin);
      for (const auto gone : before) {
        if (task && !*task) task = runtime::read_origin(rows, gone, origin);
      }
      return task;
    });
  }
  if (done) {
    done = read_each(
        found.withdraws,
        plan.withdraws,
        [&](const auto& origin) -> result<std::optional<runtime::task_row>> {
          auto task = runtime::read_origin(rows, queue, origin);
          if (!task) return std::unexpected{task.error()};
          if (!*task) return std::nullopt;
          return runtime::read_task(rows, queue, **task);
        });
  }
  if (done) {
    done = read_each(found.cancels, plan.cancels, [&](auto task) {
      return runtime::read_task(rows, queue, task);
    });
  }
  if (!done) return std::unexpected{done.error()};
  if (plan.purge) {
    auto page = runtime::read_open(rows, queue, *plan.purge);
    if (!page) return std::unexpected{page.error()};
    found.purge = *std::move(page);
  }
  auto payloads = read_payloads(reader, queue, plan);
  if (!payloads) return std::unexpected{payloads.error()};
  found.payloads = *std::move(payloads);
  if (plan.trim) {
    auto page = read_trim(reader, rows, queue, *plan.trim);
    if (!page) return std::unexpected{page.error()};
    found.trim = *std::move(page);
  }
  return found;
}

result<runtime::ending_page> read_endings_page(
    storage::shard_reader& reader,
    const std::string& from,
    std::size_t count_max,
    std::size_t bytes_max) {
  queue_rows rows{reader};
  if (auto applied = rows.apply_tail(std::nullopt); !applied) {
    return std::unexpected{applied.error()};
  }
  return runtime::read_endings(rows, from, count_max, bytes_max);
}

result<std::vector<std::pair<entity_id, runtime::queue_deletion>>>
read_gone_queues(storage::shard_reader& reader) {
  queue_rows rows{reader};
  if (auto applied = rows.apply_tail(std::nullopt); !applied) {
    return std::unexpected{applied.error()};
  }
  return runtime::read_gone_queues(rows);
}

result<gone_endings> read_gone_endings(
    storage::shard_reader& reader,
    entity_id queue,
    const std::string& after,
    std::size_t count_max) {
  queue_rows rows{reader};
  if (auto applied = rows.apply_tail(queue); !applied) return std::unexpected{applied.error()};
  auto page = runtime::read_gone_origins(rows, queue, after, count_max);
  if (!page) return std::unexpected{page.error()};
  gone_endings found;
  if (!page->is_whole) found.next = page->origins.back().first;
  for (auto& [origin, task] : page->origins) {
    auto own =
        std::as_const(rows).get(view_id::queue_ending, runtime::queue_key(queue, task.raw()));
    if (!own) return std::unexpected{own.error()};
    if (!*own) {
      found.endings.push_back({task, std::move(origin), runtime::task_end::queue_deleted, 0, {}});
      continue;
    }
    auto row = runtime::decode_ending_row(**own, task);
    if (!row) return std::unexpected{row.error()};
    found.endings.push_back(std::move(row->ending));
  }
  return found;
}

result<runtime::dead_page> read_dead_letters(
    storage::shard_reader& reader,
    entity_id queue,
    runtime::task_id after,
    const runtime::dead_filter& filter,
    std::size_t count_max) {
  queue_rows rows{reader};
  if (auto applied = rows.apply_tail(queue); !applied) return std::unexpected{applied.error()};
  return runtime::read_dead(rows, queue, after, filter, count_max, dead_visited_max);
}

result<runtime::audit_page> read_queue_audit(
    storage::shard_reader& reader, entity_id queue, std::uint64_t after, std::size_t count_max) {
  queue_rows rows{reader};
  if (auto applied = rows.apply_tail(queue); !applied) return std::unexpected{applied.error()};
  return runtime::read_audits(rows, queue, after, count_max);
}

result<stored_task>
read_whole_task(storage::shard_reader& reader, entity_id queue, runtime::task_id task) {
  queue_rows rows{reader};
  if (auto applied = rows.apply_tail(queue); !applied) return std::unexpected{applied.error()};
  auto row = runtime::read_task(rows, queue, task);
  if (!row) return std::unexpected{row.error()};
  if (!*row) return fail(errc::task_not_found, "there is no such task, or it has ended");
  auto found = read_places(reader, queue, {(*row)->state.place});
  if (!found) return std::unexpected{found.error()};
  return stored_task{**row, found->at((*row)->state.place).payload};
}

result<std::optional<time_ms>> oldest_ready(
    storage::shard_reader& reader,
    entity_id queue,
    const std::array<std::uint64_t, runtime::priority_count>& waiting,
    time_ms now,
    std::uint32_t keys_max) {
  queue_rows rows{reader};
  if (auto applied = rows.apply_tail(queue); !applied) return std::unexpected{applied.error()};
  std::optional<time_ms> oldest;
  for (std::size_t i = 0; i < waiting.size(); ++i) {
    if (waiting[i] == 0) continue;
    const auto priority = static_cast<runtime::task_priority>(i);
    auto page = runtime::read_segment(rows, queue, {priority, 0, keys_max, 1});
    if (!page) return std::unexpected{page.error()};
    for (const auto& key : page->keys) {
      const auto ready = key.tasks.front().ready;
      if (ready <= now && (!oldest || ready < *oldest)) oldest = ready;
    }
  }
  return oldest;
}

}  // namespace callboard::actors
