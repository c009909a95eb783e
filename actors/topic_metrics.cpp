#include "actors/topic_metrics.hpp"

#include <algorithm>
#include <string>

namespace callboard::actors {

namespace {

prometheus::Counter& refusals(metrics& counters, std::string_view reason) {
  return counters.counter(
      "publish_refused_total", "Publishes refused, by reason.", {{"reason", std::string{reason}}});
}

}  // namespace

topic_metrics::topic_metrics(metrics& counters)
    : published{counters.counter("published_events_total", "Events given a seq.")},
      published_bytes{counters.counter("published_bytes_total", "Stored bytes of these events.")},
      duplicates{
          counters.counter("duplicate_events_total", "Events answered with an earlier seq.")},
      trimmed{counters.counter("trimmed_events_total", "Events let go by retention.")},
      publish_to_durable{counters.histogram(
          "publish_to_durable_seconds",
          "From admission of a batch to its commit.",
          metrics::latency_bounds())},
      active{counters.gauge("topics_active", "Topics in memory.")},
      runs{counters},
      refused_other_{refusals(counters, "other")} {
  constexpr std::array reasons{
      errc::overloaded,
      errc::sequence_conflict,
      errc::id_conflict,
      errc::held_by_group,
      errc::storage_full,
      errc::outcome_unknown,
      errc::not_enough_replicas,
      errc::quarantined,
      errc::draining};
  static_assert(reasons.size() == std::tuple_size_v<decltype(refused_)>);
  for (std::size_t i = 0; i < reasons.size(); ++i) {
    refused_[i] = {reasons[i], &refusals(counters, name_of(reasons[i]))};
  }
}

void topic_metrics::answered(const publish_reply& reply) {
  if (!reply.outcome) return refused(reply.outcome.error().code);
  const auto repeated =
      std::ranges::count(reply.outcome->events, true, &runtime::publish_outcome::each::duplicate);
  if (repeated != 0) duplicates.Increment(static_cast<double>(repeated));
}

void topic_metrics::count_trim(sequence first, sequence up_to) {
  if (up_to < first) return;
  trimmed.Increment(static_cast<double>(up_to.next().distance_from(first)));
}

void topic_metrics::refused(errc reason, std::uint64_t count) {
  for (const auto& one : refused_) {
    if (one.reason == reason) return one.counter->Increment(static_cast<double>(count));
  }
  refused_other_.Increment(static_cast<double>(count));
}

}  // namespace callboard::actors
