// The pieces of a streamed answer, put together.
#pragma once

#include "model/failure.hpp"
#include "model/settings.hpp"

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include <cstddef>
#include <cstdint>
#include <expected>
#include <map>
#include <string>
#include <string_view>

namespace callboard::model {

/// Takes `chat.completion.chunk` objects in their order. Only the choice with index 0 counts, since
/// no more are asked for. Bounded by the limits; what is above them fails the answer.
class delta_merger {
public:
  explicit delta_merger(const answer_limits& limits) : limits_{limits} {}

  /// The text that this chunk adds; may be empty.
  [[nodiscard]] std::expected<std::string, failure> add(const boost::json::object& chunk);

  /// The same for an answer that came whole (`chat.completion`).
  [[nodiscard]] std::expected<std::string, failure> add_whole(const boost::json::object& answer);

  /// True once a choice came: an answer without one is none.
  [[nodiscard]] bool has_choice() const { return has_choice_; }

  /// The answer; tool calls in the order of their indexes. Content that the provider's filter cut
  /// is a permanent failure.
  [[nodiscard]] std::expected<chat_result, failure> finish();

private:
  using failed = std::unexpected<failure>;

  [[nodiscard]] std::expected<std::string, failure>
  add_choices(const boost::json::object& from, std::string_view member);
  [[nodiscard]] std::expected<std::string, failure> add_message(const boost::json::object& message);
  [[nodiscard]] std::expected<void, failure> add_tool_calls(const boost::json::array& pieces);
  [[nodiscard]] std::expected<void, failure>
  add_tool_call(const boost::json::object& piece, std::size_t at);
  [[nodiscard]] std::expected<void, failure> append(std::string& to, std::string_view text);
  void note_usage(const boost::json::object& usage);

  answer_limits limits_;
  chat_result result_;
  std::map<std::uint32_t, tool_call> tool_calls_;
  std::uint32_t last_tool_call_ = 0;
  std::uint64_t size_ = 0;
  bool has_choice_ = false;
};

/// A whole answer out of the body of a response. Failures: the error it holds, or retryable if it
/// is not what the protocol says.
[[nodiscard]] chat_outcome
parse_answer(std::string_view body, const answer_limits& limits, std::string_view secret);

}  // namespace callboard::model
