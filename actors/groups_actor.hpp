// The GROUPS actor of a shard: the directory of its consumer groups, and those that are active.
//
// A group is activated by the first request that needs it: its ledger is read on the reader pool,
// then its core works in memory. One journal append per group is under way at a time and carries
// everything that came up meanwhile, so memory is never built on a record that may not commit;
// when an append fails, the group answers `outcome_unknown` (or what the journal said), is dropped
// and read again by the next request. Without members for a while it is dropped too.
#pragma once

#include "actors/group_backlogs.hpp"
#include "actors/group_companion.hpp"
#include "actors/group_reads.hpp"
#include "actors/relay_messages.hpp"
#include "runtime/binding/binding_rule.hpp"
#include "runtime/group/group_core.hpp"

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

namespace callboard::actors {

/// An active group.
struct group_unit {
  explicit group_unit(runtime::group_core made) : core{std::move(made)} {}

  /// An ack or nack that is answered once its record is durable.
  struct ack_waiter {
    pending_request request;
    std::vector<std::string> lost;
  };

  runtime::group_core core;
  /// Tells this activation from one before it, where work comes back from the disk.
  std::uint64_t number = 0;
  /// The record that is being written, or that the journal had no room for yet.
  std::optional<runtime::group_progress> writing;
  bool appending = false;
  sequence last_progress{};
  std::uint32_t since_snapshot = 0;
  bool snapshot_due = false;
  std::vector<ack_waiter> on_this_record;
  std::vector<ack_waiter> on_next_record;
  std::map<std::uint64_t, pending_request> fetches;
  boot_time used{};
};

/// A group in the directory.
struct group_slot {
  runtime::group_row row;
  /// Events up to here are needed no more; known once the group was read.
  std::optional<sequence> needed_after;
  /// Of a binding.
  std::shared_ptr<const runtime::binding_rule> rule;
  std::unique_ptr<group_unit> unit;
  bool loading = false;
  /// A record that makes, changes or deletes it is being written, or may have been: it is looked up
  /// in the journal before the group is used.
  bool changing = false;
  /// It could not be looked up: when that is tried again.
  std::optional<boot_time> look_again;
  std::vector<pending_request> waiting;
  /// As it was looked at last.
  std::optional<group_backlog> backlog;
};

/// A topic with groups, or with requests about groups.
struct group_topic {
  enum class link : std::uint8_t { detached, attaching, attached };

  topic_ref ref;
  std::map<group_name, group_slot> groups;
  link state = link::detached;
  boot_time since{};
  bool ephemeral = false;
  std::string epoch;
  entity_id entity{};
  sequence first_seq{};
  sequence last_seq{};
  caf::strong_actor_ptr peer;
  std::vector<pending_request> waiting;
  bool reading_floors = false;
  bool floor_owed = false;
  std::optional<std::optional<sequence>> floor_told;
};

/// INTERNAL: look at what waits.
struct group_gauges_tick {};

class groups_actor final : public companion {
public:
  /// `bindings` is told of the bindings among the groups.
  groups_actor(
      caf::actor_config& config,
      shard_id shard,
      const broker_parts& parts,
      caf::actor parent,
      caf::actor bindings);

  const char* name() const override { return "callboard.groups"; }

  caf::behavior make_behavior() override;
  void on_exit() override;

private:
  using group_names = std::vector<group_name>;

  /// It is being published, or looked for.
  struct letter_in_flight {
    topic_ref topic;
    group_name group;
    std::uint64_t unit = 0;
    sequence seq{};
    topic_ref target;
    runtime::encoded_event event;
    time_ms died{};
    boot_time deadline{};
  };

  // groups_actor.cpp: life of the actor, topics and their links
  void on_activated(bool first) override;
  void on_tick() override;
  void on_pause(boot_time pause) override;
  void load_directory();
  void on_directory(result<group_directory> found);
  void on_request(pending_request request);
  void on_topic_active(const topic_active& message);
  void on_topic_gone(const topic_ref& ref);
  void on_attached(const relay_attached& message);
  void on_deliver(const deliver& message);
  void on_topic_down(const caf::actor_addr& source);
  void on_skipped(const relay_skipped& message);
  void link_to(group_topic& topic);
  void unlink_from(group_topic& topic);
  void drop_strangers(group_topic& topic);
  void
  drop_group(const topic_ref& topic, const group_name& name, group_slot& slot, const error& why);
  void delete_left_behind(group_rows groups);
  void write_deleted();
  void tell_binding(const topic_ref& topic, const group_name& name, group_slot* slot);
  void tick_topic(group_topic& topic);
  void tell_floor(group_topic& topic);
  void read_floors(group_topic& topic);

  // groups_doubts.cpp: definitions that may have been written or not
  void look_up(const topic_ref& ref, const group_name& name, entity_id topic_entity);
  void forget(group_topic& topic, const group_name& name);
  [[nodiscard]] static error no_such_group(const group_name& name);

