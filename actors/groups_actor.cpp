#include "actors/groups_actor.hpp"

#include "actors/router.hpp"
#include "actors/topic_loading.hpp"
#include "base/log.hpp"
#include "runtime/binding/binding_names.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>

namespace callboard::actors {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t early_requests_max = 10'000;
constexpr boot_time attach_patience = 5s;
constexpr boot_time directory_retry_after = 1s;
constexpr boot_time delete_retry_after = 1s;
constexpr std::size_t deleted_at_once_max = 1000;

/// The topic that a request is about; nothing for requests of other families.
const topic_ref* topic_of(const control_body& body) {
  return std::visit(
      [](const auto& one) -> const topic_ref* {
        if constexpr (requires { one.group.topic; }) {
          return &one.group.topic;
        } else if constexpr (std::is_same_v<std::decay_t<decltype(one)>, list_groups>) {
          return &one.topic;
        } else {
          return nullptr;
        }
      },
      body);
}

/// The events with the keys of order that a binding gives them.
std::vector<runtime::loaded_event>
keyed_by(const runtime::binding_rule& rule, std::vector<runtime::loaded_event> events) {
  for (auto& one : events)
    one.subject = binding_key(rule, one.event);
  return events;
}

}  // namespace

groups_actor::groups_actor(
    caf::actor_config& config,
    shard_id shard,
    const broker_parts& parts,
    caf::actor parent,
    caf::actor bindings)
    : companion{config, shard, parts, std::move(parent)},
      bindings_{std::move(bindings)},
      backlogs_{parts.counters, shard},
      deliveries_{
          parts.counters.counter("group_deliveries_total", "events handed to group members")},
      redeliveries_{parts.counters.counter(
          "group_redeliveries_total", "of these, events that were delivered before")},
      acks_{parts.counters.counter("group_acks_total", "deliveries acked and durable")},
      dead_letters_{parts.counters.counter(
          "group_dead_letters_total", "events published to a dead-letter topic")},
      missed_{parts.counters.counter(
          "group_events_missed_total", "events that retention took before a group acked them")},
      clamped_{parts.counters.counter(
          "group_cursors_clamped_total", "groups found ahead of their topic and set back")} {}

caf::behavior groups_actor::make_behavior() {
  set_down_handler([this](const caf::down_msg& down) { on_topic_down(down.source); });
  return common_handlers().or_else(
      [this](const boxed<control_request>& request, const caf::actor& reply_to) {
        on_request({request->correlation, std::move(request->body), reply_to});
      },
      [this](const boxed<topic_active>& message) { on_topic_active(*message); },
      [this](const boxed<topic_gone>& message) { on_topic_gone(message->topic); },
      [this](const boxed<relay_attached>& message) { on_attached(*message); },
      [this](const boxed<deliver>& message) { on_deliver(*message); },
      [this](const boxed<relay_skipped>& message) { on_skipped(*message); },
      [this](const boxed<publish_replies>& replies) { on_letters(*replies); },
      [this](const boxed<control_reply>& reply) { on_letter_found(*reply); },
      [this](const boxed<group_gauges_tick>&) {
        gauges_armed_ = false;
        on_gauges_tick();
      });
}

void groups_actor::on_exit() {
  early_.clear();
  topics_.clear();
  bindings_ = nullptr;
  companion::on_exit();
}

void groups_actor::on_activated(bool first) {
  // Groups hold nothing that a failed append of somebody else could have taken from them.
  if (first) load_directory();
}

void groups_actor::load_directory() {
  read<group_directory>(
      reader_pool::lane::control,
      [](storage::shard_reader& reader) { return read_group_directory(reader); },
      [this](result<group_directory> found) { on_directory(std::move(found)); });
}

