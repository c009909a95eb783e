// Operations and answers of callboard.v1.json and callboard.v1.proto, written and read by hand:
// a load generator that used the full libraries would need more CPU than the server.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace callboard::bench {

enum class wire { proto, json };

[[nodiscard]] std::string_view subprotocol_of(wire format);

/// Ids of events: "cb" run "-" index, both in hex, so that a delivery can be matched with the
/// moment its event was due, and no two runs share an id.
class event_ids {
public:
  /// 8 hex digits tell runs apart.
  explicit event_ids(std::uint32_t run);

  static constexpr std::size_t prefix_size = 11;
  static constexpr std::size_t id_size = prefix_size + 16;

  [[nodiscard]] const std::string& prefix() const { return prefix_; }

  /// Writes the index over the last 16 characters of an id.
  static void write_index(char* id, std::uint64_t index);

  /// The index of an id of this run that begins at `id`; -1 if it is not one.
  [[nodiscard]] std::int64_t index_of(std::string_view id) const;

private:
  std::string prefix_;
};

/// Writes publish operations of one topic, all alike but for operation number and event id.
class publish_writer {
public:
  /// `size`: bytes of the event's data, quotes included.
  publish_writer(
      wire format,
      const event_ids& ids,
      const std::string& topic,
      std::uint32_t size,
      std::string_view durability = {});

  /// Appends one operation with one event. Proto: operations follow one another in a frame.
  /// JSON: one operation is one frame.
  void append(std::string& out, std::uint64_t op, std::uint64_t index);

  /// Appends one operation with `count` events from `first_index` on. Proto only.
  void append_batch(
      std::string& out, std::uint64_t op, std::uint64_t first_index, std::uint32_t count) const;

private:
  wire format_;
  std::string topic_;
  std::string durability_;
  /// What follows the operation number; the event id is patched in place.
  std::string body_;
  std::size_t id_at_ = 0;
  std::string event_;
  std::size_t id_in_event_ = 0;
};

/// A subscribe operation, as one frame's payload.
[[nodiscard]] std::string
subscribe_frame(wire format, std::uint64_t op, std::string_view topic, std::string_view from);

/// What a server frame holds, as far as a load generator cares.
struct answer_visitor {
  /// An operation has succeeded.
  std::function<void(std::uint64_t op)> on_done;
  /// It was refused with this code.
  std::function<void(std::uint64_t op, std::string_view code)> on_refused;
  /// An event of this run was delivered.
  std::function<void(std::uint64_t index)> on_event;
};

/// Calls `visit` for each operation of one message. False if the message makes no sense.
[[nodiscard]] bool visit_message(
    wire format, std::string_view message, const event_ids& ids, const answer_visitor& visit);

}  // namespace callboard::bench
