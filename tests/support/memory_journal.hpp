// A journal in memory for tests of what stands on it: commits when told, fails when told.
#pragma once

#include "proto/journal.pb.h"
#include "storage/journal.hpp"
#include "storage/shard_clock.hpp"
#include "storage/time_note.hpp"

#include <algorithm>
#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace callboard::testing {

/// Appends wait until `commit`, which makes one group of them: one block per shard, one time, the
/// listeners called on the thread of the caller. Views follow one group later, as on disk, so that
/// readers must merge the tail; `apply` brings them up to date. No watermark but by `fill_disk`, no
/// quarantine but by `fail_next` and `refuse_next`. Any thread.
class memory_journal final : public storage::journal {
public:
  memory_journal(
      std::uint32_t shard_count,
      std::shared_ptr<const storage::projection> views,
      const clock& time)
      : views_{std::move(views)}, time_{time}, shards_(shard_count), clocks_(shard_count) {
    start_clocks();
  }

  // -- control of the test ---------------------------------------------------------------------

  /// Shard time goes on as after a start of the node.
  void start_clocks() {
    auto begin = storage::go_on_from(noted_, time_);
    for (const auto& one : shards_) {
      if (!one.records.empty()) begin = std::max(begin, one.records.back().time);
    }
    node_clock_.start(time_, begin);
    note_time();
    for (auto& one : clocks_)
      one.start(time_, begin);
  }

  /// As the writer does every few seconds.
  void note_time() {
    noted_ = {.boot_id = time_.boot_id(), .boot = time_.boot(), .shard = node_clock_.now(time_)};
  }

  /// Commits what is queued, at most `appends_max` appends. Returns how many were answered.
  std::size_t commit(std::size_t appends_max = SIZE_MAX) {
    std::vector<std::pair<storage::append_request, result<storage::append_receipt>>> answered;
    {
      const std::lock_guard guard{mutex_};
      for (auto& one : shards_)
        if (!holds_views_) apply_all(one);
      while (!queue_.empty() && answered.size() < appends_max) {
        auto request = std::move(queue_.front());
        queue_.pop_front();
        auto outcome = write(request);
        answered.emplace_back(std::move(request), std::move(outcome));
      }
    }
    for (auto& [request, outcome] : answered) {
      if (request.tell_written && outcome) {
        request.listener(storage::append_stage::written, outcome);
      }
      request.listener(storage::append_stage::committed, outcome);
    }
    return answered.size();
  }

  /// Tells `written` to those who asked, without committing.
  void tell_written() {
    const std::lock_guard guard{mutex_};
    for (auto& request : queue_) {
      if (!std::exchange(request.tell_written, false)) continue;
      request.listener(storage::append_stage::written, storage::append_receipt{});
    }
  }

  /// The next append to be committed fails with `why`, and with it everything behind it in its
  /// shard, until `begin_activation`. `is_kept`: its records are on disk all the same.
  void fail_next(error why, bool is_kept = false) {
    const std::lock_guard guard{mutex_};
    fail_next_ = std::move(why);
    keep_failed_ = is_kept;
  }

  /// What is queued fails, and all that comes behind it, until `begin_activation`; of no shard
  /// anything is kept.
  void lose_queued() {
    const std::lock_guard guard{mutex_};
    for (auto& one : shards_)
      one.has_failed = true;
  }

  /// The next `count` calls of `append` are refused at the door.
  void refuse_next(error why, std::size_t count = 1) {
    const std::lock_guard guard{mutex_};
    refusal_ = std::move(why);
    refuse_count_ = count;
  }

  /// Appends to the shard are refused at the door with `why` until this is called with nothing.
  void refuse_appends(shard_id shard, std::optional<error> why) {
    const std::lock_guard guard{mutex_};
    shards_.at(shard.raw()).append_refusal = std::move(why);
  }

  /// From now on the disk is below its soft watermark, or is not any more; with `is_out` below the
  /// hard one, too.
  void fill_disk(bool is_full, bool is_out = false) {
    const std::lock_guard guard{mutex_};
    is_full_ = is_full;
    is_out_ = is_out;
  }

  /// `begin_activation` fails with `why` until this is called with nothing.
  void refuse_activations(std::optional<error> why) {
    const std::lock_guard guard{mutex_};
    activation_refusal_ = std::move(why);
  }

