#include "runtime/subscription/subscription_core.hpp"

#include <algorithm>
#include <variant>

namespace callboard::runtime {

std::optional<slow_policy> slow_policy_named(std::string_view name) {
  if (name == "lag") return slow_policy::lag;
  if (name == "latest") return slow_policy::latest;
  if (name == "drop") return slow_policy::drop;
  if (name == "disconnect") return slow_policy::disconnect;
  return std::nullopt;
}

std::string_view name_of(loss reason) {
  switch (reason) {
  case loss::none:
    return "none";
  case loss::trimmed:
    return "trimmed";
  case loss::epoch_changed:
    return "epoch_changed";
  case loss::cursor_ahead:
    return "cursor_ahead";
  case loss::topic_missing:
    return "topic_missing";
  case loss::no_history:
    return "no_history";
  }
  return "none";
}

start_outcome subscription_core::start_at(sequence next, const topic_head& head, loss reason) {
  next_ = next;
  owes_caught_up_ = is_behind();
  return {reason, std::max(head.first_seq, sequence{1}), sequence{next.raw() - 1}};
}

start_outcome subscription_core::start_at_cursor(const cursor& at, const topic_head& head) {
  const auto first = std::max(head.first_seq, sequence{1});
  if (at.epoch == epoch_of_nothing) {
    return start_at(first, head, first > sequence{1} ? loss::trimmed : loss::none);
  }
  if (!head.exists) return start_at(sequence{1}, head, loss::topic_missing);
  if (at.epoch != head.epoch) {
    if (head.ephemeral) return start_at(head.last_seq.next(), head, loss::epoch_changed);
    return start_at(first, head, loss::epoch_changed);
  }
  if (head.ephemeral) return start_at(head.last_seq.next(), head, loss::no_history);
  if (at.seq > head.last_seq) return start_at(head.last_seq.next(), head, loss::cursor_ahead);
  if (at.seq.next() < first) return start_at(first, head, loss::trimmed);
  return start_at(at.seq.next(), head, loss::none);
}

start_outcome subscription_core::start(const position& from, const topic_head& head) {
  head_ = head.last_seq;
  if (const auto* at = std::get_if<after_cursor>(&from)) return start_at_cursor(at->cursor, head);
  const auto first = std::max(head.first_seq, sequence{1});
  const auto end = head.last_seq.next();
  if (const auto* at = std::get_if<from_seq>(&from)) {
    const auto asked = std::max(at->seq, sequence{1});
    if (head.ephemeral) {
      return start_at(std::max(asked, end), head, asked < end ? loss::no_history : loss::none);
    }
    if (asked < first) return start_at(first, head, loss::trimmed);
    return start_at(asked, head, loss::none);
  }
  if (std::holds_alternative<from_now>(from) || head.ephemeral || !head.exists) {
    return start_at(end, head, loss::none);
  }
  lenient_ = true;
  if (std::holds_alternative<from_time>(from) && head.last_seq >= first) searching_ = true;
  if (std::holds_alternative<from_time>(from) && !searching_)
    return start_at(end, head, loss::none);
  return start_at(first, head, loss::none);
}

std::optional<seq_gap> subscription_core::restart(const topic_head& head) {
  std::optional<seq_gap> gap;
  if (!searching_ && next_ <= head_) gap = seq_gap{next_, head_};
  next_ = head.ephemeral ? head.last_seq.next() : std::max(head.first_seq, sequence{1});
  head_ = head.last_seq;
  searching_ = false;
  lenient_ = false;
  coalesce_ = false;
  return gap;
}

portion subscription_core::offer(sequence first, std::uint32_t count) {
  const bool was_behind = is_behind();
  const auto last = sequence{first.raw() + count - 1};
  const auto head_before = head_;
  head_ = std::max(head_, last);
  if (was_behind || next_ > last) return {};
  // A batch that does not join on to what came before must be read, not sent.
  if (first > head_before.next()) return {};
  const auto skip = next_ > first ? static_cast<std::uint32_t>(next_.raw() - first.raw()) : 0;
  return {skip, credits_->allowed(count - skip)};
}

void subscription_core::skipped(sequence last) {
  head_ = std::max(head_, last);
}

subscription_core::page_plan subscription_core::page(sequence first, std::uint32_t count) {
  page_plan plan;
  if (searching_) {
    searching_ = false;
    next_ = first;
  }
  if (first > next_) {
    if (!lenient_) plan.gap = seq_gap{next_, sequence{first.raw() - 1}};
    next_ = first;
  }
  lenient_ = false;
  if (next_.raw() >= first.raw() + count) return plan;
  plan.send.skip = static_cast<std::uint32_t>(next_.raw() - first.raw());
  plan.send.count = credits_->allowed(count - plan.send.skip);
  return plan;
}

subscription_core::empty_plan
subscription_core::empty_page(sequence first_seq, sequence next_from) {
  empty_plan plan;
  if (searching_) {
    searching_ = false;
    next_ = std::max(next_from, sequence{1});
    plan.tell = after_progress();
    return plan;
  }
  if (first_seq > next_) {
    if (!lenient_) plan.gap = seq_gap{next_, sequence{first_seq.raw() - 1}};
    lenient_ = false;
    next_ = first_seq;
    plan.tell = after_progress();
    return plan;
  }
  plan.retry_later = is_behind();
  return plan;
}

advice subscription_core::after_progress() {
  advice tell;
  if (is_behind() || !owes_caught_up_) return tell;
  owes_caught_up_ = false;
  told_lagging_ = false;
  tell.tell_caught_up = true;
  return tell;
}

advice subscription_core::sent(portion planned, std::uint32_t count) {
  credits_->take(count);
  next_ = next_.plus(count);
  if (count != 0) lenient_ = false;
  if (count == planned.count) return after_progress();

  advice tell;
  switch (policy_) {
  case slow_policy::disconnect:
    // Whoever resumes after being closed must get to the end: replay may fill the output, as below.
    tell.disconnect = !owes_caught_up_;
    break;
  case slow_policy::latest:
    coalesce_ = true;
    break;
  case slow_policy::lag:
  case slow_policy::drop:
    // While a client replays history on its own wish, a full output is the normal pace.
    if (!owes_caught_up_) {
      owes_caught_up_ = true;
      told_lagging_ = true;
      tell.tell_lagging = true;
    }
    break;
  }
  return tell;
}

std::optional<sequence> subscription_core::wanted() {
  if (!is_behind() || credits_->allowed(1) == 0) return std::nullopt;
  if (coalesce_ && !searching_) {
    coalesce_ = false;
    next_ = std::max(next_, head_);
  }
  return next_;
}

}  // namespace callboard::runtime
