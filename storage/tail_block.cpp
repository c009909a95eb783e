#include "storage/tail_block.hpp"

#include "storage/byte_order.hpp"
#include "storage/record_codec.hpp"

#include <atomic>
#include <utility>

namespace callboard::storage {

void entry_collector::start(lsn first) {
  static std::atomic<std::uint64_t> serials{0};
  serial_ = ++serials;
  first_ = first;
  entries_.clear();
  runs_.clear();
  changes_.clear();
}

result<void>
entry_collector::add(const record& head, std::string_view payload, entry_slots& slots) {
  if (head.kind == record_kind::trimmed) {
    auto up_to = decode_trimmed(payload);
    if (!up_to) return std::unexpected{up_to.error()};
    changes_.push_back({head.kind, head.entity, head.lsn, *up_to});
  } else if (
      head.kind == record_kind::snapshot || head.kind == record_kind::presence_restated
      || ends_entity(head.kind)) {
    changes_.push_back({head.kind, head.entity, head.lsn, head.entity_seq});
  }
  if (slots.block_serial != serial_) slots = {serial_, none, none};
  const bool sequenced = is_sequenced(head.kind);
  auto& index = sequenced ? slots.sequenced : slots.others;
  if (index == none) {
    index = static_cast<std::uint32_t>(entries_.size());
    entries_.push_back(
        {.entity = head.entity,
         .is_sequenced = sequenced,
         .dies_below_snapshot = head.kind == record_kind::group_progress,
         .first = sequenced ? head.entity_seq.raw() : head.lsn.raw(),
         .count = 0,
         .runs = {}});
    runs_.push_back({head.lsn.raw(), head.lsn.raw(), first_.raw()});
  }
  auto& run = runs_[index];
  if (run.end != head.lsn.raw()) {
    close(index);
    run.begin = head.lsn.raw();
  }
  run.end = head.lsn.raw() + 1;
  ++entries_[index].count;
  return {};
}

void entry_collector::close(std::size_t index) {
  auto& run = runs_[index];
  auto& out = entries_[index].runs;
  append_varint(out, run.begin - run.written_up_to);
  append_varint(out, run.end - run.begin);
  run.written_up_to = run.end;
}

std::vector<block_entry> entry_collector::take_entries() {
  for (std::size_t i = 0; i < entries_.size(); ++i)
    close(i);
  return std::exchange(entries_, {});
}

std::vector<block_change> entry_collector::take_changes() {
  return std::exchange(changes_, {});
}

std::optional<lsn> run_reader::next() {
  if (left_ == 0) {
    const auto gap = take_varint(runs_);
    const auto length = take_varint(runs_);
    if (!gap || !length || *length == 0) return std::nullopt;
    if (*gap > ahead_ || *length > ahead_ - *gap) return std::nullopt;
    ahead_ -= *gap + *length;
    next_ += *gap;
    left_ = *length;
  }
  --left_;
  return lsn{next_++};
}

}  // namespace callboard::storage