  /// Reads of the shard fail with `why` until this is called with nothing.
  void refuse_reads(shard_id shard, std::optional<error> why) {
    const std::lock_guard guard{mutex_};
    shards_.at(shard.raw()).read_refusal = std::move(why);
  }

  /// Called whenever somebody begins to read, on the reader's thread.
  void on_read(std::function<void()> hear) { heard_read_ = std::move(hear); }

  /// Called whenever a shard begins to be active, on its thread.
  void on_activation(std::function<void()> hear) { heard_activation_ = std::move(hear); }

  /// Views fall behind until `apply`, as those of a disk that is slow.
  void hold_views() {
    const std::lock_guard guard{mutex_};
    holds_views_ = true;
  }

  /// Brings all views up to what is committed.
  void apply() {
    const std::lock_guard guard{mutex_};
    holds_views_ = false;
    for (auto& one : shards_)
      apply_all(one);
  }

  [[nodiscard]] std::size_t queued() const {
    const std::lock_guard guard{mutex_};
    return queue_.size();
  }

  /// Bytes of what is queued.
  [[nodiscard]] std::size_t queued_bytes() const {
    const std::lock_guard guard{mutex_};
    std::size_t bytes = 0;
    for (const auto& request : queue_) {
      for (const auto& one : request.records)
        bytes += one.payload.size();
    }
    return bytes;
  }

  /// Records that readers have been given by `visit_entity`.
  [[nodiscard]] std::size_t visited() const { return visited_; }

  /// Committed records of a shard, oldest first.
  [[nodiscard]] std::vector<storage::record> records(shard_id shard) const {
    const std::lock_guard guard{mutex_};
    return shards_.at(shard.raw()).records;
  }

  void set_incarnation(shard_id shard, incarnation_id value) {
    const std::lock_guard guard{mutex_};
    shards_.at(shard.raw()).incarnation = value;
  }

  /// Makes of each record what another version would have written. Set it before the first append.
  std::function<void(storage::record_draft&)> on_write;

  // -- storage::journal ------------------------------------------------------------------------

  [[nodiscard]] result<activation_id> begin_activation(shard_id shard) override {
    if (heard_activation_) heard_activation_();
    const std::lock_guard guard{mutex_};
    if (activation_refusal_) return std::unexpected{*activation_refusal_};
    auto& one = shards_.at(shard.raw());
    one.activation = one.activation.next();
    one.has_failed = false;
    return one.activation;
  }

  [[nodiscard]] result<void> append(storage::append_request request) override {
    const std::lock_guard guard{mutex_};
    if (refuse_count_ > 0) {
      --refuse_count_;
      return std::unexpected{refusal_};
    }
    const auto& refusal = shards_.at(request.shard.raw()).append_refusal;
    if (refusal) return std::unexpected{*refusal};
    if (is_out_ || (is_full_ && !request.frees_space))
      return fail(errc::storage_full, "the disk is full", 1000);
    if (request.activation != shards_.at(request.shard.raw()).activation) {
      return fail(errc::stale_term, "an append of an older activation");
    }
    queue_.push_back(std::move(request));
    return {};
  }

  [[nodiscard]] result<std::unique_ptr<storage::shard_reader>> read(shard_id shard) override {
    if (heard_read_) heard_read_();
    const std::lock_guard guard{mutex_};
    const auto& one = shards_.at(shard.raw());
    if (one.read_refusal) return std::unexpected{*one.read_refusal};
    return std::make_unique<reader>(one, visited_);
  }

  [[nodiscard]] storage::shard_state state(shard_id shard) const override {
    const std::lock_guard guard{mutex_};
    const auto& one = shards_.at(shard.raw());
    return {
        .first = lsn{1},
        .applied = one.applied,
        .committed = lsn{one.records.size()},
        .term = term_id{1},
        .incarnation = one.incarnation};
  }

  [[nodiscard]] time_ms shard_time(shard_id shard) const override {
    return clocks_.at(shard.raw()).now(time_);
  }

  [[nodiscard]] storage::storage_status status() const override {
    storage::storage_status now;
    now.disk_free_bytes = 1ULL << 40;
    const std::lock_guard guard{mutex_};
    now.below_soft = is_full_;
    now.below_hard = is_out_;
    return now;
  }

