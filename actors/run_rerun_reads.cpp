#include "actors/run_rerun_reads.hpp"

#include "actors/run_reads.hpp"
#include "actors/topic_loading.hpp"
#include "actors/topic_reads.hpp"
#include "base/hash.hpp"
#include "runtime/topic/topic_codec.hpp"
#include "runtime/workflow/run_codec.hpp"
#include "runtime/workflow/run_limits.hpp"
#include "runtime/workflow/run_rerun.hpp"
#include "runtime/workflow/workflow_registry.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

namespace callboard::actors {

namespace {

using runtime::run_event;
using runtime::run_event_kind;

struct open_channel {
  std::unique_ptr<storage::shard_reader> reader;
  entity_id entity{};
};

result<open_channel> open(storage::journal& journal, const topic_ref& source) {
  auto reader = journal.read(shard_id{shard_index(source, journal.shard_count())});
  if (!reader) return std::unexpected{reader.error()};
  const auto topic = find_topic_row(**reader, source);
  if (!topic) return std::unexpected{topic.error()};
  if (!*topic) return std::unexpected{not_there(source)};
  return open_channel{*std::move(reader), (*topic)->entity};
}

}  // namespace

result<begin_rerun> read_rerun(
    storage::journal& journal,
    const runtime::workflow_registry* workflows,
    const topic_ref& source,
    const topic_ref& target,
    const rerun_order& order) {
  auto channel = open(journal, source);
  if (!channel) return std::unexpected{channel.error()};
  const auto row = read_workflow_row(*channel->reader, source);
  if (!row) return std::unexpected{row.error()};
  if (!*row) return std::unexpected{not_there(source)};
  const auto run = (*row)->run;
  const bool has_code =
      order.version == 0 || (workflows != nullptr && workflows->find((*row)->type, order.version));
  if (!has_code) {
    return fail(
        errc::bad_request,
        fmt::format("this node has no version {} of workflow '{}'", order.version, (*row)->type));
  }
  runtime::rerun_cut cut{order.from};
  auto visited = visit_history(
      *channel->reader,
      channel->entity,
      (*row)->first_seq,
      run,
      [&](const run_event& event, const storage::record& record) {
        cut.take(event, record.entity_seq);
        return true;
      });
  if (!visited) return std::unexpected{visited.error()};
  auto plan = cut.plan();
  if (!plan) return std::unexpected{plan.error()};
  if (order.without_signals) plan->signals_from.reset();
  begin_rerun begin;
  begin.topic = target;
  begin.source = source;
  begin.run = run;
  begin.order = order;
  begin.plan = std::make_shared<const runtime::rerun_plan>(*std::move(plan));
  return begin;
}

result<std::vector<run_event>> read_signals_behind(
    storage::journal& journal,
    const topic_ref& source,
    std::uint32_t run,
    const runtime::rerun_plan& plan,
    std::size_t unread_max) {
  std::vector<run_event> signals;
  auto channel = open(journal, source);
  if (!channel) return std::unexpected{channel.error()};
  auto bytes = plan.unread_bytes;
  auto visited = visit_history(
      *channel->reader,
      channel->entity,
      *plan.signals_from,
      run,
      [&](run_event event, const auto&) {
        if (event.kind != run_event_kind::signalled) return true;
        bytes += runtime::unread_size(event);
        signals.push_back(std::move(event));
        return bytes <= unread_max;
      });
  if (!visited) return std::unexpected{visited.error()};
  if (bytes > unread_max && !signals.empty()) {
    return fail(
        errc::too_large,
        fmt::format(
            "the signals that came to '{}' behind command {} are more than {} bytes together with "
            "those before it that it had not read (workflows.unread_bytes_max): begin from a later "
            "command, or without them",
            source.topic.str(),
            plan.command,
            unread_max));
  }
  return signals;
}

result<rerun_slice> read_rerun_slice(
    storage::journal& journal,
    const topic_ref& source,
    std::uint32_t run,
    sequence from,
    std::size_t events_max) {
  auto channel = open(journal, source);
  if (!channel) return std::unexpected{channel.error()};
  const auto span = channel->reader->entity_span(channel->entity);
  if (!span) return std::unexpected{span.error()};
  // Behind a run that is no more its current one a channel lets go what it does not keep.
  if (*span && from < (*span)->first) {
    return fail(
        errc::overloaded,
        fmt::format(
            "'{}' went on as new while its record was copied, and has let go of it: ask again for "
            "its current run",
            source.topic.str()),
        1000);
  }
  rerun_slice slice{{}, from};
  const auto most = std::min(events_max, runtime::rerun_slice_events_max);
  std::size_t bytes = 0;
  auto visited = visit_history(
      *channel->reader, channel->entity, from, run, [&](run_event event, const auto& record) {
        if (!runtime::is_copied(event)) return true;
        bytes += record.payload.view().size();
        if (!slice.events.empty() && bytes > runtime::rerun_slice_bytes_max) return false;
        slice.next = record.entity_seq.next();
        slice.events.push_back(std::move(event));
        return slice.events.size() < most;
      });
  if (!visited) return std::unexpected{visited.error()};
  if (slice.events.empty()) {
    return fail(errc::corruption, "the record that is being copied ends before its end");
  }
  return slice;
}

}  // namespace callboard::actors
