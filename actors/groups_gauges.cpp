// The gauges of consumer groups: every few seconds the groups of the shard are looked at, some at a
// time, so that what waits is seen though nobody fetches it.
#include "actors/groups_actor.hpp"
#include "runtime/binding/binding_names.hpp"

#include <utility>

namespace callboard::actors {

namespace {

constexpr std::chrono::milliseconds gauges_every{5000};
/// Groups that one look reads; the next goes on behind them.
constexpr std::size_t looks_max = 200;

struct looked_at_group {
  runtime::group_key key;
  runtime::group_row row;
  std::optional<sequence> needed_after;
};

struct found_backlog {
  runtime::group_key key;
  entity_id entity{};
  group_backlog backlog;
};

using found_backlogs = std::vector<found_backlog>;

/// Of those that can be read: one that is damaged hides no other.
found_backlogs
read_backlogs(storage::shard_reader& reader, const std::vector<looked_at_group>& groups) {
  found_backlogs found;
  for (const auto& one : groups) {
    auto backlog = read_backlog(reader, one.row, one.needed_after);
    if (backlog) found.push_back({one.key, one.row.entity, *backlog});
  }
  return found;
}

}  // namespace

void groups_actor::arm_gauges() {
  if (std::exchange(gauges_armed_, true)) return;
  delayed_send(this, gauges_every, box(group_gauges_tick{}));
}

void groups_actor::on_gauges_tick() {
  report_backlogs();
  if (topics_.empty()) return;
  arm_gauges();
  look_at_backlogs();
}

void groups_actor::report_backlogs() {
  backlogs_.begin();
  for (const auto& [ref, topic] : topics_) {
    for (const auto& [name, slot] : topic.groups) {
      if (!slot.backlog) continue;
      auto backlog = *slot.backlog;
      // What is acked behind the oldest waits no more.
      if (slot.unit) backlog.events = slot.unit->core.counts().lag;
      backlogs_.add(runtime::is_binding_group(name), backlog);
    }
  }
  backlogs_.report(shard_time());
}

void groups_actor::look_at_backlogs() {
  if (is_looking_) return;
  std::vector<looked_at_group> groups;
  auto topic = looked_at_ ? topics_.lower_bound(looked_at_->topic) : topics_.begin();
  for (; topic != topics_.end() && groups.size() < looks_max; ++topic) {
    const bool is_begun = looked_at_ && topic->first == looked_at_->topic;
    for (const auto& [name, slot] : topic->second.groups) {
      if (groups.size() == looks_max) break;
      if (is_begun && name <= looked_at_->group) continue;
      if (slot.row.entity == entity_id{} || runtime::is_redrive_group(name)) continue;
      groups.push_back({{topic->first, name}, slot.row, slot.needed_after});
    }
  }
  looked_at_.reset();
  if (groups.size() == looks_max) looked_at_ = groups.back().key;
  if (groups.empty()) return;
  is_looking_ = true;
  read<found_backlogs>(
      reader_pool::lane::reads,
      [groups = std::move(groups)](storage::shard_reader& reader) -> result<found_backlogs> {
        return read_backlogs(reader, groups);
      },
      [this](result<found_backlogs> found) {
        is_looking_ = false;
        if (!found) return;
        for (const auto& [key, entity, backlog] : *found) {
          auto* slot = find_slot(key.topic, key.group);
          // Another may have its name by now.
          if (slot == nullptr || slot->row.entity != entity) continue;
          slot->backlog = backlog;
          if (backlog.has_letters && !slot->unit) {
            // Nobody may ask for the group; its letters are published all the same.
            with_topic(*find_topic(key.topic), {{}, get_group{{key.topic, key.group}}, {}});
          } else if (!slot->needed_after) {
            slot->needed_after = backlog.needed_after;
          }
        }
        report_backlogs();
      });
}

}  // namespace callboard::actors
