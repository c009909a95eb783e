// What clients ask of consumer groups.
#include "actors/groups_actor.hpp"
#include "runtime/binding/binding_names.hpp"
#include "runtime/group/dead_letter.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace callboard::actors {

namespace {

constexpr std::size_t member_size_max = 255;
constexpr std::size_t tokens_max = 10'000;
constexpr std::uint32_t hold_ms_max = 86'400'000;
constexpr std::uint32_t in_flight_limit = 1'000'000;
constexpr std::uint32_t deliveries_limit = 10'000;

const group_name* group_of(const control_body& body) {
  return std::visit(
      [](const auto& one) -> const group_name* {
        if constexpr (requires { one.group.group; }) {
          return &one.group.group;
        } else {
          return nullptr;
        }
      },
      body);
}

runtime::group_settings default_settings(const config::groups_section& from) {
  runtime::group_settings settings;
  settings.hold_ms = from.hold_ms;
  settings.deliveries_max = from.deliveries_max;
  settings.in_flight_max = from.in_flight_max;
  settings.backoff_min_ms = from.backoff_min_ms;
  settings.backoff_max_ms = from.backoff_max_ms;
  return settings;
}

/// A binding's consumer is the node itself: it gives back what it cannot hand on, so holds are long
/// and only what its target refuses is an attempt. Ten attempts take about a minute.
runtime::group_settings binding_settings(
    runtime::group_settings settings, const topic_name& topic, const group_name& name) {
  settings.hold_ms = 600'000;
  settings.deliveries_max = binding_attempts_max;
  settings.in_flight_max = binding_in_flight_max;
  settings.ordered_by_subject = true;
  settings.dead_letter_topic = runtime::is_redrive_group(name)
                                   ? topic.str()
                                   : runtime::binding_dead_topic(topic, name).str();
  return settings;
}

runtime::group_settings merge(runtime::group_settings base, const put_group& patch) {
  base.hold_ms = patch.hold_ms.value_or(base.hold_ms);
  base.deliveries_max = patch.deliveries_max.value_or(base.deliveries_max);
  base.in_flight_max = patch.in_flight_max.value_or(base.in_flight_max);
  base.backoff_min_ms = patch.backoff_min_ms.value_or(base.backoff_min_ms);
  base.backoff_max_ms = patch.backoff_max_ms.value_or(base.backoff_max_ms);
  base.ordered_by_subject = patch.ordered_by_subject.value_or(base.ordered_by_subject);
  base.dead_letter_topic = patch.dead_letter_topic.value_or(base.dead_letter_topic);
  base.binding = patch.binding.value_or(base.binding);
  return base;
}

result<void>
check_range(std::string_view key, std::uint32_t value, std::uint32_t least, std::uint32_t most) {
  if (value >= least && value <= most) return {};
  return fail(
      errc::invalid_setting,
      fmt::format("{} is {}, not within {} and {}", key, value, least, most));
}

/// What a binding has is not for clients to choose.
result<void> check_settings(const runtime::group_settings& settings, const topic_name& topic) {
  if (settings.is_binding()) return {};
  for (const auto& checked :
       {check_range("hold_ms", settings.hold_ms, 10, hold_ms_max),
        check_range("deliveries_max", settings.deliveries_max, 1, deliveries_limit),
        check_range("in_flight_max", settings.in_flight_max, 1, in_flight_limit),
        check_range("backoff_min_ms", settings.backoff_min_ms, 1, hold_ms_max),
        check_range(
            "backoff_max_ms", settings.backoff_max_ms, settings.backoff_min_ms, hold_ms_max)}) {
    if (!checked) return checked;
  }
  if (settings.dead_letter_topic.empty()) return {};
  if (auto parsed = topic_name::parse(settings.dead_letter_topic); !parsed) {
    return fail(errc::invalid_setting, "dead_letter_topic: " + parsed.error().detail);
  }
  if (settings.dead_letter_topic == topic.str()) {
    return fail(errc::invalid_setting, "a topic cannot be its own dead_letter_topic");
  }
  return {};
}

group_description
describe_slot(const group_name& name, const group_slot& slot, const runtime::group_counts& counts) {
  group_description made;
  made.group = name.str();
  made.settings = slot.row.settings;
  made.floor = counts.floor;
  made.last_seq = counts.last_seq;
  made.lag = counts.lag;
  made.in_flight = counts.in_flight;
  made.parked = counts.parked;
  made.dead_lettered = counts.dead_lettered;
  made.missed = counts.missed;
  made.members = counts.members;
  made.last_error = slot.unit->core.last_error();
  if (runtime::is_redrive_group(name)) {
    const auto& ledger = slot.unit->core.ledger();
    made.acked = ledger.acked().ranges();
    made.roots = ledger.roots();
  }
  return made;
}

const std::string* member_of(const control_body& body) {
  if (const auto* fetch = std::get_if<fetch_deliveries>(&body)) return &fetch->member;
  if (const auto* leave = std::get_if<leave_group>(&body)) return &leave->member;
  return nullptr;
}

std::size_t tokens_in(const control_body& body) {
  if (const auto* ack = std::get_if<ack_deliveries>(&body)) return ack->tokens.size();
  if (const auto* nack = std::get_if<nack_deliveries>(&body)) return nack->tokens.size();
  return 0;
}

/// What of a topic is stored.
struct history {
  /// Nothing: no events.
  std::optional<sequence> first;
  /// The first event of the time that was asked for.
  std::optional<sequence> at_time;
};

result<history>
read_history(storage::shard_reader& reader, entity_id topic, const runtime::position& from) {
  const auto span = reader.entity_span(topic);
  if (!span) return std::unexpected{span.error()};
  history found;
  if (*span) found.first = (*span)->first;
  if (const auto* from_time = std::get_if<runtime::from_time>(&from)) {
    const auto at = reader.first_at_or_after(topic, from_time->time);
    if (!at) return std::unexpected{at.error()};
    found.at_time = *at;
  }
  return found;
}

/// The seq after which a new group begins. `last`: the topic's, from before its history was read.
result<sequence> start_of(
    const runtime::position& from, const history& stored, const group_topic& topic, sequence last) {
  const auto before = [](sequence seq) {
    return sequence{std::max<std::uint64_t>(seq.raw(), 1) - 1};
  };
  const auto before_first = stored.first ? before(*stored.first) : last;
  const auto within = [&](sequence seq) {
    return std::clamp(seq, std::min(before_first, topic.last_seq), topic.last_seq);
  };
  if (std::holds_alternative<runtime::from_first>(from)) return within(before_first);
  if (const auto* seq = std::get_if<runtime::from_seq>(&from)) return within(before(seq->seq));
  if (const auto* after = std::get_if<runtime::after_cursor>(&from)) {
    if (after->cursor.epoch == topic.epoch && after->cursor.seq >= before_first) {
      return within(after->cursor.seq);
    }
    return fail(
        errc::cursor_expired,
        fmt::format(
            "the cursor names history that is gone; the first available seq is {}",
            before_first.next().raw()));
  }
  return stored.at_time ? before(*stored.at_time) : last;
}

}  // namespace

