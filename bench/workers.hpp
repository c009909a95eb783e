// Workers of a task queue on WebSockets: they take tasks and complete each at once.
#pragma once

#include "bench/session.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace callboard::bench {

/// What a task's payload is: `{"i":index,"pad":"…"}` with about `size` bytes.
[[nodiscard]] std::string task_payload(std::uint64_t index, std::uint32_t size);

/// The index of a task whose JSON is `text`; the largest number if it has none.
[[nodiscard]] std::uint64_t task_index(std::string_view text);

/// The lease in the JSON of a task; empty if it has none.
[[nodiscard]] std::string_view lease_of(std::string_view task);

class workers {
public:
  /// So many WebSockets, each with `credits` tasks in hand at most; they begin at once.
  [[nodiscard]] static result<workers> connect(
      const session& with,
      const std::string& queue,
      std::uint32_t connections,
      std::uint32_t credits);

  /// Adds the sockets to a poller under the tags `first_tag`, `first_tag + 1`, …
  void watch(poller& wait, std::uint64_t first_tag);

  /// Reads what socket `index` has and completes it. `on_task(index of its payload)` may be empty.
  /// False once the connection has ended.
  bool take(std::size_t index, const std::function<void(std::uint64_t)>& on_task);

  [[nodiscard]] std::size_t size() const { return peers_.size(); }

  [[nodiscard]] std::uint64_t leased() const { return leased_; }

  [[nodiscard]] std::uint64_t completed() const { return completed_; }

  /// What the server refused last; empty: nothing.
  [[nodiscard]] const std::string& refusal() const { return refusal_; }

private:
  workers() = default;

  std::vector<peer> peers_;
  std::string answers_;
  std::uint64_t next_id_ = 1;
  std::uint64_t leased_ = 0;
  std::uint64_t completed_ = 0;
  std::string refusal_;
};

/// Until `count` tasks are completed; `between` is called ten times a second. Errors: unreachable,
/// timeout (a minute without a task), or what the server refused.
[[nodiscard]] result<void> drain_queue(
    workers& with,
    std::uint64_t count,
    const std::function<void(std::uint64_t)>& on_task = {},
    const std::function<void()>& between = {});

}  // namespace callboard::bench
