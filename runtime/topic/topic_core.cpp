#include "runtime/topic/topic_core.hpp"

#include "runtime/topic/topic_codec.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace callboard::runtime {

namespace {

constexpr std::uint32_t overloaded_retry_ms = 50;
constexpr std::uint32_t held_retry_ms = 1000;

/// Appends of one topic on their way to the disk: one being synced, one that is next. What comes
/// meanwhile is gathered, so that a busy topic costs messages per commit and not per publish.
constexpr std::size_t appends_open_max = 2;

std::uint32_t count_of(const std::vector<publish_request>& requests) {
  std::size_t count = 0;
  for (const auto& request : requests)
    count += request.events.size();
  return static_cast<std::uint32_t>(count);
}

std::uint64_t bytes_of(const publish_request& request) {
  std::uint64_t bytes = 0;
  for (const auto& event : request.events)
    bytes += event.stored.size();
  return bytes;
}

error overloaded(std::uint32_t in_flight_max) {
  return {
      errc::overloaded,
      fmt::format("{} events of this topic wait for their commit; retry later", in_flight_max),
      overloaded_retry_ms};
}

}  // namespace

error too_many_at_once(std::uint64_t events, std::uint64_t events_max, std::string_view setting) {
  return {
      errc::too_large,
      fmt::format(
          "{} events at once are more than {} = {}, so they will never be taken: publish them in "
          "smaller batches",
          events,
          setting,
          events_max),
      0};
}

topic_core::topic_core(topic_image image, const topic_limits& limits)
    : image_{std::move(image)},
      epoch_{std::make_shared<const std::string>(image_.epoch)},
      limits_{limits},
      // What is not committed yet cannot be looked up, so its ids must all be among the recent
      // ones.
      window_{
          std::max<std::size_t>(limits.recent_ids_max, limits.events_in_flight_max),
          limits.window_ids_max},
      next_last_{image_.last_seq} {}

void topic_core::remember(const window_row& row) {
  if (window_.is_full(1)) return;
  window_.insert(row.identity, {.seq = row.seq, .content = row.content}, row.time);
}

// -- publish ---------------------------------------------------------------------------------

topic_effects
topic_core::publish(publisher_key publisher, std::vector<publish_request> requests, time_ms now) {
  topic_effects out;
  now_ = std::max(now_, now);
  if (!parked_.empty()) {
    const auto adding = count_of(requests);
    if (events_in_flight_ + parked_events_ + adding > limits_.events_in_flight_max) {
      for (auto& request : requests) {
        out.replies.push_back(
            {publisher, {request.correlation, std::unexpected{no_room_for(request)}}});
      }
      return out;
    }
    parked_events_ += adding;
    parked_.push_back({publisher, std::move(requests)});
    return out;
  }
  std::vector<parked_publish> work;
  work.push_back({publisher, std::move(requests)});
  run(std::move(work), out);
  return out;
}

void topic_core::run(std::vector<parked_publish> work, topic_effects& out) {
  window_.expire(now_ - std::chrono::seconds{image_.settings.dedupe_window_s});
  for (std::size_t i = 0; i < work.size(); ++i) {
    auto& [publisher, requests] = work[i];
    for (std::size_t j = 0; j < requests.size(); ++j) {
      if (decide(publisher, requests[j], out) == decision::done) continue;
      // Order holds: what came after the one that must be looked up waits with it.
      requests.erase(requests.begin(), requests.begin() + static_cast<std::ptrdiff_t>(j));
      parked_.assign(
          std::make_move_iterator(work.begin() + static_cast<std::ptrdiff_t>(i)),
          std::make_move_iterator(work.end()));
      parked_events_ = 0;
      for (const auto& one : parked_)
        parked_events_ += count_of(one.requests);
      // What was read for an earlier one of them is still needed when they run again.
      asked_ = std::move(missing_);
      missing_.clear();
      asked_.insert(asked_.end(), looked_at_.begin(), looked_at_.end());
      out.candidates = topic_effects::read_candidates{asked_};
      i = work.size() - 1;
      break;
    }
  }
  if (appends_.size() < appends_open_max) emit(out);
}

