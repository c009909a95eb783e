#include "actors/topic_reads.hpp"

#include "actors/run_reads.hpp"
#include "actors/topic_answers.hpp"
#include "actors/topic_loading.hpp"
#include "base/log.hpp"
#include "base/time.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace callboard::actors {

namespace {

using runtime::dedupe_row;
using runtime::topic_counters;
using runtime::topic_image;
using runtime::topic_row;
using runtime::window_row;
using storage::record;
using storage::record_kind;
using storage::shard_reader;
using storage::view_id;

constexpr std::size_t trim_events_max = 100'000;
constexpr std::size_t sweep_rows_max = 500;
constexpr std::size_t sweep_due_max = 32;
/// A row has the events of one block, whose records take 64 bytes each and more.
constexpr std::uint64_t packed_row_ids_max = (64 << 10) / 64;

window_row window_row_of(const record& one) {
  const runtime::encoded_event event{one.payload};
  return {event.identity(), event.content(), one.entity_seq, one.time};
}

window_row window_row_of(const dedupe_row& packed, std::uint64_t index) {
  const auto entry = packed.entry(index);
  window_row row;
  std::memcpy(&row.identity.high, entry.data(), 8);
  std::memcpy(&row.identity.low, entry.data() + 8, 8);
  std::memcpy(&row.content, entry.data() + 16, 8);
  row.seq = packed.first().plus(index);
  row.time = packed.time();
  return row;
}

/// What the uncommitted-to-views tail changes in one topic.
result<topic_counters> read_counters(shard_reader& reader, entity_id topic) {
  const auto stored = reader.get(view_id::topic_state, runtime::entity_key(topic));
  if (!stored) return std::unexpected{stored.error()};
  auto counters = *stored ? runtime::decode_counters(**stored) : topic_counters{};
  auto visited = reader.visit_tail_of(topic, [&](const record& one) {
    if (one.kind == record_kind::event) {
      counters.last_seq = one.entity_seq;
      counters.bytes += one.payload.size();
    } else if (one.kind == record_kind::trimmed) {
      if (const auto range = runtime::decode_trimmed(one.payload.view())) {
        counters.trimmed_up_to = std::max(counters.trimmed_up_to, range->up_to);
        counters.bytes -= std::min(counters.bytes, range->bytes);
      }
    }
    return true;
  });
  if (!visited) return std::unexpected{visited.error()};
  return counters;
}

shard_id shard_of(const storage::journal& journal, const topic_ref& name) {
  return shard_id{shard_index(name, journal.shard_count())};
}

std::unexpected<error> no_such_topic(const topic_ref& name) {
  return fail(errc::topic_not_found, fmt::format("there is no topic '{}'", name.topic.str()));
}

std::unexpected<error> expired(std::string why, const topic_image& image) {
  return fail(
      errc::cursor_expired,
      fmt::format("{}; the first available seq is {}", why, image.first_seq.raw()));
}

/// The seq that a page begins with.
result<sequence>
resolve(shard_reader& reader, const topic_image& image, const runtime::position& from) {
  const auto end = image.last_seq.next();
  if (std::holds_alternative<runtime::from_now>(from)) return end;
  if (std::holds_alternative<runtime::from_first>(from)) return image.first_seq;
  if (const auto* at = std::get_if<runtime::from_seq>(&from)) {
    // Inclusive: the first event with a seq >= this; what is gone is passed over only from 1 on.
    if (at->seq.raw() > 1 && at->seq < image.first_seq) {
      return expired(fmt::format("seq {} was let go by retention", at->seq.raw()), image);
    }
    return std::max(at->seq, image.first_seq);
  }
  if (const auto* after = std::get_if<runtime::after_cursor>(&from)) {
    if (after->cursor.epoch != image.epoch) {
      return expired("the cursor is of another incarnation of the topic", image);
    }
    if (after->cursor.seq > image.last_seq) {
      return expired("the cursor is ahead of the topic", image);
    }
    if (after->cursor.seq.next() < image.first_seq) {
      return expired(
          fmt::format("events after seq {} were let go", after->cursor.seq.raw()), image);
    }
    return after->cursor.seq.next();
  }
  const auto found =
      reader.first_at_or_after(image.entity, std::get<runtime::from_time>(from).time);
  if (!found) return std::unexpected{found.error()};
  return *found ? std::max(**found, image.first_seq) : end;
}

}  // namespace

