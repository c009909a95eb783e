// A batch of events as one I/O thread hands it to its subscriptions, with what was rendered of it.
#pragma once

#include "base/ids.hpp"
#include "runtime/topic/event_batch.hpp"

#include <cstdint>
#include <memory>

namespace callboard::actors {

/// What the gateway keeps beside a batch so that it is rendered once per I/O thread.
class batch_attachment {
public:
  virtual ~batch_attachment() = default;
};

/// Belongs to one I/O thread.
struct offered_batch {
  explicit offered_batch(runtime::event_batch_ptr from) : batch{std::move(from)} {
    for (const auto& event : batch->events)
      bytes += event.stored.size();
  }

  [[nodiscard]] std::uint32_t count() const {
    return static_cast<std::uint32_t>(batch->events.size());
  }

  /// Precondition: not empty, not ephemeral.
  [[nodiscard]] sequence first_seq() const { return batch->events.front().seq; }

  [[nodiscard]] sequence last_seq() const { return batch->events.back().seq; }

  runtime::event_batch_ptr batch;
  /// Sum of the stored sizes of its events.
  std::uint64_t bytes = 0;
  boot_time offered_at{};
  std::unique_ptr<batch_attachment> attachment;
};

using offered_batch_ptr = std::shared_ptr<offered_batch>;

}  // namespace callboard::actors
