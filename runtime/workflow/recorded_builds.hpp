// Which build of the program recorded which commands of a run, by its record.
#pragma once

#include "runtime/workflow/run_event.hpp"

#include <callboard/failure.hpp>
#include <cstdint>
#include <string>
#include <vector>

namespace callboard::runtime {

/// Takes the events of one run in their order. Bound: a number and a name per change of build.
class recorded_builds {
public:
  void take(const run_event& event);

  /// That recorded the run last; empty if nobody knows.
  [[nodiscard]] const std::string& latest() const;

  /// That recorded the command; of 0 the latest.
  [[nodiscard]] const std::string& of(std::uint32_t command) const;

private:
  /// From this command on, up to the next.
  struct span {
    std::uint32_t first = 0;
    std::string build;
  };

  void add(std::uint32_t first, std::string build);

  std::vector<span> spans_;
  std::uint32_t last_command_ = 0;
};

/// Another build goes on with a run: the commands from `first` on are its own.
[[nodiscard]] run_event make_build_changed(const std::string& build, std::uint32_t first);

/// Why code of `build` does not fit a record, with both builds in its details: that of the code,
/// and that which recorded what the code differs from.
[[nodiscard]] failure
with_builds(failure why, const recorded_builds& recorded, const std::string& build);

}  // namespace callboard::runtime
