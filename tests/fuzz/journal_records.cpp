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
#include "storage/directory.hpp"
#include "storage/entity_head.hpp"
#include "storage/mark.hpp"
#include "storage/projector.hpp"
#include "storage/tail_block.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using namespace callboard;

void read_block(std::string_view bytes) {
  storage::block_reader reader{std::make_shared<const std::string>(bytes), lsn{7}};
  if (!reader.open()) return;
  storage::record next;
  while (reader.next(next) == storage::block_step::record) {
  }
}

/// Each record is sealed by a checksum that no guess hits: so a byte of a block that is sound is
/// changed, and whatever is read before that is found must be what was written.
void read_changed_block(std::string_view bytes) {
  if (bytes.size() < 4) return;
  const auto place =
      static_cast<unsigned char>(bytes[0]) * 256U + static_cast<unsigned char>(bytes[1]);
  const auto change = static_cast<unsigned char>(bytes[2]) | 1U;
  std::vector<std::string> payloads;
  storage::block_builder builder;
  builder.start(lsn{7});
  for (auto rest = bytes.substr(3); !rest.empty() && payloads.size() < 20;) {
    const auto size =
        std::min<std::size_t>(rest.size(), 1 + static_cast<unsigned char>(rest[0]) % 64);
    storage::record head;
    head.kind = storage::record_kind::event;
    head.entity = entity_id{1 + payloads.size() % 3};
    head.entity_seq = sequence{payloads.size() + 1};
    head.term = term_id{1};
    head.lsn = builder.next();
    builder.add(head, rest.substr(0, size));
    payloads.emplace_back(rest.substr(0, size));
    rest.remove_prefix(size);
  }
  auto whole = builder.finish();
  auto& changed = whole[place % whole.size()];
  changed = static_cast<char>(static_cast<unsigned char>(changed) ^ change);
  storage::block_reader reader{std::make_shared<const std::string>(std::move(whole)), lsn{7}};
  if (!reader.open()) return;
  storage::record next;
  std::size_t count = 0;
  auto step = reader.next(next);
  for (; step == storage::block_step::record; step = reader.next(next)) {
    if (count == payloads.size() || next.payload.view() != payloads[count++]) std::abort();
  }
  if (step != storage::block_step::bad) std::abort();
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
  if (runtime::encode_run_event(*back, {}, 1).stored != again.stored) std::abort();
}

void read_task_progress(std::string_view bytes) {
  const auto read = runtime::decode_task_progress(bytes);
  if (!read) return;
  const auto encoded = runtime::encode_task_progress(*read);
  const auto back = runtime::decode_task_progress(encoded);
  if (!back || *back != *read) std::abort();
}

using reader = void (*)(std::string_view);

constexpr std::array<reader, 30> readers{
    read_block,
    read_changed_block,
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
    [](std::string_view in) { (void)runtime::decode_presence_topic(in); },
    [](std::string_view in) { (void)runtime::decode_queue_deleted(in); },
    [](std::string_view in) { (void)runtime::decode_queue_trimmed(in); },
    [](std::string_view in) { (void)runtime::decode_ends_told(in); },
    [](std::string_view in) { (void)runtime::decode_ending_row(in, runtime::task_id{1}); },
    [](std::string_view in) { (void)runtime::decode_queue_row(in); },
    [](std::string_view in) {
      (void)runtime::decode_catalogue_row(in.substr(0, in.size() / 2), in);
    },
    [](std::string_view in) { (void)storage::decode_head(in); },
    [](std::string_view in) { (void)storage::decode_settings(in, "settings"); },
    [](std::string_view in) { (void)storage::decode_snapshot_value(in); },
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view rest{reinterpret_cast<const char*>(data) + 1, size - 1};
  readers[data[0] % readers.size()](rest);
  return 0;
}
