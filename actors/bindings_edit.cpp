// A dead letter of a binding that is given other data: a new letter is written, and in one record
// the ledger of redrives lets it take the place of the old one. Until then it is no letter, and
// from then on the old one is none: a crash between leaves the old one as it was.
//
// The new one keeps the key under which its target knows the event, and for a queue the place of
// the first: a task that a redrive cut short has made of the old letter is known for as long as the
// new one may be handed on.
//
// A letter that has not got its place is settled: at once if that failed, and before the letters
// are counted or listed if a node died meanwhile.
#include "actors/bindings_actor.hpp"
#include "base/uuid.hpp"
#include "runtime/group/dead_letter.hpp"

#include <memory>
#include <utility>

namespace callboard::actors {

namespace {

using namespace std::chrono_literals;

constexpr std::chrono::milliseconds patience = 10s;
/// Letters read at a time.
constexpr std::uint32_t page_events = 1000;
/// Longer than a write takes that was given up and is done all the same, even on a bad disk.
constexpr boot_time doubt_time = 10min;

}  // namespace

void bindings_actor::edit_dead(pending_request request) {
  auto work = std::make_shared<dead_work>();
  const auto& edit = std::get<edit_binding_dead>(request.body);
  work->binding = edit.group;
  work->who = edit.who;
  work->next = edit.seq;
  work->request = std::move(request);
  ask(get_group{work->binding}, patience, [this, work](result<control_answer> binding) {
    if (!binding) return answer(work->request, std::move(binding));
    find_ledger(work, std::get<group_description>(*binding).settings.binding);
  });
}

void bindings_actor::read_edited(
    const std::shared_ptr<dead_work>& work, const result<control_answer>& ledger) {
  if (is_absent(ledger)) return answer(work->request, no_such_letter(work->next));
  if (!ledger) return answer(work->request, std::unexpected{ledger.error()});
  const auto& known = std::get<group_description>(*ledger);
  work->settled = settled_in(known);
  work->roots = known.roots;
  if (work->next <= known.floor || work->settled.contains(work->next)) {
    return answer(work->request, no_such_letter(work->next));
  }
  const auto most = parts_.settings.groups.dead_letter_gaps_max;
  if (opens_too_many_gaps(work->settled, {&work->next, 1}, most)) {
    return answer(work->request, std::unexpected{too_many_gaps(most, 0)});
  }
  read_events read;
  read.topic = redrive_of(work->binding).topic;
  read.from = runtime::from_seq{work->next};
  read.events_max = 1;
  ask(std::move(read), patience, [this, work](result<control_answer> page) {
    if (!page) return answer(work->request, std::move(page));
    const auto& found = std::get<event_page>(*page).batch->events;
    const bool is_there = !found.empty() && found.front().seq == work->next;
    if (!is_there || !is_letter(found.front(), work->roots)) {
      return answer(work->request, no_such_letter(work->next));
    }
    write_edited(work, found.front());
  });
}

void bindings_actor::write_edited(
    const std::shared_ptr<dead_work>& work, const runtime::delivered_event& letter) {
  // An edit that is asked for again writes another: nobody may have waited for the first.
  auto edited = runtime::edited_letter(
      letter, std::get<edit_binding_dead>(work->request.body).data, make_uuid(parts_.time.wall()));
  if (!edited) return answer(work->request, std::unexpected{edited.error()});
  auto batch = std::make_shared<publish_batch>();
  batch->topic = redrive_of(work->binding).topic;
  batch->requests.emplace_back().events.push_back(*std::move(edited));
  publish(
      audit_of_edit(work->binding, work->who, work->next),
      patience,
      [this, work, batch](result<control_answer> audited) {
        if (!audited) return answer(work->request, std::move(audited));
        write_replacement(
            redrive_of(work->binding),
            work->next,
            std::move(*batch),
            [this, work](result<control_answer> edit) { answer(work->request, std::move(edit)); });
      });
}

/// Answered by where the new letter is, once it has the place of `seq`.
void bindings_actor::write_replacement(
    const group_ref& ledger, sequence seq, publish_batch batch, answer_handler then) {
  ++replacing_[ledger];
  auto ended = [this, ledger, then = std::move(then)](result<control_answer> outcome) mutable {
    const auto open = replacing_.find(ledger);
    if (--open->second == 0) replacing_.erase(open);
    then(std::move(outcome));
  };
  publish(
      std::move(batch),
      patience,
      [this, ledger, seq, ended = std::move(ended)](result<control_answer> written) mutable {
        if (!written) {
          // It may be there all the same.
          doubt(ledger);
          return ended(std::move(written));
        }
        replace(ledger, seq, std::get<binding_edited>(*written).seq, std::move(ended));
      });
}

/// A letter that has not got the place would be counted and never shown, so it is settled.
void bindings_actor::replace(
    const group_ref& ledger, sequence seq, sequence by, answer_handler then) {
  ask(replace_event{ledger, seq, by},
      patience,
      [this, ledger, by, then = std::move(then)](const result<control_answer>& noted) mutable {
        if (noted) return then(control_answer{binding_edited{by}});
        ask(replace_event{ledger, {}, by},
            patience,
            [this, ledger, why = noted.error(), then = std::move(then)](
                const result<control_answer>& settled) mutable {
              if (!settled) doubt(ledger);
              then(std::unexpected{std::move(why)});
            });
      });
}

// -- what edits have left that were cut short ----------------------------------------------------

void bindings_actor::without_orphans(
    const group_ref& binding,
    group_description ledger,
    std::move_only_function<void(group_description)> then) {
  const auto group = redrive_of(binding);
  const auto left = letters_left(ledger);
  // More are not read for this; what is left among them a redrive settles.
  const bool is_to_read = left > 0 && left <= parts_.settings.limits.dead_changes_max;
  if (!is_to_read || orphan_free_.contains(group)) return then(std::move(ledger));
  auto search = std::make_shared<orphan_search>();
  search->ledger = group;
  search->next = ledger.floor.next();
  search->known = std::move(ledger);
  search->then = std::move(then);
  find_orphans(search);
}

void bindings_actor::find_orphans(const std::shared_ptr<orphan_search>& search) {
  if (search->next > search->known.last_seq) return settle_orphans(search);
  read_events read;
  read.topic = search->ledger.topic;
  read.from = runtime::from_seq{search->next};
  read.events_max = page_events;
  ask(std::move(read), patience, [this, search](const result<control_answer>& answered) {
    if (!answered) return search->then(std::move(search->known));
    const auto& page = std::get<event_page>(*answered);
    const auto settled = settled_in(search->known);
    for (const auto& stored : page.batch->events) {
      if (stored.seq > search->known.last_seq || settled.contains(stored.seq)) continue;
      if (!is_letter(stored, search->known.roots)) search->found.push_back(stored.seq);
    }
    search->next = page.batch->events.empty() ? search->known.last_seq.next() : page.next_from;
    find_orphans(search);
  });
}

void bindings_actor::settle_orphans(const std::shared_ptr<orphan_search>& search) {
  const auto& ledger = search->ledger;
  // One of them may be about to get its place.
  if (replacing_.contains(ledger)) return search->then(std::move(search->known));
  if (search->found.empty()) {
    note_orphan_free(ledger);
    return search->then(std::move(search->known));
  }
  auto settled = settled_in(search->known);
  for (const auto seq : search->found)
    settled.add(seq);
  search->known.acked = settled.ranges();
  note_orphan_free(ledger);
  auto open = std::make_shared<std::size_t>(search->found.size());
  for (const auto seq : search->found) {
    ask(replace_event{ledger, {}, seq},
        patience,
        [this, search, open](const result<control_answer>& done) {
          if (!done) doubt(search->ledger);
          if (--*open == 0) search->then(std::move(search->known));
        });
  }
}

/// What is searched for now, or soon, may be written just behind that.
void bindings_actor::doubt(const group_ref& ledger) {
  orphan_free_.erase(ledger);
  doubted_[ledger] = boot() + doubt_time;
}

void bindings_actor::note_orphan_free(const group_ref& ledger) {
  const auto doubted = doubted_.find(ledger);
  if (doubted != doubted_.end() && boot() < doubted->second) return;
  doubted_.erase(ledger);
  orphan_free_.insert(ledger);
}

}  // namespace callboard::actors