  [[nodiscard]] std::uint32_t shard_count() const override {
    return static_cast<std::uint32_t>(shards_.size());
  }

  [[nodiscard]] result<storage::backup_info>
  backup(const std::string&, const storage::progress&) override {
    return fail(errc::internal, "a journal in memory has no backups");
  }

  void close() override { commit(); }

private:
  using view_key = std::pair<storage::view_id, std::string>;
  using view_rows = std::map<view_key, std::string>;

  struct entity {
    callboard::lsn last{};
    sequence trimmed{};
    bool is_deleted = false;
    /// Place in `records` of each sequenced record.
    std::map<sequence, std::size_t> sequenced;
    std::optional<storage::shard_reader::snapshot_row> snapshot;
  };

  struct shard {
    std::vector<storage::record> records;
    callboard::lsn applied{};
    /// Last lsn of each block not yet applied.
    std::deque<callboard::lsn> block_ends;
    activation_id activation{};
    incarnation_id incarnation{1};
    bool has_failed = false;
    std::optional<error> append_refusal;
    std::optional<error> read_refusal;
    view_rows views;
    std::map<entity_id, entity> entities;
  };

  class writer final : public storage::view_writer {
  public:
    explicit writer(view_rows& rows) : rows_{rows} {}

    void put(storage::view_id view, std::string_view key, std::string_view value) override {
      rows_[{view, std::string{key}}] = std::string{value};
    }

    void erase(storage::view_id view, std::string_view key) override {
      rows_.erase({view, std::string{key}});
    }

    void
    erase_range(storage::view_id view, std::string_view first, std::string_view last) override {
      rows_.erase(
          rows_.lower_bound({view, std::string{first}}),
          rows_.lower_bound({view, std::string{last}}));
    }

    [[nodiscard]] std::optional<std::string>
    get(storage::view_id view, std::string_view key) override {
      const auto found = rows_.find({view, std::string{key}});
      if (found == rows_.end()) return std::nullopt;
      return found->second;
    }

    void report_damage(const storage::record&, const error& why) override {
      throw std::logic_error{why.detail};
    }

  private:
    view_rows& rows_;
  };

  /// A copy of the shard as it was when reading began.
  class reader final : public storage::shard_reader {
  public:
    reader(shard from, std::atomic<std::size_t>& visited)
        : at_{std::move(from)}, visited_{visited} {}

    [[nodiscard]] lsn applied() const override { return at_.applied; }

    [[nodiscard]] lsn committed() const override { return lsn{at_.records.size()}; }

    result<void> visit_tail(const storage::record_visitor& visit) override {
      for (auto i = at_.applied.raw(); i < at_.records.size(); ++i) {
        if (!visit(at_.records[i])) break;
      }
      return {};
    }

    result<void> visit_tail_of(entity_id entity, const storage::record_visitor& visit) override {
      return visit_tail(
          [&](const storage::record& one) { return one.entity != entity || visit(one); });
    }

    result<void>
    visit_entity(entity_id entity, sequence from, const storage::record_visitor& visit) override {
      const auto* one = find(entity);
      if (one == nullptr) return {};
      for (auto place = one->sequenced.lower_bound(std::max(from, one->trimmed.next()));
           place != one->sequenced.end();
           ++place) {
        ++visited_;
        if (!visit(at_.records[place->second])) break;
      }
      return {};
    }

    [[nodiscard]] result<std::optional<span>> entity_span(entity_id entity) override {
      const auto* one = find(entity);
      if (one == nullptr) return std::nullopt;
      const auto first = one->sequenced.upper_bound(one->trimmed);
      if (first == one->sequenced.end()) return std::nullopt;
      return span{first->first, one->sequenced.rbegin()->first};
    }

    [[nodiscard]] result<std::optional<sequence>>
    first_at_or_after(entity_id entity, time_ms time) override {
      const auto* one = find(entity);
      if (one == nullptr) return std::nullopt;
      for (auto place = one->sequenced.upper_bound(one->trimmed); place != one->sequenced.end();
           ++place) {
        if (at_.records[place->second].time >= time) return place->first;
      }
      return std::nullopt;
    }

    [[nodiscard]] result<std::optional<snapshot_row>> snapshot(entity_id entity) override {
      const auto* one = find(entity);
      if (one == nullptr) return std::nullopt;
      return one->snapshot;
    }

