#include "examples/demo/child_process.hpp"

#include <csignal>
#include <fcntl.h>
#include <fstream>
#include <iterator>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace callboard::demo {

namespace {

using std::chrono::steady_clock;

constexpr std::chrono::seconds ready_limit{30};
constexpr std::chrono::milliseconds poll_interval{5};

}  // namespace

child_process::child_process(std::vector<std::string> words, std::string output)
    : words_{std::move(words)}, output_{std::move(output)} {}

child_process::~child_process() {
  kill();
}

void child_process::run() {
  std::vector<char*> arguments;
  arguments.reserve(words_.size() + 1);
  for (auto& word : words_)
    arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const auto errors = output_ + ".err";
  constexpr int flags = O_WRONLY | O_CREAT | O_APPEND;
  pid_ = ::fork();
  if (pid_ != 0) return;
  ::dup2(::open("/dev/null", O_RDONLY), 0);
  ::dup2(::open(output_.c_str(), flags, 0600), 1);
  ::dup2(::open(errors.c_str(), flags, 0600), 2);
  // Ctrl-C is for the demo; its programs end with it.
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execvp(arguments[0], arguments.data());
  ::_exit(127);
}

result<std::string> child_process::start(std::string_view sign) {
  begin_ = printed().size();
  run();
  const auto until = steady_clock::now() + ready_limit;
  while (steady_clock::now() < until) {
    const bool ended = has_ended();
    const auto text = printed().substr(begin_);
    for (std::size_t at = 0, line_end; (line_end = text.find('\n', at)) != text.npos;
         at = line_end + 1) {
      const auto line = text.substr(at, line_end - at);
      if (line.starts_with(sign)) return line.substr(sign.size());
    }
    if (ended) break;
    std::this_thread::sleep_for(poll_interval);
  }
  kill();
  return fail(errc::unreachable, words_[0] + " did not get ready; see " + output_ + ".err");
}

bool child_process::has_ended() {
  if (pid_ > 0 && ::waitpid(pid_, nullptr, WNOHANG) == pid_) pid_ = -1;
  return pid_ <= 0;
}

void child_process::end(int signal) {
  if (pid_ <= 0) return;
  ::kill(pid_, signal);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

std::string child_process::printed() const {
  std::ifstream file{output_, std::ios::binary};
  return {std::istreambuf_iterator<char>{file}, {}};
}

}  // namespace callboard::demo
