#include "actors/group_reads.hpp"

#include "actors/topic_reads.hpp"
#include "runtime/binding/binding_effect.hpp"
#include "runtime/group/group_projection.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace callboard::actors {

namespace {

using runtime::loaded_event;
using storage::record;
using storage::record_kind;
using storage::view_id;

/// Catalogue rows of groups in memory, so that the tail is applied by the same code as on disk.
class group_row_table final : public storage::view_writer {
public:
  void put(view_id, std::string_view key, std::string_view value) override {
    rows[std::string{key}] = value;
  }

  void erase(view_id, std::string_view key) override { rows.erase(std::string{key}); }

  void erase_range(view_id, std::string_view first, std::string_view last) override {
    rows.erase(rows.lower_bound(std::string{first}), rows.lower_bound(std::string{last}));
  }

  std::optional<std::string> get(view_id, std::string_view key) override {
    const auto it = rows.find(std::string{key});
    return it == rows.end() ? std::nullopt : std::optional{it->second};
  }

  void report_damage(const storage::record&, const error& why) override { damage = why; }

  std::map<std::string, std::string> rows;
  std::optional<error> damage;
};

/// Adds all group rows on disk, tenant by tenant: a tenant's 'g' rows come before its 't' rows.
result<void> scan_group_rows(storage::shard_reader& reader, group_row_table& table) {
  std::string from;
  while (true) {
    std::optional<std::string> tenant;
    auto found = reader.scan(view_id::catalogue, from, {}, [&](std::string_view key, auto) {
      tenant = key.substr(0, key.find('\0'));
      return false;
    });
    if (!found || !tenant) return found;
    const auto prefix = *tenant + '\0' + 'g';
    auto scanned = reader.scan(
        view_id::catalogue,
        prefix,
        runtime::key_after(prefix),
        [&](std::string_view key, std::string_view value) {
          table.put(view_id::catalogue, key, value);
          return true;
        });
    if (!scanned) return scanned;
    from = *tenant + '\1';
  }
}

loaded_event to_event(const record& from, const runtime::binding_rule* rule) {
  loaded_event event{{from.entity_seq, from.time, from.payload}, 0};
  event.subject =
      rule != nullptr ? binding_key(*rule, event.event) : runtime::subject_key(from.payload);
  return event;
}

/// The first event of the topic at or after `seq`.
result<std::optional<loaded_event>> read_one(
    storage::shard_reader& reader,
    entity_id topic,
    sequence seq,
    const runtime::binding_rule* rule = nullptr) {
  std::optional<loaded_event> found;
  auto visited = reader.visit_entity(topic, seq, [&](const record& from) {
    if (from.kind != record_kind::event) return true;
    found = to_event(from, rule);
    return false;
  });
  if (!visited) return std::unexpected{visited.error()};
  return found;
}

}  // namespace

result<group_directory> read_group_directory(storage::shard_reader& reader) {
  group_row_table table;
  if (auto scanned = scan_group_rows(reader, table); !scanned) {
    return std::unexpected{scanned.error()};
  }
  auto merged = reader.visit_tail([&](const record& from) {
    runtime::apply_group_record(from, table);
    return !table.damage;
  });
  if (!merged) return std::unexpected{merged.error()};
  if (table.damage) return std::unexpected{*table.damage};
  group_directory found;
  const auto changes = read_topic_changes(reader);
  if (!changes) return std::unexpected{changes.error()};
  // Nothing: its row does not parse, so that nobody knows whose groups these are.
  std::map<topic_ref, std::optional<entity_id>> topics;
  for (const auto& [key, value] : table.rows) {
    auto parsed = runtime::parse_group_row_key(key);
    auto row = runtime::decode_group_row(value);
    if (!parsed || !row) return fail(errc::corruption, "a group's catalogue row is unreadable");
    auto topic = topics.find(parsed->topic);
    if (topic == topics.end()) {
      const auto stored = find_topic_row(reader, *changes, parsed->topic);
      if (!stored && stored.error().code != errc::corruption) {
        return std::unexpected{stored.error()};
      }
      topic = topics.try_emplace(parsed->topic).first;
      if (stored) topic->second = *stored ? (*stored)->entity : entity_id{};
    }
    const bool is_there = topic->second.value_or(row->topic_entity) == row->topic_entity;
    auto& to = is_there ? found.groups : found.left_behind;
    to.emplace_back(std::move(*parsed), std::move(*row));
  }
  return found;
}

result<std::optional<runtime::group_row>>
find_group(storage::shard_reader& reader, const runtime::group_key& group) {
  const auto key = runtime::group_row_key(group.topic, group.group);
  group_row_table table;
  auto stored = reader.get(view_id::catalogue, key);
  if (!stored) return std::unexpected{stored.error()};
  if (*stored) table.put(view_id::catalogue, key, **stored);
  auto merged = reader.visit_tail([&](const record& from) {
    runtime::apply_group_record(from, table);
    return !table.damage;
  });
  if (!merged) return std::unexpected{merged.error()};
  if (table.damage) return std::unexpected{*table.damage};
  const auto value = table.get(view_id::catalogue, key);
  if (!value) return std::nullopt;
  auto row = runtime::decode_group_row(*value);
  if (!row) return std::unexpected{row.error()};
  return *std::move(row);
}

