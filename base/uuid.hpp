// Identifiers we make ourselves: UUID version 7 (RFC 9562 section 5.7), ordered by time.
#pragma once

#include "base/ids.hpp"

#include <string>

namespace callboard {

/// A new UUIDv7 in lower-case text form; the random bits come from a per-thread generator that is
/// seeded by the operating system. Any thread.
[[nodiscard]] std::string make_uuid(time_ms now);

} // namespace callboard
