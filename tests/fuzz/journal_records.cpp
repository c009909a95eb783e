// Payloads of journal records and view rows, and whole blocks, from any bytes: whatever is on disk,
// reading it ends in a value or in `corruption`. The first byte says what the rest is read as.
#include "runtime/group/group_codec.hpp"
#include "runtime/presence/presence_codec.hpp"
#include "runtime/queue/queue_codec.hpp"
#include "runtime/topic/event_batch.hpp"
#include "runtime/topic/topic_codec.hpp"
#include "runtime/workflow/run_codec.hpp"
#include "runtime/workflow/run_row.hpp"
#include "storage/block.hpp"
#include "storage/mark.hpp"
#include "storage/tail_block.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

namespace {

using namespace callboard;

void read_block(std::string_view bytes) {
  storage::block_reader reader{std::make_shared<const std::string>(bytes), lsn{7}};
  if (!reader.open()) return;
  storage::record next;
  while (reader.next(next) == storage::block_step::record) {
  }
}

void read_run_event(std::string_view bytes) {
  std::string stored(runtime::event_prefix_size, '\0');
  stored += bytes;
  const runtime::delivered_event event{sequence{1}, time_ms{}, shared_bytes{std::move(stored)}};
  const auto read = runtime::decode_run_event(event);
  if (!read) return;
  (void)runtime::read_started(*read);
  // What was understood can be written, and is then the same.
  const auto again = runtime::encode_run_event(*read, {}, 1);
  const auto back = runtime::decode_run_event({sequence{1}, time_ms{}, again.stored});
  if (!back || back->kind != read->kind || back->command != read->command) std::abort();
}

void read_task_progress(std::string_view bytes) {
  const auto read = runtime::decode_task_progress(bytes);
  if (!read) return;
  const auto encoded = runtime::encode_task_progress(*read);
  const auto back = runtime::decode_task_progress(encoded);
  if (!back || *back != *read) std::abort();
}

using reader = void (*)(std::string_view);

constexpr std::array<reader, 19> readers{
    read_block,
    read_run_event,
    read_task_progress,
    [](std::string_view in) { (void)storage::decode_mark(in, 4, "mark"); },
    [](std::string_view in) { (void)storage::decode_index_value(in); },
    [](std::string_view in) { (void)runtime::decode_topic_record(in, entity_id{1}); },
    [](std::string_view in) { (void)runtime::decode_topic_deleted(in); },
    [](std::string_view in) { (void)runtime::decode_trimmed(in); },
    [](std::string_view in) { (void)runtime::decode_workflow_progress(in); },
    [](std::string_view in) { (void)runtime::decode_workflow_row(in); },
    [](std::string_view in) { (void)runtime::decode_queue_definition(in); },
    [](std::string_view in) { (void)runtime::decode_stored_task(in, sequence{1}); },
    [](std::string_view in) { (void)runtime::decode_task_audit(in); },
    [](std::string_view in) { (void)runtime::decode_task_row(in); },
    [](std::string_view in) { (void)runtime::decode_queue_counters(in); },
    [](std::string_view in) { (void)runtime::decode_group_progress(in); },
    [](std::string_view in) { (void)runtime::decode_group_snapshot(in); },
    [](std::string_view in) { (void)runtime::decode_group_row(in); },
    [](std::string_view in) { (void)runtime::decode_presence_member(in); },
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view rest{reinterpret_cast<const char*>(data) + 1, size - 1};
  readers[data[0] % readers.size()](rest);
  return 0;
}
