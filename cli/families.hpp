// The command families; each is one file. Those that need a node's own code (storage, gateway)
// are a library of their own, and `bench` lives with the load generators.
#pragma once

#include "cli/command.hpp"

namespace callboard::cli {

/// Adds the family's commands to `app`; `run` outlives it.
using family = void (*)(CLI::App& app, context& run);

// -- talk to a server ------------------------------------------------------------------------
void add_publish(CLI::App& app, context& run);
void add_subscribe(CLI::App& app, context& run);
void add_topic(CLI::App& app, context& run);
void add_group(CLI::App& app, context& run);
void add_binding(CLI::App& app, context& run);
void add_queue(CLI::App& app, context& run);
void add_presence(CLI::App& app, context& run);
void add_workflow(CLI::App& app, context& run);
/// Into the family `workflow`.
void add_workflow_repair(CLI::App& family, context& run);
/// The same, with a node's loader of modules; behind `add_workflow`.
void add_workflow_replay(CLI::App& app, context& run);
void add_agent(CLI::App& app, context& run);
void add_doctor(CLI::App& app, context& run);

// -- need no server --------------------------------------------------------------------------
void add_config(CLI::App& app, context& run);
void add_completion(CLI::App& app, context& run);

// -- carry a node inside ---------------------------------------------------------------------
void add_serve(CLI::App& app, context& run);
void add_token(CLI::App& app, context& run);
void add_journal(CLI::App& app, context& run);
void add_backup(CLI::App& app, context& run);

// -- in bench/ -------------------------------------------------------------------------------
void add_bench(CLI::App& app, context& run);

}  // namespace callboard::cli
