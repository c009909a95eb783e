#include "actors/presence_actor.hpp"

#include "actors/router.hpp"
#include "base/log.hpp"
#include "runtime/presence/presence_codec.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <iterator>

namespace callboard::actors {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t early_requests_max = 10'000;
constexpr std::size_t room_requests_waiting_max = 1000;
constexpr std::size_t events_per_publish_max = 100;
constexpr boot_time load_retry_after = 1s;

const topic_ref* topic_of(const control_body& body) {
  if (const auto* join = std::get_if<presence_join>(&body)) return &join->topic;
  if (const auto* renew = std::get_if<presence_renew>(&body)) return &renew->topic;
  if (const auto* leave = std::get_if<presence_leave>(&body)) return &leave->topic;
  if (const auto* list = std::get_if<presence_list>(&body)) return &list->topic;
  return nullptr;
}

runtime::presence_limits limits_of(const config::topics_section& from) {
  return {
      std::chrono::milliseconds{from.presence_lease_ms},
      std::chrono::milliseconds{from.presence_grace_ms},
      from.presence_members_max};
}

error no_room() {
  return {
      errc::storage_full,
      "the disk is almost full: join again when there is space (storage.disk_soft_bytes)",
      1000};
}

error no_room_to_leave() {
  return {
      errc::storage_full,
      "the disk is full: leave again when there is space (storage.disk_hard_bytes)",
      1000};
}

error not_a_member() {
  return {errc::not_found, "not a member of this topic (any more): join again"};
}

}  // namespace

caf::behavior presence_actor::make_behavior() {
  return common_handlers().or_else(
      [this](const boxed<control_request>& request, const caf::actor& reply_to) {
        on_request({request->correlation, std::move(request->body), reply_to});
      },
      [this](const boxed<topic_gone>& message) { on_topic_gone(message->topic); },
      [this](const boxed<relay_attached>& message) { on_attached(*message); },
      [](const boxed<deliver>&) {},
      [](const boxed<relay_skipped>&) {},
      [this](const boxed<control_reply>& reply) { on_topic_made(*reply); },
      // Ephemeral events are published for whoever listens; nobody waits for the outcome.
      [](const boxed<publish_replies>& replies) {
        for (const auto& reply : replies->replies) {
          if (reply.outcome) continue;
          log::channel("actors")->warn(
              "a change of presence was not told: {}", reply.outcome.error().detail);
        }
      });
}

void presence_actor::on_exit() {
  early_.clear();
  rooms_.clear();
  companion::on_exit();
}

void presence_actor::on_activated(bool first) {
  if (first) load_all();
}

void presence_actor::load_all() {
  read<known_rooms>(
      reader_pool::lane::control,
      [](storage::shard_reader& reader) { return read_rooms(reader, std::nullopt); },
      [this](result<known_rooms> known) { on_loaded(std::move(known)); });
}

void presence_actor::on_loaded(result<known_rooms> known) {
  if (!known) {
    log::channel("actors")->error(
        "presence of shard {} cannot be read: {}", shard_.raw(), known.error().detail);
    load_retry_ = boot() + load_retry_after;
    return arm_tick();
  }
  ready_ = true;
  for (auto& one : known->rooms) {
    if (one.members.empty()) continue;
    auto& room = rooms_[one.topic];
    room.ref = one.topic;
    room.entity = one.entity;
    open(room, std::move(one.members), known->committed.raw());
  }
  for (auto& request : std::exchange(early_, {})) {
    on_request(std::move(request));
  }
}