result<topic_changes> read_topic_changes(shard_reader& reader) {
  topic_changes rows;
  auto visited = reader.visit_tail([&](const record& one) {
    if (one.kind == record_kind::topic_created || one.kind == record_kind::topic_configured) {
      if (auto row = runtime::decode_topic_record(one.payload.view(), one.entity)) {
        auto name = row->name;
        rows[std::move(name)] = std::move(*row);
      }
    } else if (one.kind == record_kind::topic_deleted) {
      if (const auto name = runtime::decode_topic_deleted(one.payload.view())) {
        rows[*name] = std::nullopt;
      }
    }
    return true;
  });
  if (!visited) return std::unexpected{visited.error()};
  return rows;
}

result<std::optional<topic_row>> find_topic_row(shard_reader& reader, const topic_ref& name) {
  const auto tail = read_topic_changes(reader);
  if (!tail) return std::unexpected{tail.error()};
  return find_topic_row(reader, *tail, name);
}

result<std::optional<topic_row>>
find_topic_row(shard_reader& reader, const topic_changes& tail, const topic_ref& name) {
  if (const auto found = tail.find(name); found != tail.end()) return found->second;
  const auto key = runtime::catalogue_key(name);
  const auto stored = reader.get(view_id::catalogue, key);
  if (!stored) return std::unexpected{stored.error()};
  if (!*stored) return std::nullopt;
  auto row = runtime::decode_catalogue_row(key, **stored);
  if (!row) return fail(errc::corruption, "a row of the catalogue does not parse");
  return row;
}

result<topic_image>
read_topic_image(shard_reader& reader, const topic_row& row, incarnation_id incarnation) {
  const auto counters = read_counters(reader, row.entity);
  if (!counters) return std::unexpected{counters.error()};
  const auto span = reader.entity_span(row.entity);
  if (!span) return std::unexpected{span.error()};
  topic_image image{
      .name = row.name,
      .entity = row.entity,
      .epoch = runtime::format_epoch(row.entity, incarnation),
      .settings = row.settings,
      .last_seq = counters->last_seq,
      .stored_bytes = counters->bytes};
  if (*span) image.last_seq = std::max(image.last_seq, (*span)->last);
  image.first_seq =
      *span ? std::max((*span)->first, counters->trimmed_up_to.next()) : image.last_seq.next();
  return image;
}

result<void>
read_id_window(shard_reader& reader, entity_id topic, time_ms cutoff, const window_visitor& visit) {
  sequence next{};
  // Packed rows first: they are small, and also have what retention let go meanwhile.
  auto scanned = reader.scan(
      view_id::dedupe,
      runtime::dedupe_key(topic, sequence{}),
      runtime::dedupe_key(entity_id{topic.raw() + 1}, sequence{}),
      [&](std::string_view key, std::string_view value) {
        const auto packed = dedupe_row::read(key, value);
        if (!packed || packed->time() < cutoff) return true;
        for (std::uint64_t i = 0; i < packed->count(); ++i)
          visit(window_row_of(*packed, i));
        next = packed->first().plus(packed->count());
        return true;
      });
  if (!scanned) return scanned;
  if (next == sequence{}) {
    const auto start = reader.first_at_or_after(topic, cutoff);
    if (!start) return std::unexpected{start.error()};
    if (!*start) return {};
    next = **start;
  }
  // What the views do not show yet.
  return reader.visit_entity(topic, next, [&](const record& one) {
    visit(window_row_of(one));
    return true;
  });
}

namespace {

/// The id of a seq from the packed rows; nothing if it is in none.
result<std::optional<window_row>>
read_packed_row(shard_reader& reader, entity_id topic, sequence seq) {
  std::optional<window_row> found;
  const auto from = seq.raw() > packed_row_ids_max ? seq.raw() - packed_row_ids_max : 0;
  auto scanned = reader.scan(
      view_id::dedupe,
      runtime::dedupe_key(topic, sequence{from}),
      runtime::dedupe_key(topic, seq.next()),
      [&](std::string_view key, std::string_view value) {
        const auto packed = dedupe_row::read(key, value);
        if (packed && packed->first().plus(packed->count()) > seq) {
          found = window_row_of(*packed, seq.distance_from(packed->first()));
        }
        return !found;
      });
  if (!scanned) return std::unexpected{scanned.error()};
  return found;
}

}  // namespace

