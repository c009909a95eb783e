// The live side of a consumer group: who holds what, what is due again, who waits. Pure: commands
// and time in, answers, reads, dead letters and journal records out.
//
// Every event between the ledger's floor and `next_read` is exactly one of: settled (acked, dead
// lettered or gone by retention), an entry (held, waiting, blocked or dying), or fresh (read, not
// yet delivered). Bytes of events are kept only while they are about to be delivered; a held event
// that is due again is read again.
#pragma once

#include "base/error.hpp"
#include "base/ids.hpp"
#include "runtime/group/delivery_token.hpp"
#include "runtime/group/group_ledger.hpp"
#include "runtime/group/group_settings.hpp"
#include "runtime/topic/event_batch.hpp"

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace callboard::runtime {

/// Holds and waits are measured on the boot clock; redelivery times survive a restart and are
/// shard time.
struct group_time {
  boot_time boot{};
  time_ms shard{};
};

/// Bounds of one group in memory.
struct group_limits {
  /// Distance from the floor to the newest read event before the floor passes what blocks it;
  /// also the most unsettled events that are kept track of.
  std::uint32_t ack_span_max = 100'000;
  std::uint32_t waiters_max = 1000;
  std::uint32_t fetch_events_max = 1000;
  /// Bytes of the events of one answer, unless one event alone has more.
  std::uint64_t fetch_bytes_max = 4ULL << 20;
  std::uint32_t fetch_wait_ms_max = 25'000;
  std::uint32_t read_events_max = 256;
};

/// An event with its key of order: hash of the subject, 0 without one.
struct loaded_event {
  delivered_event event;
  std::uint64_t subject = 0;
};

/// What to read from the journal next.
struct read_plan {
  /// Events that were read before, ascending.
  std::vector<sequence> single;
  /// A run of at most `run_events_max` from here on; 0 = none.
  sequence run_from{};
  std::uint32_t run_events_max = 0;
  /// The topic's last event as the group knows it.
  sequence known_last{};
};

struct read_result {
  std::vector<loaded_event> single;
  /// Consecutive, from `run_from` or from `gone_up_to + 1`.
  std::vector<loaded_event> run;
  /// Retention has taken everything up to here; 0 = not known.
  sequence gone_up_to{};
};

struct fetch_command {
  /// Names the waiter in its answer; unique among those waiting.
  std::uint64_t key = 0;
  std::string member;
  std::uint32_t max = 0;
  std::uint32_t wait_ms = 0;
  /// Bytes of events after which nothing is added; 0 = `group_limits::fetch_bytes_max`, the most.
  std::uint64_t bytes_max = 0;
  /// Names it to `leave`, if nobody may have seen its answer; 0: it has no name.
  std::uint64_t poll = 0;
};

struct held_delivery {
  delivery_token token;
  delivered_event event;
};

/// Answers one fetch; empty when its wait is over.
struct fetch_answer {
  std::uint64_t key = 0;
  std::vector<held_delivery> deliveries;
};

/// An event that has used up its deliveries.
struct dead_letter {
  delivered_event event;
  std::uint32_t attempts = 0;
  std::vector<attempt_record> history;
  /// It was one already when the group was read: it may have been published.
  bool is_restored = false;
};

struct group_counts {
  sequence floor{};
  sequence last_seq{};
  std::uint64_t lag = 0;
  std::uint64_t in_flight = 0;
  std::uint64_t parked = 0;
  std::uint64_t dead_lettered = 0;
  std::uint64_t missed = 0;
  std::uint64_t members = 0;
  /// The first event that is not acked; nothing when all are.
  std::optional<sequence> oldest;
};

/// Owned by the GROUPS actor, used by it alone. Survives a restart: what was committed (the
/// ledger); holds are granted anew for their full time, waiting fetches are gone.
class group_core {
public:
  struct options {
    group_settings settings;
    group_limits limits;
    /// Different for every activation and never 0.
    std::uint32_t nonce = 1;
    std::function<std::uint64_t()> random;
  };

  group_core(options with, group_ledger committed, sequence last_seq, group_time now);

  // -- commands --

  /// Queues a fetch. Errors: overloaded when `waiters_max` wait.
  [[nodiscard]] result<void> fetch(fetch_command command, group_time now);

  /// Settles what these tokens hold and everything up to `up_to` (at most the topic's last event).
  /// Returns the tokens that hold nothing any more; they changed nothing.
  [[nodiscard]] std::vector<std::string>
  ack(std::span<const std::string> tokens, std::optional<sequence> up_to, group_time now);

  /// Settles these events, whoever holds them, if anybody; the floor and the topic's end bound
  /// them.
  void ack_events(std::span<const sequence> seqs, group_time now);

  /// Settles an event that was to take another's place, unless it has.
  void ack_orphan(sequence seq, group_time now);

  /// Settles `seq`, whose place the topic's event `by` takes. False, and nothing is done, if either
  /// is settled, or is where that may come of it: `seq` is dying, `by` was delivered.
  [[nodiscard]] bool replace(sequence seq, sequence by, group_time now);

  struct nack_command {
    std::span<const std::string> tokens;
    /// Nothing: the backoff of the attempt.
    std::optional<std::uint32_t> delay_ms;
    std::string error;
    nack_kind kind = nack_kind::retry;
  };

  /// Gives deliveries back. Returns stale tokens as `ack` does.
  [[nodiscard]] std::vector<std::string> nack(const nack_command& command, group_time now);

  /// Releases what `member` holds and ends its waiting fetches. Nobody has seen what the fetches
  /// `unseen` were given: of that no attempt has ended.
  void leave(const std::string& member, std::span<const std::uint64_t> unseen, group_time now);

  /// Holds that have run out.
  void tick(group_time now);

  /// The node stood still for `pause`, up to now: holds are as long as they were before, at most
  /// granted anew.
  void paused(boot_time pause, group_time now);

  /// The topic now ends at `last`.
  void topic_grew(sequence last) { last_seq_ = std::max(last_seq_, last); }

  /// Committed events as they come from the topic; saves a read when the group has caught up.
  void offer(std::span<const loaded_event> events);

  /// True if `offer` would take a batch that begins at `first`.
  [[nodiscard]] bool takes(sequence first) const;

  /// Retention has taken everything up to here: it needs no ack any more, and what had none is
  /// counted as missed.
  void gone(sequence up_to, group_time now);

  void change_settings(const group_settings& settings, group_time now);

  // -- effects --

  /// Hands out what is loaded. Call after commands and reads, before `plan_read`.
  void match(group_time now);

  /// The next read, if one is needed; `loaded` or `read_failed` answers it before the next.
  [[nodiscard]] std::optional<read_plan> plan_read(group_time now);
  void loaded(read_result result, group_time now);

  void read_failed() { reading_ = false; }

  /// Ends fetches whose wait is over and for which no read is under way.
  void expire_waiters(group_time now);

  [[nodiscard]] std::vector<fetch_answer> take_answers() { return std::exchange(answers_, {}); }

  /// Ends all waiting fetches; their keys.
  [[nodiscard]] std::vector<std::uint64_t> drop_waiters();

  /// Events to be published to the dead-letter topic; each is answered by one of the two below.
  [[nodiscard]] std::vector<dead_letter> take_dead_letters();
  void dead_letter_published(sequence seq);
  void dead_letter_failed(sequence seq, group_time now);

  /// True if a record should be written now: an ack or nack waits for it, or deliveries have gone
  /// unrecorded long enough.
  [[nodiscard]] bool wants_append(group_time now) const;

  /// True if there is anything that no record says yet.
  [[nodiscard]] bool has_changes() const;

  /// The record. Not to be called again before `committed`.
  [[nodiscard]] group_progress take_progress();
  void committed(const group_progress& progress);

  // -- queries --

  [[nodiscard]] const group_ledger& ledger() const { return ledger_; }

  [[nodiscard]] group_counts counts() const;

  /// The first of those whose place an event has that is not settled; nothing if it took none.
  [[nodiscard]] std::optional<sequence> root_of(sequence seq) const;

  /// Of the latest nack with one.
  [[nodiscard]] const std::string& last_error() const { return last_error_; }

  /// True if nothing would be lost by forgetting the group until it is asked for again.
  [[nodiscard]] bool idle() const;

private:
  /// blocked: an earlier event of its subject is unsettled. waiting: due at `not_before`.
  /// dying: on its way to the dead-letter topic.
  enum class stage : std::uint8_t { blocked, waiting, held, dying };

  struct entry {
    stage at = stage::waiting;
    std::uint32_t attempts = 0;
    std::uint32_t nonce = 0;
    /// Attempts at the end of `history` that no record has yet.
    std::uint32_t unrecorded = 0;
    /// A record names this event.
    bool recorded = false;
    std::optional<std::uint64_t> subject;
    boot_time deadline{};
    time_ms not_before{};
    time_ms delivered{};
    std::string member;
    /// Of the fetch that holds it.
    std::uint64_t poll = 0;
    std::vector<attempt_record> history;
  };

  struct waiter {
    fetch_command command;
    boot_time deadline{};
    std::vector<held_delivery> given;
    std::uint64_t given_bytes = 0;
  };

  struct dying_event {
    boot_time retry_at{};
    std::uint32_t failures = 0;
    bool publishing = false;
    bool is_restored = false;
    std::optional<delivered_event> loaded;
  };

  void restore(group_time now);
  [[nodiscard]] sequence reach() const;
  void put_back(sequence seq, entry& event, group_time now);
  void let_die(sequence seq, entry& event);
  [[nodiscard]] entry* held_by(const std::string& token, delivery_token& parsed);
  void end_attempt(
      sequence seq, entry& event, std::string_view outcome, const std::string& why, group_time now);
  void schedule(sequence seq, entry& event, time_ms not_before);
  void settle(sequence seq);
  void settle_up_to(sequence last);
  void note_settled(seq_range range);
  [[nodiscard]] std::uint64_t unsettled_up_to(sequence last) const;
  void unlink(sequence seq, const entry& event);
  void unblock(std::uint64_t subject);
  void learn_subject(sequence seq, std::uint64_t subject);
  void hold(loaded_event event, waiter& to, group_time now);
  [[nodiscard]] std::optional<loaded_event> next_retry(group_time now);
  [[nodiscard]] std::optional<loaded_event> next_fresh();
  [[nodiscard]] std::size_t room() const;
  [[nodiscard]] time_ms backoff(std::uint32_t attempt, group_time now);
  void plan_singles(read_plan& plan, bool demand, group_time now) const;
  void skip_known();
  void mark(sequence seq, boot_time now);
  [[nodiscard]] sequence floor_to_pass() const;

  group_settings settings_;
  const group_limits limits_;
  const std::uint32_t nonce_;
  std::function<std::uint64_t()> random_;
  group_ledger ledger_;
  sequence last_seq_{};
  sequence next_read_{};
  bool reading_ = false;

  std::map<sequence, entry> entries_;
  /// Settled by a record or by one to be written; only above the floor.
  seq_set settled_;
  /// As in the ledger, with what is to be written.
  std::map<sequence, sequence> roots_;
  std::deque<loaded_event> fresh_;
  std::map<sequence, loaded_event> retry_loaded_;

  std::set<std::pair<boot_time, sequence>> holds_;
  std::set<std::pair<time_ms, sequence>> retries_;
  std::map<sequence, dying_event> dying_;
  /// Unsettled events of each subject; only its first may be out. Ordered groups only.
  std::unordered_map<std::uint64_t, std::set<sequence>> subjects_;
  /// Entries from before the restart, whose subject has to be read first. Ordered groups only.
  std::set<sequence> unknown_;
  std::map<std::string, std::set<sequence>> members_;
  std::deque<waiter> waiters_;

  std::vector<fetch_answer> answers_;
  std::set<sequence> dirty_;
  seq_set newly_settled_;
  std::vector<sequence> newly_dead_;
  std::vector<replacement> newly_replaced_;
  std::uint64_t newly_missed_ = 0;
  std::string last_error_;
  bool urgent_ = false;
  boot_time changed_at_{};
};

}  // namespace callboard::runtime
