// One subscription to all topics of a tenant that match a pattern, those there are and those to
// come. No CAF; I/O thread only.
//
// However many topics match, it follows at most `topics_max` at a time: those that have something
// for it. One that has been quiet for a while after everything was sent is let go; its next event
// is told (`topic_active`), and it goes on exactly there. Topics beyond the bound wait for their
// turn, which costs no stored event, as each has its place: those that rest go at once then.
#pragma once

#include "actors/relay_messages.hpp"
#include "actors/requests.hpp"
#include "actors/topic_subscription.hpp"
#include "base/ids.hpp"
#include "runtime/subscription/subscription_core.hpp"

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace callboard::actors {

class pattern_subscription;

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

  /// A subscription is about to go that has had everything: the next event is told by `on_active`.
  virtual void let_go(const topic_ref& topic) = 0;

  /// `on_active` follows for all topics that are active now, and once more for their next events.
  virtual void ask_again(const pattern_subscription& one) = 0;
};

/// Also told of the pattern as a whole.
class pattern_output : public subscription_output {
public:
  /// It has begun. From now: `cursors` names up to `pattern_topics_max` of the topics there are,
  /// and `complete` says whether that is all. Else `cursors` are those that the client came with.
  /// Resuming with them misses nothing, if they are complete.
  virtual void
  pattern_started(const std::map<std::string, runtime::cursor>& cursors, bool complete) = 0;

  /// Nothing waits: everything that was heard of has been sent. Again and again.
  virtual void pattern_settled() = 0;

  /// It could not begin, or a topic could not be taken in: it is over, or goes on without `topic`.
  virtual void pattern_failed(const error& why) = 0;
  virtual void topic_left_out(const std::string& topic, const error& why) = 0;
};

/// Where to begin in the topics there are. Topics made later are delivered from seq 1.
struct pattern_start {
  /// now, first or a time; not a seq or a cursor, which belong to one topic.
  runtime::position from = runtime::from_now{};
  /// Resume: topics in here go on after their cursor, others at `from`, of which `now` means their
  /// first event.
  std::map<std::string, runtime::cursor> cursors;
};

/// Made by a hub. Bounds: `topics_max` topics at a time, and ten times as many that wait, that are
/// heard of before the list is complete, or that are let go until then.
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

  /// Topics that it follows now.
  [[nodiscard]] std::size_t topic_count() const { return topics_.size(); }

  /// Channels of runs are matched only by patterns that name them first.
  [[nodiscard]] bool wants_run_channels() const;

  // Calls of the hub.

  /// The list is complete, or will never be.
  [[nodiscard]] bool is_ready() const { return ready_ || failed_; }

  /// For another page of topics.
  [[nodiscard]] bool has_room() const { return waiting_.size() < topics_max_; }

  /// The name after which listing begins, and whether it can end at `topic`.
  [[nodiscard]] std::string list_after() const;
  [[nodiscard]] bool list_ends_before(const std::string& topic) const;

  /// The page that follows does not name all that it should.
  void on_shards_left_out() { lacks_shards_ = true; }

  /// One page of topics; `last` with the last one.
  void on_listed(const std::vector<topic_description>& topics, bool last);
  void on_list_failed(const error& why);
  void on_active(const topic_active& active);
  /// Lets go of topics that are quiet or were deleted, for those that wait.
  void on_tick(boot_time now);

  /// Called by the destructor; set by the hub.
  std::function<void()> on_end;

private:
  /// Where a topic goes on, and whether it was told that it waits for the topic itself.
  struct turn {
    runtime::position from;
    news_age news = news_age::old;
    /// Of the news, if they have one.
    std::uint64_t number = 0;
    bool is_told = false;
  };

  /// One that is followed.
  struct followed {
    std::unique_ptr<topic_subscription> subscription;
    turn place;
    std::uint64_t offered = 0;
    boot_time quiet_since{};
    std::optional<boot_time> asked;

    /// Everything was sent, and nothing came since the tick before.
    [[nodiscard]] bool is_quiet(boot_time now);

    /// Nobody has answered for a while: its shard cannot be read.
    [[nodiscard]] bool is_silent(boot_time now);
  };

  [[nodiscard]] bool matches(const std::string& topic) const;
  void list_for_now(const std::vector<topic_description>& topics);
  void list_to_replay(const std::vector<topic_description>& topics);
  void finish_list();
  /// Of a replay: where topics begin that it has no cursor of.
  [[nodiscard]] runtime::position begin_of_new() const;
  /// Follows it, or lets it wait for its turn.
  void adopt(const std::string& topic, turn place);
  void follow(const std::string& topic, turn place);
  void leave_out(const std::string& topic, runtime::cursor at, const error& why);
  void wait_for_turn(const std::string& topic, turn place);
  void say_silent(const std::string& topic, turn& place);
  /// The list is not complete, and this topic of it is let go.
  void note_sent(const topic_subscription& one);

  pattern_source* source_;
  tenant_name tenant_;
  topic_pattern pattern_;
  pattern_output* output_;
  runtime::slow_policy policy_;
  runtime::credit_account* credits_;
  /// Cursors of topics that have not been listed.
  pattern_start start_;
  bool is_now_;
  std::uint32_t topics_max_;
  std::string literal_;

  /// Where topics that have had nothing for us yet go on.
  std::map<std::string, runtime::cursor> places_;
  bool begun_ = false;
  bool complete_ = true;
  bool ready_ = false;
  bool failed_ = false;
  /// How far some topics are is to be asked for again.
  bool left_out_ = false;
  bool lacks_shards_ = false;
  /// A topic could not be read: not everything has been sent, nor will be.
  bool lacks_some_ = false;
  /// Heard of before the list was complete.
  std::unordered_map<std::string, topic_active> held_;
  /// Let go before the list was complete: up to where each was sent. Later on news say that.
  std::unordered_map<std::string, runtime::cursor> sent_;
  /// There was no room in `sent_` for some of the topics up to `listed_to_`.
  bool lacks_sent_ = false;
  std::string listed_to_;
  std::unordered_map<std::string, followed> topics_;
  /// In this order.
  std::deque<std::string> turns_;
  std::unordered_map<std::string, turn> waiting_;
};

}  // namespace callboard::actors