result<void> groups_actor::check_request(const control_body& body) {
  if (const auto* member = member_of(body); member != nullptr && member->size() > member_size_max) {
    return fail(errc::bad_request, "a member's name has at most 255 bytes");
  }
  if (tokens_in(body) > tokens_max) {
    return fail(errc::too_large, "at most 10000 deliveries can be named at once");
  }
  return {};
}

void groups_actor::leave(pending_request request) {
  const auto& body = std::get<leave_group>(request.body);
  answer(request, control_answer{actors::done{}});
  auto* topic = find_topic(body.group.topic);
  if (topic == nullptr) return;
  const auto end_fetches = [&](std::vector<pending_request>& waiting) {
    std::erase_if(waiting, [&](const pending_request& one) {
      const auto* fetch = std::get_if<fetch_deliveries>(&one.body);
      const bool is_its_own = fetch != nullptr && fetch->group.group == body.group.group
                              && fetch->member == body.member;
      if (is_its_own) answer(one, control_answer{delivery_list{topic->epoch, {}, fetch->group}});
      return is_its_own;
    });
  };
  end_fetches(topic->waiting);
  auto* slot = find_slot(body.group.topic, body.group.group);
  if (slot == nullptr) return;
  end_fetches(slot->waiting);
  // Whoever is not active holds nothing, and leaving must not wake anything up.
  if (!slot->unit) return;
  slot->unit->core.leave(body.member, body.unseen, now());
  pump(*topic, body.group.group);
}