void groups_actor::on_directory(result<group_directory> found) {
  if (!found) {
    log::channel("actors")->error(
        "groups of shard {} cannot be read: {}", shard_.raw(), found.error().detail);
    directory_retry_ = boot() + directory_retry_after;
    arm_tick();
    return;
  }
  const auto gone = std::exchange(early_gone_, {});
  for (auto& [key, row] : found->groups) {
    // It may have been read before its topic was deleted; none was made since.
    if (gone.contains(key.topic)) {
      found->left_behind.emplace_back(std::move(key), std::move(row));
      continue;
    }
    auto& topic = topics_[key.topic];
    topic.ref = key.topic;
    auto& slot = topic.groups[key.group];
    slot.row = std::move(row);
    tell_binding(key.topic, key.group, &slot);
  }
  delete_left_behind(std::move(found->left_behind));
  ready_ = true;
  if (!topics_.empty()) on_gauges_tick();
  for (auto& [ref, message] : std::exchange(early_topics_, {})) {
    on_topic_active(message);
  }
  for (auto& request : std::exchange(early_, {})) {
    on_request(std::move(request));
  }
}

void groups_actor::on_request(pending_request request) {
  if (!ready_) {
    if (early_.size() >= early_requests_max) {
      return answer(request, fail(errc::overloaded, "the groups of the shard are being read", 500));
    }
    early_.push_back(std::move(request));
    return;
  }
  const auto* named = topic_of(request.body);
  if (named == nullptr) {
    return answer(request, fail(errc::internal, "this request is not about consumer groups"));
  }
  if (auto checked = check_request(request.body); !checked) {
    return answer(request, std::unexpected{checked.error()});
  }
  if (std::holds_alternative<leave_group>(request.body)) return leave(std::move(request));
  arm_gauges();
  const auto ref = *named;
  auto& topic = topics_[ref];
  topic.ref = ref;
  with_topic(topic, std::move(request));
}

void groups_actor::on_topic_active(const topic_active& message) {
  if (!ready_) {
    early_topics_[message.topic] = message;
    return send(parent_, box(held_floor{message.topic, std::nullopt, false}));
  }
  auto* topic = find_topic(message.topic);
  if (topic == nullptr || topic->groups.empty()) {
    send(parent_, box(held_floor{message.topic, std::nullopt}));
    return;
  }
  topic->floor_owed = true;
  tell_floor(*topic);
}

void groups_actor::on_topic_gone(const topic_ref& ref) {
  early_topics_.erase(ref);
  if (!ready_) early_gone_.insert(ref);
  auto* topic = find_topic(ref);
  if (topic == nullptr) return;
  const error gone{errc::topic_not_found, "the topic was deleted"};
  group_rows groups;
  for (auto& [name, slot] : topic->groups) {
    groups.emplace_back(runtime::group_key{ref, name}, slot.row);
    drop_group(ref, name, slot, gone);
  }
  delete_left_behind(std::move(groups));
  // They would be refused the same had they come now: nobody knows whether it ever was there.
  for (const auto& request : std::exchange(topic->waiting, {})) {
    answer(request, std::unexpected{not_there(ref)});
  }
  if (topic->state != group_topic::link::detached) unlink_from(*topic);
  topics_.erase(ref);
  hot_.erase(ref);
}

void groups_actor::drop_group(
    const topic_ref& topic, const group_name& name, group_slot& slot, const error& why) {
  drop_unit(slot, why);
  refuse_waiting(slot, why);
  tell_binding(topic, name, nullptr);
}

/// Groups whose topic is gone.
void groups_actor::delete_left_behind(group_rows groups) {
  for (auto& one : groups) {
    // One that is only being made is deleted when it is there.
    if (one.second.entity != entity_id{}) left_behind_.push_back(std::move(one));
  }
  write_deleted();
}

