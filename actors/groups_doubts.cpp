// Definitions of groups whose record may have been written or not: an append failed in a way that
// leaves that open. Until the journal was read the slot counts as changing, and requests wait: a
// group that is used though its end is on disk would deliver everything again, and one that is made
// again would be there twice.
#include "actors/groups_actor.hpp"
#include "runtime/binding/binding_names.hpp"

#include <fmt/format.h>

#include <utility>

namespace callboard::actors {

namespace {

constexpr boot_time look_again_after = std::chrono::milliseconds{200};

}  // namespace

error groups_actor::no_such_group(const group_name& name) {
  if (!runtime::is_binding_group(name)) {
    return {errc::group_not_found, fmt::format("there is no group '{}'", name.str()), 0};
  }
  return {
      errc::binding_not_found,
      fmt::format("there is no binding '{}'", runtime::binding_name_of(name)),
      0};
}

/// Reads what has become of the group of the topic that `topic_entity` is, and goes on with that.
void groups_actor::look_up(const topic_ref& ref, const group_name& name, entity_id topic_entity) {
  using row_or_none = std::optional<runtime::group_row>;
  read<row_or_none>(
      reader_pool::lane::control,
      [key = runtime::group_key{ref, name}](storage::shard_reader& reader) {
        return find_group(reader, key);
      },
      [this, ref, name, topic_entity](result<row_or_none> row) {
        const bool is_there = row && *row && (*row)->topic_entity == topic_entity;
        auto* topic = find_topic(ref);
        auto* slot = find_slot(ref, name);
        if (slot == nullptr || slot->row.topic_entity != topic_entity) {
          // Its topic was deleted meanwhile.
          if (is_there) delete_left_behind({{{ref, name}, **std::move(row)}});
          return;
        }
        if (!row) {
          // The store may be opened again just now, after the same failure.
          refuse_waiting(*slot, row.error());
          slot->look_again = boot() + look_again_after;
          hot_.insert(ref);
          return arm_tick();
        }
        if (!is_there) return forget(*topic, name);
        slot->row = **std::move(row);
        slot->changing = false;
        tell_binding(ref, name, slot);
        if (slot->unit) slot->unit->core.change_settings(slot->row.settings, now());
        if (topic->state == group_topic::link::attached) drop_strangers(*topic);
        tell_floor(*topic);
        run_waiting(*topic, name);
      });
}

/// The group is gone, or was never made.
void groups_actor::forget(group_topic& topic, const group_name& name) {
  auto& slot = topic.groups.at(name);
  tell_binding(topic.ref, name, nullptr);
  drop_unit(slot, no_such_group(name));
  auto waiting = std::exchange(slot.waiting, {});
  topic.groups.erase(name);
  tell_floor(topic);
  // One of them may make it anew.
  for (auto& one : waiting)
    with_topic(topic, std::move(one));
}

}  // namespace callboard::actors
