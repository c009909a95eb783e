#include "tests/support/server_process.hpp"

#include "tests/support/eventually.hpp"

#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <sys/wait.h>
#include <unistd.h>

namespace callboard::testing {

namespace {

std::string file_text(const std::filesystem::path& path) {
  std::ifstream file{path, std::ios::binary};
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

struct redirects {
  std::string in = "/dev/null";
  std::string out;
  std::string err;
};

int spawn(const std::vector<std::string>& arguments, const redirects& files) {
  auto program = callboard_program();
  std::vector<char*> words{program.data()};
  for (const auto& argument : arguments)
    words.push_back(const_cast<char*>(argument.c_str()));
  words.push_back(nullptr);
  const int pid = ::fork();
  if (pid != 0) return pid;
  const int append = O_WRONLY | O_CREAT | O_APPEND;
  ::dup2(::open(files.in.c_str(), O_RDONLY), 0);
  ::dup2(::open(files.out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), 1);
  ::dup2(::open(files.err.c_str(), append, 0600), 2);
  for (int fd = 3; fd < 256; ++fd)
    ::close(fd);
  ::execv(program.c_str(), words.data());
  ::_exit(127);
}

int decoded(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

std::optional<int> wait_for(int pid, milliseconds limit) {
  int status = 0;
  const bool ended = eventually([&] { return ::waitpid(pid, &status, WNOHANG) == pid; }, limit);
  if (!ended) return std::nullopt;
  return decoded(status);
}

/// The port in a line `ready http://127.0.0.1:12345`; 0 while there is none.
std::uint16_t ready_port(const std::string& text) {
  const auto at = text.find("ready http");
  if (at == std::string::npos) return 0;
  const auto end = text.find('\n', at);
  if (end == std::string::npos) return 0;
  const auto line = text.substr(at, end - at);
  return static_cast<std::uint16_t>(std::stoi(line.substr(line.rfind(':') + 1)));
}

}  // namespace

std::string callboard_program() {
  if (const char* given = std::getenv("CALLBOARD_PROGRAM")) return given;
  return CALLBOARD_PROGRAM_PATH;
}

run_result run_callboard(
    const std::vector<std::string>& arguments, const std::string& input, milliseconds limit) {
  const temp_dir folder;
  const redirects files{
      .in = (folder.path() / "in").string(),
      .out = (folder.path() / "out").string(),
      .err = (folder.path() / "err").string()};
  std::ofstream{files.in, std::ios::binary} << input;
  const int pid = spawn(arguments, files);
  const auto status = wait_for(pid, limit);
  if (!status) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
  return {status.value_or(-SIGALRM), file_text(files.out), file_text(files.err)};
}

server_process::server_process(server_options options) : options_{std::move(options)} {
  if (options_.data_dir.empty()) options_.data_dir = folder_.path() / "data";
  start();
}

server_process::~server_process() {
  kill();
}

void server_process::start() {
  const auto out = folder_.path() / "out";
  std::filesystem::remove(out);
  const auto listen = "127.0.0.1:" + std::to_string(options_.keeps_port ? port_ : 0);
  port_ = 0;
  std::vector<std::string> arguments{
      options_.command,
      "--data",
      options_.data_dir.string(),
      "--listen",
      listen,
      "--set",
      // Logs that are soon beyond it, and nodes that are started by the hundred.
      "storage.spare_log_bytes=1048576"};
  arguments.insert(arguments.end(), options_.arguments.begin(), options_.arguments.end());
  pid_ = spawn(arguments, {.out = out.string(), .err = (folder_.path() / "log").string()});
  int status = 0;
  bool ended = false;
  const bool ready = eventually(
      [&] {
        port_ = ready_port(file_text(out));
        ended = port_ == 0 && ::waitpid(pid_, &status, WNOHANG) == pid_;
        return ended || port_ != 0;
      },
      std::chrono::seconds{60});
  if (ready && !ended) return;
  if (ended) pid_ = -1;
  kill();
  throw std::runtime_error{
      "the node did not get ready (status " + std::to_string(decoded(status)) + "): " + log()};
}

void server_process::kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void server_process::terminate() {
  if (pid_ > 0) ::kill(pid_, SIGTERM);
}

std::optional<int> server_process::wait(milliseconds limit) {
  if (pid_ <= 0) return std::nullopt;
  const auto status = wait_for(pid_, limit);
  if (status) pid_ = -1;
  return status;
}

std::optional<int> server_process::stop(milliseconds limit) {
  terminate();
  return wait(limit);
}

endpoint server_process::where() const {
  return {.port = port_, .tls = options_.tls};
}

std::string server_process::url() const {
  return (options_.tls ? "https://127.0.0.1:" : "http://127.0.0.1:") + std::to_string(port_);
}

bool server_process::running() {
  return pid_ > 0 && ::waitpid(pid_, nullptr, WNOHANG) == 0;
}

std::string server_process::log() const {
  return file_text(folder_.path() / "log");
}

std::uint64_t server_process::resident_bytes() const {
  const auto text = file_text("/proc/" + std::to_string(pid_) + "/status");
  const auto at = text.find("VmRSS:");
  if (at == std::string::npos) return 0;
  return std::stoull(text.substr(at + 6)) * 1024;
}

}  // namespace callboard::testing
