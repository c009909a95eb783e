// The rules of one topic, without disk, clock or actors: commands and time in, effects out.
//
// State ahead of commit is speculative: every answer that depends on an uncommitted record is held
// until that record commits, and a failed append fails everything queued behind it, after which
// the core is dead and a new one is made from what is on disk.
#pragma once

#include "base/error.hpp"
#include "base/ids.hpp"
#include "base/lazy_deque.hpp"
#include "runtime/topic/event_batch.hpp"
#include "runtime/topic/id_window.hpp"
#include "runtime/topic/publish.hpp"
#include "runtime/topic/topic_settings.hpp"
#include "storage/record.hpp"

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace callboard::runtime {

/// The shell's name for whoever published (answers go there) or subscribed.
using publisher_key = strong_id<struct publisher_key_tag, std::uint64_t>;
using relay_key = strong_id<struct relay_key_tag, std::uint64_t>;
using append_key = counter_id<struct append_key_tag>;

/// A topic as committed records describe it.
struct topic_image {
  topic_ref name;
  /// 0, and no epoch, while the topic is not made yet.
  entity_id entity{};
  std::string epoch;
  topic_settings settings;
  /// `first_seq` is the oldest event kept, or `last_seq + 1` when there is none.
  sequence first_seq{1};
  sequence last_seq{};
  std::uint64_t stored_bytes = 0;
};

struct topic_limits {
  std::uint32_t events_in_flight_max = 4096;
  std::size_t recent_ids_max = 262'144;
  std::size_t window_ids_max = 16'000'000;
  /// Payload bytes gathered into one append, unless a single publish has more.
  std::uint64_t append_bytes_max = 4U << 20;
};

/// Of one publish that a bound on what is in flight never has room for; `setting` is that bound.
[[nodiscard]] error
too_many_at_once(std::uint64_t events, std::uint64_t events_max, std::string_view setting);

/// What the shell must do, in this order: appends, then replies, then deliveries and the rest.
struct topic_effects {
  struct append {
    append_key key{};
    std::vector<storage::record_draft> records;
    bool tell_written = false;
    bool frees_space = false;
  };

  struct reply {
    publisher_key publisher{};
    publish_reply reply;
  };

  struct delivery {
    relay_key relay{};
    event_batch_ptr batch;
  };

  struct skip {
    relay_key relay{};
    sequence last_seq{};
    std::uint64_t dropped = 0;
  };

  /// Read the identities of these stored events and call `candidates_read`.
  struct read_candidates {
    std::vector<sequence> seqs;
  };

  /// Find the last seq that retention lets go and call `trim_planned`. 0 / nothing = no such rule.
  struct plan_trim {
    sequence up_to_by_count{};
    std::optional<time_ms> older_than;
    std::uint64_t bytes_to_free = 0;
    /// Never beyond this.
    sequence up_to_max{};
  };

  std::vector<append> appends;
  std::vector<reply> replies;
  std::vector<delivery> deliveries;
  std::vector<skip> skips;
  std::optional<read_candidates> candidates;
  std::optional<plan_trim> trim;
  /// Something may go unless consumer groups need it: have them call `held` or `groups_unknown`.
  bool asks_groups = false;
  /// An append failed: make a new core from committed records.
  bool reload = false;

  [[nodiscard]] bool empty() const {
    return appends.empty() && replies.empty() && deliveries.empty() && skips.empty() && !candidates
           && !trim && !asks_groups && !reload;
  }
};

/// One event of the dedupe window as stored.
struct window_row {
  hash128 identity;
  std::uint64_t content = 0;
  sequence seq{};
  time_ms time{};
};

/// Events that stay whatever the settings say of retention.
struct kept_events {
  /// All from this one on.
  sequence needed_from{std::numeric_limits<std::uint64_t>::max()};
  /// At least so many of the last, and those before them go; 0: as the settings say.
  std::uint64_t count = 0;
  /// So many of the last also for consumer groups that still need them; 0: as the settings say.
  std::uint64_t held_count = 0;
};

class topic_core {
public:
  topic_core(topic_image image, const topic_limits& limits);

  /// Fills the dedupe window at activation, in order of seq.
  void remember(const window_row& row);

  // -- commands -------------------------------------------------------------------------------

  /// Decides requests of one publisher in order. Answers come as replies now or after commit.
  [[nodiscard]] topic_effects
  publish(publisher_key publisher, std::vector<publish_request> requests, time_ms now);

  /// Hands everything that was decided to the journal, before something else of the topic goes
  /// there.
  [[nodiscard]] topic_effects flush();

  /// The append reached the operating system.
  [[nodiscard]] topic_effects written(append_key key);

  /// The append is durable; `time` is its records' time.
  [[nodiscard]] topic_effects committed(append_key key, time_ms time);

  /// The append, and all behind it, are not in the journal (or nobody knows).
  [[nodiscard]] topic_effects failed(append_key key, const error& why);

  /// The append was refused before anything was written: as if neither it nor what was decided
  /// behind it, and not handed to the journal yet, had ever been.
  [[nodiscard]] topic_effects refused(append_key key, const error& why);

  /// Answer to `read_candidates`: what is stored at these seqs (events that are gone are left out).
  [[nodiscard]] topic_effects candidates_read(std::vector<window_row> rows, time_ms now);
  /// They cannot be read: what waits for them is refused; what is on its way to the disk goes on.
  [[nodiscard]] topic_effects candidates_unread(const error& why);

  /// Events after the returned image's `last_seq` will come as deliveries or skips.
  topic_image attach(relay_key relay, std::uint32_t credits);
  [[nodiscard]] topic_effects credit(relay_key relay, std::uint32_t credits);
  void detach(relay_key relay);

  /// The first append, which makes a topic that was not there, is durable. Call before `committed`.
  void made(entity_id entity, incarnation_id incarnation);

  /// Settings that are on disk now.
  void configured(const topic_settings& settings) { image_.settings = settings; }

  /// How far consumer groups let retention go; nothing = there are no groups. True if `tick` has
  /// asked for it and is to be called again.
  bool held(std::optional<sequence> floor);

  /// Nobody can say now what consumer groups need: the next `tick` asks again.
  void groups_unknown() { asking_groups_ = false; }

  /// Applies retention now and then, to what is not among the kept ones.
  [[nodiscard]] topic_effects tick(time_ms now, const kept_events& kept = {});
  [[nodiscard]] topic_effects trim_planned(sequence up_to, std::uint64_t bytes);

  // -- queries --------------------------------------------------------------------------------

  /// As committed.
  [[nodiscard]] const topic_image& image() const { return image_; }

  [[nodiscard]] std::uint32_t in_flight() const { return events_in_flight_; }

  [[nodiscard]] bool is_dead() const { return dead_; }

  /// Its first append makes it.
  [[nodiscard]] bool is_unmade() const { return image_.entity == entity_id{}; }

  /// Publishes wait for `candidates_read`.
  [[nodiscard]] bool is_parked() const { return !parked_.empty(); }

  /// What was decided last waits for this append at most; nothing if no append is in flight.
  [[nodiscard]] std::optional<append_key> newest_append() const {
    if (!gathering_.events.empty()) return gathering_.key;
    if (appends_.empty()) return std::nullopt;
    return appends_.back().key;
  }

  /// Nothing in flight, and nobody waits for an answer.
  [[nodiscard]] bool is_settled() const {
    return appends_.empty() && gathering_.events.empty() && parked_.empty();
  }

  /// Nothing in flight, nothing waiting, nobody attached.
  [[nodiscard]] bool is_idle() const {
    return is_settled() && relays_.empty() && !trimming_ && !asking_groups_;
  }

private:
  struct waiting_reply {
    publisher_key publisher{};
    publish_reply reply;
    durability level = durability::synced;
  };

  struct ephemeral_batch {
    std::shared_ptr<event_batch> batch;
    /// 0: all.
    relay_key only{};
  };

  struct open_append {
    append_key key{};
    std::vector<delivered_event> events;
    std::vector<storage::record_draft> with;
    std::uint64_t bytes = 0;
    std::vector<waiting_reply> replies;
    /// Go out behind its events, in the order in which they were published.
    std::vector<ephemeral_batch> ephemeral;
    std::optional<std::pair<sequence, std::uint64_t>> trim;
    bool is_written = false;
  };

  struct parked_publish {
    publisher_key publisher{};
    std::vector<publish_request> requests;
  };

  struct attached_relay {
    std::uint32_t credits = 0;
    bool behind = false;
    std::uint64_t dropped = 0;
  };

  enum class decision : std::uint8_t { done, park };

  /// What is known of one event of a request: stored already, a repetition of an earlier event of
  /// the request (its index), or new.
  struct verdict {
    std::optional<sequence> stored;
    std::optional<std::uint32_t> twin;

    [[nodiscard]] bool is_new() const { return !stored && !twin; }
  };

  decision decide(publisher_key publisher, publish_request& request, topic_effects& out);
  decision decide_durable(publisher_key publisher, publish_request& request, topic_effects& out);
  [[nodiscard]] std::optional<remembered_event> look_up(const hash128& identity);
  [[nodiscard]] result<std::vector<verdict>> judge(const publish_request& request);
  [[nodiscard]] static bool has_new(const std::vector<verdict>& verdicts);
  [[nodiscard]] publish_outcome
  admit(publish_request& request, const std::vector<verdict>& verdicts);
  void decide_ephemeral(publisher_key publisher, publish_request& request, topic_effects& out);
  [[nodiscard]] error no_room_for(const publish_request& request) const;
  [[nodiscard]] std::optional<error> refuse(const publish_request& request) const;

  void run(std::vector<parked_publish> work, topic_effects& out);
  void answer(publisher_key publisher, publish_reply reply, durability level, topic_effects& out);
  void refuse_parked(const error& why, topic_effects& out);
  void undo_last(const error& why, topic_effects& out);
  /// Hands what was gathered to the journal.
  void emit(topic_effects& out);
  void deliver(const event_batch_ptr& batch, topic_effects& out, relay_key only = {});
  void deliver_committed(open_append& done, time_ms time, topic_effects& out);
  [[nodiscard]] bool waits_for_groups() const;
  [[nodiscard]] sequence trim_limit() const;

  topic_image image_;
  std::shared_ptr<const std::string> epoch_;
  topic_limits limits_;
  id_window window_;
  time_ms now_{};
  /// Last seq handed out, committed or not.
  sequence next_last_{};
  std::uint32_t events_in_flight_ = 0;
  append_key last_key_{};
  lazy_deque<open_append> appends_;
  /// Decided, but not handed to the journal yet; empty unless it has events.
  open_append gathering_;
  std::vector<parked_publish> parked_;
  std::uint32_t parked_events_ = 0;
  /// What `candidates_read` told, for the publishes that run now.
  std::vector<window_row> known_;
  /// Seqs whose identities `known_` has, that the next answer will have, that are missing.
  std::vector<sequence> looked_at_;
  std::vector<sequence> asked_;
  std::vector<sequence> missing_;
  std::map<relay_key, attached_relay> relays_;
  std::optional<sequence> held_;
  bool groups_known_ = false;
  bool asking_groups_ = false;
  std::uint64_t held_count_ = 0;
  bool trimming_ = false;
  bool dead_ = false;
};

}  // namespace callboard::runtime
