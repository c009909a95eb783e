#include "actors/topic_answers.hpp"

#include <algorithm>

namespace callboard::actors {

topic_description describe(const runtime::topic_image& image) {
  return {
      .topic = image.name.topic.str(),
      .epoch = image.epoch,
      .settings = image.settings,
      .first_seq = image.first_seq,
      .last_seq = image.last_seq,
      .events = image.last_seq.raw() + 1 - image.first_seq.raw(),
      .bytes = image.stored_bytes};
}

topic_active news_of(const runtime::topic_image& image, bool is_quiet) {
  return {image.name, image.epoch, image.last_seq, is_quiet};
}

relay_attached attached_to(const runtime::topic_image& image, bool has_streams) {
  return {
      .topic = image.name,
      .exists = true,
      .ephemeral = image.settings.kind == runtime::topic_kind::ephemeral,
      .has_streams = has_streams,
      .epoch = image.epoch,
      .entity = image.entity,
      .first_seq = image.first_seq,
      .last_seq = image.last_seq};
}

result<runtime::topic_settings>
patch_settings(runtime::topic_settings settings, const topic_settings_patch& with) {
  if (with.kind && *with.kind != settings.kind) {
    return fail(
        errc::exists, "the kind of an existing topic cannot change; delete it and make it anew");
  }
  settings.lane = with.lane.value_or(settings.lane);
  settings.retention_age_s = with.retention_age_s.value_or(settings.retention_age_s);
  settings.retention_bytes = with.retention_bytes.value_or(settings.retention_bytes);
  settings.retention_events = with.retention_events.value_or(settings.retention_events);
  settings.dedupe_window_s = with.dedupe_window_s.value_or(settings.dedupe_window_s);
  settings.hold_for_groups = with.hold_for_groups.value_or(settings.hold_for_groups);
  return settings;
}

error told_to_client(const error& why) {
  // The conflict is the journal's own: one decision stood behind another that was not made.
  const bool was_not_made = why.code == errc::cancelled || why.code == errc::stale_term
                            || why.code == errc::sequence_conflict;
  if (!was_not_made) return why;
  return {
      errc::overloaded, "an earlier write of the shard failed, this one was not made; retry", 50};
}

std::uint64_t events_in(const std::vector<runtime::publish_request>& requests) {
  std::uint64_t count = 0;
  for (const auto& request : requests)
    count += request.events.size();
  return count;
}

bool is_beyond(const std::vector<runtime::publish_request>& requests, const events_bound& bound) {
  return std::ranges::any_of(
      requests, [&](const auto& one) { return one.events.size() > bound.events_max; });
}

publish_replies refusals_of(
    const std::vector<runtime::publish_request>& requests,
    const error& why,
    const events_bound& bound) {
  publish_replies all;
  for (const auto& request : requests) {
    const auto count = request.events.size();
    const bool never_fits = count > bound.events_max;
    all.replies.push_back(
        {request.correlation,
         std::unexpected{
             never_fits ? runtime::too_many_at_once(count, bound.events_max, bound.setting)
                        : why}});
  }
  return all;
}

}  // namespace callboard::actors
