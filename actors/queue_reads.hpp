// What queues read from the journal. Runs on the reader pool: blocks on disk, touches no actor.
#pragma once

#include "actors/queue_requests.hpp"
#include "base/error.hpp"
#include "runtime/queue/queue_codec.hpp"
#include "runtime/queue/queue_commands.hpp"
#include "runtime/queue/queue_rows.hpp"
#include "storage/journal.hpp"

#include <array>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace callboard::actors {

/// Rows of one queue, or of the catalogue, with the journal's tail applied to them by the same
/// code that projects it. Lives no longer than its reader.
class queue_rows final : public runtime::row_source, private storage::view_writer {
public:
  explicit queue_rows(storage::shard_reader& reader) : reader_{reader} {}

  /// Applies the tail's records of this queue; without one, of all. Of the `gone` only what changes
  /// the rows that outlive their deletion: to take out the others would be long work.
  [[nodiscard]] result<void>
  apply_tail(std::optional<entity_id> queue, const std::vector<entity_id>& gone = {});

  [[nodiscard]] lsn as_of() const override { return reader_.committed(); }

  [[nodiscard]] result<std::optional<std::string>>
  get(storage::view_id view, std::string_view key) const override;
  [[nodiscard]] result<void>
  scan(storage::view_id view, std::string_view first, std::string_view last, const visitor& visit)
      const override;

private:
  using row_key = std::pair<storage::view_id, std::string>;

  void put(storage::view_id view, std::string_view key, std::string_view value) override;
  void erase(storage::view_id view, std::string_view key) override;
  void erase_range(storage::view_id view, std::string_view first, std::string_view last) override;
  [[nodiscard]] std::optional<std::string>
  get(storage::view_id view, std::string_view key) override;
  void report_damage(const storage::record& at, const error& why) override;

  storage::shard_reader& reader_;
  /// Rows that the tail put, or (nothing) took away.
  std::map<row_key, std::optional<std::string>> changes_;
  std::optional<error> failure_;
};

struct named_queue {
  queue_ref name;
  runtime::queue_row row;
  runtime::queue_counters counters;
};

/// Queues of one tenant, or all of the shard, tail included. Skips over topics and groups.
[[nodiscard]] result<std::vector<named_queue>>
read_queues(storage::shard_reader& reader, const std::optional<tenant_name>& of);

/// A page of a tenant's queues in all shards.
[[nodiscard]] result<queue_list>
list_queues_page(storage::journal& journal, const list_queues& ask);

[[nodiscard]] result<std::optional<runtime::queue_row>>
find_queue(storage::shard_reader& reader, const queue_ref& name);

[[nodiscard]] result<runtime::queue_image>
load_queue(storage::shard_reader& reader, entity_id queue);

/// Carries out a plan. `before`: queues of the same name that were deleted, whose tasks count as
/// those of their origins. Errors: those of the reader; corruption if a record is missing.
[[nodiscard]] result<runtime::queue_read_result> read_planned(
    storage::shard_reader& reader,
    entity_id queue,
    const runtime::queue_read& plan,
    const std::vector<entity_id>& before);

/// Ends of tasks that are still to be told, tail included.
[[nodiscard]] result<runtime::ending_page> read_endings_page(
    storage::shard_reader& reader,
    const std::string& from,
    std::size_t count_max,
    std::size_t bytes_max);

/// Deleted queues of whose tasks somebody is still to be told.
[[nodiscard]] result<std::vector<std::pair<entity_id, runtime::queue_deletion>>>
read_gone_queues(storage::shard_reader& reader);

/// Ends of tasks that a deleted queue leaves behind: their own, or that it has gone.
struct gone_endings {
  std::vector<runtime::task_ending> endings;
  /// The last origin; empty if none is behind it.
  std::string next;
};

/// Those whose origins are behind `after`, in that order.
[[nodiscard]] result<gone_endings> read_gone_endings(
    storage::shard_reader& reader,
    entity_id queue,
    const std::string& after,
    std::size_t count_max);

[[nodiscard]] result<runtime::dead_page> read_dead_letters(
    storage::shard_reader& reader,
    entity_id queue,
    runtime::task_id after,
    const runtime::dead_filter& filter,
    std::size_t count_max);

[[nodiscard]] result<runtime::audit_page> read_queue_audit(
    storage::shard_reader& reader, entity_id queue, std::uint64_t after, std::size_t count_max);

/// Errors: not_found.
[[nodiscard]] result<runtime::stored_task>
read_whole_task(storage::shard_reader& reader, entity_id queue, runtime::task_id task);

/// Fairness keys of one priority that are looked at to find the task that has waited longest.
inline constexpr std::uint32_t oldest_keys_max = 1000;

/// Since when the task that has waited longest could have been leased; nothing if none can be.
/// Looks at the first `keys_max` fairness keys of each priority. `waiting`: where there is
/// anything.
[[nodiscard]] result<std::optional<time_ms>> oldest_ready(
    storage::shard_reader& reader,
    entity_id queue,
    const std::array<std::uint64_t, runtime::priority_count>& waiting,
    time_ms now,
    std::uint32_t keys_max);

}  // namespace callboard::actors
