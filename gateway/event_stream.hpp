// An event stream client (Server-Sent Events): one topic or pattern, events one way.
#pragma once

#include "actors/relay_hub.hpp"
#include "gateway/frame_cache.hpp"
#include "gateway/output_queue.hpp"
#include "gateway/sessions.hpp"
#include "gateway/stream_place.hpp"
#include "gateway/thread_state.hpp"

#include <array>
#include <memory>
#include <string>
#include <variant>

namespace callboard::gateway {

/// Where an event stream begins.
struct stream_start {
  runtime::position from = runtime::from_now{};
  /// Of a pattern.
  std::map<std::string, runtime::cursor> cursors;
  /// The id that was given cannot say where the stream was.
  bool lost = false;
};

/// Reads Last-Event-ID, `?cursor=` or `?from=`, in this order. A bare seq in Last-Event-ID or
/// `cursor` means after it; in `from` it is inclusive. Patterns' ids are those of `stream_place`.
/// Errors: bad_request, too_large.
[[nodiscard]] result<stream_start> parse_stream_start(
    const upgrade_request& request, const topic_pattern& pattern, std::size_t topics_max);

/// Lifecycle: headers and a comment at once; then events, and a comment every 15 quiet seconds.
/// What the client must know of the stream itself comes as events `callboard.gap`,
/// `callboard.lagging`, `callboard.caught_up`, `callboard.omitted` and `callboard.error`. Ends when
/// the client goes or takes nothing for long, the token expires, or the node drains (after a
/// `retry:` hint).
class event_stream final : public session,
                           public std::enable_shared_from_this<event_stream>,
                           private output_queue::listener,
                           private actors::pattern_output {
public:
  event_stream(
      connection_port& port,
      const session_environment& environment,
      std::unique_ptr<transport> stream,
      principal who,
      topic_pattern pattern);
  ~event_stream() override;

  /// Call once, when owned by a shared_ptr. `extra_headers` are whole lines.
  void begin(stream_start start, const std::string& extra_headers);

  void on_publish_replies(actors::publish_replies&) override {}

  void on_control_reply(actors::control_reply&) override {}

  void on_drain(std::chrono::milliseconds spread) override;
  void on_tick(boot_time now) override;
  void on_stop() override;

private:
  void read();
  void notice(std::string_view type, std::string_view data, std::string_view id = {});
  /// The same of one topic of a pattern. There may be any number of those, so that they need room;
  /// what is left out is counted and told together.
  void notice_of_topic(std::string_view type, std::string_view data, std::string_view id = {});
  /// Writes what is queued, then ends orderly.
  void finish();
  void end();

  void on_written() override;
  void on_write_failed(const boost::system::error_code& why) override;

  std::shared_ptr<void> keep_alive() override { return shared_from_this(); }

  void started(
      actors::topic_subscription& which,
      const runtime::start_outcome& outcome,
      const runtime::topic_head& head) override;
  std::uint32_t write(
      actors::topic_subscription& which,
      actors::offered_batch& batch,
      runtime::portion planned,
      actors::delivery_mode mode) override;
  void
  lagging(actors::topic_subscription& which, std::uint64_t behind, std::uint64_t dropped) override;
  void caught_up(actors::topic_subscription& which) override;
  void
  gap(actors::topic_subscription& which,
      runtime::loss reason,
      std::optional<runtime::seq_gap> gone,
      const runtime::topic_head& head) override;
  void failed(actors::topic_subscription& which, const error& why) override;

  void disconnect(actors::topic_subscription&) override {}

  void
  pattern_started(const std::map<std::string, runtime::cursor>& cursors, bool complete) override;

  void pattern_settled() override {}

  void pattern_failed(const error& why) override;
  void topic_left_out(const std::string& topic, const error& why) override;
  /// What `callboard.error` says.
  [[nodiscard]] static std::string text_of(const error& why, std::string_view topic);
  void tell_lost();

  std::uint32_t write_one_topic(actors::offered_batch& batch, runtime::portion planned);
  std::uint32_t write_pattern(actors::offered_batch& batch, runtime::portion planned);

  connection_port& port_;
  const session_environment& environment_;
  std::unique_ptr<transport> stream_;
  principal who_;
  topic_pattern pattern_;
  /// Of a pattern.
  stream_place place_;
  thread_state& state_;
  output_queue output_;
  runtime::credit_account credits_;
  std::unique_ptr<actors::topic_subscription> single_;
  std::unique_ptr<actors::pattern_subscription> many_;
  std::array<char, 64> ignored_;
  std::uint32_t lagging_topics_ = 0;
  /// Notices that were left out since the last one that says so.
  std::uint64_t omitted_ = 0;
  /// When the client took something, or owed nothing.
  boot_time taken_at_{};
  bool stalled_ = false;
  bool finishing_ = false;
  bool ended_ = false;
  bool quiet_ = true;
  bool failed_ = false;
  boot_time next_comment_{};
  boot_time drain_at_{};
  std::uint32_t drain_hint_ms_ = 0;
  boot_time finish_deadline_{};
  time_ms timed_event_{};
};

}  // namespace callboard::gateway