  // groups_requests.cpp: what clients ask
  [[nodiscard]] static result<void> check_request(const control_body& body);
  void leave(pending_request request);
  void with_topic(group_topic& topic, pending_request request);
  void handle(group_topic& topic, pending_request request);
  void with_group(group_topic& topic, const group_name& name, pending_request request);
  void handle_active(group_topic& topic, const group_name& name, pending_request request);
  void
  answer_when_durable(group_unit& unit, pending_request request, std::vector<std::string> lost);
  void put(group_topic& topic, pending_request request);
  [[nodiscard]] runtime::group_settings
  first_settings(const topic_name& topic, const group_name& name) const;
  [[nodiscard]] result<void> check_room(const group_topic& topic, const group_name& wanted) const;
  void make(group_topic& topic, pending_request request, const runtime::group_settings& settings);
  void make_after(
      group_topic& topic,
      pending_request request,
      const runtime::group_settings& settings,
      sequence start_after);
  void configure(
      group_topic& topic,
      const group_name& name,
      pending_request request,
      const runtime::group_settings& settings);
  void remove(group_topic& topic, const group_name& name, pending_request request);
  void list(group_topic& topic, pending_request request);
  void describe(group_topic& topic, group_names names, pending_request request, bool created);
  void run_waiting(group_topic& topic, const group_name& name);
  void refuse_waiting(group_slot& slot, const error& why);

  // groups_units.cpp: active groups
  void load(group_topic& topic, const group_name& name);
  void activate(group_topic& topic, const group_name& name, loaded_group loaded);
  void pump(group_topic& topic, const group_name& name);
  void
  start_read(group_topic& topic, const group_name& name, group_unit& unit, runtime::read_plan plan);
  void send_answers(group_topic& topic, group_unit& unit);
  void start_append(group_topic& topic, const group_name& name, group_slot& slot);
  void on_appended(
      const topic_ref& ref,
      const group_name& name,
      std::uint64_t number,
      const result<storage::append_receipt>& outcome);
  void fail_unit(group_topic& topic, const group_name& name, const error& why);
  void drop_unit(group_slot& slot, const error& why);

  // groups_letters.cpp: dead letters
  void publish_letters(group_topic& topic, const group_name& name, group_slot& slot);
  void publish_letter(letter_in_flight letter);
  void look_for_letter(letter_in_flight letter, control_body ask);
  void note_letter(letter_in_flight letter, const result<void>& sent);
  void fail_letter(const letter_in_flight& letter);
  void keep_letter(const letter_in_flight& letter, const error& why);
  void end_letter(const letter_in_flight& letter);
  void on_letter_found(const control_reply& reply);
  void on_letters(const publish_replies& replies);
  void expire_letters();

  // groups_gauges.cpp: what waits, and for how long
  void arm_gauges();
  void on_gauges_tick();
  void report_backlogs();
  void look_at_backlogs();

  [[nodiscard]] group_topic* find_topic(const topic_ref& ref);
  [[nodiscard]] group_slot* find_slot(const topic_ref& ref, const group_name& name);
  [[nodiscard]] group_slot*
  find_slot(const topic_ref& ref, const group_name& name, entity_id entity);
  [[nodiscard]] group_unit*
  find_unit(const topic_ref& ref, const group_name& name, std::uint64_t number);

  [[nodiscard]] runtime::group_time now() const { return {boot(), shard_time()}; }

  caf::actor bindings_;
  bool ready_ = false;
  std::deque<pending_request> early_;
  std::map<topic_ref, topic_active> early_topics_;
  /// Topics that were deleted before the directory was read.
  std::set<topic_ref> early_gone_;
  std::map<topic_ref, group_topic> topics_;
  /// Topics that the tick has to look at.
  std::set<topic_ref> hot_;
  std::unordered_map<correlation_id, letter_in_flight> letters_;
  std::uint64_t unit_numbers_ = 0;
  correlation_id correlations_{};
  std::uint64_t fetch_keys_ = 0;
  boot_time directory_retry_{};
  /// Groups whose topic is gone, and that are not deleted on disk yet.
  std::deque<group_rows::value_type> left_behind_;
  bool is_deleting_ = false;
  boot_time delete_again_{};

  group_backlogs backlogs_;
  bool gauges_armed_ = false;
  bool is_looking_ = false;
  /// The next look begins behind this one; nothing: at the first.
  std::optional<runtime::group_key> looked_at_;

  prometheus::Counter& deliveries_;
  prometheus::Counter& redeliveries_;
  prometheus::Counter& acks_;
  prometheus::Counter& dead_letters_;
  prometheus::Counter& missed_;
  prometheus::Counter& clamped_;
};

/// Most requests that wait for one topic, or for one group, to be read.
inline constexpr std::size_t group_requests_waiting_max = 1000;

}  // namespace callboard::actors