/// Offers the deletions of groups until they are on disk: nothing else would find their records
/// once there is a group of the same name.
void groups_actor::write_deleted() {
  if (is_deleting_ || left_behind_.empty() || boot() < delete_again_) return;
  const auto count = std::min(left_behind_.size(), deleted_at_once_max);
  std::vector<storage::record_draft> records;
  records.reserve(count);
  for (std::size_t n = 0; n < count; ++n) {
    const auto& [key, row] = left_behind_[n];
    records.push_back(
        {storage::record_kind::group_deleted,
         row.entity,
         {},
         shared_bytes{runtime::encode_group_deleted({key.topic, key.group, {}, {}, {}})}});
  }
  const auto done = [this, count](const result<storage::append_receipt>& outcome) {
    is_deleting_ = false;
    if (outcome) {
      left_behind_.erase(
          left_behind_.begin(), left_behind_.begin() + static_cast<std::ptrdiff_t>(count));
      return write_deleted();
    }
    delete_again_ = boot() + delete_retry_after;
    arm_tick();
  };
  auto queued = append(std::move(records), true, done);
  is_deleting_ = queued.has_value();
  if (queued) return;
  delete_again_ = boot() + delete_retry_after;
  may_be_offered_again(queued.error()) ? offer_again(queued.error()) : arm_tick();
}

void groups_actor::link_to(group_topic& topic) {
  topic.state = group_topic::link::attaching;
  topic.since = boot();
  hot_.insert(topic.ref);
  parts_.router->attach(
      {topic.ref, parts_.settings.topics.relay_credits}, caf::actor_cast<caf::actor>(this));
  arm_tick();
}

void groups_actor::unlink_from(group_topic& topic) {
  topic.state = group_topic::link::detached;
  if (topic.peer) demonitor(topic.peer->address());
  topic.peer = nullptr;
  parts_.router->detach({topic.ref}, caf::actor_cast<caf::actor>(this));
}

void groups_actor::on_attached(const relay_attached& message) {
  auto* topic = find_topic(message.topic);
  if (topic == nullptr || topic->state == group_topic::link::detached) {
    parts_.router->detach({message.topic}, caf::actor_cast<caf::actor>(this));
    return;
  }
  auto waiting = std::exchange(topic->waiting, {});
  if (message.is_unknown) {
    // Its groups stay as they are; a later tick attaches again.
    for (const auto& request : waiting)
      answer(request, fail(errc::overloaded, "the topic cannot be read now; retry", 200));
    return;
  }
  if (!message.exists) {
    for (const auto& request : waiting) {
      answer(request, std::unexpected{not_there(topic_ref{message.topic})});
    }
    on_topic_gone(topic_ref{message.topic});
    return;
  }
  topic->state = group_topic::link::attached;
  topic->since = boot();
  topic->ephemeral = message.ephemeral;
  topic->epoch = message.epoch;
  topic->entity = message.entity;
  topic->first_seq = message.first_seq;
  topic->last_seq = message.last_seq;
  topic->peer = current_sender();
  if (topic->peer) monitor(caf::actor_cast<caf::actor>(topic->peer));
  drop_strangers(*topic);
  for (auto& [name, slot] : topic->groups) {
    if (!slot.unit) continue;
    slot.unit->core.topic_grew(message.last_seq);
    pump(*topic, name);
  }
  for (auto& request : waiting) {
    handle(*topic, std::move(request));
  }
}

/// The topic's actor ended, to be read again after a failed append: attach to the next one.
void groups_actor::on_topic_down(const caf::actor_addr& source) {
  for (const auto& ref : hot_) {
    auto& topic = topics_.at(ref);
    if (!topic.peer || topic.peer->address() != source) continue;
    topic.peer = nullptr;
    return link_to(topic);
  }
}

/// Groups of an earlier topic of this name; its deletion took them, whatever the rows say.
void groups_actor::drop_strangers(group_topic& topic) {
  const error gone{errc::group_not_found, "the group went with an earlier topic of this name"};
  group_rows strangers;
  for (auto it = topic.groups.begin(); it != topic.groups.end();) {
    auto& slot = it->second;
    if (slot.row.topic_entity == topic.entity || slot.changing) {
      ++it;
      continue;
    }
    strangers.emplace_back(runtime::group_key{topic.ref, it->first}, slot.row);
    drop_group(topic.ref, it->first, slot, gone);
    it = topic.groups.erase(it);
  }
  if (strangers.empty()) return;
  delete_left_behind(std::move(strangers));
  tell_floor(topic);
}

