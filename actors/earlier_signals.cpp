#include "actors/earlier_signals.hpp"

#include "runtime/workflow/canonical_json.hpp"
#include "runtime/workflow/run_codec.hpp"

#include <algorithm>
#include <cstdint>
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

struct heard {
  std::string id;
  std::uint64_t said = 0;
  std::uint32_t run = 0;
  sequence seq{};
  lsn transition{};
};

struct beginning {
  runtime::delivered_event stored;
  lsn transition{};
  /// The run before went on as this one.
  bool is_continued = false;
  /// That was begun anew as this one, if one was.
  std::uint32_t restarted = 0;
};

/// What the events of a channel tell of its runs and their signals, taken in their order.
class told_runs {
public:
  void take(const record& one) {
    // Behind a transition with such signals stands its row.
    if (one.lsn != previous_.next()) transition_ = one.lsn;
    previous_ = one.lsn;
    const runtime::delivered_event stored{one.entity_seq, one.time, one.payload};
    const auto outline = runtime::outline_of(stored);
    const bool goes_on = std::exchange(
        goes_on_,
        outline && outline->kind == run_event_kind::ended
            && outline->status == runtime::run_status::continued);
    if (!outline) return;
    if (outline->kind == run_event_kind::started) {
      // A copy that was never finished has the number of the run that began behind it.
      std::erase_if(signals_, [&](const heard& signal) { return signal.run == outline->run; });
      runs_[outline->run] = {stored, transition_, goes_on};
    } else if (outline->kind == run_event_kind::rerun) {
      note_restart(stored, outline->run);
    } else if (outline->kind == run_event_kind::signalled) {
      auto event = runtime::decode_run_event(stored);
      if (!event || event->id.empty()) return;
      const auto said = runtime::hash_of_named(event->name, event->data);
      signals_.push_back({std::move(event->id), said, event->run, one.entity_seq, transition_});
    }
  }

  /// `first`: the lsn of the first that was taken.
  [[nodiscard]] look before(std::uint32_t run, lsn first) {
    look seen;
    auto began = runs_.find(run);
    // What was sent to the run before the one that was begun anew has had its effect.
    while (began != runs_.end() && began->second.restarted != 0)
      began = runs_.find(began->second.restarted);
    if (began == runs_.end()) return seen;
    const auto& [number, at] = *began;
    seen.is_whole = !at.is_continued || runs_.contains(number - 1);
    if (!at.is_continued) return seen;
    const auto event = runtime::decode_run_event(at.stored);
    auto start = event ? runtime::read_started(*event) : std::unexpected{event.error()};
    if (start) seen.known = std::move(start->signals);
    // Builds that named none took those of one transition for those of the run before. One that
    // names none now had none to name.
    const bool is_named = !seen.known.empty();
    seen.is_whole = seen.is_whole && (is_named || at.transition != first);
    for (auto& one : signals_) {
      const bool is_near = one.run + 1 == number || (!is_named && one.transition == at.transition);
      if (is_near && one.seq < at.stored.seq) seen.known.emplace(std::move(one.id), one.said);
    }
    return seen;
  }

private:
  void note_restart(const runtime::delivered_event& stored, std::uint32_t run) {
    const auto event = runtime::decode_run_event(stored);
    const auto* data = event && event->name == "restarted" ? event->data.if_object() : nullptr;
    const auto* from = data == nullptr ? nullptr : data->if_contains("from");
    const auto* source =
        from == nullptr || !from->is_object() ? nullptr : from->get_object().if_contains("run");
    const auto found = runs_.find(run);
    if (source == nullptr || !source->is_int64() || found == runs_.end()) return;
    const auto number = source->get_int64();
    // Of a lower number, so that nothing goes round.
    if (number > 0 && number < run) found->second.restarted = static_cast<std::uint32_t>(number);
  }

  std::vector<heard> signals_;
  std::map<std::uint32_t, beginning> runs_;
  bool goes_on_ = false;
  lsn transition_{};
  lsn previous_{};
};

/// Through the last `reach` events before the current run; nothing if they are larger than
/// `bytes_max`.
result<std::optional<look>> look_back(
    storage::shard_reader& reader,
    entity_id entity,
    const runtime::workflow_row& of,
    std::uint64_t reach,
    std::size_t bytes_max) {
  told_runs told;
  std::size_t bytes = 0;
  std::optional<record> first;
  const sequence from{of.first_seq.raw() - std::min(of.first_seq.raw(), reach)};
  auto visited = reader.visit_entity(entity, from, [&](const record& one) {
    // How the current run began is told by its first two.
    if (one.entity_seq > of.first_seq.next()) return false;
    if (one.entity_seq < of.first_seq) bytes += one.payload.view().size();
    if (bytes > bytes_max) return false;
    if (!first) first = one;
    told.take(one);
    return true;
  });
  if (!visited) return std::unexpected{visited.error()};
  if (bytes > bytes_max) return std::nullopt;
  if (!first) return look{.known = {}, .is_whole = true};
  auto seen = told.before(of.run, first->lsn);
  // The channel has no more.
  seen.is_whole = seen.is_whole || first->entity_seq > from;
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
