// The PRESENCE actor of a shard: who is present on its topics.
//
// A topic with members has a room in memory. Joins, updates and leaves are answered once their
// record is durable, and only then told to subscribers as ephemeral events. One record per room is
// under way at a time. After a restart all members known from the journal are unknown until they
// come again or the grace has passed.
#pragma once

#include "actors/group_companion.hpp"
#include "actors/relay_messages.hpp"
#include "runtime/presence/presence_core.hpp"

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace callboard::actors {

/// A topic's presence as the journal has it.
struct known_room {
  topic_ref topic;
  entity_id entity{};
  std::vector<runtime::presence_entry> members;
};

struct known_rooms {
  std::vector<known_room> rooms;
  /// Committed by then: not below any presence version that was ever used.
  lsn committed{};
};

/// Presence of all topics of the shard, or only of `entity`; tail included. Reader pool only.
[[nodiscard]] result<known_rooms>
read_rooms(storage::shard_reader& reader, std::optional<entity_id> entity);

struct presence_room {
  topic_ref ref;
  entity_id entity{};
  /// Nothing while the topic is looked up or made, or the room is read.
  std::unique_ptr<runtime::presence_core> core;
  bool attaching = false;
  /// It could not be read: when it is read again. What it had is on disk only.
  std::optional<boot_time> read_again;
  std::vector<pending_request> waiting;
  std::optional<runtime::presence_batch> writing;
  bool appending = false;
  std::vector<pending_request> on_this_record;
  std::vector<pending_request> on_next_record;
  boot_time used{};
};

class presence_actor final : public companion {
public:
  using companion::companion;

  const char* name() const override { return "callboard.presence"; }

  caf::behavior make_behavior() override;
  void on_exit() override;

private:
  void on_activated(bool first) override;
  void on_tick() override;
  void on_pause(boot_time pause) override;
  void load_all();
  void on_loaded(result<known_rooms> known);
  void on_request(pending_request request);
  void on_topic_gone(const topic_ref& ref);
  void on_attached(const relay_attached& message);
  void on_topic_made(const control_reply& reply);

  void link_to(presence_room& room);
  void unlink_from(presence_room& room);
  void open(presence_room& room, std::vector<runtime::presence_entry> known, std::uint64_t version);
  void reload(presence_room& room);
  void handle(presence_room& room, pending_request request);
  void answer_when_durable(presence_room& room, pending_request request);
  void answer_now(presence_room& room, const pending_request& request);
  void refuse_all(presence_room& room, const error& why);
  /// Of those who wait for a record, when a full disk has refused one, in order: all that cannot be
  /// refused for ever. Who left beside others who joined leaves in a record that takes no space;
  /// and below the soft watermark what takes space is refused before it comes into a record.
  [[nodiscard]] std::vector<pending_request>
  take_repeatable(presence_room& room, const runtime::presence_batch& refused);
  void pump(presence_room& room);
  void on_appended(
      const topic_ref& ref, entity_id entity, const result<storage::append_receipt>& outcome);
  void tell(const presence_room& room, const runtime::presence_batch& batch);
  [[nodiscard]] presence_room* find_room(const topic_ref& ref);

  bool ready_ = false;
  boot_time load_retry_{};
  std::deque<pending_request> early_;
  std::map<topic_ref, presence_room> rooms_;
  /// Requests to make a topic, by correlation.
  std::map<correlation_id, topic_ref> making_;
  correlation_id correlations_{};
};

}  // namespace callboard::actors