void groups_actor::on_deliver(const deliver& message) {
  if (const auto& peer = current_sender()) {
    send(caf::actor_cast<caf::actor>(peer), box(relay_credit{1}));
  }
  const auto& batch = *message.batch;
  auto* topic = find_topic(batch.topic);
  if (topic == nullptr || batch.ephemeral || batch.events.empty()) return;
  const auto first = batch.events.front().seq;
  topic->last_seq = std::max(topic->last_seq, batch.events.back().seq);
  std::vector<runtime::loaded_event> events;
  for (auto& [name, slot] : topic->groups) {
    if (!slot.unit) continue;
    auto& core = slot.unit->core;
    if (core.takes(first)) {
      if (events.empty()) {
        for (const auto& event : batch.events) {
          events.push_back({event, runtime::subject_key(event.stored)});
        }
      }
      core.offer(slot.rule ? keyed_by(*slot.rule, events) : events);
    } else {
      core.topic_grew(topic->last_seq);
    }
    pump(*topic, name);
  }
}

void groups_actor::on_skipped(const relay_skipped& message) {
  const auto& peer = current_sender();
  for (const auto& ref : hot_) {
    auto& topic = topics_.at(ref);
    if (topic.peer != peer) continue;
    topic.last_seq = std::max(topic.last_seq, message.last_seq);
    for (auto& [name, slot] : topic.groups) {
      if (!slot.unit) continue;
      slot.unit->core.topic_grew(topic.last_seq);
      pump(topic, name);
    }
    return;
  }
}

void groups_actor::on_tick() {
  if (!ready_ && activation_ && directory_retry_ != boot_time{}) {
    if (boot() < directory_retry_) return arm_tick();
    directory_retry_ = {};
    load_directory();
  }
  expire_letters();
  write_deleted();
  const std::vector<topic_ref> hot(hot_.begin(), hot_.end());
  for (const auto& ref : hot) {
    if (auto* topic = find_topic(ref)) tick_topic(*topic);
  }
  if (!hot_.empty() || !left_behind_.empty()) arm_tick();
}

void groups_actor::on_pause(boot_time pause) {
  for (const auto& ref : hot_) {
    for (auto& [name, slot] : topics_.at(ref).groups) {
      if (slot.unit) slot.unit->core.paused(pause, now());
    }
  }
}

void groups_actor::tick_topic(group_topic& topic) {
  const auto patience =
      boot_time{std::chrono::milliseconds{parts_.settings.topics.passivate_after_ms}};
  bool active = !topic.waiting.empty();
  for (auto& [name, slot] : topic.groups) {
    if (slot.look_again && *slot.look_again <= boot()) {
      slot.look_again.reset();
      look_up(topic.ref, name, slot.row.topic_entity);
    }
    if (slot.unit) {
      slot.unit->core.tick(now());
      pump(topic, name);
    }
    if (slot.unit && slot.unit->core.idle() && !slot.changing && !slot.unit->appending
        && !slot.unit->writing && slot.unit->on_next_record.empty()
        && boot() - slot.unit->used >= patience) {
      slot.unit.reset();
    }
    active = active || slot.unit || slot.loading || slot.changing;
  }
  if (topic.state == group_topic::link::attaching && boot() - topic.since >= attach_patience) {
    // An answer was lost, with a shard that was made anew perhaps.
    link_to(topic);
  }
  if (active || boot() - topic.since < patience) return;
  if (topic.state != group_topic::link::detached) unlink_from(topic);
  hot_.erase(topic.ref);
  if (topic.groups.empty()) topics_.erase(topic_ref{topic.ref});
}

