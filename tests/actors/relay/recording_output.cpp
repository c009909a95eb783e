#include "tests/actors/relay/recording_output.hpp"

#include <algorithm>

namespace callboard::testing {

void recording_output::started(
    actors::topic_subscription& which,
    const runtime::start_outcome& outcome,
    const runtime::topic_head& head) {
  lines.push_back(
      "started " + (name_topics ? which.topic().topic.str() + ' ' : std::string{}) + head.epoch
      + ':' + std::to_string(outcome.after.raw())
      + (outcome.recovered() ? "" : " " + std::string{name_of(outcome.reason)}));
}

std::uint32_t recording_output::write(
    actors::topic_subscription& which,
    actors::offered_batch& batch,
    runtime::portion planned,
    actors::delivery_mode) {
  const auto taken = std::min(planned.count, room);
  if (room != UINT32_MAX) room -= taken;
  for (std::uint32_t i = 0; i < taken; ++i) {
    const auto& event = batch.batch->events[planned.skip + i];
    lines.push_back(
        (name_topics ? which.topic().topic.str() + ' ' : std::string{})
        + (batch.batch->ephemeral ? "ephemeral " + std::string{event.stored.view()}
                                  : batch.batch->epoch + ':' + std::to_string(event.seq.raw())));
  }
  batches.push_back(&batch);
  return taken;
}

void recording_output::lagging(
    actors::topic_subscription&, std::uint64_t behind, std::uint64_t dropped) {
  lines.push_back("lagging " + std::to_string(behind) + ' ' + std::to_string(dropped));
}

void recording_output::caught_up(actors::topic_subscription&) {
  lines.emplace_back("caught_up");
}

void recording_output::gap(
    actors::topic_subscription&,
    runtime::loss reason,
    std::optional<runtime::seq_gap> gone,
    const runtime::topic_head&) {
  auto line = "gap " + std::string{name_of(reason)};
  if (gone) line += ' ' + std::to_string(gone->from.raw()) + '-' + std::to_string(gone->to.raw());
  lines.push_back(std::move(line));
}

void recording_output::failed(actors::topic_subscription&, const error& why) {
  lines.push_back("failed " + std::string{name_of(why.code)});
}

void recording_output::disconnect(actors::topic_subscription&) {
  lines.emplace_back("disconnect");
}

void recording_output::pattern_started(
    const std::map<std::string, runtime::cursor>& known, bool complete) {
  cursors = known;
  lines.emplace_back(complete ? "pattern started" : "pattern started in part");
}

void recording_output::pattern_failed(const error& why) {
  refused = why;
  lines.push_back("pattern failed " + std::string{name_of(why.code)});
}

void recording_output::topic_left_out(const std::string& topic, const error&) {
  lines.push_back("left out " + topic);
}

runtime::event_batch_ptr make_batch(
    const topic_ref& topic,
    std::string epoch,
    std::uint64_t first,
    std::uint64_t last,
    bool ephemeral) {
  auto batch = std::make_shared<runtime::event_batch>();
  batch->topic = topic;
  batch->epoch = std::move(epoch);
  batch->ephemeral = ephemeral;
  for (auto seq = first; seq <= last; ++seq) {
    batch->events.push_back(
        {ephemeral ? sequence{} : sequence{seq},
         time_ms{std::chrono::milliseconds{seq}},
         shared_bytes{std::to_string(seq)}});
  }
  return batch;
}

topic_ref topic_named(std::string topic) {
  return {tenant_name::trusted("acme"), topic_name::trusted(std::move(topic))};
}

}  // namespace callboard::testing
