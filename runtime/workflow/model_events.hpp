// What a run's channel shows of a model's answer while it is made: events that are not stored.
// docs/protocol.md lists them.
#pragma once

#include "runtime/topic/event_batch.hpp"

#include <callboard/context.hpp>
#include <cstdint>
#include <string_view>

namespace callboard::runtime {

/// A piece of an answer. `attempt` is that of the history, `round` counts 1, 2, 3… the times that
/// the node asked within it: together they only grow.
struct model_piece {
  std::uint32_t command = 0;
  std::string_view name;
  std::uint32_t attempt = 1;
  std::uint32_t round = 1;
};

/// A new round begins: text of earlier ones is void.
[[nodiscard]] encoded_event encode_model_reset(const model_piece& piece, const run_identity& run);

/// `index` counts 0, 1, 2… in each round.
[[nodiscard]] encoded_event encode_model_delta(
    const model_piece& piece, std::uint64_t index, std::string_view text, const run_identity& run);

/// All text of the round up to and with the delta `index`; higher ones follow.
[[nodiscard]] encoded_event encode_model_snapshot(
    const model_piece& piece, std::uint64_t index, std::string_view text, const run_identity& run);

}  // namespace callboard::runtime
