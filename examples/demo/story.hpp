// The first act: one ticket in each of two tenants, through two kills of their node.
#pragma once

#include "examples/demo/claims.hpp"
#include "examples/demo/stage.hpp"
#include "examples/demo/tickets.hpp"

namespace callboard::demo {

/// Plays it to its end and checks what it claims. Precondition: the stage is open and both tenants
/// are followed. Errors: whatever kept the story from going on.
[[nodiscard]] result<void> play_story(stage& on, tickets& seen, claims& checked);

}  // namespace callboard::demo
