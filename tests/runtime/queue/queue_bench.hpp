// A queue core with everything around it played by hand: journal, views, clock.
#pragma once

#include "runtime/queue/queue_codec.hpp"
#include "runtime/queue/queue_core.hpp"
#include "runtime/queue/queue_projection.hpp"

#include "tests/support/catch.hpp"

#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace callboard::runtime {

using namespace std::chrono_literals;

/// View rows in memory, written by the projection and read by the queue.
class row_table final : public storage::view_writer, public row_source {
public:
  using key = std::pair<storage::view_id, std::string>;

  void put(storage::view_id view, std::string_view at, std::string_view value) override {
    rows[{view, std::string{at}}] = value;
  }

  void erase(storage::view_id view, std::string_view at) override {
    rows.erase({view, std::string{at}});
  }

  void erase_range(storage::view_id view, std::string_view first, std::string_view last) override {
    rows.erase(
        rows.lower_bound({view, std::string{first}}), rows.lower_bound({view, std::string{last}}));
  }

  std::optional<std::string> get(storage::view_id view, std::string_view at) override {
    const auto found = rows.find({view, std::string{at}});
    return found == rows.end() ? std::nullopt : std::optional{found->second};
  }

  void report_damage(const storage::record&, const error& why) override { damage = why; }

  [[nodiscard]] lsn as_of() const override { return applied; }

  [[nodiscard]] result<std::optional<std::string>>
  get(storage::view_id view, std::string_view at) const override {
    const auto found = rows.find({view, std::string{at}});
    return found == rows.end() ? std::nullopt : std::optional{found->second};
  }

  [[nodiscard]] result<void>
  scan(storage::view_id view, std::string_view first, std::string_view last, const visitor& visit)
      const override {
    const auto end = rows.lower_bound({view, std::string{last}});
    for (auto at = rows.lower_bound({view, std::string{first}}); at != end; ++at) {
      ++scanned;
      if (!visit(at->first.second, at->second)) break;
    }
    return {};
  }

  void apply(const storage::record& one) {
    apply_queue_record(one, *this);
    applied = one.lsn;
  }

  std::map<key, std::string> rows;
  std::optional<error> damage;
  lsn applied{};
  mutable std::uint64_t scanned = 0;
};

/// Answers go to `answers` and their order to `answered`, committed records to `records`;
/// `activate` forgets all but those.
class queue_bench {
public:
  static constexpr entity_id entity{1};
  static constexpr shard_id shard{3};

  queue_settings settings;
  queue_limits limits;
  queue_time now{1h, time_ms{1'700'000'000'000ms}};
  std::vector<storage::record> records;
  row_table rows;
  std::map<std::uint64_t, result<queue_outcome>> answers;
  std::vector<std::uint64_t> answered;
  std::vector<task_ending> endings;
  std::vector<task_id> heard;
  std::unique_ptr<queue_core> core;
  std::uint64_t keys = 0;
  std::uint64_t reads = 0;
  std::uint64_t random = 0;
  sequence floor{};

  queue_bench() = default;

  static queue_ref name() { return {tenant_name::trusted("acme"), queue_name::trusted("llm")}; }

  void create() {
    write(
        {{storage::record_kind::queue_created,
          {},
          {},
          shared_bytes{encode_queue_created({name(), settings})}}});
    activate();
  }

  /// A new activation from what was committed.
  void activate() {
    const auto image = read_queue_image(rows, entity);
    REQUIRE(image);
    flying_.clear();
    reading_.reset();
    found_.reset();
    core = std::make_unique<queue_core>(
        queue_core::options{shard, entity, settings, limits, [this] { return ++random * 7919; }},
        *image,
        now);
  }

  void configure(const queue_settings& changed) {
    settings = changed;
    write(
        {{storage::record_kind::queue_configured,
          entity,
          {},
          shared_bytes{encode_queue_configured({name(), settings})}}});
    core->change_settings(settings);
  }

  void advance(std::chrono::milliseconds by) {
    now.boot += by;
    now.shard += by;
  }

  // -- one step each --

  bool begin_read() {
    if (reading_) return false;
    if (auto plan = core->plan_read(now)) {
      reading_ = *plan;
      ++reads;
    }
    return reading_.has_value();
  }

