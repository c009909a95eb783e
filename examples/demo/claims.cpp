#include "examples/demo/claims.hpp"

#include <fmt/format.h>

#include "examples/demo/screen.hpp"

namespace callboard::demo {

void claims::expect(bool holds, std::string_view claim, const std::string& seen) {
  ++checked_;
  if (!holds) ++broken_;
  fmt::print(
      "    {} {:<66} {}\n",
      holds ? styled("1;32", "ok    ") : styled("1;31", "BROKEN"),
      claim,
      seen);
}

void claims::expect_count(std::string_view claim, std::uint64_t seen, std::uint64_t wanted) {
  expect(
      seen == wanted,
      claim,
      seen == wanted ? std::to_string(seen) : fmt::format("{}, not {}", seen, wanted));
}

}  // namespace callboard::demo
