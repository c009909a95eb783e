// Looks for workflows that nothing would ever wake. Part of the SHARD actor, used by it alone.
#pragma once

#include "actors/broker_parts.hpp"
#include "base/error.hpp"
#include "runtime/workflow/run_row.hpp"
#include "storage/journal.hpp"

#include <callboard/failure.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace callboard::actors {

/// Why nothing would wake a run, as its row tells; nothing if something will, or it has ended.
[[nodiscard]] std::optional<failure>
stuck_because(const runtime::workflow_row& row, const runtime::workflow_registry* code);

/// The stuck workflows of a shard by key, tail included. Reader pool only. Errors: corruption.
[[nodiscard]] result<std::map<std::string, failure>>
find_stuck(storage::shard_reader& reader, const runtime::workflow_registry* code);

/// Counts the shard's stuck workflows in the gauge `workflows_stuck`, and logs each when it becomes
/// so. Works on the reader pool, one look at a time. Survives a restart: nothing, so that each is
/// logged again.
class run_sweep {
public:
  run_sweep(const broker_parts& parts, shard_id shard);

  /// Begins a look if the last one is `interval` ago. Call it often.
  void look();

  static constexpr std::chrono::seconds interval{60};

private:
  struct seen;

  const broker_parts& parts_;
  const shard_id shard_;
  std::shared_ptr<seen> seen_;
  boot_time next_{};
};

}  // namespace callboard::actors
