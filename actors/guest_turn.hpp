// Turns of actors on threads that are not the actor system's: whoever has just made what an actor
// waits for goes on with it at once, instead of waking a thread that does. Threads that do so are
// joined before the actor system goes.
#pragma once

#include "actors/reader_pool.hpp"

#include <caf/actor.hpp>
#include <caf/message.hpp>

namespace callboard::actors {

/// Hands `content` to `to`. If it was idle, it has its turn on this thread before this returns;
/// else whoever it has its turn on goes on with this. The caller must hold no lock.
void tell_and_run(const caf::actor& to, caf::message content);

/// Hands `content` to `to`, before its messages of normal priority. If it was idle, it has its turn
/// on a thread of `on` as long as one of them sleeps: the one that is woken may be given several
/// turns, one behind the other, until it wakes another. If none does, and if `on` is null, it has
/// it on the actor system's. Any thread. `on` outlives every actor that is not over.
void tell_on(reader_pool* on, const caf::actor& to, caf::message content);

}  // namespace callboard::actors
