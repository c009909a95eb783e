// Where a subscription to a pattern goes on after its connection was lost.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace callboard::client {

/// Cursors of the topics that had events lately; others go on at a time before which everything has
/// come, or from their first event. The marks of the server keep it small however many topics come
/// and go: a topic is forgotten once all its events are older than one.
class pattern_place {
public:
  /// `from`: `now`, `first` or a time.
  explicit pattern_place(std::string from);

  /// The answer to the first `subscribe` operation: an object of topics and cursors, and where
  /// topics begin that are not in it (empty: from their first event).
  void begin(std::string_view cursors, const std::string& since);

  /// An event of this topic has been given, or is gone. An ephemeral one has no cursor.
  void pass(const std::string& topic, const std::string& cursor);

  void mark(const std::string& since);

  /// The members `from` and `cursors` of a `subscribe` operation.
  [[nodiscard]] std::string members() const;

private:
  struct place {
    std::string cursor;
    std::uint64_t marks = 0;
  };

  std::string from_;
  bool has_begun_ = false;
  std::map<std::string, place> topics_;
  std::uint64_t marks_ = 0;
};

}  // namespace callboard::client