void topic_core::made(entity_id entity, incarnation_id incarnation) {
  image_.entity = entity;
  image_.epoch = format_epoch(entity, incarnation);
  epoch_ = std::make_shared<const std::string>(image_.epoch);
}

void topic_core::emit(topic_effects& out) {
  if (gathering_.events.empty() && gathering_.with.empty()) return;
  // What follows needs the id that the append under way makes.
  if (is_unmade() && !appends_.empty()) return;
  topic_effects::append effect{.key = gathering_.key};
  effect.records.reserve(gathering_.events.size() + gathering_.with.size() + 1);
  if (is_unmade()) {
    effect.records.push_back(
        {.kind = storage::record_kind::topic_created,
         .payload = encode_topic_created(image_.name, image_.settings)});
  }
  for (const auto& event : gathering_.events) {
    effect.records.push_back(
        {.kind = storage::record_kind::event,
         .entity = image_.entity,
         .entity_seq = event.seq,
         .payload = event.stored});
  }
  for (auto& draft : gathering_.with) {
    draft.entity = image_.entity;
    draft.entity_seq = next_last_;
    effect.records.push_back(std::move(draft));
  }
  gathering_.with.clear();
  effect.tell_written = std::ranges::any_of(
      gathering_.replies, [](const auto& one) { return one.level == durability::written; });
  out.appends.push_back(std::move(effect));
  appends_.push_back(std::exchange(gathering_, {}));
}

topic_effects topic_core::flush() {
  topic_effects out;
  emit(out);
  return out;
}

topic_core::decision
topic_core::decide(publisher_key publisher, publish_request& request, topic_effects& out) {
  if (dead_) {
    out.replies.push_back(
        {publisher,
         {request.correlation,
          fail(errc::overloaded, "the topic is being reloaded; retry", overloaded_retry_ms)}});
    return decision::done;
  }
  if (request.events.empty() && !request.with.empty()) {
    emit(out);
    gathering_.key = last_key_ = last_key_.next();
    gathering_.with = std::move(request.with);
    gathering_.replies.push_back(
        {publisher,
         {request.correlation, publish_outcome{.first_seq = next_last_, .epoch = epoch_}},
         request.level});
    emit(out);
    return decision::done;
  }
  if (request.ephemeral || image_.settings.kind == topic_kind::ephemeral) {
    decide_ephemeral(publisher, request, out);
    return decision::done;
  }
  return decide_durable(publisher, request, out);
}

void topic_core::decide_ephemeral(
    publisher_key publisher, publish_request& request, topic_effects& out) {
  auto batch = std::make_shared<event_batch>();
  batch->topic = image_.name;
  batch->epoch = image_.epoch;
  batch->ephemeral = true;
  batch->role = request.role;
  const relay_key only{request.only_relay};
  batch->events.reserve(request.events.size());
  for (auto& event : request.events) {
    batch->events.push_back({.seq = {}, .time = now_, .stored = std::move(event.stored)});
  }
  // Behind a durable event of the same publisher it must not arrive before it.
  if (!gathering_.events.empty()) {
    gathering_.ephemeral.push_back({std::move(batch), only});
  } else if (!appends_.empty()) {
    appends_.back().ephemeral.push_back({std::move(batch), only});
  } else {
    batch->after = image_.last_seq;
    deliver(std::move(batch), out, only);
  }
  answer(
      publisher,
      {request.correlation, publish_outcome{.epoch = epoch_, .reached = durability::written}},
      durability::synced,
      out);
}

error topic_core::no_room_for(const publish_request& request) const {
  const auto most = limits_.events_in_flight_max;
  // Of ephemeral events none is in flight once what waits before them is.
  const bool never_fits =
      !request.ephemeral && image_.settings.dedupe_window_s != 0 && request.events.size() > most;
  if (!never_fits) return overloaded(most);
  return too_many_at_once(request.events.size(), most, "topics.events_in_flight_max");
}

