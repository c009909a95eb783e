#include "runtime/topic/event_batch.hpp"

#include <fmt/format.h>

namespace callboard::runtime {

std::string format_epoch(entity_id entity, incarnation_id incarnation) {
  return fmt::format("{:x}-{:x}", entity.raw(), incarnation.raw());
}

}  // namespace callboard::runtime
