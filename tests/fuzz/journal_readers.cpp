// What reads payloads of records, rows of views and whole blocks, and what must hold of that.
#include "tests/fuzz/journal_readers.hpp"

#include "runtime/group/group_codec.hpp"
#include "runtime/presence/presence_codec.hpp"
#include "runtime/queue/queue_codec.hpp"
#include "runtime/topic/broker_projection.hpp"
#include "runtime/topic/event_batch.hpp"
#include "runtime/topic/topic_codec.hpp"
#include "runtime/workflow/run_codec.hpp"
#include "runtime/workflow/run_row.hpp"
#include "storage/block.hpp"
#include "storage/directory.hpp"
#include "storage/entity_head.hpp"
#include "storage/index_row.hpp"
#include "storage/mark.hpp"
#include "storage/projector.hpp"
#include "storage/tail_block.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace callboard::tests {

namespace {

template <class Read>
bool is_read(const Read& read) {
  return static_cast<bool>(read);
}

bool read_block(std::string_view bytes) {
  storage::block_reader reader{std::make_shared<const std::string>(bytes), lsn{7}};
  if (!reader.open()) return false;
  storage::record next;
  auto step = reader.next(next);
  while (step == storage::block_step::record)
    step = reader.next(next);
  return step == storage::block_step::end;
}

/// Each record is sealed by a checksum that no guess hits: so a byte of a block that is sound is
/// changed, and whatever is read before that is found must be what was written.
bool read_changed_block(std::string_view bytes) {
  if (bytes.size() < 4) return false;
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
  if (!reader.open()) return true;
  storage::record next;
  std::size_t count = 0;
  auto step = reader.next(next);
  for (; step == storage::block_step::record; step = reader.next(next)) {
    if (count == payloads.size() || next.payload.view() != payloads[count++]) std::abort();
  }
  if (step != storage::block_step::bad) std::abort();
  return true;
}

bool read_run_event(std::string_view bytes) {
  std::string stored(runtime::event_prefix_size, '\0');
  stored += bytes;
  const runtime::delivered_event event{sequence{1}, time_ms{}, shared_bytes{std::move(stored)}};
  const auto read = runtime::decode_run_event(event);
  if (!read) return false;
  (void)runtime::read_started(*read);
  // What was understood can be written, and is then the same.
  const auto again = runtime::encode_run_event(*read, {}, 1);
  const auto back = runtime::decode_run_event({sequence{1}, time_ms{}, again.stored});
  if (!back || back->kind != read->kind || back->command != read->command) std::abort();
  if (runtime::encode_run_event(*back, {}, 1).stored != again.stored) std::abort();
  return true;
}

/// What was understood can be written, and is then read as the same.
template <class Read, class Write>
bool comes_back(std::string_view bytes, Read read, Write write) {
  const auto understood = read(bytes);
  if (!understood) return false;
  const std::string written{write(*understood)};
  const auto back = read(written);
  if (!back || std::string{write(*back)} != written) std::abort();
  return true;
}

/// None of the lsns that it names is outside its block or named twice.
void read_runs(const storage::index_segment& of) {
  storage::run_reader positions{of.block, of.span, of.runs};
  auto free_from = of.block;
  // A span may be anything up to 2^32.
  constexpr int lsns_max = 10'000;
  for (int i = 0; i < lsns_max; ++i) {
    const auto at = positions.next();
    if (!at) return;
    if (*at < free_from || *at >= of.block_end()) std::abort();
    free_from = at->next();
  }
}

bool read_index_row(std::string_view bytes) {
  std::string written;
  return comes_back(
      bytes,
      [](std::string_view in) { return storage::decode_index_row(1, in); },
      [&](const std::vector<storage::index_segment>& row) {
        for (const auto& segment : row)
          read_runs(segment);
        storage::encode_index_row(written, row);
        return written;
      });
}

bool read_task_progress(std::string_view bytes) {
  return comes_back(bytes, runtime::decode_task_progress, runtime::encode_task_progress);
}

bool read_stored_task(std::string_view bytes) {
  const auto read = [](std::string_view in) {
    return runtime::decode_stored_task(in, sequence{1});
  };
  return comes_back(bytes, read, runtime::encode_stored_task);
}

bool read_ending_row(std::string_view bytes) {
  const auto read = [](std::string_view in) {
    return runtime::decode_ending_row(in, runtime::task_id{1});
  };
  return comes_back(bytes, read, runtime::encode_ending_row);
}

bool read_workflow_progress(std::string_view bytes) {
  const auto write = [](const runtime::workflow_progress& progress) {
    return std::string{runtime::encode_workflow_progress(progress).view()};
  };
  return comes_back(bytes, runtime::decode_workflow_progress, write);
}

bool read_settings(std::string_view bytes) {
  const auto read = [](std::string_view in) { return storage::decode_settings(in, "settings"); };
  return comes_back(bytes, read, [](const auto& settings) { return storage::encode(settings); });
}

bool read_queue_counters(std::string_view bytes) {
  const auto write = [](const runtime::queue_counters& counters) {
    return runtime::encode_counters(counters);
  };
  return comes_back(bytes, runtime::decode_queue_counters, write);
}

/// One byte tells the size of the key; the value follows it.
bool read_catalogue_row(std::string_view in) {
  if (in.empty()) return false;
  const auto size = std::min<std::size_t>(static_cast<unsigned char>(in[0]), in.size() - 1);
  return is_read(runtime::decode_catalogue_row(in.substr(1, size), in.substr(1 + size)));
}

class row_map final : public storage::view_writer {
public:
  void put(storage::view_id view, std::string_view key, std::string_view value) override {
    rows_[{view, std::string{key}}] = value;
  }