void groups_actor::with_topic(group_topic& topic, pending_request request) {
  if (topic.state == group_topic::link::attached) return handle(topic, std::move(request));
  if (topic.waiting.size() >= group_requests_waiting_max) {
    return answer(request, fail(errc::overloaded, "the topic is being read", 200));
  }
  topic.waiting.push_back(std::move(request));
  if (topic.state == group_topic::link::detached) link_to(topic);
}

void groups_actor::handle(group_topic& topic, pending_request request) {
  topic.since = boot();
  if (topic.ephemeral) {
    return answer(
        request, fail(errc::wrong_kind, "an ephemeral topic keeps no events for a consumer group"));
  }
  if (std::holds_alternative<list_groups>(request.body)) return list(topic, std::move(request));
  const auto name = *group_of(request.body);
  const auto it = topic.groups.find(name);
  if (it == topic.groups.end()) {
    if (std::holds_alternative<put_group>(request.body)) return put(topic, std::move(request));
    return answer(request, std::unexpected{no_such_group(name)});
  }
  with_group(topic, name, std::move(request));
}

void groups_actor::with_group(group_topic& topic, const group_name& name, pending_request request) {
  auto& slot = topic.groups.at(name);
  if (slot.unit && !slot.changing) return handle_active(topic, name, std::move(request));
  if (slot.waiting.size() >= group_requests_waiting_max) {
    return answer(request, fail(errc::overloaded, "the group is being read", 200));
  }
  slot.waiting.push_back(std::move(request));
  if (!slot.unit && !slot.changing) load(topic, name);
}

void groups_actor::handle_active(
    group_topic& topic, const group_name& name, pending_request request) {
  auto& slot = topic.groups.at(name);
  auto& unit = *slot.unit;
  unit.used = boot();
  if (std::holds_alternative<put_group>(request.body)) return put(topic, std::move(request));
  if (std::holds_alternative<delete_group>(request.body)) {
    return remove(topic, name, std::move(request));
  }
  if (std::holds_alternative<get_group>(request.body)) {
    return describe(topic, {name}, std::move(request), false);
  }
  if (const auto* asked = std::get_if<check_settled>(&request.body)) {
    // Of a topic that was made anew nothing is delivered again.
    const bool is_settled =
        asked->epoch != topic.epoch || unit.core.ledger().is_settled(asked->seq);
    if (is_settled) return answer(request, control_answer{actors::done{}});
    return answer(request, fail(errc::overloaded, "the event is not acked yet", 100));
  }
  if (const auto* fetch = std::get_if<fetch_deliveries>(&request.body)) {
    const auto key = ++fetch_keys_;
    auto queued = unit.core.fetch(
        {key, fetch->member, fetch->max, fetch->wait_ms, fetch->bytes_max, fetch->poll}, now());
    if (!queued) return answer(request, std::unexpected{queued.error()});
    unit.fetches.emplace(key, std::move(request));
  } else if (const auto* ack = std::get_if<ack_deliveries>(&request.body)) {
    auto lost = unit.core.ack(ack->tokens, ack->up_to, now());
    unit.core.ack_events(ack->seqs, now());
    acks_.Increment(static_cast<double>(ack->tokens.size() - lost.size()));
    answer_when_durable(unit, std::move(request), std::move(lost));
  } else if (const auto* edit = std::get_if<replace_event>(&request.body)) {
    if (edit->seq == sequence{}) {
      unit.core.ack_orphan(edit->by, now());
    } else if (!unit.core.replace(edit->seq, edit->by, now())) {
      return answer(
          request,
          fail(
              errc::overloaded,
              "the dead letter is being redriven: edit it again if it is still there then",
              1000));
    }
    answer_when_durable(unit, std::move(request), {});
  } else if (const auto* nack = std::get_if<nack_deliveries>(&request.body)) {
    auto lost = unit.core.nack({nack->tokens, nack->delay_ms, nack->error, nack->kind}, now());
    answer_when_durable(unit, std::move(request), std::move(lost));
  }
  pump(topic, name);
}