void presence_actor::on_request(pending_request request) {
  if (!ready_) {
    if (early_.size() >= early_requests_max) {
      return answer(request, fail(errc::overloaded, "presence is being read", 500));
    }
    early_.push_back(std::move(request));
    return;
  }
  const auto* named = topic_of(request.body);
  if (named == nullptr) {
    return answer(request, fail(errc::internal, "this request is not about presence"));
  }
  auto* room = find_room(*named);
  if (room != nullptr && room->core) return handle(*room, std::move(request));
  if (room == nullptr) {
    // Nobody is here, so only a join has anything to do.
    if (std::holds_alternative<presence_list>(request.body)) {
      return answer(request, control_answer{presence_members{}});
    }
    if (std::holds_alternative<presence_leave>(request.body)) {
      return answer(request, control_answer{actors::done{}});
    }
    if (std::holds_alternative<presence_renew>(request.body)) {
      return answer(request, std::unexpected{not_a_member()});
    }
    const auto ref = *named;
    room = &rooms_[ref];
    room->ref = ref;
    link_to(*room);
  }
  if (room->waiting.size() >= room_requests_waiting_max) {
    return answer(request, fail(errc::overloaded, "the topic is being read", 200));
  }
  room->waiting.push_back(std::move(request));
}

void presence_actor::link_to(presence_room& room) {
  room.attaching = true;
  room.used = boot();
  parts_.router->attach({room.ref, 1}, caf::actor_cast<caf::actor>(this));
  arm_tick();
}

/// Attached only to learn which entity the topic is; presence does not read events.
void presence_actor::unlink_from(presence_room& room) {
  room.attaching = false;
  parts_.router->detach({room.ref}, caf::actor_cast<caf::actor>(this));
}

void presence_actor::on_attached(const relay_attached& message) {
  auto* room = find_room(message.topic);
  if (room == nullptr || !room->attaching) {
    return parts_.router->detach({message.topic}, caf::actor_cast<caf::actor>(this));
  }
  if (message.exists) {
    unlink_from(*room);
    room->entity = message.entity;
    return reload(*room);
  }
  // Joining makes the topic; the shard attaches this actor again when it is there.
  const bool being_made = std::ranges::any_of(
      making_, [&](const auto& entry) { return entry.second == message.topic; });
  if (being_made) return;
  correlations_ = correlations_.next();
  making_.emplace(correlations_, message.topic);
  auto sent = parts_.router->control(
      {correlations_, put_topic{message.topic, {}}}, caf::actor_cast<caf::actor>(this));
  if (!sent) on_topic_made({correlations_, std::unexpected{sent.error()}});
}

void presence_actor::on_topic_made(const control_reply& reply) {
  const auto node = making_.extract(reply.correlation);
  if (!node) return;
  auto* room = find_room(node.mapped());
  if (room == nullptr || !room->attaching) return;
  // The shard may have been asked to attach more relays than it remembers.
  if (reply.outcome) return link_to(*room);
  unlink_from(*room);
  refuse_all(*room, reply.outcome.error());
  rooms_.erase(node.mapped());
}

void presence_actor::on_topic_gone(const topic_ref& ref) {
  auto* room = find_room(ref);
  if (room == nullptr) return;
  if (room->attaching) return;
  refuse_all(*room, {errc::topic_not_found, "the topic was deleted"});
  rooms_.erase(ref);
}

void presence_actor::open(
    presence_room& room, std::vector<runtime::presence_entry> known, std::uint64_t version) {
  room.core = std::make_unique<runtime::presence_core>(
      limits_of(parts_.settings.topics), std::move(known), version, boot());
  room.used = boot();
  arm_tick();
}

void presence_actor::reload(presence_room& room) {
  read<known_rooms>(
      reader_pool::lane::control,
      [entity = room.entity](storage::shard_reader& reader) { return read_rooms(reader, entity); },
      [this, ref = room.ref, entity = room.entity](result<known_rooms> known) {
        auto* after = find_room(ref);
        if (after == nullptr || after->core || after->entity != entity) return;
        if (!known) {
          refuse_all(*after, known.error());
          after->read_again = boot() + load_retry_after;
          return arm_tick();
        }
        auto members = known->rooms.empty() ? std::vector<runtime::presence_entry>{}
                                            : std::move(known->rooms.front().members);
        open(*after, std::move(members), known->committed.raw());
        // One that is refused has the room read again, and those behind it wait for that.
        for (auto& request : std::exchange(after->waiting, {})) {
          on_request(std::move(request));
        }
      });
}

