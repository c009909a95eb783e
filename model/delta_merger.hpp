// The pieces of a streamed answer, put together.
#pragma once

#include "model/failure.hpp"
#include "model/settings.hpp"
#include "model/split_pairs.hpp"

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include <cstddef>
#include <cstdint>
#include <expected>
#include <map>
#include <string>
#include <string_view>
#include <utility>

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

  /// What the text still lacked when its last chunk had come.
  [[nodiscard]] std::string end_text();

  /// True once a choice came: an answer without one is none.
  [[nodiscard]] bool has_choice() const { return has_choice_; }

  /// The answer; tool calls in the order of their indexes, those of one index in the order of their
  /// beginnings. Content that the provider's filter cut
  /// is a permanent failure.
  [[nodiscard]] std::expected<chat_result, failure> finish();

private:
  using failed = std::unexpected<failure>;

  /// What a message is of its answer.
  enum class part : std::uint8_t { piece, whole };

  /// Whether JSON text that came in pieces may end here: no text, object or array is open.
  class json_end {
  public:
    void pass(std::string_view text);

    [[nodiscard]] bool is_here() const { return depth_ <= 0 && !in_text_; }

    [[nodiscard]] bool has_begun() const { return has_begun_; }

  private:
    bool has_begun_ = false;
    std::int64_t depth_ = 0;
    bool in_text_ = false;
    bool escaped_ = false;
  };

  struct growing_call {
    tool_call call;
    pair_joiner arguments;
    json_end arguments_end;
  };

  /// Index, and which of the calls that came under it.
  using call_place = std::pair<std::uint64_t, std::uint32_t>;

  [[nodiscard]] std::expected<std::string, failure>
  add_choices(const boost::json::object& from, part what);
  [[nodiscard]] std::expected<std::string, failure>
  add_message(const boost::json::object& message, part what);
  [[nodiscard]] std::expected<void, failure>
  add_tool_calls(const boost::json::array& pieces, part what);
  [[nodiscard]] std::expected<void, failure>
  add_tool_call(const boost::json::object& piece, call_place to);
  /// Of the call that a piece belongs to; `at`: its place among the pieces of its chunk.
  [[nodiscard]] call_place place_of(const boost::json::object& piece, std::size_t at) const;
  /// Of the call that began last under `index`, or that would be the first.
  [[nodiscard]] call_place last_of(std::uint64_t index) const;
  [[nodiscard]] std::expected<void, failure> append(std::string& to, std::string_view text);
  /// The same through `joiner`; what it adds.
  [[nodiscard]] std::expected<std::string, failure>
  append(std::string& to, pair_joiner& joiner, std::string_view text);
  void note_usage(const boost::json::object& usage);

  answer_limits limits_;
  chat_result result_;
  pair_joiner text_;
  pair_joiner refusal_;
  std::map<call_place, growing_call> tool_calls_;
  /// Where the last piece went.
  call_place last_place_{};
  std::uint64_t size_ = 0;
  bool has_choice_ = false;
};

/// A whole answer out of the body of a response. Failures: the error it holds, or retryable if it
/// is not what the protocol says.
[[nodiscard]] chat_outcome
parse_answer(std::string_view body, const answer_limits& limits, std::string_view secret);

}  // namespace callboard::model
