#include "actors/run_reads.hpp"

#include "actors/run_sweep.hpp"
#include "runtime/topic/topic_codec.hpp"
#include "runtime/workflow/agent_names.hpp"
#include "runtime/workflow/run_codec.hpp"
#include "runtime/workflow/run_row.hpp"
#include "runtime/workflow/workflow_registry.hpp"

#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <map>
#include <set>
#include <string>

namespace callboard::actors {

namespace {

using storage::record;
using storage::record_kind;
using storage::view_id;

constexpr std::size_t ended_events_max = 2000;

std::string id_of(const topic_ref& channel) {
  return channel.topic.str().substr(runtime::channel_prefix.size());
}

/// What the views do not show yet, by `workflow_key`: the latest progress; nothing if the channel
/// was deleted behind it.
using tail_of_runs = std::map<std::string, std::optional<runtime::workflow_progress>>;

/// `mention`: only of channels whose name is in the record.
result<tail_of_runs> read_tail(storage::shard_reader& reader, std::string_view mention = {}) {
  tail_of_runs latest;
  auto visited = reader.visit_tail([&](const record& one) {
    const bool tells_of_one =
        one.kind == record_kind::workflow_progress || one.kind == record_kind::topic_deleted;
    if (!tells_of_one || !one.payload.view().contains(mention)) return true;
    if (one.kind == record_kind::workflow_progress) {
      auto progress = runtime::decode_workflow_progress(one.payload.view());
      if (!progress) return true;
      progress->row.entity = one.entity;
      auto key = runtime::workflow_key(progress->channel.tenant, id_of(progress->channel));
      latest.insert_or_assign(std::move(key), std::move(*progress));
    } else {
      const auto deleted = runtime::decode_topic_deleted(one.payload.view());
      if (deleted && deleted->topic.str().starts_with(runtime::channel_prefix)) {
        latest.insert_or_assign(
            runtime::workflow_key(deleted->tenant, id_of(*deleted)), std::nullopt);
      }
    }
    return true;
  });
  if (!visited) return std::unexpected{visited.error()};
  return latest;
}

/// The row of a run at work follows its events.
void catch_up(runtime::workflow_row& row, storage::shard_reader& reader) {
  if (row.entity == entity_id{}) return;
  const auto there = reader.entity_span(row.entity);
  if (there && *there) row.last_seq = std::max(row.last_seq, (*there)->last);
}

/// As its own actor shows it: it is blocked where its code is not.
runtime::workflow_row as_shown(runtime::workflow_row row, const runtime::workflow_registry* code) {
  auto why = stuck_because(row, code);
  if (!why || row.status == runtime::run_status::blocked) return row;
  row.status = runtime::run_status::blocked;
  row.why = std::move(why);
  return row;
}

boost::json::object shown(
    const std::string& id, const runtime::workflow_row& row, const std::optional<failure>& stuck) {
  boost::json::object out{
      {"id", id},
      {"type", row.type},
      {"version", row.version},
      {"run", row.run},
      {"status", name_of(row.status)},
      {"started_ms", row.started.time_since_epoch().count()},
      {"commands", row.commands},
      {"history_size", runtime::history_size(row)}};
  if (row.history_bytes != 0) out["history_bytes"] = row.history_bytes;
  if (runtime::is_agent_type(row.type)) {
    const auto channel = topic_name::trusted(std::string{runtime::channel_prefix} + id);
    out["key"] = runtime::parse_agent_channel(channel).key;
  }
  if (row.ended) out["ended_ms"] = row.ended->time_since_epoch().count();
  if (row.why) out["error"] = runtime::describe_failure(*row.why);
  if (stuck) out["stuck"] = runtime::describe_failure(*stuck);
  return out;
}

}  // namespace

result<std::optional<runtime::workflow_row>>
read_workflow_row(storage::shard_reader& reader, const topic_ref& channel) {
  const auto key = runtime::workflow_key(channel.tenant, id_of(channel));
  auto tail = read_tail(reader, channel.topic.str());
  if (!tail) return std::unexpected{tail.error()};
  if (const auto found = tail->find(key); found != tail->end()) {
    if (!found->second) return std::nullopt;
    return std::move(found->second->row);
  }
  const auto stored = reader.get(view_id::workflow, key);
  if (!stored) return std::unexpected{stored.error()};
  return *stored ? runtime::decode_workflow_row(**stored) : std::nullopt;
}

result<void> visit_history(
    storage::shard_reader& reader,
    entity_id entity,
    sequence from,
    std::uint32_t run,
    const std::function<bool(runtime::run_event, const storage::record&)>& visit) {
  std::optional<error> failed;
  auto visited = reader.visit_entity(entity, from, [&](const record& one) {
    auto event = runtime::decode_run_event({one.entity_seq, one.time, one.payload});
    if (!event) {
      failed = event.error();
      return false;
    }
    return event->run != run || visit(*std::move(event), one);
  });
  if (failed) return std::unexpected{*failed};
  return visited;
}

result<run_image>
read_run_image(storage::shard_reader& reader, const topic_ref& channel, entity_id entity) {
  run_image image;
  auto row = read_workflow_row(reader, channel);
  if (!row) return std::unexpected{row.error()};
  image.row = std::move(*row);
  if (!image.row) return image;
  const auto& of = *image.row;
  const bool is_cut = of.ended && of.last_seq.raw() >= of.first_seq.raw() + ended_events_max;
  sequence reached;
  std::uint64_t bytes = 0;
  auto visited =
      visit_history(reader, entity, of.first_seq, of.run, [&](auto event, const auto& one) {
        image.history.push_back(std::move(event));
        reached = one.entity_seq;
        bytes += one.payload.size();
        return !is_cut;
      });
  if (!visited) return std::unexpected{visited.error()};
  if (!is_cut && !image.history.empty() && reached < of.last_seq) {
    // What is read again from less would do again what is recorded behind it.
    return fail(
        errc::corruption,
        fmt::format("its record ends at {} and went to {}", reached.raw(), of.last_seq.raw()));
  }
  if (!is_cut) {
    image.row->history_bytes = bytes;
    return image;
  }
  // How it began, and how it came to its end.
  const sequence from{of.last_seq.raw() + 2 - ended_events_max};
  visited = visit_history(reader, entity, from, of.run, [&](auto event, const auto&) {
    image.history.push_back(std::move(event));
    return true;
  });
  if (!visited) return std::unexpected{visited.error()};
  return image;
}

result<std::vector<topic_ref>> find_runs_to_wake(storage::shard_reader& reader) {
  std::set<std::string> keys;
  auto scanned = reader.scan(view_id::workflow_wake, {}, {}, [&](auto, auto value) {
    keys.emplace(value);
    return true;
  });
  if (!scanned) return std::unexpected{scanned.error()};
  auto tail = read_tail(reader);
  if (!tail) return std::unexpected{tail.error()};
  for (const auto& [key, progress] : *tail) {
    if (progress && progress->row.needs_wake) {
      keys.insert(key);
    } else {
      keys.erase(key);
    }
  }
  std::vector<topic_ref> found;
  for (const auto& key : keys) {
    if (auto channel = runtime::channel_of_key(key)) found.push_back(std::move(*channel));
  }
  return found;
}

result<due_runs> find_due_runs(storage::shard_reader& reader, const timer_order& order) {
  due_runs found;
  /// Of those that are due, in that order; each once.
  std::vector<std::pair<std::string, entity_id>> keys;
  std::set<std::pair<std::string, entity_id>> seen;
  std::size_t looked_at = 0;
  const auto until = order.until.empty() ? std::string(21, '\xff') : order.until;
  auto scanned = reader.scan(order.view, order.from, until, [&](auto key, auto value) {
    const auto due = runtime::timer_due(key);
    if (due > order.horizon) {
      found.next = due;
      return false;
    }
    if (++looked_at > timers_page_max) {
      found.rest = key;
      return false;
    }
    const auto entity = runtime::timer_entity(key);
    if (seen.emplace(value, entity).second) keys.emplace_back(value, entity);
    return true;
  });
  if (!scanned) return std::unexpected{scanned.error()};
  for (const auto& [key, entity] : keys) {
    const auto stored = reader.get(view_id::workflow, key);
    if (!stored) return std::unexpected{stored.error()};
    // A channel that was deleted leaves its timers behind, also to the next one of its name.
    const auto row = *stored ? runtime::decode_workflow_row(**stored) : std::nullopt;
    if (!row || row->ended) continue;
    if (row->entity != entity_id{} && row->entity != entity) continue;
    found.has_timers = true;
    if (stuck_because(*row, order.code)) continue;
    if (auto channel = runtime::channel_of_key(key)) found.due.push_back(std::move(*channel));
  }
  return found;
}

result<void> visit_workflow_rows(
    storage::shard_reader& reader,
    const std::function<void(const std::string&, const runtime::workflow_row&)>& visit) {
  auto tail = read_tail(reader);
  if (!tail) return std::unexpected{tail.error()};
  auto scanned = reader.scan(view_id::workflow, {}, {}, [&](auto key, auto value) {
    if (tail->contains(std::string{key})) return true;
    if (const auto row = runtime::decode_workflow_row(value)) visit(std::string{key}, *row);
    return true;
  });
  if (!scanned) return std::unexpected{scanned.error()};
  for (const auto& [key, progress] : *tail) {
    if (progress) visit(key, progress->row);
  }
  return {};
}

result<workflow_answer> list_workflows_page(
    storage::journal& journal,
    const runtime::workflow_registry* code,
    const stuck_runs& known_stuck,
    const list_workflows& ask) {
  std::vector<std::unique_ptr<storage::shard_reader>> readers(journal.shard_count());
  std::map<std::string, std::pair<runtime::workflow_row, std::size_t>> found;
  boost::json::array left_out;
  const auto fits = [&](std::string_view key, const runtime::workflow_row& row) {
    // Agents, too: they are stuck like others.
    if (ask.stuck) {
      return (ask.type.empty() || row.type == ask.type)
             && stuck_because(std::string{key}, row, code, known_stuck).has_value();
    }
    return (ask.type.empty() ? !runtime::is_agent_type(row.type) : row.type == ask.type)
           && (ask.status.empty() || name_of(row.status) == ask.status);
  };
  const auto prefix = runtime::workflow_key(ask.tenant, {});
  const auto first =
      ask.after.empty() ? prefix : runtime::workflow_key(ask.tenant, ask.after) + '\0';
  auto last = prefix;
  last.back() = '\1';
  for (std::uint32_t i = 0; i < journal.shard_count(); ++i) {
    auto reader = journal.read(shard_id{i});
    if (!reader && reader.error().code == errc::quarantined) {
      left_out.push_back(i);
      continue;
    }
    if (!reader) return std::unexpected{reader.error()};
    auto tail = read_tail(**reader);
    if (!tail) return std::unexpected{tail.error()};
    std::size_t taken = 0;
    auto scanned = (*reader)->scan(view_id::workflow, first, last, [&](auto key, auto value) {
      if (tail->contains(std::string{key})) return true;
      auto stored = runtime::decode_workflow_row(value);
      if (!stored) return true;
      auto row = as_shown(std::move(*stored), code);
      if (!fits(key, row)) return true;
      found.try_emplace(std::string{key.substr(prefix.size())}, std::move(row), i);
      return ++taken <= ask.limit;
    });
    if (!scanned) return std::unexpected{scanned.error()};
    for (auto& [key, progress] : *tail) {
      if (!progress || key < first || key >= last) continue;
      auto row = as_shown(std::move(progress->row), code);
      if (!fits(key, row)) continue;
      found.try_emplace(key.substr(prefix.size()), std::move(row), i);
    }
    readers[i] = *std::move(reader);
  }
  boost::json::array list;
  std::string next;
  for (auto& [id, one] : found) {
    auto& [row, shard] = one;
    if (list.size() == ask.limit) break;
    if (!row.ended) catch_up(row, *readers[shard]);
    list.push_back(shown(id, row, stuck_because(prefix + id, row, code, known_stuck)));
    next = id;
  }
  if (found.size() <= ask.limit) next.clear();
  boost::json::object page{{"workflows", std::move(list)}, {"cursor", next}};
  // Of a shard that is quarantined nobody knows what there is.
  if (!left_out.empty()) page["shards_left_out"] = std::move(left_out);
  return workflow_answer{boost::json::serialize(page)};
}

}  // namespace callboard::actors
