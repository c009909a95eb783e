// What clients ask of bindings beyond their groups: to delete one with its dead letters, to show
// those, and to try them again.
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
        if constexpr (binding_request<Body>) {
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

group_ref redrive_of(const group_ref& binding) {
  return {dead_topic_of(binding), runtime::redrive_group(binding.group)};
}

bool is_absent(const result<control_answer>& outcome) {
  if (outcome) return false;
  const auto code = outcome.error().code;
  return code == errc::not_found || code == errc::topic_not_found;
}

}  // namespace

void bindings_actor::on_request(pending_request request) {
  if (questions_.size() >= questions_max) {
    return answer(request, fail(errc::overloaded, "too many requests about bindings wait", 500));
  }
  arm_tick();
  if (std::holds_alternative<delete_binding>(request.body)) return remove(std::move(request));
  if (std::holds_alternative<list_binding_dead>(request.body)) return list_dead(std::move(request));
  if (std::holds_alternative<redrive_binding>(request.body)) return redrive(std::move(request));
  answer(request, fail(errc::internal, "this request is not about bindings"));
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
        answer(request, std::move(outcome));
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
            [this, request = std::move(request)](result<control_answer> tried) mutable {
              if (!tried && !is_absent(tried)) return answer(request, std::move(tried));
              const auto* known = tried ? std::get_if<group_description>(&*tried) : nullptr;
              read_dead(std::move(request), known != nullptr ? known->floor : sequence{});
            });
      });
}

void bindings_actor::read_dead(pending_request request, sequence after) {
  const auto& asked = std::get<list_binding_dead>(request.body);
  read_events read;
  read.topic = dead_topic_of(asked.group);
  read.from = asked.from;
  read.events_max = asked.events_max;
  const auto* from = std::get_if<runtime::from_seq>(&asked.from);
  if (from == nullptr || from->seq <= after) read.from = runtime::from_seq{after.next()};
  ask(std::move(read),
      patience,
      [this, request = std::move(request)](result<control_answer> page) mutable {
        if (!is_absent(page)) return answer(request, std::move(page));
        auto nothing = std::make_shared<runtime::event_batch>();
        nothing->topic = dead_topic_of(group_of(request));
        answer(request, control_answer{event_page{.batch = std::move(nothing)}});
      });
}

void bindings_actor::redrive(pending_request request) {
  const auto group = group_of(request);
  ask(get_group{group},
      patience,
      [this, group, request = std::move(request)](result<control_answer> binding) mutable {
        if (!binding) return answer(request, std::move(binding));
        put_group put;
        put.group = redrive_of(group);
        put.binding = std::get<group_description>(*binding).settings.binding;
        put.is_bounded = true;
        ask(std::move(put),
            patience,
            [this, request = std::move(request)](result<control_answer> tried) mutable {
              if (is_absent(tried)) return answer(request, control_answer{binding_redrive{0}});
              if (!tried) return answer(request, std::move(tried));
              const auto& known = std::get<group_description>(*tried);
              answer(request, control_answer{binding_redrive{known.lag}});
            });
      });
}

}  // namespace callboard::actors