result<loaded_group> read_group(storage::shard_reader& reader, const runtime::group_row& row) {
  loaded_group group{runtime::group_ledger{row.start_after}, {}, 0};
  auto snapshot = reader.snapshot(row.entity);
  if (!snapshot) return std::unexpected{snapshot.error()};
  if (*snapshot) {
    auto ledger = runtime::decode_group_snapshot((*snapshot)->state.view());
    if (!ledger) return std::unexpected{ledger.error()};
    group.ledger = std::move(*ledger);
    group.last_progress = (*snapshot)->covered;
  }
  std::optional<error> broken;
  auto replayed =
      reader.visit_entity(row.entity, group.last_progress.next(), [&](const record& from) {
        if (from.kind != record_kind::group_progress) return true;
        const auto progress = runtime::decode_group_progress(from.payload.view());
        if (!progress) {
          broken = progress.error();
          return false;
        }
        group.ledger.apply(*progress);
        group.last_progress = from.entity_seq;
        ++group.since_snapshot;
        return true;
      });
  if (!replayed) return std::unexpected{replayed.error()};
  if (broken) return std::unexpected{*broken};
  return group;
}

result<runtime::read_result> read_planned(
    storage::shard_reader& reader,
    entity_id topic,
    const runtime::read_plan& plan,
    const read_manner& how) {
  const auto span = reader.entity_span(topic);
  if (!span) return std::unexpected{span.error()};
  runtime::read_result read;
  // No events at all: retention has taken every one that was known when the plan was made.
  read.gone_up_to = *span ? sequence{(*span)->first.raw() - 1} : plan.known_last;
  std::uint64_t bytes = 0;
  for (const auto seq : plan.single) {
    if (seq <= read.gone_up_to) continue;
    // The rest is in the next plan.
    if (bytes >= how.bytes_max) return read;
    auto found = read_one(reader, topic, seq, how.rule);
    if (!found) return std::unexpected{found.error()};
    if (!*found || (*found)->event.seq != seq) {
      return fail(errc::corruption, fmt::format("event {} of a topic is missing", seq.raw()));
    }
    bytes += (*found)->event.stored.size();
    read.single.push_back(std::move(**found));
  }
  if (plan.run_from == sequence{} || !*span) return read;
  const auto from = std::max(plan.run_from, read.gone_up_to.next());
  auto visited = reader.visit_entity(topic, from, [&](const record& one) {
    if (one.kind != record_kind::event) return true;
    bytes += one.payload.size();
    read.run.push_back(to_event(one, how.rule));
    return bytes < how.bytes_max && read.run.size() < plan.run_events_max;
  });
  if (!visited) return std::unexpected{visited.error()};
  return read;
}

std::uint64_t
binding_key(const runtime::binding_rule& rule, const runtime::delivered_event& event) {
  auto read = runtime::bound_event::read(event.stored, event.time);
  return read ? runtime::order_key(rule, *read) : 0;
}

result<std::vector<std::optional<time_ms>>> read_event_times(
    storage::shard_reader& reader, entity_id topic, const std::vector<sequence>& seqs) {
  std::vector<std::optional<time_ms>> times;
  for (const auto seq : seqs) {
    auto found = read_one(reader, topic, seq);
    if (!found) return std::unexpected{found.error()};
    times.push_back(*found ? std::optional{(*found)->event.time} : std::nullopt);
  }
  return times;
}

result<group_backlog> read_backlog(
    storage::shard_reader& reader,
    const runtime::group_row& row,
    std::optional<sequence> needed_after) {
  group_backlog backlog;
  if (!needed_after) {
    auto group = read_group(reader, row);
    if (!group) return std::unexpected{group.error()};
    needed_after = group->ledger.needed_after();
    backlog.has_letters = std::ranges::any_of(group->ledger.pending(), [&](const auto& one) {
      return one.second.nonce == 0 && one.second.attempts >= row.settings.deliveries_max;
    });
  }
  backlog.needed_after = *needed_after;
  const auto span = reader.entity_span(row.topic_entity);
  if (!span) return std::unexpected{span.error()};
  if (!*span || (*span)->last <= *needed_after) return backlog;
  const auto first = std::max(needed_after->next(), (*span)->first);
  backlog.events = (*span)->last.raw() + 1 - first.raw();
  auto event = read_one(reader, row.topic_entity, first);
  if (!event) return std::unexpected{event.error()};
  if (*event) backlog.oldest = (*event)->event.time;
  return backlog;
}

result<bool> is_awaited(storage::shard_reader& reader, const topic_ref& topic) {
  std::vector<runtime::group_row> rows;
  const auto prefix = runtime::group_row_prefix(topic);
  auto scanned = reader.scan(
      view_id::catalogue, prefix, runtime::key_after(prefix), [&](auto, std::string_view value) {
        if (auto row = runtime::decode_group_row(value)) rows.push_back(*std::move(row));
        return true;
      });
  if (!scanned) return std::unexpected{scanned.error()};
  for (const auto& row : rows) {
    auto backlog = read_backlog(reader, row, std::nullopt);
    if (!backlog) return std::unexpected{backlog.error()};
    if (backlog->events != 0) return true;
  }
  return false;
}

}  // namespace callboard::actors
