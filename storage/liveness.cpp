#include "storage/liveness.hpp"

#include "storage/keys.hpp"

#include <fmt/format.h>

namespace callboard::storage {

result<std::optional<entity_head>> liveness::head_of(entity_id entity) {
  if (const auto found = heads_.find(entity.raw()); found != heads_.end()) return found->second;
  std::string row;
  auto exists = db_.get(family::index, keys::head_row(shard_, entity), row);
  if (!exists) return std::unexpected{exists.error()};
  std::optional<entity_head> head;
  if (*exists) {
    head = decode_head(row);
    if (!head) {
      return fail(
          errc::corruption,
          fmt::format("shard {}: head row of entity {}", shard_.raw(), entity.raw()));
    }
  }
  heads_.emplace(entity.raw(), head);
  return head;
}

result<bool> liveness::is_live(const record& judged) {
  auto head = head_of(judged.entity);
  if (!head) return std::unexpected{head.error()};
  if (!*head) return false;
  const auto& known = **head;
  // The deletion itself goes last: it keeps the entity from coming back when views are rebuilt.
  if (known.is_deleted()) return judged.lsn == known.deleted_lsn;
  if (is_sequenced(judged.kind)) return judged.entity_seq > known.dead_floor();
  if (judged.kind == record_kind::trimmed) return judged.lsn == known.trim_lsn;
  if (judged.kind == record_kind::snapshot) return judged.lsn == known.snapshot_lsn;
  if (is_of_presence(judged.kind)) return judged.lsn >= known.presence_floor;
  if (judged.kind == record_kind::workflow_progress) {
    // It goes with the last event of its transition; the newest says how the workflow is.
    return judged.entity_seq > known.dead_floor() || judged.entity_seq >= known.last_seq;
  }
  return true;
}

result<bool> liveness::is_left_behind(const record& judged) {
  if (!is_of_presence(judged.kind) && judged.kind != record_kind::workflow_progress) return false;
  const auto head = head_of(judged.entity);
  if (!head) return std::unexpected{head.error()};
  if (!*head || (*head)->is_deleted()) return false;
  const auto live = is_live(judged);
  if (!live) return live;
  return !*live;
}

}  // namespace callboard::storage