  void erase(storage::view_id view, std::string_view key) override {
    rows_.erase({view, std::string{key}});
  }

  void erase_range(storage::view_id view, std::string_view first, std::string_view last) override {
    if (first >= last) return;
    rows_.erase(
        rows_.lower_bound({view, std::string{first}}),
        rows_.lower_bound({view, std::string{last}}));
  }

  [[nodiscard]] std::optional<std::string>
  get(storage::view_id view, std::string_view key) override {
    const auto found = rows_.find({view, std::string{key}});
    return found == rows_.end() ? std::nullopt : std::optional{found->second};
  }

  void report_damage(const storage::record&, const error&) override {}

  /// Precondition: the projection has made the rows, so they can be read.
  void check() const {
    for (const auto& [key, value] : rows_) {
      if (is_readable(key.first, key.second, value)) continue;
      std::fprintf(stderr, "a row of view %u cannot be read\n", static_cast<unsigned>(key.first));
      std::abort();
    }
  }

private:
  [[nodiscard]] static bool
  is_readable(storage::view_id view, std::string_view key, std::string_view value) {
    switch (view) {
    case storage::view_id::presence:
      return key.size() == sizeof(std::uint64_t) ? is_read(runtime::decode_presence_topic(value))
                                                 : is_read(runtime::decode_presence_member(value));
    case storage::view_id::workflow:
      return is_read(runtime::decode_workflow_row(value));
    case storage::view_id::queue_task:
      return is_read(runtime::decode_task_row(value));
    case storage::view_id::queue_counters:
      return is_read(runtime::decode_queue_counters(value));
    case storage::view_id::queue_ending:
      return is_read(runtime::decode_ending_row(value, runtime::task_id{1}));
    default:
      // Others have no reader of their own, or are a record's payload as it came.
      return true;
    }
  }

