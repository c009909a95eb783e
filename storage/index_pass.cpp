#include "storage/index_pass.hpp"

#include <algorithm>
#include <span>
#include <string_view>
#include <tuple>

namespace callboard::storage {

void index_pass::add(const tail_block& block, const block_entry& entry) {
  segments_.push_back(
      {.shard = block.shard,
       .entity = entry.entity,
       .kind = entry.is_sequenced ? keys::index_class::sequenced : keys::index_class::others,
       .segment =
           {.number = entry.first,
            .block = block.first,
            .span = block.span,
            .time = block.time,
            .count = entry.count,
            .runs = {}},
       .runs_begin = runs_.size(),
       .runs_size = entry.runs.size()});
  runs_.append(entry.runs);
}

void index_pass::keep_block() {
  segments_kept_ = segments_.size();
  runs_kept_ = runs_.size();
}

void index_pass::drop_block() {
  segments_.resize(segments_kept_);
  runs_.resize(runs_kept_);
}

void index_pass::write(database& to, rocksdb::WriteBatch& into) {
  const auto row_of = [](const placed_segment& one) {
    return std::tuple{one.shard, one.entity, one.kind};
  };
  std::ranges::sort(segments_, {}, [&](const placed_segment& one) {
    return std::tuple_cat(row_of(one), std::tuple{one.segment.number, one.segment.block});
  });
  for (auto next = segments_.begin(); next != segments_.end();) {
    const auto& first = *next;
    row_.clear();
    for (; next != segments_.end() && row_of(*next) == row_of(first); ++next) {
      row_.push_back(next->segment);
      row_.back().runs = std::string_view{runs_}.substr(next->runs_begin, next->runs_size);
    }
    for (std::span<const index_segment> rest{row_}; !rest.empty();) {
      const auto taken = encode_new_index_row(value_, rest);
      const auto key = keys::index_row(first.shard, first.entity, first.kind, rest.front().number);
      // A batch in memory takes anything; its only failure is a size beyond 4 GiB.
      into.Put(to.handle(family::index), std::string_view{key}, value_).PermitUncheckedError();
      rest = rest.subspan(taken);
    }
  }
}

void index_pass::reset() {
  segments_.clear();
  runs_.clear();
  keep_block();
}

}  // namespace callboard::storage
