// A dead letter of a binding that is given other data: a new letter takes its place, and the old
// one is given up in the ledger of redrives. It keeps the key under which its target knows the
// event, so that of both at most one is ever taken. What a crash leaves undone is done when the
// same is asked for again: the new letter's id is made of the old one's and of the data.
#include "actors/bindings_actor.hpp"
#include "base/hash.hpp"
#include "proto/event.pb.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>

namespace callboard::actors {

namespace {

using namespace std::chrono_literals;

constexpr std::chrono::milliseconds patience = 10s;

/// The letter with other data. Errors: corruption.
result<runtime::encoded_event>
edited_letter(const runtime::delivered_event& letter, const std::string& data) {
  v1::Event event;
  const auto bytes = runtime::event_proto(letter.stored);
  if (!event.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return fail(errc::corruption, fmt::format("dead letter {} is unreadable", letter.seq.raw()));
  }
  event.set_id(fmt::format("{}.{:016x}", event.id(), hash_64(data)));
  event.set_datacontenttype("application/json");
  event.set_json(data);
  std::string stored(runtime::event_prefix_size, '\0');
  event.AppendToString(&stored);
  const auto body = std::string_view{stored}.substr(runtime::event_prefix_size);
  runtime::write_event_prefix(
      stored.data(), event_identity(event.source(), event.id()), hash_64(body));
  return runtime::encoded_event{shared_bytes{std::move(stored)}};
}

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
    if (found.empty() || found.front().seq != work->next) {
      return answer(work->request, no_such_letter(work->next));
    }
    write_edited(work, found.front());
  });
}

void bindings_actor::write_edited(
    const std::shared_ptr<dead_work>& work, const runtime::delivered_event& letter) {
  auto edited = edited_letter(letter, std::get<edit_binding_dead>(work->request.body).data);
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
  ack_deliveries ack{redrive_of(work->binding), {}, {}};
  ack.seqs = {work->next};
  ask(std::move(ack), patience, [this, work, by](result<control_answer> settled) {
    if (!settled) return answer(work->request, std::move(settled));
    answer(work->request, control_answer{by});
  });
}

}  // namespace callboard::actors