std::optional<error> topic_core::refuse(const publish_request& request) const {
  const auto& settings = image_.settings;
  if (request.level == durability::replicated) {
    return error{
        errc::not_enough_replicas,
        "this node has no replicas; ask for durability synced or written",
        0};
  }
  // Ids that are to be remembered must all be among the recent ones.
  const bool passes_alone = settings.dedupe_window_s == 0 && events_in_flight_ == 0;
  if (!passes_alone && events_in_flight_ + request.events.size() > limits_.events_in_flight_max) {
    return no_room_for(request);
  }
  if (window_.is_full(request.events.size())) {
    return error{
        errc::overloaded,
        fmt::format(
            "the topic remembers {} event ids of its dedupe window; retry later or lower "
            "dedupe_window_s",
            window_.size()),
        held_retry_ms};
  }
  if (settings.hold_for_groups && held_ && settings.retention_bytes != 0
      && image_.stored_bytes >= settings.retention_bytes) {
    return error{
        errc::held_by_group,
        "the slowest consumer group holds back retention and the topic has reached its size",
        held_retry_ms};
  }
  return std::nullopt;
}

std::optional<remembered_event> topic_core::look_up(const hash128& identity) {
  if (const auto recent = window_.find_recent(identity)) return recent;
  const auto known = std::ranges::find(known_, identity, &window_row::identity);
  if (known != known_.end()) return remembered_event{.seq = known->seq, .content = known->content};
  const auto before = missing_.size();
  window_.find_candidates(identity, missing_);
  // A candidate that was read already and turned out to be another event is a false hit.
  const auto fresh_end = std::remove_if(
      missing_.begin() + static_cast<std::ptrdiff_t>(before), missing_.end(), [&](sequence seq) {
        return std::ranges::find(looked_at_, seq) != looked_at_.end();
      });
  missing_.erase(fresh_end, missing_.end());
  return std::nullopt;
}

result<std::vector<topic_core::verdict>> topic_core::judge(const publish_request& request) {
  std::vector<verdict> verdicts(request.events.size());
  if (image_.settings.dedupe_window_s == 0) return verdicts;
  boost::unordered_flat_map<hash128, std::uint32_t, std::hash<hash128>> own;
  for (std::uint32_t i = 0; i < request.events.size(); ++i) {
    const auto& event = request.events[i];
    const auto identity = event.identity();
    if (const auto seen = look_up(identity)) {
      if (!request.id_suffices && seen->content != event.content()) {
        return fail(
            errc::id_conflict,
            fmt::format(
                "event {} of the request was published before with other content, as seq {}",
                i,
                seen->seq.raw()));
      }
      verdicts[i].stored = seen->seq;
      continue;
    }
    if (request.events.size() == 1) break;
    const auto [twin, is_first] = own.emplace(identity, i);
    if (is_first) continue;
    if (request.events[twin->second].content() != event.content()) {
      return fail(
          errc::id_conflict,
          fmt::format("events {} and {} of the request share their id", twin->second, i));
    }
    verdicts[i].twin = twin->second;
  }
  return verdicts;
}

topic_core::decision
topic_core::decide_durable(publisher_key publisher, publish_request& request, topic_effects& out) {
  const auto reply_with = [&](result<publish_outcome> outcome) {
    answer(publisher, {request.correlation, std::move(outcome)}, request.level, out);
    return decision::done;
  };
  const auto verdicts = judge(request);
  if (!verdicts) {
    missing_.clear();
    return reply_with(std::unexpected{verdicts.error()});
  }
  if (!missing_.empty()) return decision::park;
  // Known ids first: a retry is answered even where a new publish would be refused.
  const bool adds = has_new(*verdicts);
  if (adds) {
    if (request.expected && *request.expected != next_last_) {
      return reply_with(fail(
          errc::sequence_conflict,
          fmt::format(
              "the topic's last seq is {}, not {}", next_last_.raw(), request.expected->raw())));
    }
    if (auto refusal = refuse(request)) return reply_with(std::unexpected{*refusal});
    if (!gathering_.events.empty()
        && gathering_.bytes + bytes_of(request) > limits_.append_bytes_max) {
      emit(out);
    }
  }
  return reply_with(admit(request, *verdicts));
}

bool topic_core::has_new(const std::vector<verdict>& verdicts) {
  return std::ranges::any_of(verdicts, &verdict::is_new);
}

