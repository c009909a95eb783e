// A dead letter of a binding that is given other data: a new letter is written, and in one record
// the ledger of redrives lets it take the place of the old one. Until then it is no letter, and
// from then on the old one is none: a crash between leaves the old one as it was.
//
// The new one keeps the key under which its target knows the event, and for a queue the place of
// the first: a task that a redrive cut short has made of the old letter is known for as long as the
// new one may be handed on.
#include "actors/bindings_actor.hpp"
#include "base/uuid.hpp"
#include "runtime/group/dead_letter.hpp"

#include <memory>
#include <utility>

namespace callboard::actors {

namespace {

using namespace std::chrono_literals;

constexpr std::chrono::milliseconds patience = 10s;

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
        publish(std::move(*batch), patience, [this, work](result<control_answer> written) {
          if (!written) return answer(work->request, std::move(written));
          replace_edited(work, std::get<binding_edited>(*written));
        });
      });
}

void bindings_actor::replace_edited(
    const std::shared_ptr<dead_work>& work, const binding_edited& by) {
  replace_event replace{redrive_of(work->binding), work->next, by.seq};
  ask(std::move(replace), patience, [this, work, by](result<control_answer> settled) {
    if (!settled) return answer(work->request, std::move(settled));
    answer(work->request, control_answer{by});
  });
}

}  // namespace callboard::actors
