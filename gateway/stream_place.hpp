// Where the event stream of a pattern stands, as the text of its `id:`. An EventSource gives back
// one id when it reconnects, so that each id must speak for all topics.
#pragma once

#include "base/error.hpp"
#include "base/ids.hpp"
#include "base/names.hpp"
#include "runtime/topic/position.hpp"

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace callboard::gateway {

/// "<topic>/<epoch>:<seq>,…", the topic of the event that carries it first; "/" before there is any
/// topic. With more topics than fit into `size_max` bytes an id ends with "*" instead: whoever
/// resumes with it has missed events, as far as anybody can say.
class stream_place {
public:
  /// Half of what `limits.header_bytes_max` allows a request by default.
  static constexpr std::size_t size_max = 8U << 10;

  void set(const std::string& topic, std::string_view epoch, sequence seq);

  /// There are topics that are not known here.
  void lose_count() { lost_ = true; }

  [[nodiscard]] bool is_complete() const { return !lost_; }

  /// `first`: the topic to begin with; empty for none.
  [[nodiscard]] std::string text(const std::string& first = {}) const;

private:
  std::map<std::string, runtime::cursor> topics_;
  std::size_t size_ = 0;
  bool lost_ = false;
};

/// Where a stream goes on, as an id says. Topics that are not named begin with their first event.
struct resumed_place {
  std::map<std::string, runtime::cursor> cursors;
  /// The id does not name all topics.
  bool lost = false;
};

/// Errors: bad_request (not an id of a stream of `pattern`), too_large (more than `topics_max`).
[[nodiscard]] result<resumed_place>
parse_place(std::string_view id, const topic_pattern& pattern, std::size_t topics_max);

}  // namespace callboard::gateway
