// How one subscription stands in one topic: where it is, whether it is live or catching up, and
// what its client is told when it falls behind. Pure: what it may send comes in, what was sent
// comes back.
#pragma once

#include "base/ids.hpp"
#include "runtime/topic/position.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace callboard::runtime {

/// What happens when a client cannot take events as fast as they come. Durable events are only ever
/// passed over under `latest`.
enum class slow_policy : std::uint8_t {
  /// Falls behind, is told so, and catches up from the journal.
  lag,
  /// Goes on with the newest event once there is room.
  latest,
  /// Ephemeral events: the oldest waiting ones go, counted and told. Durable ones: as `lag`.
  drop,
  /// The connection ends; the client resumes by cursor, and is then served at its pace until it has
  /// caught up.
  disconnect,
};

[[nodiscard]] std::optional<slow_policy> slow_policy_named(std::string_view name);

/// Events a client still wants; shared by all topics of a pattern subscription.
struct credit_account {
  /// Nothing: unlimited.
  std::optional<std::uint64_t> left;

  [[nodiscard]] std::uint32_t allowed(std::uint32_t wanted) const {
    return left && *left < wanted ? static_cast<std::uint32_t>(*left) : wanted;
  }

  void take(std::uint32_t count) {
    if (left) *left -= count;
  }

  void add(std::uint64_t count) {
    if (left) *left = *left + count < count ? UINT64_MAX : *left + count;
  }
};

/// What is known of a topic when a subscription begins.
struct topic_head {
  bool exists = false;
  bool ephemeral = false;
  std::string epoch;
  sequence first_seq{};
  sequence last_seq{};
};

/// Why a client's position could not be honoured.
enum class loss : std::uint8_t {
  none,
  /// Retention took events that the client has not seen.
  trimmed,
  /// The topic was deleted and made again, or its history may have been cut.
  epoch_changed,
  /// The cursor names an event that this topic does not have (yet).
  cursor_ahead,
  /// There is no such topic (any more).
  topic_missing,
  /// An ephemeral topic keeps no events.
  no_history,
};

[[nodiscard]] std::string_view name_of(loss reason);

struct start_outcome {
  loss reason = loss::none;
  /// The first event that is still there.
  sequence first_available{};
  /// The client stands behind this one: the seq of the cursor it is told.
  sequence after{};

  [[nodiscard]] bool recovered() const { return reason == loss::none; }
};

/// A part of a run of consecutive events: leave out `skip`, then send `count`.
struct portion {
  std::uint32_t skip = 0;
  std::uint32_t count = 0;
};

/// Seqs that are gone for this client, both ends inclusive.
struct seq_gap {
  sequence from{};
  sequence to{};
};

/// What the client must be told after events were sent or could not be.
struct advice {
  bool tell_lagging = false;
  bool tell_caught_up = false;
  bool disconnect = false;
};

/// The epoch that cursors of a topic name before it was ever made.
inline constexpr std::string_view epoch_of_nothing = "0";

/// One subscription in one topic, from start to end.
///
/// Live events come through `offer`, history through `page`; both answer with the portion to send,
/// and `sent` must follow with how many of them the output took. It never repeats a seq, and never
/// passes one over without saying so (`seq_gap`, or by its policy `latest`).
class subscription_core {
public:
  /// `credits` outlives this.
  subscription_core(slow_policy policy, credit_account& credits)
      : policy_{policy}, credits_{&credits} {}

  /// Begins at `from`. Call once, first.
  start_outcome start(const position& from, const topic_head& head);

  /// The topic was made (again): begins at its seq 1. The gap is what is gone of the old one.
  std::optional<seq_gap> restart(const topic_head& head);

  /// Committed live events `first`..`first + count - 1` have come.
  [[nodiscard]] portion offer(sequence first, std::uint32_t count);

  /// Events up to `last` were committed and did not come here: they must be read.
  void skipped(sequence last);

  struct page_plan {
    portion send;
    std::optional<seq_gap> gap;
  };

  /// Events of history `first`..`first + count - 1`, in answer to `wanted`.
  [[nodiscard]] page_plan page(sequence first, std::uint32_t count);

  struct empty_plan {
    std::optional<seq_gap> gap;
    advice tell;
    /// Nothing changed; asking again at once would spin.
    bool retry_later = false;
  };

  /// A read found nothing: the topic's first event is `first_seq`, and a read from `next_from`
  /// would go on.
  [[nodiscard]] empty_plan empty_page(sequence first_seq, sequence next_from);

  /// The output took `count` events of `planned`.
  advice sent(portion planned, std::uint32_t count);

  /// The seq to read next, if it is behind and has credit. Under `latest`, jumps to the newest
  /// event first if the output was full.
  [[nodiscard]] std::optional<sequence> wanted();

  /// True while the position given to `start` is a time that must be looked up by a read.
  [[nodiscard]] bool is_searching() const { return searching_; }

  /// Ephemeral events go only to subscriptions that are caught up.
  [[nodiscard]] bool takes_ephemeral() const { return !is_behind(); }

  [[nodiscard]] bool is_behind() const { return searching_ || next_ <= head_; }

  /// True from `lagging` until `caught_up`.
  [[nodiscard]] bool is_lagging() const { return told_lagging_; }

  [[nodiscard]] sequence next() const { return next_; }

  [[nodiscard]] sequence head() const { return head_; }

  /// How many events the topic is ahead.
  [[nodiscard]] std::uint64_t behind_by() const {
    return next_ <= head_ ? head_.raw() - next_.raw() + 1 : 0;
  }

  [[nodiscard]] slow_policy policy() const { return policy_; }

  [[nodiscard]] credit_account& credits() const { return *credits_; }

private:
  start_outcome start_at_cursor(const cursor& at, const topic_head& head);
  start_outcome start_at(sequence next, const topic_head& head, loss reason);
  advice after_progress();

  slow_policy policy_;
  credit_account* credits_;
  /// The next seq the client gets; everything before was sent or told as gone.
  sequence next_{1};
  /// Everything up to here is committed; live events so far were all offered.
  sequence head_{};
  bool searching_ = false;
  /// The first page may begin later than asked without that being a gap (`first`, times).
  bool lenient_ = false;
  /// Told `lagging`, or began behind: a `caught_up` is due.
  bool owes_caught_up_ = false;
  bool told_lagging_ = false;
  /// `latest`: the output was full; go on with the newest.
  bool coalesce_ = false;
};

}  // namespace callboard::runtime
