#include "actors/group_backlogs.hpp"

#include <algorithm>
#include <string>

namespace callboard::actors {

group_backlogs::group_backlogs(metrics& counters, shard_id shard) {
  for (std::size_t i = 0; i < kinds; ++i) {
    const std::string kind = i == 0 ? "group" : "binding";
    events_[i] = &counters.gauge(
        "group_backlog_events",
        "events that consumer groups, or bindings, have not acked, in all groups together",
        {{"kind", kind}});
    ages_[i] = &counters.gauge(
        "group_oldest_unacked_age_seconds",
        "how old the oldest event of the shard is that a consumer group, or a binding, has not "
        "acked",
        {{"kind", kind}, {"shard", std::to_string(shard.raw())}});
  }
}

group_backlogs::~group_backlogs() {
  begin();
  report({});
}

void group_backlogs::begin() {
  sums_ = {};
}

void group_backlogs::add(bool is_binding, const group_backlog& of) {
  auto& to = sums_[is_binding ? 1 : 0];
  to.events += of.events;
  if (of.oldest && (!to.oldest || *of.oldest < *to.oldest)) to.oldest = of.oldest;
}

void group_backlogs::report(time_ms now) {
  for (std::size_t i = 0; i < kinds; ++i) {
    const auto events = static_cast<double>(sums_[i].events);
    events_[i]->Increment(events - reported_[i]);
    reported_[i] = events;
    const auto age = sums_[i].oldest ? std::max(now - *sums_[i].oldest, std::chrono::milliseconds{})
                                     : std::chrono::milliseconds{};
    ages_[i]->Set(std::chrono::duration<double>(age).count());
  }
}

}  // namespace callboard::actors
