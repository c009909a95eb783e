// A topic core with a journal made of nothing but two lists, moved by hand.
#pragma once

#include "runtime/topic/topic_core.hpp"

#include <deque>
#include <map>
#include <string>
#include <vector>

namespace callboard::testing {

inline runtime::encoded_event make_event(const std::string& id, const std::string& content = "c") {
  std::string stored(runtime::event_prefix_size, '\0');
  runtime::write_event_prefix(stored.data(), event_identity("s", id), hash_64(content));
  stored += content;
  return {shared_bytes{std::move(stored)}};
}

/// What a publish of these ids looks like.
inline runtime::publish_request
make_request(std::uint64_t correlation, const std::vector<std::string>& ids) {
  runtime::publish_request request{.correlation = correlation_id{correlation}};
  for (const auto& id : ids)
    request.events.push_back(make_event(id));
  return request;
}

/// Keeps what the core asks for until the test decides its fate.
class core_fixture {
public:
  explicit core_fixture(
      runtime::topic_settings settings = {}, const runtime::topic_limits& limits = {})
      : limits_{limits}, image_{make_image(settings)}, core{image_, limits} {}

  /// Publishes and takes note of the effects.
  void publish(runtime::publish_request request, std::uint64_t publisher = 1) {
    std::vector<runtime::publish_request> requests;
    requests.push_back(std::move(request));
    take(core.publish(runtime::publisher_key{publisher}, std::move(requests), now));
  }

  void take(runtime::topic_effects effects) {
    for (auto& one : effects.appends)
      pending.push_back(std::move(one));
    for (auto& one : effects.replies)
      replies.push_back(std::move(one));
    for (auto& one : effects.deliveries)
      deliveries.push_back(std::move(one));
    for (auto& one : effects.skips)
      skips.push_back(one);
    if (effects.candidates) asked = effects.candidates->seqs;
    if (effects.trim) plan = effects.trim;
    reload = reload || effects.reload;
  }

  /// Commits the oldest pending append.
  void commit() {
    const auto one = std::move(pending.front());
    pending.pop_front();
    for (const auto& record : one.records) {
      if (record.kind == storage::record_kind::event) {
        stored.push_back({record.entity_seq, now, record.payload});
      }
    }
    take(core.committed(one.key, now));
  }

  void commit_all() {
    while (!pending.empty())
      commit();
  }

  /// Fails the oldest pending append and cancels all behind it.
  void fail(errc code = errc::outcome_unknown) {
    const auto one = std::move(pending.front());
    pending.clear();
    take(core.failed(one.key, {code, "injected", 0}));
  }

  /// A new core from what was stored, as the shard makes it.
  void restart() {
    pending.clear();
    image_.last_seq = stored.empty() ? sequence{} : stored.back().seq;
    image_.stored_bytes = 0;
    for (const auto& one : stored)
      image_.stored_bytes += one.stored.size();
    core = runtime::topic_core{image_, limits_};
    for (const auto& row : rows())
      core.remember(row);
    reload = false;
  }

  [[nodiscard]] std::vector<runtime::window_row> rows() const {
    std::vector<runtime::window_row> all;
    for (const auto& one : stored) {
      const runtime::encoded_event event{one.stored};
      all.push_back({event.identity(), event.content(), one.seq, one.time});
    }
    return all;
  }

  /// Answers what the core asked to be read.
  void answer_candidates() {
    std::vector<runtime::window_row> found;
    for (const auto& row : rows()) {
      for (const auto seq : asked) {
        if (row.seq == seq) found.push_back(row);
      }
    }
    asked.clear();
    take(core.candidates_read(std::move(found), now));
  }

private:
  static runtime::topic_image make_image(const runtime::topic_settings& settings) {
    runtime::topic_image image;
    image.name = {tenant_name::parse("acme").value(), topic_name::parse("events").value()};
    image.entity = entity_id{7};
    image.epoch = runtime::format_epoch(image.entity, incarnation_id{1});
    image.settings = settings;
    return image;
  }

  runtime::topic_limits limits_;
  runtime::topic_image image_;

public:
  runtime::topic_core core;
  time_ms now{std::chrono::milliseconds{1'700'000'000'000}};
  std::deque<runtime::topic_effects::append> pending;
  std::vector<runtime::topic_effects::reply> replies;
  std::vector<runtime::topic_effects::delivery> deliveries;
  std::vector<runtime::topic_effects::skip> skips;
  std::vector<sequence> asked;
  std::optional<runtime::topic_effects::plan_trim> plan;
  std::vector<runtime::delivered_event> stored;
  bool reload = false;
};

}  // namespace callboard::testing