    [[nodiscard]] result<std::optional<std::string>>
    get(storage::view_id view, std::string_view key) override {
      return writer{at_.views}.get(view, key);
    }

    result<void> scan(
        storage::view_id view,
        std::string_view first,
        std::string_view last,
        const storage::row_visitor& visit) override {
      for (auto row = at_.views.lower_bound({view, std::string{first}}); row != at_.views.end();
           ++row) {
        const auto& [where, key] = row->first;
        if (where != view || (!last.empty() && key >= last)) break;
        if (!visit(key, row->second)) break;
      }
      return {};
    }

  private:
    [[nodiscard]] const entity* find(entity_id id) const {
      const auto found = at_.entities.find(id);
      return found == at_.entities.end() || found->second.is_deleted ? nullptr : &found->second;
    }

    shard at_;
    std::atomic<std::size_t>& visited_;
  };

  result<storage::append_receipt> write(const storage::append_request& request) {
    auto& to = shards_[request.shard.raw()];
    if (to.has_failed || request.activation != to.activation) {
      return fail(errc::cancelled, "an earlier append of the shard failed");
    }
    const auto failure = std::exchange(fail_next_, std::nullopt);
    if (failure) to.has_failed = true;
    if (failure && !keep_failed_) return std::unexpected{*failure};
    const storage::append_receipt receipt{
        lsn{to.records.size() + 1},
        static_cast<std::uint32_t>(request.records.size()),
        shard_time(request.shard)};
    entity_id made;
    for (auto draft : request.records) {
      if (on_write) on_write(draft);
      if (creates_entity(draft.kind)) made = entity_id{to.records.size() + 1};
      add(to, draft, draft.entity == entity_id{} ? made : draft.entity, receipt.time);
    }
    to.block_ends.push_back(lsn{to.records.size()});
    if (failure) return std::unexpected{*failure};
    return receipt;
  }

  static void add(shard& to, const storage::record_draft& draft, entity_id entity, time_ms time) {
    storage::record one;
    one.lsn = lsn{to.records.size() + 1};
    one.term = term_id{1};
    one.time = time;
    one.entity = creates_entity(draft.kind) ? entity_id{one.lsn.raw()} : entity;
    one.entity_seq = draft.entity_seq;
    one.kind = draft.kind;
    one.payload = draft.payload;
    auto& owner = to.entities[one.entity];
    one.previous = std::exchange(owner.last, one.lsn);
    if (is_sequenced(one.kind)) owner.sequenced[one.entity_seq] = to.records.size();
    if (one.kind == storage::record_kind::topic_deleted
        || one.kind == storage::record_kind::group_deleted) {
      owner.is_deleted = true;
    }
    if (one.kind == storage::record_kind::snapshot) {
      owner.snapshot = storage::shard_reader::snapshot_row{one.entity_seq, one.payload};
    }
    if (one.kind == storage::record_kind::trimmed) {
      callboard::journal::Trimmed trim;
      const auto bytes = one.payload.view();
      if (trim.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
        owner.trimmed = std::max(owner.trimmed, sequence{trim.up_to_seq()});
      }
    }
    to.records.push_back(std::move(one));
  }

  void apply_all(shard& to) const {
    writer out{to.views};
    for (; !to.block_ends.empty(); to.block_ends.pop_front()) {
      const auto begin = to.records.data() + to.applied.raw();
      const auto count = to.block_ends.front().distance_from(to.applied);
      if (views_ != nullptr) views_->apply({begin, count}, out);
      to.applied = to.block_ends.front();
    }
  }

  mutable std::mutex mutex_;
  std::atomic<std::size_t> visited_ = 0;
  std::shared_ptr<const storage::projection> views_;
  const clock& time_;
  std::vector<shard> shards_;
  std::vector<storage::shard_clock> clocks_;
  storage::shard_clock node_clock_;
  std::optional<storage::time_note> noted_;
  std::deque<storage::append_request> queue_;
  std::optional<error> fail_next_;
  bool keep_failed_ = false;
  bool holds_views_ = false;
  error refusal_;
  std::size_t refuse_count_ = 0;
  bool is_full_ = false;
  bool is_out_ = false;
  std::optional<error> activation_refusal_;
  std::function<void()> heard_activation_;
  std::function<void()> heard_read_;
};

}  // namespace callboard::testing
