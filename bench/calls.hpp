// Many HTTP calls, so many at the same time, each sent as soon as a connection is free.
#pragma once

#include "bench/http_caller.hpp"
#include "bench/session.hpp"
#include "bench/time.hpp"

#include <cstdint>
#include <functional>
#include <string>

namespace callboard::bench {

struct call {
  std::string method = "POST";
  std::string target;
  std::string body;
};

/// Makes `count` calls over `connections` connections. `make(k)` is the k-th, from 0; `take(k,
/// answer, took_ns)` gets its answer. Errors: unreachable (a connection ended), timeout (a minute
/// without any answer).
[[nodiscard]] result<void> make_calls(
    const session& with,
    std::uint64_t count,
    std::uint32_t connections,
    const std::function<call(std::uint64_t)>& make,
    const std::function<void(std::uint64_t, http_caller::answer&, std::int64_t)>& take);

}  // namespace callboard::bench
