// What groups read from the journal. Runs on the reader pool: blocks on disk, touches no actor.
#pragma once

#include "base/error.hpp"
#include "runtime/binding/binding_rule.hpp"
#include "runtime/group/group_codec.hpp"
#include "runtime/group/group_core.hpp"
#include "storage/journal.hpp"

#include <optional>
#include <utility>
#include <vector>

namespace callboard::actors {

using group_rows = std::vector<std::pair<runtime::group_key, runtime::group_row>>;

struct group_directory {
  group_rows groups;
  /// Their topic was deleted, and they are still to be.
  group_rows left_behind;
};

/// All groups of the shard, tail included. Skips over topics, so it costs what the groups cost.
[[nodiscard]] result<group_directory> read_group_directory(storage::shard_reader& reader);

/// The group's row, tail included; nothing if there is none.
[[nodiscard]] result<std::optional<runtime::group_row>>
find_group(storage::shard_reader& reader, const runtime::group_key& group);

/// A group as its committed records leave it.
struct loaded_group {
  runtime::group_ledger ledger;
  /// Its last progress record.
  sequence last_progress{};
  /// Progress records that the latest snapshot does not cover.
  std::uint32_t since_snapshot = 0;
};

[[nodiscard]] result<loaded_group>
read_group(storage::shard_reader& reader, const runtime::group_row& row);

/// What a group has not acked.
struct group_backlog {
  sequence needed_after{};
  std::uint64_t events = 0;
  /// Of the first of them.
  std::optional<time_ms> oldest;
  /// It was read, and has a dead letter that may not be published.
  bool has_letters = false;
};

/// `needed_after`: of the group, if it is known; else it is read. What retention has taken waits
/// for nobody.
[[nodiscard]] result<group_backlog> read_backlog(
    storage::shard_reader& reader,
    const runtime::group_row& row,
    std::optional<sequence> needed_after);

/// A group of this topic has not handled all of its events. As the rows on disk tell: a group that
/// was made a moment ago may not be among them.
[[nodiscard]] result<bool> is_awaited(storage::shard_reader& reader, const topic_ref& topic);

struct read_manner {
  std::uint64_t bytes_max = 0;
  /// Of a binding: gives events their keys of order; null: their subject does.
  const runtime::binding_rule* rule = nullptr;
};

/// Carries out a plan, up to `bytes_max` and at least one event of it; of a run that is begun, too.
/// Errors: those of the reader; corruption if an event is missing without having been trimmed.
[[nodiscard]] result<runtime::read_result> read_planned(
    storage::shard_reader& reader,
    entity_id topic,
    const runtime::read_plan& plan,
    const read_manner& how);

/// The event's key of order in a binding's group; 0 also for an event that cannot be read.
[[nodiscard]] std::uint64_t
binding_key(const runtime::binding_rule& rule, const runtime::delivered_event& event);

/// Times of these events; nothing for one that is gone.
[[nodiscard]] result<std::vector<std::optional<time_ms>>>
read_event_times(storage::shard_reader& reader, entity_id topic, const std::vector<sequence>& seqs);

}  // namespace callboard::actors
