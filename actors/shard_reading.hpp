// A read of a shard on the threads for reading, whose answer comes as a message.
#pragma once

#include "actors/boxed.hpp"
#include "actors/broker_parts.hpp"
#include "actors/reader_pool.hpp"
#include "storage/journal.hpp"

#include <caf/actor.hpp>
#include <caf/send.hpp>

#include <utility>

namespace callboard::actors {

/// Sends to `asker` a `Message` of what `work` finds, or of why nothing was read.
template <class Message, class Work>
void read_shard(const broker_parts& parts, shard_id shard, const caf::actor& asker, Work work) {
  auto posted = parts.readers.post(
      reader_pool::lane::control, [asker, &parts, shard, work = std::move(work)]() mutable {
        auto reader = parts.journal.read(shard);
        if (!reader) return caf::anon_send(asker, box(Message{std::unexpected{reader.error()}}));
        caf::anon_send(asker, box(Message{work(**reader)}));
      });
  if (!posted) caf::anon_send(asker, box(Message{std::unexpected{posted.error()}}));
}

}  // namespace callboard::actors
