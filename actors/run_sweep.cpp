#include "actors/run_sweep.hpp"

#include "actors/requests.hpp"
#include "actors/router.hpp"
#include "actors/run_reads.hpp"
#include "base/log.hpp"
#include "runtime/workflow/workflow_registry.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <utility>

namespace callboard::actors {

namespace {

/// Deleted by one look.
constexpr std::size_t expired_max = 500;

/// `tenant/id` of a `workflow_key`.
std::string in_words(std::string key) {
  std::ranges::replace(key, '\0', '/');
  return key;
}

}  // namespace

std::optional<failure>
stuck_because(const runtime::workflow_row& row, const runtime::workflow_registry* code) {
  if (row.ended) return std::nullopt;
  if (code == nullptr || code->find(row.type, row.version) == nullptr) {
    return failure{
        failure_class::bug,
        "no_code",
        fmt::format("no node has workflow '{}' version {}", row.type, row.version)};
  }
  if (row.status != runtime::run_status::blocked) return std::nullopt;
  return row.why.value_or(
      failure{failure_class::bug, "blocked", "its code does not fit its history"});
}

result<std::map<std::string, failure>>
find_stuck(storage::shard_reader& reader, const runtime::workflow_registry* code) {
  std::map<std::string, failure> stuck;
  auto visited = visit_workflow_rows(reader, [&](const std::string& key, const auto& row) {
    if (auto why = stuck_because(row, code)) stuck.emplace(key, std::move(*why));
  });
  if (!visited) return std::unexpected{visited.error()};
  return stuck;
}

result<std::vector<topic_ref>>
find_expired(storage::shard_reader& reader, time_ms cutoff, std::size_t count_max) {
  std::vector<topic_ref> expired;
  auto visited = visit_workflow_rows(reader, [&](const std::string& key, const auto& row) {
    const bool must_tell = row.needs_wake && row.ended >= cutoff - owing_kept_max;
    if (!row.ended || row.ended >= cutoff || must_tell || expired.size() == count_max) return;
    if (auto channel = runtime::channel_of_key(key)) expired.push_back(*std::move(channel));
  });
  if (!visited) return std::unexpected{visited.error()};
  return expired;
}

namespace {

/// Says how many there were.
std::size_t delete_expired(const broker_parts& parts, shard_id shard, const caf::actor& self) {
  const std::chrono::seconds kept{parts.settings.workflows.retention_s};
  if (kept.count() == 0) return 0;
  auto reader = parts.journal.read(shard);
  if (!reader) return 0;
  auto expired = find_expired(**reader, parts.journal.shard_time(shard) - kept, expired_max);
  if (!expired) return 0;
  for (auto& channel : *expired) {
    // The next look finds what was refused.
    (void)parts.router->control({correlation_id{}, delete_topic{std::move(channel)}}, self);
  }
  return expired->size();
}

}  // namespace

struct run_sweep::seen {
  explicit seen(prometheus::Gauge& gauge) : count{gauge} {}

  prometheus::Gauge& count;
  /// By one look at a time.
  std::map<std::string, failure> stuck;
  std::atomic<bool> is_looking{false};
  /// More are past their retention than one look deletes.
  std::atomic<bool> is_behind{false};
};

run_sweep::run_sweep(const broker_parts& parts, shard_id shard)
    : parts_{parts},
      shard_{shard},
      seen_{std::make_shared<seen>(parts.counters.gauge(
          "workflows_stuck", "Workflows that nothing would wake: blocked, or without code."))} {}

void run_sweep::look(const caf::actor& self) {
  const auto now = parts_.time.boot();
  if (parts_.workflows == nullptr || (now < next_ && !seen_->is_behind)
      || seen_->is_looking.exchange(true)) {
    return;
  }
  next_ = now + std::chrono::milliseconds{parts_.settings.workflows.sweep_ms};
  auto posted = parts_.readers.post(
      reader_pool::lane::reads,
      [&parts = parts_,
       &journal = parts_.journal,
       code = parts_.workflows,
       shard = shard_,
       seen = seen_,
       self] {
        const auto find = [&]() -> result<std::map<std::string, failure>> {
          auto reader = journal.read(shard);
          if (!reader) return std::unexpected{reader.error()};
          return find_stuck(**reader, code);
        };
        if (auto found = find()) {
          for (const auto& [key, why] : *found) {
            if (seen->stuck.contains(key)) continue;
            log::channel("actors")->warn(
                "workflow {} is stuck: {}: {}", in_words(key), why.code, why.message);
          }
          seen->count.Increment(
              static_cast<double>(found->size()) - static_cast<double>(seen->stuck.size()));
          seen->stuck = std::move(*found);
        }
        seen->is_behind = delete_expired(parts, shard, self) == expired_max;
        seen->is_looking = false;
      });
  if (!posted) seen_->is_looking = false;
}

}  // namespace callboard::actors