void groups_actor::tell_floor(group_topic& topic) {
  std::optional<sequence> lowest;
  for (const auto& [name, slot] : topic.groups) {
    if (slot.changing && slot.row.entity == entity_id{}) continue;
    if (!slot.needed_after) return read_floors(topic);
    lowest = lowest ? std::min(*lowest, *slot.needed_after) : *slot.needed_after;
  }
  if (!std::exchange(topic.floor_owed, false) && topic.floor_told == lowest) return;
  topic.floor_told = lowest;
  send(parent_, box(held_floor{topic.ref, lowest}));
}

void groups_actor::read_floors(group_topic& topic) {
  if (std::exchange(topic.reading_floors, true)) return;
  using floors = std::vector<std::pair<group_name, sequence>>;
  std::vector<std::pair<group_name, runtime::group_row>> unread;
  for (const auto& [name, slot] : topic.groups) {
    if (!slot.needed_after) unread.emplace_back(name, slot.row);
  }
  read<floors>(
      reader_pool::lane::control,
      [unread](storage::shard_reader& reader) -> result<floors> {
        floors found;
        for (const auto& [name, row] : unread) {
          auto group = read_group(reader, row);
          if (!group) return std::unexpected{group.error()};
          found.emplace_back(name, group->ledger.needed_after());
        }
        return found;
      },
      [this, ref = topic.ref](result<floors> found) {
        auto* after = find_topic(ref);
        if (after == nullptr) return;
        after->reading_floors = false;
        if (!found) {
          log::channel("actors")->warn("floors of groups unread: {}", found.error().detail);
          return send(parent_, box(held_floor{ref, std::nullopt, false}));
        }
        for (const auto& [name, floor] : *found) {
          auto* slot = find_slot(ref, name);
          if (slot != nullptr && !slot->needed_after) slot->needed_after = floor;
        }
        tell_floor(*after);
      });
}

/// Keeps the rule of a binding in the slot, and has BINDINGS hear of it; null: it is gone.
void groups_actor::tell_binding(const topic_ref& topic, const group_name& name, group_slot* slot) {
  if (!runtime::is_binding_group(name)) return;
  binding_news news{topic, name, {}, false};
  if (slot != nullptr) {
    const auto& settings = slot->row.settings;
    auto rule = runtime::parse_binding(settings.binding);
    if (!rule) {
      log::channel("actors")->error(
          "binding {} of topic {} does nothing, as its rule is unreadable: {}",
          runtime::binding_name_of(name),
          topic.topic.str(),
          rule.error().detail);
      return;
    }
    slot->rule = std::make_shared<const runtime::binding_rule>(*std::move(rule));
    news.rule = settings.binding;
    news.is_redrive = runtime::is_redrive_group(name);
  }
  send(bindings_, box(std::move(news)));
}

group_topic* groups_actor::find_topic(const topic_ref& ref) {
  const auto it = topics_.find(ref);
  return it == topics_.end() ? nullptr : &it->second;
}

group_slot* groups_actor::find_slot(const topic_ref& ref, const group_name& name) {
  auto* topic = find_topic(ref);
  if (topic == nullptr) return nullptr;
  const auto it = topic->groups.find(name);
  return it == topic->groups.end() ? nullptr : &it->second;
}

group_slot*
groups_actor::find_slot(const topic_ref& ref, const group_name& name, entity_id entity) {
  auto* slot = find_slot(ref, name);
  return slot != nullptr && slot->row.entity == entity ? slot : nullptr;
}

group_unit*
groups_actor::find_unit(const topic_ref& ref, const group_name& name, std::uint64_t number) {
  auto* slot = find_slot(ref, name);
  return slot != nullptr && slot->unit && slot->unit->number == number ? slot->unit.get() : nullptr;
}

caf::actor spawn_groups(
    caf::actor_system& system,
    shard_id shard,
    const broker_parts& parts,
    const caf::actor& parent,
    const caf::actor& bindings) {
  return system.spawn<groups_actor>(shard, parts, parent, bindings);
}

}  // namespace callboard::actors