/// Also a refusal waits for the records that it may rest on.
void groups_actor::answer_when_durable(
    group_unit& unit, pending_request request, std::vector<std::string> lost) {
  if (unit.core.has_changes()) {
    unit.on_next_record.push_back({std::move(request), std::move(lost)});
  } else if (unit.writing) {
    unit.on_this_record.push_back({std::move(request), std::move(lost)});
  } else {
    answer(request, control_answer{ack_result{std::move(lost), unit.core.ledger().floor()}});
  }
}

runtime::group_settings
groups_actor::first_settings(const topic_name& topic, const group_name& name) const {
  auto settings = default_settings(parts_.settings.groups);
  return runtime::is_binding_group(name) ? binding_settings(std::move(settings), topic, name)
                                         : settings;
}

result<void> groups_actor::check_room(const group_topic& topic, const group_name& wanted) const {
  const bool is_binding = runtime::is_binding_group(wanted);
  const auto same = std::ranges::count_if(topic.groups, [&](const auto& one) {
    return runtime::is_binding_group(one.first) == is_binding;
  });
  const auto& limits = parts_.settings.groups;
  const auto most = is_binding ? limits.bindings_per_topic_max : limits.groups_per_topic_max;
  if (std::cmp_less(same, most)) return {};
  return fail(
      errc::too_large,
      is_binding ? "the topic has as many bindings as groups.bindings_per_topic_max"
                 : "the topic has as many groups as groups.groups_per_topic_max");
}

void groups_actor::put(group_topic& topic, pending_request request) {
  const auto& body = std::get<put_group>(request.body);
  const auto name = body.group.group;
  const auto it = topic.groups.find(name);
  const bool is_new = it == topic.groups.end();
  const auto before = is_new ? first_settings(topic.ref.topic, name) : it->second.row.settings;
  auto settings = merge(before, body);
  if (body.up_to) settings.up_to = std::max(before.up_to, std::min(*body.up_to, topic.last_seq));
  if (auto checked = check_settings(settings, topic.ref.topic); !checked) {
    return answer(request, std::unexpected{checked.error()});
  }
  if (is_new) {
    if (auto room = check_room(topic, name); !room) {
      return answer(request, std::unexpected{room.error()});
    }
    return make(topic, std::move(request), settings);
  }
  if (settings == before) return describe(topic, {name}, std::move(request), false);
  if (settings.ordered_by_subject != before.ordered_by_subject) {
    return answer(
        request, fail(errc::exists, "ordered_by_subject cannot change: make another group"));
  }
  configure(topic, name, std::move(request), settings);
}

/// The slot is there at once, so that what is asked behind the request waits for it.
void groups_actor::make(
    group_topic& topic, pending_request request, const runtime::group_settings& settings) {
  const auto& body = std::get<put_group>(request.body);
  const auto name = body.group.group;
  auto& slot = topic.groups[name];
  slot.row = {entity_id{}, topic.entity, {}, settings};
  slot.changing = true;
  if (std::holds_alternative<runtime::from_now>(body.from)) {
    return make_after(topic, std::move(request), settings, topic.last_seq);
  }
  // An attached topic does not tell what retention takes.
  read<history>(
      reader_pool::lane::reads,
      [entity = topic.entity, from = body.from](storage::shard_reader& reader) {
        return read_history(reader, entity, from);
      },
      [this,
       ref = topic.ref,
       name,
       entity = topic.entity,
       last = topic.last_seq,
       request = std::move(request),
       settings](result<history> found) mutable {
        auto* after = find_topic(ref);
        auto* made = find_slot(ref, name);
        if (made == nullptr || made->row.topic_entity != entity) {
          return answer(request, fail(errc::topic_not_found, "the topic was deleted"));
        }
        auto start = found ? start_of(std::get<put_group>(request.body).from, *found, *after, last)
                           : std::unexpected{found.error()};
        if (after->entity != entity) start = fail(errc::topic_not_found, "the topic was deleted");
        if (start) return make_after(*after, std::move(request), settings, *start);
        answer(request, std::unexpected{start.error()});
        refuse_waiting(*made, start.error());
        after->groups.erase(name);
      });
}

