// How the actor system is set up, and which of our types travel in messages.
#pragma once

#include <caf/actor_system_config.hpp>

#include <cstdint>

namespace callboard::node {

/// Settings of the actor system: `threads` workers with the policy that suits few cores, and no
/// file or command line read. Must outlive the actor system.
class system_config final : public caf::actor_system_config {
public:
  explicit system_config(std::uint32_t threads);
};

} // namespace callboard::node