  /// Looks at the rows as they are committed now.
  void look() {
    if (reading_ && !found_) found_ = read(*reading_);
  }

  bool finish_read() {
    if (!reading_) return false;
    look();
    reading_.reset();
    core->loaded(*std::exchange(found_, std::nullopt), now);
    return true;
  }

  bool begin_append() {
    auto append = core->take_append();
    if (!append) return false;
    flying_.push_back(std::move(append->records));
    return true;
  }

  bool commit_append() {
    if (flying_.empty()) return false;
    write(std::move(flying_.front()));
    flying_.pop_front();
    core->committed(records.back().lsn, now);
    return true;
  }

  void collect() {
    for (auto& answer : core->take_answers()) {
      INFO("request " << answer.key.raw());
      REQUIRE(answers.emplace(answer.key.raw(), std::move(answer.outcome)).second);
      answered.push_back(answer.key.raw());
    }
    for (auto& ending : core->take_endings())
      endings.push_back(std::move(ending));
    for (const auto task : core->take_told())
      heard.push_back(task);
  }

  /// Until nothing moves.
  void run() {
    for (int turn = 0;; ++turn) {
      REQUIRE(turn < 100'000);
      core->tick(now);
      core->match(now);
      bool moved = begin_read();
      core->expire_waiters(now);
      moved |= finish_read();
      moved |= begin_append();
      moved |= commit_append();
      collect();
      if (!moved) return;
    }
  }

  // -- whole commands --

  queue_request next_key() { return queue_request{++keys}; }

  template <class Outcome>
  Outcome take(queue_request key) {
    const auto node = answers.extract(key.raw());
    REQUIRE(node);
    const auto& outcome = node.mapped();
    if (!outcome) FAIL("request failed: " << outcome.error().detail);
    REQUIRE(std::holds_alternative<Outcome>(*outcome));
    return std::get<Outcome>(*outcome);
  }

  errc take_error(queue_request key) {
    const auto node = answers.extract(key.raw());
    REQUIRE(node);
    REQUIRE_FALSE(node.mapped());
    return node.mapped().error().code;
  }

  static enqueue_command
  task(const std::string& payload, task_priority priority = task_priority::normal) {
    enqueue_command command;
    command.payload = shared_bytes{payload};
    command.priority = priority;
    return command;
  }

  enqueued_task enqueue(enqueue_command command) {
    command.key = next_key();
    const auto key = command.key;
    core->enqueue(std::move(command), now);
    run();
    return take<enqueued_task>(key);
  }

  enqueued_task enqueue(const std::string& payload) { return enqueue(task(payload)); }

  std::vector<granted_task>
  lease(const std::string& worker, std::uint32_t max = 1, std::uint32_t lease_ms = 0) {
    lease_command command;
    command.key = next_key();
    command.worker = worker;
    command.max = max;
    command.lease_ms = lease_ms;
    const auto key = command.key;
    core->lease(std::move(command), now);
    run();
    return take<granted_tasks>(key).tasks;
  }

  static std::string text(const granted_task& task) { return format_lease(task.token); }

  static std::string payload(const granted_task& task) {
    REQUIRE(task.payload);
    return std::string{task.payload->view()};
  }

  queue_request complete(const granted_task& task, const std::string& result = {}) {
    const auto key = next_key();
    core->complete({key, text(task), result}, now);
    run();
    return key;
  }

  queue_request fail(
      const granted_task& task,
      bool retryable = true,
      std::optional<std::uint64_t> retry_after_ms = std::nullopt) {
    const auto key = next_key();
    core->fail_task({key, text(task), "boom", retryable, retry_after_ms}, now);
    run();
    return key;
  }

  dead_changed change_dead(
      dead_command::action what, std::vector<task_id> tasks, const std::string& payload = {}) {
    const auto key = next_key();
    core->change_dead({key, what, "ann", std::move(tasks), shared_bytes{payload}});
    run();
    return take<dead_changed>(key);
  }

  [[nodiscard]] std::optional<task_row> row(task_id task) const {
    const auto found = read_task(rows, entity, task);
    REQUIRE(found);
    return *found;
  }

  /// Carries out a plan as the reader pool would, from committed rows and records.
  [[nodiscard]] queue_read_result read(const queue_read& plan) const {
    queue_read_result found;
    found.as_of = rows.as_of();
    for (const auto& ask : plan.segments)
      found.segments.push_back(*read_segment(rows, entity, ask));
    for (const auto& ask : plan.keys)
      found.keys.push_back(*read_key(rows, entity, ask));
    std::uint64_t bytes = 0;
    for (const auto& ask : plan.payloads) {
      if (bytes >= plan.payload_bytes_max) break;
      auto payload = stored_at(ask.place).payload;
      bytes += payload.size();
      found.payloads.push_back({ask.task, std::move(payload)});
    }
    for (const auto& hash : plan.dedupe)
      found.dedupe.push_back(*read_dedupe(rows, entity, hash));
    for (const auto task : plan.dead)
      found.dead.push_back(*read_task(rows, entity, task));
    for (const auto& origin : plan.origins)
      found.origins.push_back(*read_origin(rows, entity, origin));
    for (const auto& origin : plan.withdraws) {
      const auto task = *read_origin(rows, entity, origin);
      found.withdraws.push_back(task ? *read_task(rows, entity, *task) : std::nullopt);
    }
    for (const auto task : plan.cancels)
      found.cancels.push_back(*read_task(rows, entity, task));
    if (plan.purge) found.purge = *read_open(rows, entity, *plan.purge);
    if (plan.trim) found.trim = read_trim(*plan.trim);
    return found;
  }

  /// Records of the queue that were not given back.
  [[nodiscard]] std::size_t kept_records() const {
    std::size_t kept = 0;
    for (const auto& one : records) {
      if (storage::is_sequenced(one.kind) && one.entity_seq > floor) ++kept;
    }
    return kept;
  }

  /// Rows made anew from records that are still there, as after a change of the projection.
  [[nodiscard]] row_table rebuilt() const {
    row_table table;
    for (const auto& one : records) {
      if (storage::is_sequenced(one.kind) && one.entity_seq <= floor) continue;
      table.apply(one);
    }
    return table;
  }

protected:
  void write(std::vector<storage::record_draft> drafts) {
    for (auto& draft : drafts) {
      storage::record one;
      one.lsn = lsn{records.size() + 1};
      one.time = now.shard;
      one.entity = storage::creates_entity(draft.kind) ? entity_id{one.lsn.raw()} : draft.entity;
      one.entity_seq = draft.entity_seq;
      one.kind = draft.kind;
      one.payload = std::move(draft.payload);
      if (storage::is_sequenced(one.kind)) {
        // What the journal's writer refuses.
        REQUIRE(one.entity_seq == last_seq_.next());
        last_seq_ = one.entity_seq;
      }
      if (one.kind == storage::record_kind::trimmed) {
        floor = std::max(floor, *decode_queue_trimmed(one.payload.view()));
        REQUIRE(floor < last_seq_);
      }
      if (storage::is_sequenced(one.kind)) by_seq_[one.entity_seq] = records.size();
      records.push_back(one);
      rows.apply(records.back());
    }
  }

  [[nodiscard]] stored_task stored_at(sequence place) const {
    INFO("record " << place.raw() << ", trimmed up to " << floor.raw());
    REQUIRE(place > floor);
    const auto found = by_seq_.find(place);
    REQUIRE(found != by_seq_.end());
    const auto& one = records[found->second];
    REQUIRE(one.kind != storage::record_kind::task_progress);
    return *decode_stored_task(one.payload.view(), place);
  }

  [[nodiscard]] trim_page read_trim(const trim_ask& ask) const {
    trim_page page;
    page.last_seq = last_seq_;
    if (ask.keep_from) {
      for (const auto& one : records) {
        if (!storage::is_sequenced(one.kind) || one.time < *ask.keep_from) continue;
        page.keep_from = one.entity_seq;
        break;
      }
    }
    if (ask.endings) page.endings = *read_old_endings(rows, entity, *ask.endings);
    for (auto& row : *read_oldest_places(rows, entity, ask.tasks_max))
      page.oldest.push_back({row, stored_at(row.state.place).payload});
    return page;
  }

  std::deque<std::vector<storage::record_draft>> flying_;
  std::optional<queue_read> reading_;
  std::optional<queue_read_result> found_;
  sequence last_seq_{};
  std::map<sequence, std::size_t> by_seq_;
};

}  // namespace callboard::runtime
