// Dead letters on their way to their topics. The topic knows a letter by its id, so that publishing
// it again is harmless; but not for ever: one that an earlier activation may have published is
// looked for in the topic's history, when that was longer ago than the topic remembers ids.
#include "actors/absence.hpp"
#include "actors/groups_actor.hpp"
#include "actors/router.hpp"
#include "base/log.hpp"
#include "runtime/group/dead_letter.hpp"

#include <spdlog/spdlog.h>

#include <utility>

namespace callboard::actors {

namespace {

using namespace std::chrono_literals;

/// A dead letter whose answer was lost is published again.
constexpr boot_time letter_patience = 60s;
/// Shards do not share their time: what was published cannot seem older than this before it died.
constexpr auto skew_max = 10s;
constexpr std::uint32_t page_events = 1000;

/// It cannot have been published before.
time_ms last_delivered(const runtime::dead_letter& letter) {
  return letter.history.empty() ? letter.event.time : letter.history.back().delivered;
}

}  // namespace

void groups_actor::publish_letters(group_topic& topic, const group_name& name, group_slot& slot) {
  for (const auto& letter : slot.unit->core.take_dead_letters()) {
    const auto seq = letter.event.seq;
    auto event = runtime::make_dead_letter(letter, {topic.ref, topic.epoch, name});
    if (!event) {
      log::channel("actors")->error("dead letter: {}", event.error().detail);
      slot.unit->core.dead_letter_failed(seq, now());
      continue;
    }
    letter_in_flight sent;
    sent.topic = topic.ref;
    sent.group = name;
    sent.unit = slot.unit->number;
    sent.seq = seq;
    sent.target = {
        topic.ref.tenant,
        runtime::dead_letter_topic(topic.ref.topic, name, slot.row.settings.dead_letter_topic)};
    sent.event = *std::move(event);
    sent.died = last_delivered(letter);
    if (letter.is_restored) {
      const auto target = sent.target;
      look_for_letter(std::move(sent), get_topic{target});
    } else {
      publish_letter(std::move(sent));
    }
  }
}

void groups_actor::publish_letter(letter_in_flight letter) {
  correlations_ = correlations_.next();
  publish_batch batch;
  batch.topic = letter.target;
  publish_request request;
  request.correlation = correlations_;
  request.events.push_back(letter.event);
  batch.requests.push_back(std::move(request));
  auto sent = parts_.router->publish(std::move(batch), caf::actor_cast<caf::actor>(this));
  note_letter(std::move(letter), sent);
}

void groups_actor::look_for_letter(letter_in_flight letter, control_body ask) {
  correlations_ = correlations_.next();
  auto sent =
      parts_.router->control({correlations_, std::move(ask)}, caf::actor_cast<caf::actor>(this));
  note_letter(std::move(letter), sent);
}

/// `sent`: the question with the correlation that was given out last.
void groups_actor::note_letter(letter_in_flight letter, const result<void>& sent) {
  if (!sent) return fail_letter(letter);
  letter.deadline = boot() + letter_patience;
  letters_.emplace(correlations_, std::move(letter));
  arm_tick();
}

void groups_actor::fail_letter(const letter_in_flight& letter) {
  auto* unit = find_unit(letter.topic, letter.group, letter.unit);
  if (unit != nullptr) unit->core.dead_letter_failed(letter.seq, now());
}

void groups_actor::keep_letter(const letter_in_flight& letter, const error& why) {
  log::channel("actors")->warn(
      "event {} of topic {} waits for its dead-letter topic: {}",
      letter.seq.raw(),
      letter.topic.topic.str(),
      why.detail);
  fail_letter(letter);
}

void groups_actor::end_letter(const letter_in_flight& letter) {
  auto* unit = find_unit(letter.topic, letter.group, letter.unit);
  if (unit == nullptr) return;
  unit->core.dead_letter_published(letter.seq);
  pump(*find_topic(letter.topic), letter.group);
}

void groups_actor::on_letter_found(const control_reply& reply) {
  auto node = letters_.extract(reply.correlation);
  if (!node) return;
  auto letter = std::move(node.mapped());
  if (find_unit(letter.topic, letter.group, letter.unit) == nullptr) return;
  const auto look_from = [&](runtime::position from) {
    read_events page{.topic = letter.target, .from = std::move(from), .events_max = page_events};
    look_for_letter(std::move(letter), std::move(page));
  };
  if (!reply.outcome) {
    const auto& why = reply.outcome.error();
    if (is_not_there(why.code)) return publish_letter(std::move(letter));
    return keep_letter(letter, why);
  }
  if (const auto* topic = std::get_if<topic_description>(&*reply.outcome)) {
    const std::chrono::seconds window{topic->settings.dedupe_window_s};
    if (window > shard_time() - letter.died + skew_max) return publish_letter(std::move(letter));
    return look_from(runtime::from_time{letter.died - skew_max});
  }
  const auto* page = std::get_if<event_page>(&*reply.outcome);
  if (page == nullptr) return fail_letter(letter);
  const auto identity = letter.event.identity();
  for (const auto& one : page->batch->events) {
    if (runtime::encoded_event{one.stored}.identity() == identity) return end_letter(letter);
  }
  if (page->next_from > page->last_seq) return publish_letter(std::move(letter));
  look_from(runtime::from_seq{page->next_from});
}

void groups_actor::on_letters(const publish_replies& replies) {
  for (const auto& reply : replies.replies) {
    const auto node = letters_.extract(reply.correlation);
    if (!node) continue;
    const auto& letter = node.mapped();
    // A conflict means that it was published by an activation that knew less of its history.
    if (reply.outcome || reply.outcome.error().code == errc::id_conflict) {
      if (find_unit(letter.topic, letter.group, letter.unit) != nullptr) dead_letters_.Increment();
      end_letter(letter);
      continue;
    }
    keep_letter(letter, reply.outcome.error());
  }
}

void groups_actor::expire_letters() {
  std::erase_if(letters_, [this](const auto& entry) {
    if (entry.second.deadline > boot()) return false;
    fail_letter(entry.second);
    return true;
  });
}

}  // namespace callboard::actors
