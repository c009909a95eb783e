#include "bench/server_process.hpp"

#include "bench/time.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <poll.h>
#include <sstream>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <utility>

namespace callboard::bench {

namespace {

constexpr std::int64_t ready_limit_ns = 60 * ns_per_s;

/// Reads up to and with the first line break; what there was when the end or the limit came first.
std::string first_line(int fd, std::int64_t until_ns) {
  std::string line;
  while (!line.ends_with('\n')) {
    pollfd entry{.fd = fd, .events = POLLIN, .revents = 0};
    const auto left_ms = (until_ns - now_ns()) / 1'000'000;
    if (left_ms <= 0 || ::poll(&entry, 1, static_cast<int>(left_ms)) <= 0) break;
    char c = 0;
    if (::read(fd, &c, 1) <= 0) break;
    line.push_back(c);
  }
  return line;
}

}  // namespace

std::string own_program() {
  return std::filesystem::read_symlink("/proc/self/exe").string();
}

result<server_process> server_process::start(
    const std::string& program,
    const std::string& data_dir,
    const std::vector<std::string>& assignments) {
  std::vector<std::string> words{
      program, "dev", "--data", data_dir, "--listen", "127.0.0.1:0", "--set", "log.level=warn"};
  for (const auto& assignment : assignments) {
    words.emplace_back("--set");
    words.push_back(assignment);
  }
  std::vector<char*> arguments;
  for (auto& word : words)
    arguments.push_back(word.data());
  arguments.push_back(nullptr);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail(errc::io_error, "cannot make a pipe");
  const int quiet = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  const bool shows_errors = std::getenv("CALLBOARD_BENCH_SERVER_LOG") != nullptr;
  const auto began = now_ns();
  const int pid = ::fork();
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::dup2(ends[1], STDOUT_FILENO);
    if (!shows_errors) ::dup2(quiet, STDERR_FILENO);
    ::execv(program.c_str(), arguments.data());
    ::_exit(127);
  }
  ::close(ends[1]);
  ::close(quiet);
  if (pid < 0) {
    ::close(ends[0]);
    return fail(errc::io_error, "cannot fork");
  }
  server_process made;
  made.pid_ = pid;
  const auto line = first_line(ends[0], began + ready_limit_ns);
  made.ready_after_ns_ = now_ns() - began;
  ::close(ends[0]);
  if (!line.starts_with("ready ")) {
    return fail(
        errc::io_error,
        fmt::format(
            "the server did not get ready; CALLBOARD_BENCH_SERVER_LOG=1 shows why ({} dev --data "
            "{})",
            program,
            data_dir));
  }
  made.url_ = line.substr(6, line.size() - 7);
  return made;
}

server_process::server_process(server_process&& other) noexcept
    : pid_{std::exchange(other.pid_, -1)},
      url_{std::move(other.url_)},
      ready_after_ns_{other.ready_after_ns_} {}

server_process& server_process::operator=(server_process&& other) noexcept {
  if (this == &other) return *this;
  kill();
  pid_ = std::exchange(other.pid_, -1);
  url_ = std::move(other.url_);
  ready_after_ns_ = other.ready_after_ns_;
  return *this;
}

server_process::~server_process() {
  kill();
}

void server_process::kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

bool server_process::stop(std::chrono::milliseconds limit) {
  if (pid_ <= 0) return true;
  ::kill(pid_, SIGTERM);
  const auto until = now_ns() + std::chrono::nanoseconds{limit}.count();
  while (now_ns() < until) {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      return true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds{5});
  }
  kill();
  return false;
}

std::optional<process_usage> usage_of(int pid) {
  std::ifstream stat{fmt::format("/proc/{}/stat", pid)};
  std::ostringstream text;
  text << stat.rdbuf();
  const auto line = text.str();
  const auto after_name = line.rfind(')');
  if (after_name == std::string::npos) return std::nullopt;
  std::istringstream fields{line.substr(after_name + 2)};
  std::vector<std::string> words;
  for (std::string word; fields >> word;)
    words.push_back(word);
  // Field 24 of proc(5), counted from the third. Its CPU times count in ticks of 10 ms, too coarse
  // for short workloads, so those come from the process's clock.
  clockid_t cpu_clock{};
  timespec cpu{};
  if (words.size() < 22 || ::clock_getcpuclockid(pid, &cpu_clock) != 0
      || ::clock_gettime(cpu_clock, &cpu) != 0) {
    return std::nullopt;
  }
  return process_usage{
      .cpu_ns = cpu.tv_sec * ns_per_s + cpu.tv_nsec,
      .rss_bytes = std::stoull(words[21]) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE))};
}

}  // namespace callboard::bench
