// What code hands on otherwise than it did when that was recorded. It is no mismatch: what has been
// asked for is not asked for again, so a replay compares kinds and names only. But whoever tries a
// build on a record wants to know.
#pragma once

#include "base/ids.hpp"
#include "runtime/workflow/run_event.hpp"

#include <callboard/command.hpp>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace callboard::runtime {

/// So many are told; the others are counted.
inline constexpr std::size_t changed_arguments_max = 100;

struct changed_argument {
  std::uint32_t command = 0;
  command_kind kind{};
  std::string name;
  /// Where in the arguments of the command, for example `payload.total`.
  std::string member;
  /// As JSON, in short where that is long; empty if there is none.
  std::string recorded;
  std::string attempted;
};

/// Lifecycle: made for a record, fed with what the code asks for where that has a command.
class changed_arguments {
public:
  /// `history` has to outlive this.
  explicit changed_arguments(std::span<const run_event> history);

  /// `now` as the code sees it.
  void compare(std::uint32_t command, const detail::command_request& request, time_ms now);

  [[nodiscard]] const std::vector<changed_argument>& found() const { return found_; }

  /// Beyond those that are told.
  [[nodiscard]] std::size_t omitted() const { return omitted_; }

private:
  void compare_values(const std::string& member, const json* recorded, const json* attempted);
  void compare_times(const detail::command_request& request, time_ms now);
  void add(std::string member, std::string recorded, std::string attempted);

  std::map<std::uint32_t, const run_event*> issued_;
  /// That is being compared.
  const run_event* command_ = nullptr;
  std::vector<changed_argument> found_;
  std::size_t omitted_ = 0;
};

}  // namespace callboard::runtime