result<std::vector<window_row>>
read_window_rows(shard_reader& reader, entity_id topic, const std::vector<sequence>& seqs) {
  std::vector<window_row> rows;
  for (const auto seq : seqs) {
    auto packed = read_packed_row(reader, topic, seq);
    if (!packed) return std::unexpected{packed.error()};
    if (*packed) {
      rows.push_back(**packed);
      continue;
    }
    auto visited = reader.visit_entity(topic, seq, [&](const record& one) {
      if (one.entity_seq == seq) rows.push_back(window_row_of(one));
      return false;
    });
    if (!visited) return std::unexpected{visited.error()};
  }
  return rows;
}

result<trim_target> find_trim_target(
    shard_reader& reader,
    entity_id topic,
    sequence first,
    const runtime::topic_effects::plan_trim& plan) {
  auto wanted = plan.up_to_by_count;
  if (plan.older_than) {
    const auto young = reader.first_at_or_after(topic, *plan.older_than);
    if (!young) return std::unexpected{young.error()};
    const auto old = *young ? sequence{(*young)->raw() - 1} : plan.up_to_max;
    wanted = std::max(wanted, old);
  }
  wanted = std::min(wanted, plan.up_to_max);
  trim_target target;
  std::size_t looked_at = 0;
  auto visited = reader.visit_entity(topic, first, [&](const record& one) {
    if (one.entity_seq > plan.up_to_max || looked_at++ >= trim_events_max) return false;
    if (one.entity_seq > wanted && target.bytes >= plan.bytes_to_free) return false;
    target.up_to = one.entity_seq;
    target.bytes += one.payload.size();
    return true;
  });
  if (!visited) return std::unexpected{visited.error()};
  return target;
}

trim_target found_or_nothing(const result<trim_target>& found, const topic_ref& topic) {
  if (found) return *found;
  log::channel("actors")->warn(
      "retention of topic {} could not read the journal: {}",
      topic.topic.str(),
      found.error().detail);
  return {};
}

result<sweep_page> find_due_topics(shard_reader& reader, const std::string& after, time_ms now) {
  sweep_page page;
  std::vector<topic_row> candidates;
  std::size_t rows = 0;
  auto scanned =
      reader.scan(view_id::catalogue, after, "", [&](std::string_view key, std::string_view value) {
        if (++rows > sweep_rows_max || candidates.size() >= sweep_due_max) {
          page.next = std::string{key};
          return false;
        }
        auto row = runtime::decode_catalogue_row(key, value);
        if (!row) return true;
        const auto& settings = row->settings;
        if (settings.retention_age_s != 0 || settings.retention_bytes != 0
            || settings.retention_events != 0) {
          candidates.push_back(std::move(*row));
        }
        return true;
      });
  if (!scanned) return std::unexpected{scanned.error()};
  for (const auto& row : candidates) {
    const auto image = read_topic_image(reader, row, incarnation_id{});
    if (!image) return std::unexpected{image.error()};
    if (image->first_seq > image->last_seq) continue;
    const auto& settings = row.settings;
    bool due = settings.retention_bytes != 0 && image->stored_bytes > settings.retention_bytes;
    const auto events = image->last_seq.raw() + 1 - image->first_seq.raw();
    due = due || (settings.retention_events != 0 && events > settings.retention_events);
    if (!due && settings.retention_age_s != 0) {
      const auto cutoff = seconds_before(now, settings.retention_age_s);
      const auto young = reader.first_at_or_after(row.entity, cutoff);
      if (!young) return std::unexpected{young.error()};
      due = !*young || **young > image->first_seq;
    }
    if (due && is_channel(row.name.topic)) {
      // What its current run has recorded stays, however much it is.
      const auto run = read_workflow_row(reader, row.name);
      if (!run) return std::unexpected{run.error()};
      due = *run && image->first_seq < (*run)->first_seq;
    }
    if (due) page.due.push_back(row.name);
  }
  return page;
}

result<topic_description> describe_topic(storage::journal& journal, const topic_ref& name) {
  const auto shard = shard_of(journal, name);
  auto reader = journal.read(shard);
  if (!reader) return std::unexpected{reader.error()};
  const auto row = find_topic_row(**reader, name);
  if (!row) return std::unexpected{row.error()};
  if (!*row) return no_such_topic(name);
  const auto image = read_topic_image(**reader, **row, journal.state(shard).incarnation);
  if (!image) return std::unexpected{image.error()};
  return describe(*image);
}

