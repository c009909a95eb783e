// What every workload runs against: a server of its own or one that is named, and the books on
// what both sides use.
#pragma once

#include "cli/client/api.hpp"

#include "bench/frames.hpp"
#include "bench/peer.hpp"
#include "bench/report.hpp"
#include "bench/server_process.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace callboard::bench {

struct bench_options {
  /// Empty: each workload starts a server of its own.
  std::optional<client::account> server;
  /// Of the named server, if its memory and CPU are to be measured.
  int server_pid = 0;
  /// Where servers of our own keep their data; empty: the system's temporary folder.
  std::string data_dir;
  std::vector<std::string> assignments;

  std::uint32_t connections = 0;
  std::uint32_t window = 64;
  std::uint32_t size = 256;
  std::uint32_t seconds = 5;
  std::uint32_t warmup_s = 1;
  std::uint32_t topics = 1;
  /// Events or messages a second; 0: as the workload has it.
  std::uint64_t rate = 0;
  std::uint64_t events = 500'000;
  std::uint64_t workflows = 0;
  /// Of the backlog of a queue.
  std::uint64_t tasks = 200'000;
  /// Of the one long run that is replayed.
  std::uint64_t steps = 20'000;
  std::uint32_t repeats = 5;
  wire format = wire::proto;
  std::string durability;
  std::vector<std::uint64_t> rates;

  /// Tells a person what is going on.
  std::function<void(const std::string&)> say = [](const std::string&) {};
};

/// The folder of `data_dir`, made if it is missing.
[[nodiscard]] std::filesystem::path data_folder(const bench_options& options);

/// CPU of both sides over an interval.
struct cpu_share {
  double server_cores = 0;
  double generator_cores = 0;
};

class session {
public:
  /// Starts or names the server. Errors: io_error, bad_request (https).
  [[nodiscard]] static result<std::unique_ptr<session>> open(const bench_options& options);

  ~session();
  session(const session&) = delete;
  session& operator=(const session&) = delete;

  [[nodiscard]] const client::api& api() const { return *api_; }

  [[nodiscard]] result<peer> connect(wire format) const;

  /// A topic name that this run has not used.
  [[nodiscard]] std::string new_topic(std::string_view kind);

  /// A new run of event ids.
  [[nodiscard]] event_ids new_ids();

  /// Restarts our own server on the same data. Precondition: `owns_server()`.
  [[nodiscard]] result<void> restart();

  /// The same after kill -9.
  [[nodiscard]] result<void> crash();

  [[nodiscard]] bool owns_server() const { return child_.has_value(); }

  [[nodiscard]] const server_process& server() const { return *child_; }

  [[nodiscard]] std::uint64_t server_rss() const;

  void begin_cpu();
  [[nodiscard]] cpu_share end_cpu() const;

private:
  explicit session(const bench_options& options) : options_{options} {}

  [[nodiscard]] result<void> start_server();
  [[nodiscard]] int server_pid() const;

  const bench_options& options_;
  std::string folder_;
  std::optional<server_process> child_;
  std::optional<client::api> api_;
  std::uint32_t run_ = 0;
  std::int64_t began_ns_ = 0;
  std::int64_t server_cpu_ns_ = 0;
  std::int64_t own_cpu_ns_ = 0;
};

using measurements = std::vector<measurement>;

// The workloads (docs/benchmarks.md). Each prints nothing itself. Errors: what went wrong with the
// server; refusals under load are results, not errors.
[[nodiscard]] result<measurements> run_publish(const bench_options& options);
[[nodiscard]] result<measurements> run_latency(const bench_options& options);
[[nodiscard]] result<measurements> run_fanout(const bench_options& options);
[[nodiscard]] result<measurements> run_idle(const bench_options& options);
[[nodiscard]] result<measurements> run_replay(const bench_options& options);
[[nodiscard]] result<measurements> run_start(const bench_options& options);
[[nodiscard]] result<measurements> run_workflow(const bench_options& options);
[[nodiscard]] result<measurements> run_timer(const bench_options& options);
[[nodiscard]] result<measurements> run_queue(const bench_options& options);
[[nodiscard]] result<measurements> run_recovery(const bench_options& options);

}  // namespace callboard::bench