publish_outcome topic_core::admit(publish_request& request, const std::vector<verdict>& verdicts) {
  std::vector<publish_outcome::each> each(request.events.size());
  bool has_duplicate = false;
  for (std::size_t i = 0; i < request.events.size(); ++i) {
    if (!verdicts[i].is_new()) {
      const auto seq = verdicts[i].twin ? each[*verdicts[i].twin].seq : *verdicts[i].stored;
      each[i] = {.seq = seq, .duplicate = true};
      has_duplicate = true;
      continue;
    }
    const auto& event = request.events[i];
    next_last_ = next_last_.next();
    each[i].seq = next_last_;
    if (image_.settings.dedupe_window_s != 0) {
      window_.insert(event.identity(), {.seq = next_last_, .content = event.content()}, now_);
    }
    ++events_in_flight_;
    if (gathering_.events.empty()) gathering_.key = last_key_ = last_key_.next();
    gathering_.bytes += event.stored.size();
    gathering_.events.push_back({.seq = next_last_, .time = {}, .stored = event.stored});
  }
  if (has_new(verdicts)) {
    std::ranges::move(request.with, std::back_inserter(gathering_.with));
  }
  publish_outcome outcome{
      .first_seq = each.front().seq, .epoch = epoch_, .reached = durability::synced};
  if (has_duplicate) outcome.events = std::move(each);
  return outcome;
}

void topic_core::answer(
    publisher_key publisher, publish_reply reply, durability level, topic_effects& out) {
  if (!gathering_.events.empty()) {
    gathering_.replies.push_back({publisher, std::move(reply), level});
  } else if (!appends_.empty()) {
    appends_.back().replies.push_back({publisher, std::move(reply), level});
  } else {
    out.replies.push_back({publisher, std::move(reply)});
  }
}

// -- commit ----------------------------------------------------------------------------------

topic_effects topic_core::written(append_key key) {
  topic_effects out;
  for (auto& one : appends_) {
    if (one.key > key) break;
    if (one.is_written) continue;
    one.is_written = true;
    std::vector<waiting_reply> rest;
    for (auto& waiting : one.replies) {
      if (waiting.level != durability::written) {
        rest.push_back(std::move(waiting));
        continue;
      }
      if (waiting.reply.outcome) waiting.reply.outcome->reached = durability::written;
      out.replies.push_back({waiting.publisher, std::move(waiting.reply)});
    }
    one.replies = std::move(rest);
  }
  return out;
}

topic_effects topic_core::committed(append_key key, time_ms time) {
  topic_effects out;
  if (dead_ || appends_.empty() || appends_.front().key != key) return out;
  auto done = std::move(appends_.front());
  appends_.pop_front();
  now_ = std::max(now_, time);
  for (auto& waiting : done.replies) {
    out.replies.push_back({waiting.publisher, std::move(waiting.reply)});
  }
  if (done.trim) {
    image_.first_seq = std::max(image_.first_seq, done.trim->first.next());
    image_.stored_bytes -= std::min(image_.stored_bytes, done.trim->second);
    trimming_ = false;
  }
  if (!done.events.empty()) deliver_committed(done, time, out);
  for (const auto& one : done.ephemeral) {
    one.batch->after = image_.last_seq;
    deliver(one.batch, out, one.only);
  }
  emit(out);
  return out;
}

void topic_core::deliver_committed(open_append& done, time_ms time, topic_effects& out) {
  events_in_flight_ -= static_cast<std::uint32_t>(done.events.size());
  image_.last_seq = done.events.back().seq;
  image_.stored_bytes += done.bytes;
  if (relays_.empty()) return;
  auto batch = std::make_shared<event_batch>();
  batch->topic = image_.name;
  batch->epoch = image_.epoch;
  batch->events = std::move(done.events);
  for (auto& event : batch->events)
    event.time = time;
  deliver(std::move(batch), out);
}

topic_effects topic_core::failed(append_key key, const error& why) {
  topic_effects out;
  const error behind{errc::overloaded, "an earlier publish failed; retry", overloaded_retry_ms};
  for (auto& one : appends_) {
    // What stood behind the failed append was never written and can be retried as it is.
    for (auto& waiting : one.replies) {
      waiting.reply.outcome = std::unexpected{one.key <= key ? why : behind};
      out.replies.push_back({waiting.publisher, std::move(waiting.reply)});
    }
  }
  appends_.clear();
  for (auto& waiting : gathering_.replies) {
    out.replies.push_back(
        {waiting.publisher, {waiting.reply.correlation, std::unexpected{behind}}});
  }
  gathering_ = {};
  refuse_parked(behind, out);
  events_in_flight_ = 0;
  out.reload = !dead_;
  dead_ = true;
  return out;
}

