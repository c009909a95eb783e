#include "examples/demo/node_process.hpp"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace callboard::demo {

namespace {

using std::chrono::steady_clock;

/// The first line of `fd` that begins with "ready "; empty if the stream ends or time is up.
std::string ready_line(int fd, steady_clock::time_point until) {
  std::string text;
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(until - steady_clock::now());
    pollfd wait{.fd = fd, .events = POLLIN, .revents = 0};
    if (left.count() <= 0 || ::poll(&wait, 1, static_cast<int>(left.count())) <= 0) return {};
    char bytes[512];
    const auto got = ::read(fd, bytes, sizeof bytes);
    if (got <= 0) return {};
    text.append(bytes, static_cast<std::size_t>(got));
    const auto at = text.find("ready ");
    const auto end = text.find('\n', at);
    if (at != std::string::npos && end != std::string::npos) return text.substr(at, end - at);
  }
}

}  // namespace

node_process::node_process(std::string program, std::string data_dir)
    : program_{std::move(program)}, data_dir_{std::move(data_dir)} {}

node_process::~node_process() {
  kill();
}

result<std::chrono::milliseconds> node_process::start() {
  const auto begin = steady_clock::now();
  int out[2];
  if (::pipe2(out, O_CLOEXEC) != 0) return fail(errc::io_error, std::strerror(errno));
  const auto listen = "127.0.0.1:" + std::to_string(port_);
  const auto log = data_dir_ + ".log";
  std::vector<std::string> words{
      program_, "dev", "--data", data_dir_, "--listen", listen, "--set", "log.level=warn"};
  std::vector<char*> arguments;
  for (auto& word : words)
    arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ == 0) {
    ::dup2(::open("/dev/null", O_RDONLY), 0);
    ::dup2(out[1], 1);
    ::dup2(::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600), 2);
    // Ctrl-C is for the demo; its node ends with it.
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    ::execv(program_.c_str(), arguments.data());
    ::_exit(127);
  }
  ::close(out[1]);
  const auto line = ready_line(out[0], begin + std::chrono::seconds{30});
  ::close(out[0]);
  auto where = line.empty() ? fail(errc::unreachable, "") : client::endpoint::parse(line.substr(6));
  if (!where) {
    kill();
    return fail(errc::unreachable, program_ + " did not get ready; its log is " + log);
  }
  port_ = where->port;
  return std::chrono::duration_cast<std::chrono::milliseconds>(steady_clock::now() - begin);
}

void node_process::kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void node_process::stop() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGTERM);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

client::endpoint node_process::where() const {
  client::endpoint here;
  here.port = port_;
  return here;
}

}  // namespace callboard::demo
