// What tells the events of one run, and of all that comes of it, from those of others.
#pragma once

#include <callboard/context.hpp>
#include <string>

namespace callboard::runtime {

/// The `correlationid` of what a run publishes and of what it starts: what it was started with, or
/// its id. Runs of earlier versions that were started without have none in their record.
[[nodiscard]] inline const std::string&
correlation_of(const std::string& given, const std::string& workflow_id) {
  return given.empty() ? workflow_id : given;
}

[[nodiscard]] inline const std::string& correlation_of(const run_identity& run) {
  return correlation_of(run.correlation_id, run.workflow_id);
}

}  // namespace callboard::runtime
