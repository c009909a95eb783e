#include "actors/run_rerun_reads.hpp"

#include "actors/run_reads.hpp"
#include "actors/topic_loading.hpp"
#include "actors/topic_reads.hpp"
#include "base/hash.hpp"
#include "runtime/topic/topic_codec.hpp"
#include "runtime/workflow/run_codec.hpp"
#include "runtime/workflow/run_rerun.hpp"
#include "runtime/workflow/workflow_registry.hpp"

#include <fmt/format.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace callboard::actors {

namespace {

using runtime::run_event;

error too_much() {
  return {
      errc::too_large,
      fmt::format(
          "more than {} events or {} MiB stand before that command, and so much is not copied: "
          "name "
          "an earlier one",
          runtime::rerun_events_max,
          runtime::rerun_bytes_max >> 20U),
      0};
}

}  // namespace

result<begin_rerun> read_rerun(
    storage::journal& journal,
    const runtime::workflow_registry* workflows,
    const topic_ref& source,
    const topic_ref& target,
    const rerun_order& order) {
  auto reader = journal.read(shard_id{shard_index(source, journal.shard_count())});
  if (!reader) return std::unexpected{reader.error()};
  const auto topic = find_topic_row(**reader, source);
  if (!topic) return std::unexpected{topic.error()};
  if (!*topic) return std::unexpected{not_there(source)};
  const auto row = read_workflow_row(**reader, source);
  if (!row) return std::unexpected{row.error()};
  if (!*row) return std::unexpected{not_there(source)};
  const bool has_code =
      order.version == 0 || (workflows != nullptr && workflows->find((*row)->type, order.version));
  if (!has_code) {
    return fail(
        errc::bad_request,
        fmt::format("this node has no version {} of workflow '{}'", order.version, (*row)->type));
  }
  runtime::rerun_cut cut{order.from};
  auto kept = std::make_shared<std::vector<run_event>>();
  std::size_t copied = 0;
  std::size_t bytes = 0;
  std::optional<error> failed;
  auto visited =
      (*reader)->visit_entity((*topic)->entity, (*row)->first_seq, [&](const storage::record& one) {
        auto event = runtime::decode_run_event({one.entity_seq, one.time, one.payload});
        if (!event) {
          failed = event.error();
          return false;
        }
        cut.take(*event, copied);
        if (!runtime::is_copied(*event)) return true;
        ++copied;
        if (bytes <= runtime::rerun_bytes_max && kept->size() < runtime::rerun_events_max) {
          bytes += one.payload.view().size();
          kept->push_back(std::move(*event));
        }
        return true;
      });
  if (!visited) return std::unexpected{visited.error()};
  if (failed) return std::unexpected{*failed};
  const auto count = cut.count(copied);
  if (!count) return std::unexpected{count.error()};
  if (*count > kept->size() || bytes > runtime::rerun_bytes_max) {
    return std::unexpected{too_much()};
  }
  kept->resize(*count);
  begin_rerun begin;
  begin.topic = target;
  begin.source = source;
  begin.run = (*row)->run;
  begin.order = order;
  begin.events = std::move(kept);
  begin.command = cut.command();
  begin.command_name = cut.name();
  return begin;
}

}  // namespace callboard::actors