void groups_actor::make_after(
    group_topic& topic,
    pending_request request,
    const runtime::group_settings& settings,
    sequence start_after) {
  const auto name = std::get<put_group>(request.body).group.group;
  const runtime::group_definition group{topic.ref, name, topic.entity, start_after, settings};
  auto& slot = topic.groups.at(name);
  slot.row.start_after = start_after;
  auto shared = std::make_shared<pending_request>(std::move(request));
  auto queued = append(
      {{storage::record_kind::group_created,
        {},
        {},
        shared_bytes{runtime::encode_group_created(group)}}},
      false,
      [this, ref = topic.ref, row = slot.row, name, shared](
          const result<storage::append_receipt>& outcome) mutable {
        auto* after = find_topic(ref);
        auto* made = find_slot(ref, name);
        // That of a topic made since then is another one.
        if (made != nullptr && made->row.topic_entity != row.topic_entity) made = nullptr;
        const bool is_gone = made == nullptr || after->entity != row.topic_entity;
        if (!outcome || is_gone) {
          const auto why =
              outcome ? error{errc::topic_not_found, "the topic was deleted"} : outcome.error();
          answer(*shared, std::unexpected{why});
          if (outcome) {
            row.entity = entity_id{outcome->first.raw()};
            delete_left_behind({{{ref, name}, row}});
          }
          if (!outcome && !may_be_offered_again(why)) return look_up(ref, name, row.topic_entity);
          if (made == nullptr) return;
          refuse_waiting(*made, why);
          after->groups.erase(name);
          return;
        }
        made->row.entity = entity_id{outcome->first.raw()};
        made->changing = false;
        tell_binding(ref, name, made);
        activate(*after, name, {runtime::group_ledger{made->row.start_after}, {}, 0});
        describe(*after, {name}, std::move(*shared), true);
        run_waiting(*after, name);
      });
  if (queued) return;
  answer(*shared, std::unexpected{queued.error()});
  refuse_waiting(slot, queued.error());
  topic.groups.erase(name);
}

void groups_actor::configure(
    group_topic& topic,
    const group_name& name,
    pending_request request,
    const runtime::group_settings& settings) {
  auto& slot = topic.groups.at(name);
  const runtime::group_definition group{
      topic.ref, name, slot.row.topic_entity, slot.row.start_after, settings};
  slot.changing = true;
  auto shared = std::make_shared<pending_request>(std::move(request));
  auto queued = append(
      {{storage::record_kind::group_configured,
        slot.row.entity,
        slot.unit->last_progress,
        shared_bytes{runtime::encode_group_configured(group)}}},
      false,
      [this, ref = topic.ref, name, row = slot.row, shared, settings](
          const result<storage::append_receipt>& outcome) {
        auto* after = find_topic(ref);
        auto* changed = find_slot(ref, name, row.entity);
        if (changed == nullptr || !outcome) {
          answer(
              *shared,
              outcome ? fail(errc::group_not_found, "the group was deleted")
                      : std::unexpected{outcome.error()});
        }
        if (changed == nullptr) return;
        if (!outcome && !may_be_offered_again(outcome.error())) {
          return look_up(ref, name, row.topic_entity);
        }
        changed->changing = false;
        if (outcome) {
          changed->row.settings = settings;
          tell_binding(ref, name, changed);
          if (changed->unit) changed->unit->core.change_settings(settings, now());
          with_group(*after, name, std::move(*shared));
        }
        run_waiting(*after, name);
      });
  if (queued) return;
  slot.changing = false;
  answer(*shared, std::unexpected{queued.error()});
}

