// Names of the kinds of records, for people and tests.
#pragma once

#include "storage/record.hpp"

#include <string_view>

namespace callboard::storage {

/// As `journal dump` shows it; empty for a number that no kind has.
[[nodiscard]] constexpr std::string_view name_of(record_kind kind) {
  using enum record_kind;
  switch (kind) {
  case topic_created:
    return "topic_created";
  case topic_configured:
    return "topic_configured";
  case topic_deleted:
    return "topic_deleted";
  case event:
    return "event";
  case trimmed:
    return "trimmed";
  case group_created:
    return "group_created";
  case group_configured:
    return "group_configured";
  case group_deleted:
    return "group_deleted";
  case group_progress:
    return "group_progress";
  case presence_changed:
    return "presence_changed";
  case presence_restated:
    return "presence_restated";
  case workflow_progress:
    return "workflow_progress";
  case snapshot:
    return "snapshot";
  case queue_created:
    return "queue_created";
  case queue_configured:
    return "queue_configured";
  case queue_deleted:
    return "queue_deleted";
  case task_enqueued:
    return "task_enqueued";
  case task_progress:
    return "task_progress";
  case task_restated:
    return "task_restated";
  case task_audited:
    return "task_audited";
  case task_ends_told:
    return "task_ends_told";
  case queue_closed:
    return "queue_closed";
  }
  return {};
}

}  // namespace callboard::storage