  std::map<std::pair<storage::view_id, std::string>, std::string> rows_;
};

/// Records that follow each other, as `add_projected` writes them: whatever they hold, the views
/// can be made of them, and be read.
bool read_projected(std::string_view in) {
  constexpr std::size_t records_max = 100;
  row_map rows;
  std::uint64_t at = 0;
  while (in.size() >= projected_head_size && at < records_max) {
    storage::record one;
    one.lsn = lsn{++at};
    one.term = term_id{1};
    one.time = time_ms{std::chrono::seconds{at}};
    one.kind = static_cast<storage::record_kind>(static_cast<unsigned char>(in[0]));
    one.entity = entity_id{static_cast<unsigned char>(in[1])};
    one.entity_seq = sequence{static_cast<unsigned char>(in[2])};
    const auto size = static_cast<unsigned char>(in[3]) * 256U + static_cast<unsigned char>(in[4]);
    in.remove_prefix(projected_head_size);
    one.payload = shared_bytes{std::string{in.substr(0, size)}};
    in.remove_prefix(std::min<std::size_t>(size, in.size()));
    runtime::broker_projection{}.apply({&one, 1}, rows);
  }
  rows.check();
  return at != 0;
}

constexpr std::array<journal_reader, 31> readers{{
    {"block", read_block},
    {"changed_block", read_changed_block},
    {"run_event", read_run_event},
    {"task_progress", read_task_progress},
    {"mark", [](std::string_view in) { return is_read(storage::decode_mark(in, 4, "mark")); }},
    {"index_row", read_index_row},
    {"topic_record",
     [](std::string_view in) { return is_read(runtime::decode_topic_record(in, entity_id{1})); }},
    {"topic_deleted",
     [](std::string_view in) { return is_read(runtime::decode_topic_deleted(in)); }},
    {"trimmed", [](std::string_view in) { return is_read(runtime::decode_trimmed(in)); }},
    {"workflow_progress", read_workflow_progress},
    {"workflow_row", [](std::string_view in) { return is_read(runtime::decode_workflow_row(in)); }},
    {"queue_definition",
     [](std::string_view in) {
       return comes_back(in, runtime::decode_queue_definition, runtime::encode_queue_created);
     }},
    {"stored_task", read_stored_task},
    {"task_audit",
     [](std::string_view in) {
       return comes_back(in, runtime::decode_task_audit, runtime::encode_task_audit);
     }},
    {"task_row",
     [](std::string_view in) {
       return comes_back(in, runtime::decode_task_row, runtime::encode_task_row);
     }},
    {"queue_counters", read_queue_counters},
    {"group_progress",
     [](std::string_view in) {
       return comes_back(in, runtime::decode_group_progress, runtime::encode_group_progress);
     }},
    {"group_snapshot",
     [](std::string_view in) { return is_read(runtime::decode_group_snapshot(in)); }},
    {"group_row", [](std::string_view in) { return is_read(runtime::decode_group_row(in)); }},
    {"presence_member",
     [](std::string_view in) { return is_read(runtime::decode_presence_member(in)); }},
    {"presence_topic",
     [](std::string_view in) { return is_read(runtime::decode_presence_topic(in)); }},
    {"queue_deleted",
     [](std::string_view in) {
       return comes_back(in, runtime::decode_queue_deleted, runtime::encode_queue_deleted);
     }},
    {"queue_trimmed",
     [](std::string_view in) { return is_read(runtime::decode_queue_trimmed(in)); }},
    {"ends_told",
     [](std::string_view in) {
       return comes_back(in, runtime::decode_ends_told, runtime::encode_ends_told);
     }},
    {"ending_row", read_ending_row},
    {"queue_row",
     [](std::string_view in) {
       return comes_back(in, runtime::decode_queue_row, runtime::encode_queue_row);
     }},
    {"catalogue_row", read_catalogue_row},
    {"head", [](std::string_view in) { return is_read(storage::decode_head(in)); }},
    {"settings", read_settings},
    {"snapshot_value",
     [](std::string_view in) { return is_read(storage::decode_snapshot_value(in)); }},
    {"projected", read_projected},
}};

}  // namespace

std::span<const journal_reader> journal_readers() {
  return readers;
}

void add_projected(std::string& to, const storage::record& one, std::uint8_t entity) {
  const auto payload = one.payload.view();
  to += static_cast<char>(one.kind);
  to += static_cast<char>(entity);
  to += static_cast<char>(one.entity_seq.raw());
  to += static_cast<char>(payload.size() / 256);
  to += static_cast<char>(payload.size() % 256);
  to += payload;
}

}  // namespace callboard::tests
