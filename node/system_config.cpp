#include "node/system_config.hpp"

#include "actors/job_scheduler.hpp"

namespace callboard::node {

namespace {

/// Messages one actor may handle before it makes room for others on its thread.
constexpr std::size_t messages_per_turn = 300;

}  // namespace

system_config::system_config(std::uint32_t threads) {
  // One queue for all idles without polling and has the lower latency on few cores.
  load<actors::job_scheduler>();
  set("scheduler.max-threads", static_cast<std::size_t>(threads));
  set("scheduler.max-throughput", messages_per_turn);
}

}  // namespace callboard::node
