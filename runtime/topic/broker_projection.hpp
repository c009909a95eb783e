// All views of a node: what each record kind changes in the catalogue, the topics' counters, the
// dedupe rows, groups and presence.
#pragma once

#include "storage/projection.hpp"

namespace callboard::runtime {

/// Runs on the journal writer thread for every committed block, so events cost no parsing: their
/// identities are the first bytes of their payload.
class broker_projection : public storage::projection {
public:
  [[nodiscard]] std::uint32_t version() const override { return 1; }

  void apply(std::span<const storage::record> block, storage::view_writer& out) const override;
};

}  // namespace callboard::runtime
