// What the two companions of a shard (groups, presence) have in common: reading and writing the
// journal without waiting for it, and a clock tick while there is something to time.
#pragma once

#include "actors/boxed.hpp"
#include "actors/broker_parts.hpp"
#include "actors/reader_pool.hpp"
#include "actors/requests.hpp"
#include "actors/shard_companions.hpp"
#include "storage/journal.hpp"

#include <caf/event_based_actor.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace callboard::actors {

/// INTERNAL: the rest of work that went through the disk, to be run in the actor.
struct continuation {
  std::move_only_function<void()> run;
};

/// INTERNAL: time has passed.
struct companion_tick {};

/// A control request on its way through the actor.
struct pending_request {
  correlation_id correlation{};
  control_body body;
  caf::actor reply_to;
  /// Of one that may wait: from when on what is left of its wait counts.
  boot_time since{};
};

/// Base of both actors. Continuations run in the actor, after any number of other messages: they
/// must look up again what they are about. Survives a restart: nothing.
class companion : public caf::event_based_actor {
public:
  companion(
      caf::actor_config& config, shard_id shard, const broker_parts& parts, caf::actor parent);

  void on_exit() override { parent_ = nullptr; }

protected:
  template <class T>
  using read_work = std::move_only_function<result<T>(storage::shard_reader&)>;
  template <class T>
  using read_done = std::move_only_function<void(result<T>)>;
  using append_done = std::move_only_function<void(const result<storage::append_receipt>&)>;

  /// Runs `work` on the reader pool with a fresh look at the shard, then `done` in this actor.
  template <class T>
  void read(reader_pool::lane lane, read_work<T> work, read_done<T> done) {
    // A shared pointer, so that `done` is still here if the pool refuses the job.
    auto rest = std::make_shared<read_done<T>>(std::move(done));
    ++under_way_;
    if (is_stopping_) {
      return resume(caf::actor_cast<caf::actor>(this), [rest] { (*rest)(stopping()); });
    }
    auto posted = parts_.readers.post(
        lane,
        [this, self = caf::actor_cast<caf::actor>(this), rest, work = std::move(work)]() mutable {
          auto reader = parts_.journal.read(shard_);
          auto outcome = reader ? work(**reader) : result<T>{std::unexpected{reader.error()}};
          resume(std::move(self), [rest, outcome = std::move(outcome)]() mutable {
            (*rest)(std::move(outcome));
          });
        });
    if (posted) return;
    resume(caf::actor_cast<caf::actor>(this), [rest, why = std::move(posted.error())]() mutable {
      (*rest)(std::unexpected{why});
    });
  }

  /// Appends records of this shard; `done` runs in this actor when they are committed or failed,
  /// which the shard has heard by then.
  /// Errors: those of `journal::append`; then `done` does not run, and the shard hears nothing.
  [[nodiscard]] result<void>
  append(std::vector<storage::record_draft> records, bool frees_space, append_done done);

  /// True if nothing was written and the same record may be offered later: the queue was full, or
  /// the shard is between two activations. Nothing else in memory rests on it.
  [[nodiscard]] static bool may_be_offered_again(const error& why);

  /// After `append` itself refused with `why`: sees to it that the next tick comes, and the next
  /// activation if it takes one.
  void offer_again(const error& why);

  void answer(const pending_request& to, result<control_answer> outcome);

  /// Calls `on_tick` in a while, once however often it is asked for.
  void arm_tick();
  virtual void on_tick() = 0;

  /// The node stood still (SIGSTOP, suspended) for about that long: what others sent in time may
  /// not be read yet. Comes before the tick that would end what has run out meanwhile.
  virtual void on_pause(boot_time) {}

  /// The handlers every companion has; derived behaviours add theirs.
  [[nodiscard]] caf::message_handler common_handlers();

  virtual void on_activated(bool first) = 0;

  [[nodiscard]] boot_time boot() const { return parts_.time.boot(); }

  [[nodiscard]] time_ms shard_time() const { return parts_.journal.shard_time(shard_); }

  const shard_id shard_;
  const broker_parts& parts_;
  caf::actor parent_;
  /// Set by the shard's first message.
  std::optional<activation_id> activation_;

private:
  [[nodiscard]] static std::unexpected<error> stopping() {
    return fail(errc::draining, "the node is shutting down; reconnect", 1000);
  }

  /// Tells the shard that an append of `failed` failed, so that it begins a new activation. It may
  /// have begun one since, of which nothing is wrong.
  void report_failed_append(activation_id failed);

  static void resume(caf::actor self, std::move_only_function<void()> rest);
  void on_exit_asked(const caf::exit_msg& message);
  void on_continuation(continuation& rest);
  void note_late(boot_time late);

  bool tick_armed_ = false;
  boot_time tick_due_{};
  /// The last tick that came late, and by how much.
  std::optional<boot_time> late_at_;
  boot_time late_by_{};
  /// Reads and appends whose continuation has not run. They hold this actor, which must therefore
  /// not end before them: nothing may outlive the actor system.
  std::size_t under_way_ = 0;
  bool is_stopping_ = false;
};

}  // namespace callboard::actors
