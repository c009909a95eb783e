#include "storage/commit_group.hpp"

#include "storage/projector.hpp"
#include "storage/record_codec.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

namespace callboard::storage {

void fail_activation(shard_slot& slot) {
  slot.failed = slot.activation;
}

commit_group::commit_group(store& shards, head_table& heads, const clock& time)
    : shards_{shards}, heads_{heads}, time_{time}, parts_(shards.shard_count()) {}

void commit_group::fill(
    database& from, std::deque<queued_append>& waiting, std::uint64_t bytes_max) {
  while (!waiting.empty() && byte_count_ < bytes_max) {
    auto append = std::move(waiting.front());
    waiting.pop_front();
    const auto shard = append.request.shard;
    if (auto admitted = admit(append); !admitted) {
      refuse(std::move(append), admitted.error());
      continue;
    }
    if (auto sound = check_sequences(from, append.request); !sound) {
      refuse(std::move(append), sound.error());
      continue;
    }
    auto& part = parts_[shard.raw()];
    join(append.request, part);
    if (auto done = stage(from, part, std::move(append)); !done) {
      // Cannot happen after the checks above but for a payload of the journal's own kinds that
      // does not parse; the records are laid out already, so the whole shard stops here.
      shards_.quarantine(shard, done.error());
    }
  }
  for (const auto shard : members_)
    finish_block(shard, parts_[shard.raw()]);
}

result<void> commit_group::admit(const queued_append& append) {
  auto& slot = shards_.slot(append.request.shard);
  const std::lock_guard guard{slot.mutex};
  if (slot.damage) return std::unexpected{*slot.damage};
  if (append.request.activation <= slot.failed) {
    return fail(errc::cancelled, "an earlier append of this shard failed");
  }
  if (append.request.activation != slot.activation) {
    return fail(errc::stale_term, "the shard was activated anew");
  }
  // From here on a new activation waits for the end of this group.
  slot.in_flight = true;
  return {};
}

result<void> commit_group::check_sequences(database& from, const append_request& request) {
  ++append_number_;
  /// Of the entity that the append makes.
  std::optional<std::uint64_t> made_seq;
  for (const auto& draft : request.records) {
    if (draft.kind == record_kind::trimmed) {
      if (auto sound = decode_trimmed(draft.payload.view()); !sound) {
        return fail(errc::bad_request, sound.error().detail);
      }
    }
    if (creates_entity(draft.kind)) made_seq = 0;
    if (!is_sequenced(draft.kind)) continue;
    if (made_seq && draft.entity == entity_id{}) {
      if (draft.entity_seq.raw() == ++*made_seq) continue;
      return fail(
          errc::sequence_conflict,
          fmt::format(
              "shard {}: sequence {} was offered for a new entity, {} is next",
              request.shard.raw(),
              draft.entity_seq.raw(),
              *made_seq));
    }
    auto head = heads_.get(from, request.shard, draft.entity);
    if (!head) {
      shards_.quarantine(request.shard, head.error());
      return fail(errc::quarantined, head.error().detail);
    }
    auto& cached = **head;
    if (cached.checked_append != append_number_) {
      cached.checked_append = append_number_;
      cached.checked_seq = cached.head.last_seq.raw();
    }
    if (draft.entity_seq.raw() != ++cached.checked_seq) {
      return fail(
          errc::sequence_conflict,
          fmt::format(
              "shard {}, entity {}: sequence {} was offered, {} is next",
              request.shard.raw(),
              draft.entity.raw(),
              draft.entity_seq.raw(),
              cached.checked_seq));
    }
  }
  return {};
}

void commit_group::join(const append_request& request, shard_part& part) {
  if (part.in_group) return;
  part.in_group = true;
  part.activation = request.activation;
  const auto shard = request.shard;
  auto& slot = shards_.slot(shard);
  {
    const std::lock_guard guard{slot.mutex};
    part.next = slot.committed.next();
    part.term = slot.term;
  }
  part.time = slot.clock.now(time_);
  part.builder.start(part.next);
  part.entries.start(part.next);
  members_.push_back(shard);
}

result<void> commit_group::stage(database& from, shard_part& part, queued_append append) {
  const auto shard = append.request.shard;
  append_receipt receipt{
      .first = part.next,
      .count = static_cast<std::uint32_t>(append.request.records.size()),
      .time = part.time};
  record written{.term = part.term, .time = part.time};
  cached_head* head = nullptr;
  entity_id head_of{};
  entity_id made{};
  for (const auto& draft : append.request.records) {
    const auto payload = draft.payload.view();
    if (!part.builder.has_room_for(payload.size())) {
      finish_block(shard, part);
      part.builder.start(part.next);
      part.entries.start(part.next);
    }
    written.kind = draft.kind;
    written.lsn = part.next;
    if (creates_entity(draft.kind)) {
      written.entity = made = entity_id{part.next.raw()};
      head = &heads_.make(shard, written.entity);
      head_of = written.entity;
    } else {
      written.entity = draft.entity == entity_id{} ? made : draft.entity;
      if (head == nullptr || head_of != written.entity) {
        auto found = heads_.get(from, shard, written.entity);
        if (!found) return std::unexpected{found.error()};
        head = *found;
        head_of = written.entity;
      }
    }
    written.entity_seq = draft.entity_seq;
    written.previous = head->head.last;
    part.builder.add(written, payload);
    if (auto added = part.entries.add(written, payload, head->slots); !added) {
      return std::unexpected{added.error()};
    }
    projector::note(head->head, written);
    part.next = part.next.next();
    byte_count_ += record_header_size + payload.size();
  }
  record_count_ += receipt.count;
  staged_.push_back({std::move(append), receipt});
  return {};
}

void commit_group::finish_block(shard_id shard, shard_part& part) {
  if (part.builder.empty()) return;
  auto block = std::make_shared<tail_block>();
  block->shard = shard;
  block->first = part.builder.first();
  block->span = part.builder.count();
  block->time = part.time;
  block->bytes = std::make_shared<const std::string>(part.builder.finish());
  block->entries = part.entries.take_entries();
  block->changes = part.entries.take_changes();
  blocks_.push_back(std::move(block));
}

void commit_group::publish() {
  for (const auto& block : blocks_) {
    auto& slot = shards_.slot(block->shard);
    const std::lock_guard guard{slot.mutex};
    slot.committed = block->last();
    slot.tail.push(block);
  }
  for (const auto shard : members_)
    settle(shard);
}

void commit_group::abandon() {
  for (const auto shard : members_) {
    auto& slot = shards_.slot(shard);
    {
      const std::lock_guard guard{slot.mutex};
      // Another one may wait for the end of this group to begin.
      slot.failed = std::max(slot.failed, parts_[shard.raw()].activation);
    }
    settle(shard);
  }
}

void commit_group::settle(shard_id shard) {
  auto& slot = shards_.slot(shard);
  {
    const std::lock_guard guard{slot.mutex};
    slot.in_flight = false;
  }
  slot.settled.notify_all();
}

void commit_group::refuse(queued_append append, error why) {
  const auto shard = append.request.shard;
  auto& slot = shards_.slot(shard);
  {
    const std::lock_guard guard{slot.mutex};
    // What its owner appended after it was decided on top of it, so it cannot stand either.
    if (append.request.activation == slot.activation) fail_activation(slot);
    if (!parts_[shard.raw()].in_group) slot.in_flight = false;
  }
  slot.settled.notify_all();
  refused_.push_back({std::move(append), std::move(why)});
}

void commit_group::clear() {
  for (const auto shard : members_)
    parts_[shard.raw()].in_group = false;
  members_.clear();
  staged_.clear();
  refused_.clear();
  blocks_.clear();
  record_count_ = 0;
  byte_count_ = 0;
}

}  // namespace callboard::storage