void topic_core::refuse_parked(const error& why, topic_effects& out) {
  for (const auto& one : parked_) {
    for (const auto& request : one.requests) {
      out.replies.push_back({one.publisher, {request.correlation, std::unexpected{why}}});
    }
  }
  parked_.clear();
  parked_events_ = 0;
}

topic_effects topic_core::refused(append_key key, const error& why) {
  topic_effects out;
  const auto first = std::ranges::find(appends_, key, &open_append::key);
  if (dead_ || first == appends_.end()) return out;
  // What is gathered has the seqs behind theirs.
  const bool takes_seqs =
      std::any_of(first, appends_.end(), [](const auto& one) { return !one.events.empty(); });
  if (takes_seqs && !gathering_.events.empty()) {
    appends_.push_back(std::exchange(gathering_, {}));
  }
  while (!appends_.empty() && appends_.back().key >= key)
    undo_last(why, out);
  return out;
}

void topic_core::undo_last(const error& why, topic_effects& out) {
  auto undone = std::move(appends_.back());
  appends_.pop_back();
  if (undone.trim) trimming_ = false;
  if (!undone.events.empty()) {
    next_last_ = sequence{undone.events.front().seq.raw() - 1};
    events_in_flight_ -= static_cast<std::uint32_t>(undone.events.size());
    if (image_.settings.dedupe_window_s != 0) window_.forget_last(undone.events.size());
  }
  for (auto& waiting : undone.replies) {
    // A conflict was one with an event that is not there, too.
    if (const auto& told = waiting.reply.outcome; told || told.error().code == errc::id_conflict
                                                  || told.error().code == errc::sequence_conflict) {
      waiting.reply.outcome = std::unexpected{why};
    }
    out.replies.push_back({waiting.publisher, std::move(waiting.reply)});
  }
}

topic_effects topic_core::candidates_unread(const error& why) {
  topic_effects out;
  asked_.clear();
  refuse_parked(why, out);
  return out;
}

topic_effects topic_core::candidates_read(std::vector<window_row> rows, time_ms now) {
  topic_effects out;
  now_ = std::max(now_, now);
  known_ = std::move(rows);
  // A table of old ids goes when its youngest has left the window; the others count no more.
  const auto cutoff = now_ - std::chrono::seconds{image_.settings.dedupe_window_s};
  std::erase_if(known_, [&](const window_row& row) { return row.time < cutoff; });
  looked_at_ = std::exchange(asked_, {});
  auto work = std::exchange(parked_, {});
  parked_events_ = 0;
  run(std::move(work), out);
  known_.clear();
  looked_at_.clear();
  return out;
}

// -- relays ----------------------------------------------------------------------------------

topic_image topic_core::attach(relay_key relay, std::uint32_t credits) {
  relays_[relay] = {.credits = credits};
  return image_;
}

void topic_core::deliver(const event_batch_ptr& batch, topic_effects& out, relay_key only) {
  for (auto& [key, relay] : relays_) {
    if (only != relay_key{} && only != key) continue;
    if (relay.credits > 0 && !relay.behind) {
      --relay.credits;
      out.deliveries.push_back({key, batch});
    } else if (batch->ephemeral) {
      relay.dropped += batch->events.size();
      relay.behind = true;
    } else {
      relay.behind = true;
    }
  }
}

topic_effects topic_core::credit(relay_key key, std::uint32_t credits) {
  topic_effects out;
  const auto found = relays_.find(key);
  if (found == relays_.end()) return out;
  auto& relay = found->second;
  relay.credits += credits;
  if (relay.behind && relay.credits > 0) {
    out.skips.push_back({key, image_.last_seq, relay.dropped});
    relay.behind = false;
    relay.dropped = 0;
  }
  return out;
}

void topic_core::detach(relay_key relay) {
  relays_.erase(relay);
}

}  // namespace callboard::runtime