void presence_actor::handle(presence_room& room, pending_request request) {
  room.used = boot();
  auto& core = *room.core;
  result<void> outcome;
  if (auto* join = std::get_if<presence_join>(&request.body)) {
    // What is refused only with its record has the room read again, and a new grace for everybody.
    const bool takes_space = !core.has(join->member, join->state);
    if (takes_space && parts_.journal.status().below_soft) {
      if (auto sound = core.check(join->member, join->state); !sound) {
        return answer(request, std::unexpected{sound.error()});
      }
      // Over HTTP to join is the only way to renew: whoever is there stays, with his old state.
      (void)core.renew(join->member, boot());
      return answer(request, std::unexpected{no_room()});
    }
    // Kept, as it may have to be asked again.
    outcome = core.join(join->member, join->state, boot());
  } else if (const auto* renew = std::get_if<presence_renew>(&request.body)) {
    outcome = core.renew(renew->member, boot());
    if (outcome) return answer_now(room, request);
  } else if (const auto* leave = std::get_if<presence_leave>(&request.body)) {
    const bool takes_record = !leave->vanished && core.has(leave->member);
    if (takes_record && parts_.journal.status().below_hard) {
      return answer(request, std::unexpected{no_room_to_leave()});
    }
    core.leave(leave->member, leave->vanished, boot());
  }
  if (!outcome) return answer(request, std::unexpected{outcome.error()});
  answer_when_durable(room, std::move(request));
  pump(room);
}

void presence_actor::answer_when_durable(presence_room& room, pending_request request) {
  if (room.core->has_changes()) {
    room.on_next_record.push_back(std::move(request));
  } else if (room.writing) {
    room.on_this_record.push_back(std::move(request));
  } else {
    answer_now(room, request);
  }
}

void presence_actor::answer_now(presence_room& room, const pending_request& request) {
  if (!std::holds_alternative<presence_list>(request.body)) {
    return answer(request, control_answer{actors::done{}});
  }
  presence_members list;
  list.version = room.core->version();
  for (auto& one : room.core->list()) {
    list.members.push_back({std::move(one.member), std::move(one.state), one.version, one.present});
  }
  answer(request, control_answer{std::move(list)});
}

void presence_actor::refuse_all(presence_room& room, const error& why) {
  for (auto* list : {&room.waiting, &room.on_this_record, &room.on_next_record}) {
    for (const auto& request : std::exchange(*list, {})) {
      answer(request, std::unexpected{why});
    }
  }
}

std::vector<pending_request>
presence_actor::take_repeatable(presence_room& room, const runtime::presence_batch& refused) {
  const bool took_space = !refused.joined_or_updated.empty();
  const bool is_below_soft = parts_.journal.status().below_soft;
  std::vector<pending_request> again;
  const auto is_repeatable = [&](const pending_request& one) {
    return std::holds_alternative<presence_leave>(one.body) ? took_space : is_below_soft;
  };
  for (auto* list : {&room.on_this_record, &room.on_next_record}) {
    std::ranges::copy_if(*list, std::back_inserter(again), is_repeatable);
    std::erase_if(*list, is_repeatable);
  }
  return again;
}

void presence_actor::pump(presence_room& room) {
  if (room.appending || !room.core) return;
  if (!room.writing) {
    if (!room.core->has_changes()) return;
    room.writing = room.core->take_changes();
    room.on_this_record = std::exchange(room.on_next_record, {});
  }
  const bool restates = room.writing->dead_before != lsn{};
  auto queued = append(
      {{restates ? storage::record_kind::presence_restated : storage::record_kind::presence_changed,
        room.entity,
        sequence{room.writing->dead_before.raw()},
        shared_bytes{runtime::encode_presence_changed(room.ref, *room.writing)}}},
      room.writing->joined_or_updated.empty(),
      [this, ref = room.ref, entity = room.entity](const result<storage::append_receipt>& outcome) {
        on_appended(ref, entity, outcome);
      });
  if (queued) {
    room.appending = true;
  } else if (may_be_offered_again(queued.error())) {
    offer_again(queued.error());
  } else {
    on_appended(room.ref, room.entity, std::unexpected{queued.error()});
  }
}