result<topic_list> list_topics_page(storage::journal& journal, const list_topics& ask) {
  // One more than asked for tells whether there is a next page.
  std::map<std::string, std::pair<shard_id, topic_row>> found;
  const auto range = runtime::catalogue_range(ask.tenant, ask.after);
  const auto wanted = [&](const std::string& name) {
    return name > ask.after && (ask.with_run_channels || !name.starts_with("workflow."));
  };
  topic_list list;
  for (std::uint32_t i = 0; i < journal.shard_count(); ++i) {
    auto reader = journal.read(shard_id{i});
    if (!reader && reader.error().code == errc::quarantined) {
      list.shards_left_out.push_back(i);
      // Of no shard at all there is nothing to tell.
      if (list.shards_left_out.size() < journal.shard_count()) continue;
    }
    if (!reader) return std::unexpected{reader.error()};
    auto tail = read_topic_changes(**reader);
    if (!tail) return std::unexpected{tail.error()};
    std::size_t taken = 0;
    auto scanned =
        (*reader)->scan(view_id::catalogue, range.first, range.last, [&](auto key, auto value) {
          auto row = runtime::decode_catalogue_row(key, value);
          if (!row || tail->contains(row->name) || !wanted(row->name.topic.str())) return true;
          auto name = row->name.topic.str();
          found.emplace(std::move(name), std::pair{shard_id{i}, std::move(*row)});
          return ++taken <= ask.limit;
        });
    if (!scanned) return std::unexpected{scanned.error()};
    for (const auto& [name, row] : *tail) {
      if (row && name.tenant == ask.tenant && wanted(name.topic.str())) {
        found.emplace(name.topic.str(), std::pair{shard_id{i}, *row});
      }
    }
  }
  for (const auto& [name, place] : found) {
    if (list.topics.size() == ask.limit) {
      list.next_after = list.topics.empty() ? ask.after : list.topics.back().topic;
      break;
    }
    auto reader = journal.read(place.first);
    if (!reader && reader.error().code == errc::quarantined) {
      auto& left_out = list.shards_left_out;
      const auto shard = place.first.raw();
      if (std::ranges::find(left_out, shard) == left_out.end()) left_out.push_back(shard);
      continue;
    }
    if (!reader) return std::unexpected{reader.error()};
    const auto image =
        read_topic_image(**reader, place.second, journal.state(place.first).incarnation);
    if (!image) return std::unexpected{image.error()};
    list.topics.push_back(describe(*image));
  }
  return list;
}

result<event_page> read_event_page(storage::journal& journal, const read_events& ask) {
  const auto shard = shard_of(journal, ask.topic);
  auto reader = journal.read(shard);
  if (!reader) return std::unexpected{reader.error()};
  const auto row = find_topic_row(**reader, ask.topic);
  if (!row) return std::unexpected{row.error()};
  if (!*row) return std::unexpected{not_there(ask.topic)};
  const auto image = read_topic_image(**reader, **row, journal.state(shard).incarnation);
  if (!image) return std::unexpected{image.error()};
  const auto start = resolve(**reader, *image, ask.from);
  if (!start) return std::unexpected{start.error()};
  auto batch = std::make_shared<runtime::event_batch>();
  batch->topic = ask.topic;
  batch->epoch = image->epoch;
  std::uint64_t bytes = 0;
  if (*start <= image->last_seq) {
    auto visited = (*reader)->visit_entity(image->entity, *start, [&](const record& one) {
      if (one.entity_seq > image->last_seq) return false;
      if (!batch->events.empty() && bytes + one.payload.size() > ask.bytes_max) return false;
      bytes += one.payload.size();
      batch->events.push_back({one.entity_seq, one.time, one.payload});
      return batch->events.size() < ask.events_max;
    });
    if (!visited) return std::unexpected{visited.error()};
  }
  const auto next = batch->events.empty() ? *start : batch->events.back().seq.next();
  return event_page{
      .batch = std::move(batch),
      .first_seq = image->first_seq,
      .last_seq = image->last_seq,
      .next_from = next};
}

}  // namespace callboard::actors