void groups_actor::remove(group_topic& topic, const group_name& name, pending_request request) {
  auto& slot = topic.groups.at(name);
  const auto last =
      slot.unit->appending ? slot.unit->last_progress.next() : slot.unit->last_progress;
  // Whatever a record under way would have said: the group is gone behind it. Until it is durable
  // nobody may hear that.
  const runtime::group_definition group{topic.ref, name, {}, {}, {}};
  slot.changing = true;
  auto shared = std::make_shared<pending_request>(std::move(request));
  auto queued = append(
      {{storage::record_kind::group_deleted,
        slot.row.entity,
        last,
        shared_bytes{runtime::encode_group_deleted(group)}}},
      true,
      [this, ref = topic.ref, name, row = slot.row, shared](
          const result<storage::append_receipt>& outcome) {
        auto* after = find_topic(ref);
        auto* removed = find_slot(ref, name, row.entity);
        if (!outcome) {
          answer(*shared, std::unexpected{outcome.error()});
          if (removed == nullptr) return;
          if (!may_be_offered_again(outcome.error())) return look_up(ref, name, row.topic_entity);
          removed->changing = false;
          return run_waiting(*after, name);
        }
        answer(*shared, control_answer{actors::done{}});
        if (removed != nullptr) forget(*after, name);
      });
  if (queued) return;
  slot.changing = false;
  answer(*shared, std::unexpected{queued.error()});
}

void groups_actor::list(group_topic& topic, pending_request request) {
  const bool of_bindings = std::get<list_groups>(request.body).of_bindings;
  group_names names;
  for (const auto& [name, slot] : topic.groups) {
    if (slot.row.entity == entity_id{} || runtime::is_redrive_group(name)) continue;
    if (runtime::is_binding_group(name) != of_bindings) continue;
    names.push_back(name);
  }
  for (const auto& name : names) {
    // Comes back here once that one is read.
    if (!topic.groups.at(name).unit) return with_group(topic, name, std::move(request));
  }
  describe(topic, std::move(names), std::move(request), false);
}

void groups_actor::describe(
    group_topic& topic, group_names names, pending_request request, bool created) {
  struct answer_in_making {
    std::vector<group_description> groups;
    std::vector<std::size_t> aged;
    std::vector<sequence> oldest;
  };

  answer_in_making made;
  for (const auto& name : names) {
    auto& slot = topic.groups.at(name);
    slot.unit->used = boot();
    const auto counts = slot.unit->core.counts();
    made.groups.push_back(describe_slot(name, slot, counts));
    made.groups.back().created = created;
    if (!counts.oldest) continue;
    made.aged.push_back(made.groups.size() - 1);
    made.oldest.push_back(*counts.oldest);
  }
  const auto* as_list = std::get_if<list_groups>(&request.body);
  const bool is_list = as_list != nullptr;
  const bool of_bindings = is_list && as_list->of_bindings;
  auto finish = [this, is_list, of_bindings, request = std::move(request), made](
                    result<std::vector<std::optional<time_ms>>> times) mutable {
    if (!times) return answer(request, std::unexpected{times.error()});
    for (std::size_t i = 0; i < times->size(); ++i) {
      if (!(*times)[i]) continue;
      const auto age = (shard_time() - *(*times)[i]).count();
      made.groups[made.aged[i]].oldest_unacked_age_ms =
          static_cast<std::uint64_t>(std::max<std::int64_t>(age, 0));
    }
    if (is_list) {
      return answer(request, control_answer{group_list{std::move(made.groups), of_bindings}});
    }
    answer(request, control_answer{std::move(made.groups.front())});
  };
  if (made.oldest.empty()) return finish(std::vector<std::optional<time_ms>>{});
  read<std::vector<std::optional<time_ms>>>(
      reader_pool::lane::reads,
      [entity = topic.entity, seqs = made.oldest](storage::shard_reader& reader) {
        return read_event_times(reader, entity, seqs);
      },
      std::move(finish));
}

void groups_actor::run_waiting(group_topic& topic, const group_name& name) {
  const auto it = topic.groups.find(name);
  if (it == topic.groups.end()) return;
  for (auto& request : std::exchange(it->second.waiting, {})) {
    with_topic(topic, std::move(request));
  }
}

void groups_actor::refuse_waiting(group_slot& slot, const error& why) {
  for (const auto& request : std::exchange(slot.waiting, {})) {
    answer(request, std::unexpected{why});
  }
}

}  // namespace callboard::actors