void presence_actor::on_appended(
    const topic_ref& ref, entity_id entity, const result<storage::append_receipt>& outcome) {
  auto* room = find_room(ref);
  if (room == nullptr || room->entity != entity || !room->writing) return;
  room->appending = false;
  if (!outcome && may_be_offered_again(outcome.error())) return arm_tick();
  const auto batch = *std::exchange(room->writing, std::nullopt);
  if (!outcome) {
    // What was joined in memory only is forgotten: those who asked are told, and join again.
    const bool is_full = outcome.error().code == errc::storage_full;
    auto again = is_full ? take_repeatable(*room, batch) : std::vector<pending_request>{};
    refuse_all(*room, outcome.error());
    room->waiting = std::move(again);
    room->core.reset();
    return reload(*room);
  }
  room->core->committed(outcome->first);
  tell(*room, batch);
  for (const auto& request : std::exchange(room->on_this_record, {})) {
    answer_now(*room, request);
  }
  pump(*room);
}

void presence_actor::tell(const presence_room& room, const runtime::presence_batch& batch) {
  publish_batch publish;
  publish.topic = room.ref;
  // Who leaves a topic that was deleted must not make another one.
  publish.makes_topic = false;
  for (std::size_t n = 0; n < batch.changes.size(); ++n) {
    if (n % events_per_publish_max == 0) {
      correlations_ = correlations_.next();
      publish.requests.emplace_back();
      publish.requests.back().correlation = correlations_;
      publish.requests.back().ephemeral = true;
    }
    publish.requests.back().events.push_back(runtime::make_presence_event(
        room.ref.topic,
        batch.changes[n],
        batch.version,
        fmt::format("{:x}.{}.{}", room.entity.raw(), batch.version, n)));
  }
  auto sent = parts_.router->publish(std::move(publish), caf::actor_cast<caf::actor>(this));
  if (!sent) {
    log::channel("actors")->warn(
        "presence of topic {} changed unseen: {}", room.ref.topic.str(), sent.error().detail);
  }
}

void presence_actor::on_pause(boot_time pause) {
  for (auto& [ref, room] : rooms_) {
    if (room.core) room.core->paused(pause, boot());
  }
}

void presence_actor::on_tick() {
  if (!ready_ && load_retry_ != boot_time{}) {
    if (boot() < load_retry_) return arm_tick();
    load_retry_ = {};
    load_all();
  }
  const boot_time patience{std::chrono::milliseconds{parts_.settings.topics.passivate_after_ms}};
  // Each leave that is refused has the room read again, and a new grace for everybody.
  const bool may_leave = !parts_.journal.status().below_hard;
  std::vector<topic_ref> forgotten;
  for (auto& [ref, room] : rooms_) {
    if (room.read_again && boot() >= *room.read_again) {
      room.read_again.reset();
      reload(room);
    }
    if (!room.core) continue;
    if (may_leave) room.core->tick(boot());
    pump(room);
    const bool resting = room.core && room.core->empty() && !room.writing;
    if (resting && boot() - room.used >= patience) forgotten.push_back(ref);
  }
  for (const auto& ref : forgotten) {
    rooms_.erase(ref);
  }
  if (!rooms_.empty()) arm_tick();
}

presence_room* presence_actor::find_room(const topic_ref& ref) {
  const auto it = rooms_.find(ref);
  return it == rooms_.end() ? nullptr : &it->second;
}

caf::actor spawn_presence(
    caf::actor_system& system,
    shard_id shard,
    const broker_parts& parts,
    const caf::actor& parent) {
  return system.spawn<presence_actor>(shard, parts, parent);
}

}  // namespace callboard::actors
