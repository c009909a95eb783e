#include "runtime/presence/presence_core.hpp"

#include <algorithm>
#include <utility>

namespace callboard::runtime {

namespace {

/// Members written before all are written again, if there are not more members.
constexpr std::size_t restate_after_min = 1000;
/// Written again with each batch at least.
constexpr std::size_t restated_min = 16;
/// And at most, so that a batch of many changes does not become twice as long by it.
constexpr std::size_t restated_bytes_max = 1 << 20;

constexpr std::string_view no_state = "{}";

}  // namespace

presence_core::presence_core(
    presence_limits limits, std::vector<presence_entry> known, std::uint64_t version, boot_time now)
    : limits_{limits}, version_{version} {
  for (auto& one : known) {
    auto& added = members_[one.member];
    added.state = std::move(one.state);
    added.version = one.version;
    version_ = std::max(version_, one.version);
    arm(one.member, added, now + limits_.grace);
  }
}

result<void> presence_core::check(const std::string& name, std::string_view state) const {
  if (name.empty() || name.size() > presence_member_size_max) {
    return fail(errc::bad_request, "a member's name has 1 to 255 bytes");
  }
  if (state.size() > presence_state_size_max) {
    return fail(errc::too_large, "a member's state has at most 4096 bytes");
  }
  if (!state.empty() && state.front() != '{') {
    return fail(errc::bad_request, "a member's state is a JSON object");
  }
  if (!has(name) && members_.size() >= limits_.members_max) {
    return fail(
        errc::overloaded, "the topic has as many members as topics.presence_members_max", 1000);
  }
  return {};
}

result<void> presence_core::join(const std::string& name, std::string state, boot_time now) {
  if (auto sound = check(name, state); !sound) return sound;
  if (state.empty()) state = no_state;
  const auto [it, is_new] = members_.try_emplace(name);
  auto& one = it->second;
  if (is_new || one.state != state) {
    changes_.push_back({is_new ? presence_event::joined : presence_event::updated, name, state});
    one.state = std::move(state);
  }
  one.present = true;
  arm(name, one, now + limits_.lease);
  return {};
}

bool presence_core::has(const std::string& name, std::string_view state) const {
  const auto it = members_.find(name);
  return it != members_.end() && it->second.state == (state.empty() ? no_state : state);
}

result<void> presence_core::renew(const std::string& name, boot_time now) {
  const auto it = members_.find(name);
  if (it == members_.end()) {
    return fail(errc::not_found, "not a member of this topic (any more): join again");
  }
  it->second.present = true;
  arm(name, it->second, now + limits_.lease);
  return {};
}

void presence_core::leave(const std::string& name, bool vanished, boot_time now) {
  const auto it = members_.find(name);
  if (it == members_.end()) return;
  if (!vanished) {
    remove(it);
  } else if (it->second.present) {
    it->second.present = false;
    arm(name, it->second, now + limits_.grace);
  }
}

void presence_core::tick(boot_time now) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const auto [deadline, name] = *deadlines_.begin();
    const auto it = members_.find(name);
    if (!it->second.present) {
      remove(it);
      continue;
    }
    it->second.present = false;
    // From the end of the lease, however late this tick is.
    arm(name, it->second, deadline + limits_.grace);
  }
}

void presence_core::paused(boot_time pause, boot_time now) {
  for (auto& [name, one] : members_) {
    const auto anew = now + (one.present ? limits_.lease : limits_.grace);
    arm(name, one, std::max(one.deadline, std::min(one.deadline + pause, anew)));
  }
}

presence_batch presence_core::take_changes() {
  presence_batch batch;
  batch.version = ++version_;
  batch.changes = std::exchange(changes_, {});
  std::set<std::string> touched;
  for (const auto& change : batch.changes) {
    touched.insert(change.member);
  }
  for (const auto& name : touched) {
    const auto it = members_.find(name);
    if (it == members_.end()) {
      batch.left.push_back(name);
      continue;
    }
    it->second.version = it->second.written = batch.version;
    batch.joined_or_updated.push_back({name, it->second.state, batch.version, true});
  }
  if (written_) *written_ += touched.size();
  // Nothing that takes space comes with those who leave: they must be let go on a full disk, too.
  if (batch.joined_or_updated.empty()) return batch;
  if (!restating_ && (!written_ || *written_ >= std::max(members_.size(), restate_after_min))) {
    restating_ = restating{.version = batch.version};
    written_ = 0;
  }
  if (restating_) restate(batch, std::max(touched.size(), restated_min));
  return batch;
}

void presence_core::restate(presence_batch& batch, std::size_t most) {
  auto it = members_.upper_bound(restating_->last_name);
  std::size_t bytes = 0;
  for (; it != members_.end() && most > 0 && bytes < restated_bytes_max; ++it) {
    auto& [name, one] = *it;
    restating_->last_name = name;
    if (one.written >= restating_->version) continue;
    one.written = batch.version;
    bytes += name.size() + one.state.size();
    batch.joined_or_updated.push_back({name, one.state, one.version, true});
    --most;
  }
  if (it != members_.end() || restating_->begin == lsn{}) return;
  batch.dead_before = restating_->begin;
  restating_.reset();
}

void presence_core::committed(lsn at) {
  if (restating_ && restating_->begin == lsn{}) restating_->begin = at;
}

std::vector<presence_entry> presence_core::list() const {
  std::vector<presence_entry> all;
  all.reserve(members_.size());
  for (const auto& [name, one] : members_) {
    all.push_back({name, one.state, one.version, one.present});
  }
  return all;
}

void presence_core::arm(const std::string& name, member& one, boot_time deadline) {
  deadlines_.erase({one.deadline, name});
  one.deadline = deadline;
  deadlines_.emplace(deadline, name);
}

void presence_core::remove(std::map<std::string, member>::iterator it) {
  deadlines_.erase({it->second.deadline, it->first});
  changes_.push_back({presence_event::left, it->first, std::move(it->second.state)});
  members_.erase(it);
}

}  // namespace callboard::runtime
