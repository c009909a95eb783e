// A journal in a folder of its own, a small projection, and appends that are waited for.
#pragma once

#include "base/clock.hpp"
#include "base/metrics.hpp"
#include "proto/journal.pb.h"
#include "storage/journal.hpp"
#include "storage/open_options.hpp"

#include "tests/support/temp_dir.hpp"

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace callboard::storage::testing {

/// Topics by name (catalogue: payload of the creating record -> entity), and the number of events
/// per topic (topic_state), so that a record applied twice or not at all shows.
class counting_projection final : public projection {
public:
  explicit counting_projection(std::uint32_t version = 1) : version_{version} {}

  [[nodiscard]] std::uint32_t version() const override { return version_; }

  void apply(std::span<const record> block, view_writer& out) const override {
    for (const auto& next : block) {
      const auto entity = std::to_string(next.entity.raw());
      switch (next.kind) {
      case record_kind::topic_created:
        out.put(view_id::catalogue, next.payload.view(), entity);
        break;
      case record_kind::topic_deleted:
        out.erase(view_id::catalogue, next.payload.view());
        break;
      case record_kind::event: {
        const auto before = out.get(view_id::topic_state, entity);
        const auto count = before ? std::stoull(*before) : 0;
        out.put(view_id::topic_state, entity, std::to_string(count + version_));
        break;
      }
      default:
        break;
      }
    }
  }

private:
  std::uint32_t version_;
};

/// Makes no rows until it is let.
class held_projection final : public projection {
public:
  [[nodiscard]] std::uint32_t version() const override { return 1; }

  void apply(std::span<const record> block, view_writer& out) const override {
    may_go_on_.wait(false);
    rows_.apply(block, out);
  }

  void let() const {
    may_go_on_ = true;
    may_go_on_.notify_all();
  }

  void hold() const { may_go_on_ = false; }

  /// Also when the test fails.
  struct release {
    const held_projection& of;

    ~release() { of.let(); }
  };

private:
  counting_projection rows_;
  mutable std::atomic<bool> may_go_on_{false};
};

/// The answer to an append, to be waited for.
class pending_append {
public:
  append_listener listener() {
    return [state = state_](append_stage stage, const result<append_receipt>& outcome) {
      const std::lock_guard guard{state->mutex};
      if (stage == append_stage::written && outcome) {
        state->was_written = true;
        return;
      }
      ++state->answers;
      state->outcome = outcome;
      state->answered.notify_all();
    };
  }

  result<append_receipt> wait() {
    std::unique_lock lock{state_->mutex};
    state_->answered.wait(lock, [this] { return state_->outcome.has_value(); });
    return *state_->outcome;
  }

  [[nodiscard]] bool was_written() const {
    const std::lock_guard guard{state_->mutex};
    return state_->was_written;
  }

private:
  struct shared_state {
    std::mutex mutex;
    std::condition_variable answered;
    std::optional<result<append_receipt>> outcome;
    bool was_written = false;
    int answers = 0;
  };

  std::shared_ptr<shared_state> state_ = std::make_shared<shared_state>();
};

inline record_draft
draft(record_kind kind, entity_id entity, std::uint64_t seq, std::string payload) {
  return {
      .kind = kind,
      .entity = entity,
      .entity_seq = sequence{seq},
      .payload = shared_bytes{std::move(payload)}};
}

inline record_draft event(entity_id entity, std::uint64_t seq, std::string payload) {
  return draft(record_kind::event, entity, seq, std::move(payload));
}

inline record_draft trim(entity_id entity, std::uint64_t up_to, std::uint64_t last_seq) {
  ::callboard::journal::Trimmed message;
  message.set_up_to_seq(up_to);
  return draft(record_kind::trimmed, entity, last_seq, message.SerializeAsString());
}

inline config::storage_section small_settings(const std::string& data_dir) {
  config::storage_section settings;
  settings.data_dir = data_dir;
  settings.shard_count = 4;
  settings.disk_soft_bytes = 0;
  settings.disk_hard_bytes = 0;
  settings.ballast_bytes = 0;
  // Small, so that logs outgrow it.
  settings.spare_log_bytes = 64 << 10;
  settings.scrub_bytes_per_s = 0;
  return settings;
}

class journal_fixture {
public:
  explicit journal_fixture(open_options options = {}) : options{std::move(options)} {
    settings = small_settings((folder.path() / "data").string());
  }

  result<void> try_open() {
    counters = std::make_unique<metrics>();
    auto opened = open_journal(settings, views, time, *counters, options);
    if (!opened) return std::unexpected{opened.error()};
    journal = std::move(*opened);
    activations.clear();
    return {};
  }

  void open() {
    if (auto opened = try_open(); !opened) throw std::runtime_error{opened.error().detail};
  }

  void close() { journal.reset(); }

  activation_id activation(shard_id shard) {
    while (activations.size() <= shard.raw())
      activations.emplace_back();
    auto& known = activations[shard.raw()];
    if (!known) known = journal->begin_activation(shard).value();
    return *known;
  }

  void activate_anew(shard_id shard) {
    static_cast<void>(activation(shard));
    activations[shard.raw()] = journal->begin_activation(shard).value();
  }

  pending_append
  start(shard_id shard, std::vector<record_draft> records, bool frees_space = false) {
    pending_append pending;
    auto listener = pending.listener();
    auto taken = journal->append(
        {.shard = shard,
         .activation = activation(shard),
         .records = std::move(records),
         .tell_written = true,
         .frees_space = frees_space,
         .listener = pending.listener()});
    if (!taken) listener(append_stage::committed, std::unexpected{taken.error()});
    return pending;
  }

  result<append_receipt>
  append(shard_id shard, std::vector<record_draft> records, bool frees_space = false) {
    auto receipt = start(shard, std::move(records), frees_space).wait();
    if (waits_for_rows) wait_applied(shard);
    return receipt;
  }

  entity_id make_topic(shard_id shard, std::string name) {
    const auto made =
        append(shard, {draft(record_kind::topic_created, entity_id{}, 0, std::move(name))});
    return entity_id{made.value().first.raw()};
  }

  /// Payloads of the entity's sequenced records from `from` on.
  result<std::vector<std::string>> read(shard_id shard, entity_id entity, std::uint64_t from = 1) {
    auto reader = journal->read(shard);
    if (!reader) return std::unexpected{reader.error()};
    std::vector<std::string> found;
    auto expected = from;
    std::string disorder;
    auto done = (*reader)->visit_entity(entity, sequence{from}, [&](const record& next) {
      if (found.empty()) expected = next.entity_seq.raw();
      if (next.entity_seq.raw() != expected++) disorder = "sequence out of order";
      found.emplace_back(next.payload.view());
      return true;
    });
    if (!done) return std::unexpected{done.error()};
    if (!disorder.empty()) return fail(errc::internal, disorder);
    return found;
  }

  /// Waits until views have caught up with what is committed.
  void wait_applied(shard_id shard) {
    while (journal->state(shard).applied < journal->state(shard).committed) {
      std::this_thread::yield();
    }
  }

  callboard::testing::temp_dir folder;
  config::storage_section settings;
  open_options options;
  manual_clock time;
  std::unique_ptr<metrics> counters;
  std::shared_ptr<const projection> views = std::make_shared<counting_projection>();
  std::unique_ptr<storage::journal> journal;
  std::vector<std::optional<activation_id>> activations;
  /// Appends come back when their rows are made.
  bool waits_for_rows = false;
};

}  // namespace callboard::storage::testing
