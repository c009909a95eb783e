// Workflows of five local steps: started over HTTP, answered with their result.
#include "bench/calls.hpp"

#include <fmt/format.h>

namespace callboard::bench {

result<measurements> run_workflow(const bench_options& options) {
  auto with = session::open(options);
  if (!with) return std::unexpected{with.error()};
  const auto count = options.workflows == 0 ? 20'000 : options.workflows;
  const auto connections = options.connections == 0 ? 64 : options.connections;
  const auto target = (*with)->api().tenant_path("/workflows?wait_ms=60000");
  histogram times;
  std::uint64_t completed = 0;
  std::string refusal;
  const auto run = [&](std::uint64_t workflows, bool is_measured) {
    return make_calls(
        **with,
        workflows,
        connections,
        [&](std::uint64_t) {
          return call{.target = target, .body = R"({"type":"bench.five_steps"})"};
        },
        [&](std::uint64_t, http_caller::answer& answer, std::int64_t took) {
          if (!is_measured) return;
          times.record(took);
          if (answer.body.contains(R"("status":"completed")")) {
            ++completed;
          } else {
            refusal = answer.body;
          }
        });
  };
  options.say("workflow: warming up");
  if (auto warm = run(count / 10 + 1, false); !warm) return std::unexpected{warm.error()};
  options.say(fmt::format("workflow: {} workflows, {} at a time", count, connections));
  (*with)->begin_cpu();
  const auto began = now_ns();
  if (auto done = run(count, true); !done) return std::unexpected{done.error()};
  const auto seconds = static_cast<double>(now_ns() - began) / 1e9;
  const auto cpu = (*with)->end_cpu();
  if (completed == 0) return fail(errc::bad_request, "no workflow was completed: " + refusal);
  measurement row{"workflow"};
  row.number("workflows", count)
      .number("at_once", connections)
      .number("completed", completed)
      .number(
          "workflows_per_s", static_cast<std::uint64_t>(static_cast<double>(completed) / seconds))
      .latency("", times)
      .real("server_cpu", cpu.server_cores)
      .real("generator_cpu", cpu.generator_cores);
  return measurements{std::move(row)};
}

}  // namespace callboard::bench
