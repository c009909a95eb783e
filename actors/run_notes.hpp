// What a run keeps in mind of its commands and messages beside their record.
#pragma once

#include "actors/requests.hpp"
#include "base/clock.hpp"
#include "runtime/workflow/run_codec.hpp"
#include "runtime/workflow/run_event.hpp"
#include "runtime/workflow/run_row.hpp"

#include <callboard/context.hpp>
#include <callboard/failure.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace callboard::actors {

/// How a run is begun.
struct beginning {
  std::string type;
  json input;
  std::string correlation_id;
  std::optional<workflow_parent> parent;
  std::string mirror;
};

/// A restart or a fork that is being copied.
struct rerun_copy {
  std::shared_ptr<const begin_rerun> ask;
  /// Of the run to come.
  runtime::run_start start;
  /// Behind the copy.
  std::uint64_t seed = 0;
  time_ms when{};
  /// In the source.
  sequence next{};
  std::size_t copied = 0;
  /// Of the source, behind what is copied.
  std::vector<runtime::run_event> signals;
  /// Of the run to come; nothing while nothing of it is written.
  std::optional<sequence> first_seq;
  /// Of what is written of it; and of what is being written.
  std::uint64_t bytes = 0;
  std::uint64_t slice_bytes = 0;
};

/// Of the transition that is being written, while the disk has no room for it.
struct append_refusal {
  std::optional<error> why;
  std::chrono::milliseconds pause{};  // Before the next try.
};

/// An event of a transition, and the run that it is of.
struct recorded {
  runtime::run_event event;
  std::uint32_t run = 1;
};

struct step_result {
  std::uint32_t attempt = 1;
  outcome<json> ended;
};

/// A step that is to begin once the engine is on offer.
struct ready_step {
  std::uint32_t command = 0;
  step_attempt attempt;
  detail::step_body body;
};

/// A command that waits for a task in a queue.
struct queued_task {
  std::string queue;
  std::string origin;
};

/// Something that must be told, and how far that is.
struct untold_debt {
  runtime::run_debt what;
  bool is_under_way = false;
  std::uint32_t tries = 0;
};

/// Whoever a command goes to could not take it, as his store is damaged: it is asked again.
struct refused_asking {
  std::uint32_t tries = 0;
  error why;
  boot_time next{};
};

/// A message that an agent has not answered.
struct open_message {
  /// Hash of it: what is said again is told from another message.
  std::uint64_t said = 0;
  /// The workflow whose command it is; empty: a client's.
  std::string caller;
};

/// One command as it is shown to people.
struct shown_step {
  std::string kind;
  std::string name;
  std::string status;
  std::uint32_t attempts = 0;
  std::uint32_t deferrals = 0;
  time_ms started{};
  std::optional<time_ms> ended;
  std::optional<time_ms> due;
  std::optional<failure> why;
};

/// A command that was sent, perhaps, before this process began; and where it went.
struct sent_before {
  std::uint32_t command = 0;
  topic_ref topic;
};

}  // namespace callboard::actors
