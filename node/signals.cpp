// Runs a node between two signals.
#include "base/clock.hpp"
#include "base/log.hpp"
#include "node/node.hpp"
#include "storage/directory.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <chrono>
#include <csignal>
#include <pthread.h>
#include <thread>
#include <unistd.h>

namespace callboard::node {

namespace {

/// What code has to end in, also where the clients took all of `node.drain_timeout_ms`.
constexpr std::chrono::milliseconds code_patience_min{500};

sigset_t stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  return set;
}

/// Ends the process on a second signal: an operator who asks twice does not want to wait.
void stop_on_second_signal(const sigset_t& set) {
  std::thread{[set] {
    int signal = 0;
    sigwait(&set, &signal);
    log::channel("node")->warn("second signal: stopping at once");
    ::_exit(1);
  }}.detach();
}

/// Signals end the process here: nothing has begun that would have to be ended in order.
void await_directory(const config& settings) {
  // To the first process of a container the kernel gives only what it handles.
  const bool is_first = ::getpid() == 1;
  const auto end_by = is_first ? [](int signal) { ::_exit(128 + signal); } : SIG_DFL;
  for (const int signal : {SIGTERM, SIGINT})
    std::signal(signal, end_by);
  storage::await_unlocked(storage::directory_paths{settings.storage.data_dir});
  for (const int signal : {SIGTERM, SIGINT})
    std::signal(signal, SIG_DFL);
}

}  // namespace

result<run_end> run_until_signal(
    const config& settings,
    const std::function<void(const std::string& url)>& on_ready,
    const runtime::workflow_registry* workflows) {
  await_directory(settings);
  const auto set = stop_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  auto started = node::start(settings, workflows);
  if (!started) return std::unexpected{started.error()};
  on_ready((*started)->url());
  int signal = 0;
  sigwait(&set, &signal);
  stop_on_second_signal(set);
  const system_clock time;
  const auto until = time.boot() + std::chrono::milliseconds{settings.node.drain_timeout_ms};
  (*started)->drain();
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - time.boot());
  if ((*started)->stop(std::max(left, code_patience_min))) return run_end::stopped;
  log::channel("node")->error(
      "model calls, or code of workflows or steps, do not end: the process ends without them; the "
      "journal is closed, and what they were about is done again at the next start");
  (void)started->release();
  return run_end::code_left_running;
}

bool is_loopback(const std::string& address) {
  if (address == "localhost") return true;
  in_addr v4{};
  if (::inet_pton(AF_INET, address.c_str(), &v4) == 1) {
    return (ntohl(v4.s_addr) >> 24) == 127;
  }
  in6_addr v6{};
  return ::inet_pton(AF_INET6, address.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

}  // namespace callboard::node
