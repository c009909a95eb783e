// What clients ask of bindings beyond their groups: to delete one with its dead letters, to show
// those, and to try them again.
#include "actors/absence.hpp"
#include "actors/bindings_actor.hpp"
#include "runtime/binding/binding_names.hpp"

#include <algorithm>
#include <memory>

namespace callboard::actors {

namespace {

using namespace std::chrono_literals;

constexpr std::chrono::milliseconds patience = 10s;
/// Of requests of ours that wait for their answers, those for deliveries included.
constexpr std::size_t questions_max = 100'000;

const group_ref& group_of(const pending_request& request) {
  return std::visit(
      []<class Body>(const Body& one) -> const group_ref& {
        if constexpr (requires { one.group; } && binding_request<Body>) {
          return one.group;
        } else {
          static const group_ref none;
          return none;
        }
      },
      request.body);
}

topic_ref dead_topic_of(const group_ref& binding) {
  return {binding.topic.tenant, runtime::binding_dead_topic(binding.topic.topic, binding.group)};
}

/// Seq of the last of the `count` oldest of those, of which there are as many.
sequence last_of_oldest(const group_description& ledger, std::uint64_t count) {
  auto before = std::min(ledger.floor, ledger.last_seq);
  for (const auto& range : ledger.acked) {
    const auto between = range.first.raw() - before.raw() - 1;
    if (between >= count) break;
    count -= between;
    before = range.last;
  }
  return sequence{before.raw() + count};
}

bool is_list_of_bindings(const pending_request& request) {
  return std::holds_alternative<list_bindings>(request.body);
}

/// Leaves out what was redriven or given up by hand, and what never was one.
control_answer only_letters(event_page page, const group_description& ledger) {
  auto kept = std::make_shared<runtime::event_batch>(*page.batch);
  const auto& settled = ledger.acked;
  std::erase_if(kept->events, [&](const auto& one) {
    const auto range = std::ranges::lower_bound(settled, one.seq, {}, &runtime::seq_range::last);
    return (range != settled.end() && range->first <= one.seq) || !is_letter(one, ledger.roots);
  });
  page.batch = std::move(kept);
  return page;
}

}  // namespace

std::uint64_t letters_left(const group_description& ledger) {
  auto left = ledger.last_seq.raw() - std::min(ledger.floor, ledger.last_seq).raw();
  for (const auto& range : ledger.acked)
    left -= std::min(left, range.last.raw() + 1 - range.first.raw());
  return left;
}

group_ref redrive_of(const group_ref& binding) {
  return {dead_topic_of(binding), runtime::redrive_group(binding.group)};
}

bool is_absent(const result<control_answer>& outcome) {
  if (outcome) return false;
  const auto code = outcome.error().code;
  return code == errc::binding_not_found || is_not_there(code);
}

void bindings_actor::on_request(pending_request request) {
  if (questions_.size() >= questions_max) {
    return answer(request, fail(errc::overloaded, "too many requests about bindings wait", 500));
  }
  arm_tick();
  if (std::holds_alternative<get_binding>(request.body)) return describe(std::move(request));
  if (std::holds_alternative<list_bindings>(request.body)) return describe_all(std::move(request));
  if (std::holds_alternative<edit_binding_dead>(request.body)) return edit_dead(std::move(request));
  if (std::holds_alternative<delete_binding>(request.body)) return remove(std::move(request));
  if (std::holds_alternative<list_binding_dead>(request.body)) return list_dead(std::move(request));
  if (std::holds_alternative<redrive_binding>(request.body)) return redrive(std::move(request));
  if (std::holds_alternative<abandon_binding_dead>(request.body)) {
    return change_dead(std::move(request));
  }
  answer(request, fail(errc::internal, "this request is not about bindings"));
}

// -- bindings with the dead letters that they have now ------------------------------------------

void bindings_actor::describe(pending_request request) {
  const auto group = group_of(request);
  ask(get_group{group},
      patience,
      [this, request = std::move(request)](result<control_answer> binding) mutable {
        if (!binding) return answer(request, std::move(binding));
        auto found = std::make_shared<group_list>();
        found->of_bindings = true;
        found->groups.push_back(std::get<group_description>(*std::move(binding)));
        count_dead(std::make_shared<const pending_request>(std::move(request)), found, 0);
      });
}

void bindings_actor::describe_all(pending_request request) {
  const auto topic = std::get<list_bindings>(request.body).topic;
  ask(list_groups{topic, true},
      patience,
      [this, request = std::move(request)](result<control_answer> bindings) mutable {
        if (!bindings) return answer(request, std::move(bindings));
        auto found = std::make_shared<group_list>(std::get<group_list>(*std::move(bindings)));
        count_dead(std::make_shared<const pending_request>(std::move(request)), found, 0);
      });
}

/// What the group of redrives has left is what is dead; before the first redrive that is the topic.
void bindings_actor::count_dead(
    std::shared_ptr<const pending_request> request,
    std::shared_ptr<group_list> found,
    std::size_t next) {
  if (next == found->groups.size()) {
    const bool is_one = std::holds_alternative<get_binding>(request->body);
    if (is_one) return answer(*request, control_answer{std::move(found->groups.front())});
    return answer(*request, control_answer{std::move(*found)});
  }
  const auto& topic = is_list_of_bindings(*request) ? std::get<list_bindings>(request->body).topic
                                                    : group_of(*request).topic;
  const group_ref binding{topic, group_name::trusted(found->groups[next].group)};
  auto count = [this, request, found, next](std::uint64_t dead) {
    found->groups[next].dead = dead;
    count_dead(request, found, next + 1);
  };
  ask(get_group{redrive_of(binding)},
      patience,
      [this, request, count, binding](result<control_answer> ledger) {
        if (ledger) {
          return without_orphans(
              binding,
              std::get<group_description>(*std::move(ledger)),
              [count](const group_description& letters) mutable { count(letters_left(letters)); });
        }
        if (!is_absent(ledger)) return answer(*request, std::move(ledger));
        ask(get_topic{dead_topic_of(binding)}, patience, [count](result<control_answer> letters) {
          const auto* topic = letters ? std::get_if<topic_description>(&*letters) : nullptr;
          count(topic == nullptr ? 0 : topic->events);
        });
      });
}

void bindings_actor::remove(pending_request request) {
  const auto group = group_of(request);
  ask(delete_group{group},
      patience,
      [this, request = std::move(request)](result<control_answer> outcome) mutable {
        if (!outcome && !is_absent(outcome)) return answer(request, std::move(outcome));
        // Also behind a binding that is gone: a deletion may have come only so far.
        remove_dead_letters(std::move(request), std::move(outcome));
      });
}

void bindings_actor::remove_dead_letters(pending_request request, result<control_answer> outcome) {
  const auto topic = dead_topic_of(group_of(request));
  ask(delete_topic{topic},
      patience,
      [this, request = std::move(request), outcome = std::move(outcome)](
          result<control_answer> emptied) mutable {
        if (!emptied && !is_absent(emptied)) return answer(request, std::move(emptied));
        const auto of = group_of(request);
        const topic_ref audit{
            of.topic.tenant, runtime::binding_audit_topic(of.topic.topic, of.group)};
        ask(delete_topic{audit},
            patience,
            [this, request = std::move(request), outcome = std::move(outcome)](
                result<control_answer> forgotten) mutable {
              if (!forgotten && !is_absent(forgotten)) {
                return answer(request, std::move(forgotten));
              }
              answer(request, std::move(outcome));
            });
      });
}

void bindings_actor::list_dead(pending_request request) {
  const auto group = group_of(request);
  ask(get_group{group},
      patience,
      [this, group, request = std::move(request)](result<control_answer> binding) mutable {
        if (!binding) return answer(request, std::move(binding));
        ask(get_group{redrive_of(group)},
            patience,
            [this, group, request = std::move(request)](result<control_answer> tried) mutable {
              if (!tried && !is_absent(tried)) return answer(request, std::move(tried));
              if (!tried) return read_dead(std::move(request), {});
              without_orphans(
                  group,
                  std::get<group_description>(*std::move(tried)),
                  [this, request = std::move(request)](const group_description& known) mutable {
                    read_dead(std::move(request), known);
                  });
            });
      });
}

void bindings_actor::read_dead(pending_request request, const group_description& ledger) {
  const auto after = ledger.floor;
  const auto& asked = std::get<list_binding_dead>(request.body);
  read_events read;
  read.topic = dead_topic_of(asked.group);
  read.from = asked.from;
  read.events_max = asked.events_max;
  read.bytes_max = asked.bytes_max;
  const auto* from = std::get_if<runtime::from_seq>(&asked.from);
  if (from == nullptr || from->seq <= after) read.from = runtime::from_seq{after.next()};
  ask(std::move(read),
      patience,
      [this, request = std::move(request), ledger](result<control_answer> page) mutable {
        if (page) {
          return answer(request, only_letters(std::get<event_page>(*std::move(page)), ledger));
        }
        if (!is_absent(page)) return answer(request, std::move(page));
        auto nothing = std::make_shared<runtime::event_batch>();
        nothing->topic = dead_topic_of(group_of(request));
        answer(request, control_answer{event_page{.batch = std::move(nothing)}});
      });
}

void bindings_actor::redrive(pending_request request) {
  if (!std::get<redrive_binding>(request.body).filter.is_all()) {
    return change_dead(std::move(request));
  }
  const auto group = group_of(request);
  ask(get_group{group},
      patience,
      [this, request = std::move(request)](result<control_answer> binding) mutable {
        if (!binding) return answer(request, std::move(binding));
        redrive_all(std::move(request), std::get<group_description>(*binding).settings.binding);
      });
}

/// By the group itself, so that it goes on over restarts. Told to the audit topic first: what
/// nobody can be told of is not begun.
void bindings_actor::redrive_all(pending_request request, const std::string& rule) {
  const auto group = redrive_of(group_of(request));
  ask(get_group{group},
      patience,
      [this, group, rule, request = std::move(request)](result<control_answer> known) mutable {
        if (known || !is_absent(known)) return audit_all(std::move(request), rule, known);
        // Made so that it delivers nothing yet.
        put_group put;
        put.group = group;
        put.binding = rule;
        put.in_flight_max = 0;
        ask(std::move(put),
            patience,
            [this, rule, request = std::move(request)](const result<control_answer>& made) mutable {
              audit_all(std::move(request), rule, made);
            });
      });
}

void bindings_actor::audit_all(
    pending_request request, const std::string& rule, const result<control_answer>& ledger) {
  if (is_absent(ledger)) return answer(request, control_answer{binding_redrive{0}});
  if (!ledger) return answer(request, std::unexpected{ledger.error()});
  const auto group = group_of(request);
  without_orphans(
      group,
      std::get<group_description>(*ledger),
      [this, rule, request = std::move(request)](const group_description& letters) mutable {
        begin_redrive(std::move(request), rule, letters);
      });
}

void bindings_actor::begin_redrive(
    pending_request request, const std::string& rule, const group_description& letters) {
  const auto left = letters_left(letters);
  if (left == 0) return answer(request, control_answer{binding_redrive{0}});
  const std::uint64_t most = parts_.settings.limits.dead_changes_max;
  const auto count = std::min(left, most);
  const auto last = last_of_oldest(letters, count);
  auto told = audit_of_all(group_of(request), std::get<redrive_binding>(request.body).who, count);
  publish(
      std::move(told),
      patience,
      [this, rule, count, last, is_all = count == left, request = std::move(request)](
          result<control_answer> audited) mutable {
        if (!audited) return answer(request, std::move(audited));
        put_group put;
        put.group = redrive_of(group_of(request));
        put.binding = rule;
        put.in_flight_max = binding_in_flight_max;
        put.up_to = last;
        ask(std::move(put),
            patience,
            [this, count, is_all, request = std::move(request)](result<control_answer> begun) {
              if (!begun) return answer(request, std::move(begun));
              answer(request, control_answer{binding_redrive{.events = count, .more = !is_all}});
            });
      });
}

}  // namespace callboard::actors
