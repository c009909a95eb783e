// The group being committed: appends of all shards, their records laid out in blocks.
#pragma once

#include "base/clock.hpp"
#include "storage/append_queue.hpp"
#include "storage/block.hpp"
#include "storage/head_table.hpp"
#include "storage/store.hpp"
#include "storage/tail_block.hpp"

#include <cstdint>
#include <deque>
#include <vector>

namespace callboard::storage {

/// An append whose records are in the group.
struct staged_append {
  queued_append append;
  append_receipt receipt;
};

/// An append that is answered with an error without having been written.
struct refused_append {
  queued_append append;
  error why;
};

/// Writer thread only. Lsns, times and the chain of each entity's records are given here.
class commit_group {
public:
  commit_group(store& shards, head_table& heads, const clock& time);

  /// Takes appends off the front of `waiting` until the group has `bytes_max`. Appends that cannot
  /// be written (old activation, quarantine, wrong sequence) end up in `refused`.
  void fill(database& from, std::deque<queued_append>& waiting, std::uint64_t bytes_max);

  [[nodiscard]] bool empty() const { return staged_.empty(); }

  [[nodiscard]] std::vector<staged_append>& staged() { return staged_; }

  [[nodiscard]] std::vector<refused_append>& refused() { return refused_; }

  /// The finished blocks, in lsn order per shard.
  [[nodiscard]] const std::vector<tail_block_ptr>& blocks() const { return blocks_; }

  [[nodiscard]] std::uint64_t record_count() const { return record_count_; }

  [[nodiscard]] std::uint64_t byte_count() const { return byte_count_; }

  /// The group is committed: readers see its blocks.
  void publish();

  /// The group failed: its shards take no appends until they are activated anew, unless they are
  /// about to be.
  void abandon();

  /// Forgets everything; the next group can be filled.
  void clear();

private:
  struct shard_part {
    bool in_group = false;
    activation_id activation{};
    lsn next{};
    term_id term{};
    time_ms time{};
    block_builder builder;
    entry_collector entries;
  };

  [[nodiscard]] result<void> admit(const queued_append& append);
  [[nodiscard]] result<void> check_sequences(database& from, const append_request& request);
  void join(const append_request& request, shard_part& part);
  [[nodiscard]] result<void> stage(database& from, shard_part& part, queued_append append);
  void finish_block(shard_id shard, shard_part& part);
  void settle(shard_id shard);
  void refuse(queued_append append, error why);

  store& shards_;
  head_table& heads_;
  const clock& time_;
  std::vector<shard_part> parts_;
  std::vector<shard_id> members_;
  std::vector<staged_append> staged_;
  std::vector<refused_append> refused_;
  std::vector<tail_block_ptr> blocks_;
  std::uint64_t append_number_ = 0;
  std::uint64_t record_count_ = 0;
  std::uint64_t byte_count_ = 0;
};

/// Marks a shard as failed up to its present activation. Its slot's mutex must be held.
void fail_activation(shard_slot& slot);

}  // namespace callboard::storage
