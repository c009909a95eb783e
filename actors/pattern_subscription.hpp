// One subscription to all topics of a tenant that match a pattern, those there are and those to
// come. No CAF; I/O thread only.
#pragma once

#include "actors/relay_messages.hpp"
#include "actors/requests.hpp"
#include "actors/topic_subscription.hpp"
#include "runtime/subscription/subscription_core.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

namespace callboard::actors {

/// Where the topics of a pattern come from; implemented by the hub.
class pattern_source {
public:
  virtual ~pattern_source() = default;

  [[nodiscard]] virtual std::unique_ptr<topic_subscription> subscribe(
      const topic_ref& topic,
      subscription_output& output,
      runtime::slow_policy policy,
      runtime::credit_account& credits,
      runtime::position from) = 0;
};

/// Also told of the pattern as a whole.
class pattern_output : public subscription_output {
public:
  /// The existing topics are known. `cursors` names up to `pattern_topics_max` of them, `complete`
  /// says whether that is all; resuming with them misses nothing.
  virtual void
  pattern_started(const std::map<std::string, runtime::cursor>& cursors, bool complete) = 0;

  /// It could not begin, or a topic could not be taken in: it is over, or goes on without `topic`.
  virtual void pattern_failed(const error& why) = 0;
  virtual void topic_left_out(const std::string& topic, const error& why) = 0;
};

/// Where to begin in the topics there are. Topics made later are delivered from seq 1.
struct pattern_start {
  /// now, first or a time; not a seq or a cursor, which belong to one topic.
  runtime::position from = runtime::from_now{};
  /// Resume: topics in here go on after their cursor, others from their first event.
  std::map<std::string, runtime::cursor> cursors;
};

/// How a subscription hears of a topic: it became active now, or was heard of before the
/// subscription was made, so that only the list says where its news begin.
enum class topic_news : std::uint8_t { active_now, known_before };

/// Made by a hub. Bounds: `topics_max` topics, also while the list is awaited.
class pattern_subscription {
public:
  pattern_subscription(
      pattern_source& source,
      tenant_name tenant,
      topic_pattern pattern,
      pattern_output& output,
      runtime::slow_policy policy,
      runtime::credit_account& credits,
      pattern_start start,
      std::uint32_t topics_max);
  ~pattern_subscription();

  pattern_subscription(const pattern_subscription&) = delete;
  pattern_subscription& operator=(const pattern_subscription&) = delete;

  void resume();

  [[nodiscard]] const tenant_name& tenant() const { return tenant_; }

  [[nodiscard]] const topic_pattern& pattern() const { return pattern_; }

  [[nodiscard]] std::size_t topic_count() const { return topics_.size(); }

  /// Channels of runs are matched only by patterns that name them first.
  [[nodiscard]] bool wants_run_channels() const;

  // Calls of the hub.

  /// The list is complete, or will never be.
  [[nodiscard]] bool is_ready() const { return ready_ || failed_; }

  /// The name after which listing begins, and whether it can end at `topic`.
  [[nodiscard]] std::string list_after() const;
  [[nodiscard]] bool list_ends_before(const std::string& topic) const;
  /// One page of topics; `last` with the last one.
  void on_listed(const std::vector<topic_description>& topics, bool last);
  void on_list_failed(const error& why);
  void on_active(const topic_active& active, topic_news news);
  /// Lets go of topics that were deleted.
  void on_tick();

  /// Called by the destructor; set by the hub.
  std::function<void()> on_end;

private:
  [[nodiscard]] bool matches(const std::string& topic) const;
  [[nodiscard]] bool is_now() const;
  void take_in(const std::string& topic, runtime::position from);
  void finish_list();

  pattern_source* source_;
  tenant_name tenant_;
  topic_pattern pattern_;
  pattern_output* output_;
  runtime::slow_policy policy_;
  runtime::credit_account* credits_;
  pattern_start start_;
  std::uint32_t topics_max_;
  std::string literal_;

  std::map<std::string, runtime::cursor> listed_;
  bool complete_ = true;
  bool ready_ = false;
  bool failed_ = false;
  /// Became active before the list was complete.
  std::unordered_map<std::string, std::pair<topic_active, topic_news>> held_;
  std::unordered_map<std::string, std::unique_ptr<topic_subscription>> topics_;
};

}  // namespace callboard::actors
