// Which workflow classes this program has.
#pragma once

#include "base/error.hpp"

#include <callboard/workflow.hpp>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace callboard::runtime {

/// Filled before the node starts, read by any thread afterwards.
class workflow_registry {
public:
  /// `build` is that of the object that has its code (`build_id_of`); empty: this program.
  /// Errors: exists (this type and version), invalid_name.
  [[nodiscard]] result<void> add(workflow_definition definition, std::string build = {});

  /// The newest version, for a run that begins now; null if there is no such type.
  [[nodiscard]] const workflow_definition* newest(const std::string& type) const;

  /// The version a run is pinned to; null if this program does not have it.
  [[nodiscard]] const workflow_definition*
  find(const std::string& type, std::uint32_t version) const;

  /// The build of what has its code; of this program if nothing has.
  [[nodiscard]] const std::string& build_of(const std::string& type, std::uint32_t version) const;

  [[nodiscard]] std::vector<std::string> types() const;

private:
  struct registered {
    workflow_definition definition;
    std::string build;
  };

  std::map<std::pair<std::string, std::uint32_t>, registered> definitions_;
};

}  // namespace callboard::runtime
