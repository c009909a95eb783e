#include "actors/retention_sweep.hpp"

#include "actors/boxed.hpp"

#include <caf/send.hpp>

#include <utility>

namespace callboard::actors {

void retention_sweep::look(const caf::actor& self) {
  if (is_reading_) return;
  auto posted = parts_.readers.post(
      reader_pool::lane::reads, [self, &parts = parts_, shard = shard_, after = after_] {
        auto reader = parts.journal.read(shard);
        caf::anon_send(
            self,
            box(sweep_told{
                reader ? find_due_topics(**reader, after, parts.journal.shard_time(shard))
                       : std::unexpected{reader.error()}}));
      });
  is_reading_ = posted.has_value();
}

std::vector<topic_ref> retention_sweep::take(sweep_told& message) {
  is_reading_ = false;
  if (!message.page) return {};
  after_ = message.page->next;
  return std::move(message.page->due);
}

}  // namespace callboard::actors
