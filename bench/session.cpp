#include "bench/session.hpp"

#include "bench/time.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <random>
#include <unistd.h>

namespace callboard::bench {

std::filesystem::path data_folder(const bench_options& options) {
  if (options.data_dir.empty()) return std::filesystem::temp_directory_path();
  // One that cannot be made is told by whoever writes there first.
  std::error_code ignored;
  std::filesystem::create_directories(options.data_dir, ignored);
  return options.data_dir;
}

result<std::unique_ptr<session>> session::open(const bench_options& options) {
  std::unique_ptr<session> made{new session{options}};
  made->run_ = std::random_device{}();
  raise_file_limit();
  if (options.server) {
    if (options.server->server.tls) {
      return fail(errc::bad_request, "the load generators speak plaintext only");
    }
    made->api_.emplace(*options.server);
    return made;
  }
  auto pattern = (data_folder(options) / "callboard-bench-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) {
    return fail(errc::io_error, "cannot make a folder for the data: " + pattern);
  }
  made->folder_ = pattern;
  if (auto started = made->start_server(); !started) return std::unexpected{started.error()};
  return made;
}

session::~session() {
  if (child_) child_->stop();
  if (folder_.empty()) return;
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

result<void> session::start_server() {
  auto child = server_process::start(own_program(), folder_ + "/data", options_.assignments);
  if (!child) return std::unexpected{child.error()};
  auto endpoint = client::endpoint::parse(child->url());
  if (!endpoint) return std::unexpected{endpoint.error()};
  child_ = std::move(*child);
  api_.emplace(client::account{.server = std::move(*endpoint), .tenant = "bench", .token = {}});
  return {};
}

result<void> session::restart() {
  if (!child_->stop()) return fail(errc::timeout, "the server did not stop on SIGTERM");
  return start_server();
}

result<void> session::crash() {
  child_->kill();
  return start_server();
}

result<peer> session::connect(wire format) const {
  return peer::connect(*api_, subprotocol_of(format));
}

std::string session::new_topic(std::string_view kind) {
  return fmt::format("bench.{}.{:08x}", kind, ++run_);
}

event_ids session::new_ids() {
  return event_ids{++run_};
}

int session::server_pid() const {
  return child_ ? child_->pid() : options_.server_pid;
}

std::uint64_t session::server_rss() const {
  const auto usage = usage_of(server_pid());
  return usage ? usage->rss_bytes : 0;
}

void session::begin_cpu() {
  const auto server = usage_of(server_pid());
  const auto own = usage_of(::getpid());
  began_ns_ = now_ns();
  server_cpu_ns_ = server ? server->cpu_ns : 0;
  own_cpu_ns_ = own ? own->cpu_ns : 0;
}

cpu_share session::end_cpu() const {
  const auto server = usage_of(server_pid());
  const auto own = usage_of(::getpid());
  const auto took = static_cast<double>(std::max<std::int64_t>(1, now_ns() - began_ns_));
  return {
      .server_cores = server ? static_cast<double>(server->cpu_ns - server_cpu_ns_) / took : 0,
      .generator_cores = own ? static_cast<double>(own->cpu_ns - own_cpu_ns_) / took : 0};
}

}  // namespace callboard::bench
