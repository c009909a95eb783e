// Puts a record into a channel's journal past its actor, as nothing does that can be asked for:
// what was lost or damaged elsewhere.
#pragma once

#include "actors/topic_reads.hpp"
#include "runtime/topic/topic_codec.hpp"
#include "storage/journal.hpp"

#include "tests/support/catch.hpp"

#include <future>
#include <memory>
#include <vector>

namespace callboard::testing {

/// `make` is given the channel's entity and its last seq. True once it is committed.
template <class Make>
std::future<bool>
write_past(storage::journal& journal, shard_id shard, const topic_ref& channel, Make make) {
  auto reader = journal.read(shard);
  REQUIRE(reader);
  const auto row = actors::find_topic_row(**reader, channel);
  REQUIRE(row);
  REQUIRE(*row);
  const auto image = actors::read_topic_image(**reader, **row, {});
  REQUIRE(image);
  const auto activation = journal.begin_activation(shard);
  REQUIRE(activation);
  auto written = std::make_shared<std::promise<bool>>();
  std::vector<storage::record_draft> records;
  records.push_back(make((*row)->entity, image->last_seq));
  REQUIRE(journal.append(
      {.shard = shard,
       .activation = *activation,
       .records = std::move(records),
       .listener =
           [written](storage::append_stage, const result<storage::append_receipt>& outcome) {
             written->set_value(outcome.has_value());
           }}));
  return written->get_future();
}

/// The channel is gone.
inline std::future<bool>
lose_channel(storage::journal& journal, shard_id shard, const topic_ref& channel) {
  return write_past(journal, shard, channel, [&](entity_id entity, sequence last) {
    return storage::record_draft{
        storage::record_kind::topic_deleted,
        entity,
        last,
        runtime::encode_topic_deleted(channel, last)};
  });
}

}  // namespace callboard::testing
