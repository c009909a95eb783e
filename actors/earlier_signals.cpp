#include "actors/earlier_signals.hpp"

#include "runtime/workflow/canonical_json.hpp"
#include "runtime/workflow/run_codec.hpp"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

namespace callboard::actors {

namespace {

using runtime::run_event_kind;
using storage::record;

constexpr std::uint64_t reach_min = 16;
constexpr std::uint64_t reach_growth = 4;

using said_by_id = std::map<std::string, std::uint64_t>;

struct look {
  said_by_id known;
  /// What is before says nothing more.
  bool is_whole = false;
};

/// Through the last `reach` events before the current run; nothing if they are larger than
/// `bytes_max`.
result<std::optional<look>> look_back(
    storage::shard_reader& reader,
    entity_id entity,
    const runtime::workflow_row& of,
    std::uint64_t reach,
    std::size_t bytes_max) {
  struct heard {
    std::string id;
    std::uint64_t said = 0;
    std::uint32_t run = 0;
    lsn transition{};
  };

  std::vector<heard> all;
  bool goes_on = false;
  bool has_start = false;
  std::size_t bytes = 0;
  std::optional<record> first;
  lsn transition{};
  lsn previous{};
  const sequence from{of.first_seq.raw() - std::min(of.first_seq.raw(), reach)};
  auto visited = reader.visit_entity(entity, from, [&](const record& one) {
    if (one.entity_seq >= of.first_seq) return false;
    bytes += one.payload.view().size();
    if (bytes > bytes_max) return false;
    if (!first) first = one;
    // Behind a transition with such signals stands its row.
    if (one.lsn != previous.next()) transition = one.lsn;
    previous = one.lsn;
    const runtime::delivered_event stored{one.entity_seq, one.time, one.payload};
    const auto outline = runtime::outline_of(stored);
    goes_on = outline && outline->kind == run_event_kind::ended
              && outline->status == runtime::run_status::continued;
    if (!outline) return true;
    if (outline->kind == run_event_kind::started) {
      // A copy that was never finished has the number of the run that began behind it.
      std::erase_if(all, [&](const heard& signal) { return signal.run == outline->run; });
      has_start = has_start || outline->run + 1 == of.run;
    } else if (outline->kind == run_event_kind::signalled) {
      auto event = runtime::decode_run_event(stored);
      if (!event || event->id.empty()) return true;
      const auto said = runtime::hash_of_named(event->name, event->data);
      all.push_back({std::move(event->id), said, event->run, transition});
    }
    return true;
  });
  if (!visited) return std::unexpected{visited.error()};
  if (bytes > bytes_max) return std::nullopt;
  look seen;
  // The channel has no more, the last of it ends otherwise, or all that is asked for is there.
  seen.is_whole =
      !first || first->entity_seq > from || !goes_on || (has_start && transition != first->lsn);
  if (!goes_on) return seen;
  for (auto& one : all) {
    const bool is_known = one.run + 1 == of.run || one.transition == transition;
    if (is_known) seen.known.emplace(std::move(one.id), one.said);
  }
  return seen;
}

}  // namespace

result<said_by_id> read_earlier_signals(
    storage::shard_reader& reader, entity_id entity, const runtime::workflow_row& of) {
  said_by_id known;
  auto bytes_max = std::numeric_limits<std::size_t>::max();
  for (auto reach = reach_min;; reach = std::min(reach * reach_growth, earlier_signals_reach)) {
    auto seen = look_back(reader, entity, of, reach, bytes_max);
    if (!seen) return std::unexpected{seen.error()};
    if (!*seen) return known;
    known = std::move((*seen)->known);
    if ((*seen)->is_whole || reach == earlier_signals_reach) return known;
    bytes_max = earlier_signals_bytes_max;
  }
}

}  // namespace callboard::actors
