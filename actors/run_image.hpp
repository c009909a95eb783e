// What committed records say of a workflow; read when its channel becomes active.
#pragma once

#include "actors/run_memory.hpp"
#include "base/ids.hpp"
#include "runtime/workflow/run_event.hpp"
#include "runtime/workflow/run_row.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace callboard::actors {

struct run_image {
  std::optional<runtime::workflow_row> row;
  /// Of the current run.
  std::vector<runtime::run_event> history;
  /// What each signal said, by its id, that the run took which went on as the current one.
  std::map<std::string, std::uint64_t> earlier_signals;
  /// It is about to be terminated: nothing of it is to be executed, whatever its history is.
  bool is_to_end = false;
  /// What it took to read all this.
  boot_time read_in{};
  /// If there was room for it; nothing: it is needed whatever there is.
  run_charge charge{};
};

}  // namespace callboard::actors
