// Catch2, version 2 (Debian 12) or 3 (newer), under one name.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#  include <string>

#  include <catch2/catch_all.hpp>
using Catch::Approx;

namespace Catch {

using Matchers::EndsWith;
using Matchers::Equals;
using Matchers::StartsWith;

inline auto Contains(const std::string& part) {
  return Matchers::ContainsSubstring(part);
}

} // namespace Catch

#else
#  include <catch2/catch.hpp>
#endif
