// Dead letters of a binding that are redriven or given up by hand, some or all that fit.
//
// The group of redrives is the ledger of what was done: a letter that its target has taken, or that
// was given up, is acked there by its seq, so it is shown and handed on no more. What the target
// refuses stays what it is. A page at a time is told to the binding's audit topic first, then done:
// what a crash leaves undone is done when it is asked for again, and its target knows it by its id.
#include "actors/bindings_actor.hpp"
#include "actors/router.hpp"
#include "base/hash.hpp"
#include "base/uuid.hpp"
#include "proto/event.pb.h"
#include "runtime/binding/binding_names.hpp"
#include "runtime/binding/bound_event.hpp"
#include "runtime/group/dead_letter.hpp"

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <string>
#include <utility>

namespace callboard::actors {

namespace {

using namespace std::chrono_literals;

constexpr std::chrono::milliseconds patience = 10s;
/// Letters read at a time, which is what may be under way at the target.
constexpr std::uint32_t page_events = 256;
/// For the reply of an agent.
constexpr std::chrono::milliseconds call_wait = 3s;

/// Attempts are counted anew after a redrive, and older ones may have failed otherwise.
std::string_view last_death(std::string_view history) {
  const auto begin = history.rfind(R"({"attempt":1,)");
  return begin == std::string_view::npos ? history : history.substr(begin);
}

bool fits(
    const binding_dead_filter& filter, sequence seq, const result<runtime::bound_event>& event) {
  if (!filter.seqs.empty() && std::ranges::find(filter.seqs, seq) == filter.seqs.end()) {
    return false;
  }
  if (filter.seqs.empty() && filter.is_all()) return true;
  if (!event) return !filter.seqs.empty();
  return (filter.type.empty() || event->type() == filter.type)
         && (filter.subject.empty() || event->subject() == filter.subject)
         && last_death(event->history_at_death()).contains(filter.error_contains);
}

/// For the binding's audit topic.
publish_batch
audit(const group_ref& binding, std::string_view type, boost::json::object data, time_ms now) {
  v1::Event event;
  event.set_id(make_uuid(now));
  event.set_source("/bindings/" + runtime::binding_name_of(binding.group));
  event.set_type(std::string{type});
  event.set_datacontenttype("application/json");
  event.set_json(boost::json::serialize(data));
  std::string stored(runtime::event_prefix_size, '\0');
  event.AppendToString(&stored);
  const auto body = std::string_view{stored}.substr(runtime::event_prefix_size);
  runtime::write_event_prefix(
      stored.data(), event_identity(event.source(), event.id()), hash_64(body));
  publish_batch batch;
  batch.topic = {
      binding.topic.tenant, runtime::binding_audit_topic(binding.topic.topic, binding.group)};
  batch.requests.emplace_back().events.push_back({shared_bytes{std::move(stored)}});
  return batch;
}

}  // namespace

runtime::seq_set settled_in(const group_description& ledger) {
  runtime::seq_set settled;
  for (const auto& range : ledger.acked)
    settled.add(range);
  return settled;
}

bool is_letter(const runtime::delivered_event& stored, const std::map<sequence, sequence>& roots) {
  const auto event = runtime::bound_event::read(stored.stored, stored.time);
  return !event || !event->is_replacement() || roots.contains(stored.seq);
}

bool opens_too_many_gaps(
    const runtime::seq_set& settled, std::span<const sequence> seqs, std::uint32_t most) {
  auto after = settled;
  for (const auto seq : seqs)
    after.add(seq);
  const auto ranges = after.ranges();
  // One range more is always left for the oldest, which close gaps as they go.
  const auto is_oldest = ranges.front().first == seqs.front();
  return ranges.size() > most + (is_oldest ? 1U : 0U) && ranges.size() > settled.ranges().size();
}

error too_many_gaps(std::uint32_t most, std::uint64_t done) {
  return {
      errc::too_large,
      fmt::format(
          "those that were redriven, edited or given up one by one lie in {} places between the "
          "others, and no more are kept (groups.dead_letter_gaps_max): redrive all, or redrive or "
          "give up the oldest first; {} were done",
          most,
          done),
      0};
}

std::unexpected<error> no_such_letter(sequence seq) {
  return fail(
      errc::task_not_found,
      fmt::format(
          "the binding has no dead letter {}, so nothing was changed; `binding dead` lists those "
          "that it has",
          seq.raw()));
}

publish_batch bindings_actor::audit_of_all(
    const group_ref& binding, const std::string& who, std::uint64_t count) const {
  return audit(
      binding,
      "binding.redriven",
      {{"who", who}, {"all", true}, {"count", count}},
      parts_.time.wall());
}

publish_batch bindings_actor::audit_of_edit(
    const group_ref& binding, const std::string& who, sequence seq) const {
  boost::json::array list;
  list.emplace_back(seq.raw());
  return audit(
      binding,
      "binding.edited",
      {{"who", who}, {"dead_letters", std::move(list)}},
      parts_.time.wall());
}

void bindings_actor::change_dead(pending_request request) {
  auto work = std::make_shared<dead_work>();
  if (const auto* redrive = std::get_if<redrive_binding>(&request.body)) {
    work->binding = redrive->group;
    work->filter = redrive->filter;
    work->who = redrive->who;
    work->is_redrive = true;
  } else {
    const auto& abandon = std::get<abandon_binding_dead>(request.body);
    work->binding = abandon.group;
    work->filter = abandon.filter;
    work->who = abandon.who;
  }
  work->request = std::move(request);
  ask(get_group{work->binding}, patience, [this, work](result<control_answer> binding) {
    if (!binding) return answer(work->request, std::move(binding));
    auto text = std::get<group_description>(*binding).settings.binding;
    auto rule = runtime::parse_binding(text);
    if (!rule) return answer(work->request, std::unexpected{rule.error()});
    work->rule = *std::move(rule);
    find_ledger(work, std::move(text));
  });
}

/// The group of redrives, made so that it delivers nothing by itself.
void bindings_actor::find_ledger(const std::shared_ptr<dead_work>& work, std::string rule) {
  const auto group = redrive_of(work->binding);
  ask(get_group{group},
      patience,
      [this, work, group, rule = std::move(rule)](result<control_answer> known) mutable {
        if (known || !is_absent(known)) return begin_dead(work, std::move(known));
        put_group put;
        put.group = group;
        put.binding = std::move(rule);
        put.in_flight_max = 0;
        ask(std::move(put), patience, [this, work](result<control_answer> made) {
          begin_dead(work, std::move(made));
        });
      });
}

void bindings_actor::begin_dead(
    const std::shared_ptr<dead_work>& work, result<control_answer> ledger) {
  if (std::holds_alternative<edit_binding_dead>(work->request.body)) {
    return read_edited(work, ledger);
  }
  const auto& seqs = work->filter.seqs;
  // There is no topic of dead letters, so there are none.
  if (is_absent(ledger)) {
    if (!seqs.empty()) return answer(work->request, no_such_letter(seqs.front()));
    return answer_dead(*work);
  }
  if (!ledger) return answer(work->request, std::move(ledger));
  const auto& known = std::get<group_description>(*ledger);
  work->last = known.last_seq;
  work->next = known.floor.next();
  work->settled = settled_in(known);
  work->roots = known.roots;
  for (const auto seq : seqs) {
    if (seq < work->next || seq > work->last || work->settled.contains(seq)) {
      return answer(work->request, no_such_letter(seq));
    }
  }
  if (!seqs.empty()) {
    work->next = std::ranges::min(seqs);
    work->last = std::ranges::max(seqs);
  }
  read_dead_page(work);
}

void bindings_actor::answer_dead(const dead_work& work) {
  if (work.is_redrive) {
    return answer(
        work.request,
        control_answer{binding_redrive{work.done, work.refused, work.last_error, work.is_cut}});
  }
  answer(work.request, control_answer{dead_change_count{work.done, work.is_cut}});
}

void bindings_actor::read_dead_page(const std::shared_ptr<dead_work>& work) {
  if (work->next > work->last) return answer_dead(*work);
  work->is_cut = work->done >= parts_.settings.limits.dead_changes_max;
  if (work->is_cut) return answer_dead(*work);
  read_events read;
  read.topic = redrive_of(work->binding).topic;
  read.from = runtime::from_seq{work->next};
  read.events_max = page_events;
  ask(std::move(read), patience, [this, work](result<control_answer> page) {
    if (!page) return answer(work->request, std::move(page));
    on_dead_page(work, std::get<event_page>(*page));
  });
}

void bindings_actor::on_dead_page(const std::shared_ptr<dead_work>& work, const event_page& page) {
  work->chosen.clear();
  work->epoch = page.batch->epoch;
  for (const auto& stored : page.batch->events) {
    if (stored.seq > work->last || work->settled.contains(stored.seq)) continue;
    if (!is_letter(stored, work->roots)) continue;
    // Its agent has it: whoever asks again is to come to those behind it.
    if (work->is_redrive && is_watched(work->binding, stored.seq, work->epoch)) continue;
    if (fits(work->filter, stored.seq, runtime::bound_event::read(stored.stored, stored.time))) {
      work->chosen.push_back(stored);
    }
  }
  work->next = page.batch->events.empty() ? work->last.next() : page.next_from;
  if (work->chosen.empty()) return read_dead_page(work);
  const auto room = parts_.settings.limits.dead_changes_max - work->done;
  if (work->chosen.size() > room) {
    work->next = work->chosen[room].seq;
    work->chosen.resize(room);
  }
  std::vector<sequence> seqs;
  for (const auto& one : work->chosen)
    seqs.push_back(one.seq);
  // Before anything is done about them.
  const auto most = parts_.settings.groups.dead_letter_gaps_max;
  if (opens_too_many_gaps(work->settled, seqs, most)) {
    return answer(work->request, std::unexpected{too_many_gaps(most, work->done)});
  }
  boost::json::array list;
  for (const auto seq : seqs)
    list.emplace_back(seq.raw());
  auto told = audit(
      work->binding,
      work->is_redrive ? "binding.redriven" : "binding.abandoned",
      {{"who", work->who}, {"dead_letters", std::move(list)}},
      parts_.time.wall());
  publish(std::move(told), patience, [this, work, seqs](result<control_answer> audited) {
    if (!audited) return answer(work->request, std::move(audited));
    if (!work->is_redrive) return settle_dead(work, seqs);
    hand_on_chosen(work);
  });
}

void bindings_actor::hand_on_chosen(const std::shared_ptr<dead_work>& work) {
  auto page = std::make_shared<chosen_page>();
  page->work = work;
  page->open = work->chosen.size();
  for (const auto& one : std::exchange(work->chosen, {}))
    hand_on_letter(page, one);
}

void bindings_actor::hand_on_letter(
    const std::shared_ptr<chosen_page>& page, const runtime::delivered_event& letter) {
  const auto& work = *page->work;
  auto event = runtime::bound_event::read(letter.stored, letter.time);
  if (!event) return refuse_letter(*page, event.error());
  const auto from = redrive_of(work.binding);
  const auto id = redriven_id(from, work.rule, *event, work.epoch, letter.seq);
  auto effect = runtime::make_effect(work.rule, *event, id);
  if (!effect) return refuse_letter(*page, effect.error());
  const auto root = work.roots.find(letter.seq);
  const auto place = root == work.roots.end() ? letter.seq : root->second;
  auto request =
      std::make_shared<control_body>(request_of(from, work.epoch, place, *std::move(effect)));
  wait_for_reply(*request, call_wait);
  const auto* call = std::get_if<call_agent>(&*request);
  if (call == nullptr) return ask_for_letter(page, letter, request);
  // A redrive before may have asked the agent, which may have forgotten that.
  find_message(
      *call, letter.time, [this, page, letter, request](const result<message_state>& found) {
        if (found && *found != message_state::answered) {
          return ask_for_letter(page, letter, request);
        }
        on_letter_told(
            page,
            letter,
            request,
            found ? result<std::optional<control_answer>>{control_answer{actors::done{}}}
                  : std::unexpected{found.error()});
      });
}

void bindings_actor::ask_for_letter(
    const std::shared_ptr<chosen_page>& page,
    const runtime::delivered_event& letter,
    const std::shared_ptr<const control_body>& request) {
  auto body = *request;
  ask(std::move(body),
      patience,
      [this, page, letter, request](const result<control_answer>& answered) {
        on_letter_told(page, letter, request, heard_from(answered));
      });
}

void bindings_actor::on_letter_told(
    const std::shared_ptr<chosen_page>& page,
    const runtime::delivered_event& letter,
    const std::shared_ptr<const control_body>& request,
    const result<std::optional<control_answer>>& heard) {
  if (!heard && heard.error().code == errc::agent_failed) {
    return let_die_again(
        page->work->binding, letter, heard.error(), [this, page, why = heard.error()] {
          refuse_letter(*page, why);
        });
  }
  if (!heard) return refuse_letter(*page, heard.error());
  if (*heard) {
    page->taken.push_back(letter.seq);
  } else {
    ++page->work->done;
    watch_letter(*page->work, letter, request);
  }
  end_letter(*page);
}

void bindings_actor::refuse_letter(chosen_page& page, const error& why) {
  ++page.work->refused;
  page.work->last_error = fmt::format("{}: {}", name_of(why.code), why.detail);
  end_letter(page);
}

void bindings_actor::end_letter(chosen_page& page) {
  if (--page.open == 0) settle_dead(page.work, page.taken);
}

/// The agent has handled it: to be called anew, the letter needs another redrive in its history. If
/// that cannot be written now, the next redrive hears the same again.
void bindings_actor::let_die_again(
    const group_ref& binding,
    const runtime::delivered_event& letter,
    const error& why,
    std::move_only_function<void()> then) {
  const auto text = fmt::format("{}: {}", name_of(why.code), why.detail);
  auto again = runtime::refused_letter(
      letter, text, parts_.journal.shard_time(shard_), make_uuid(parts_.time.wall()));
  if (!again) return then();
  publish_batch batch;
  batch.topic = redrive_of(binding).topic;
  batch.requests.emplace_back().events.push_back(*std::move(again));
  write_replacement(
      redrive_of(binding),
      letter.seq,
      std::move(batch),
      [then = std::move(then)](const result<control_answer>&) mutable { then(); });
}

void bindings_actor::settle_dead(
    const std::shared_ptr<dead_work>& work, const std::vector<sequence>& seqs) {
  if (seqs.empty()) return read_dead_page(work);
  ack_deliveries ack{redrive_of(work->binding), {}, {}};
  ack.seqs = seqs;
  ask(std::move(ack),
      patience,
      [this, work, seqs, count = seqs.size()](result<control_answer> settled) {
        if (!settled) return answer(work->request, std::move(settled));
        work->done += count;
        for (const auto seq : seqs) {
          work->settled.add(seq);
          unwatch(work->binding, seq);
        }
        read_dead_page(work);
      });
}

}  // namespace callboard::actors
