#include "cli/line_source.hpp"

#include <istream>
#include <poll.h>
#include <unistd.h>
#include <utility>

namespace callboard::cli {

std::optional<input_line> line_source::take_line() {
  for (;;) {
    const auto end = buffered_.find('\n');
    if (end == std::string::npos && !(ended_ && !buffered_.empty())) return std::nullopt;
    auto line = buffered_.substr(0, end);
    buffered_.erase(0, end == std::string::npos ? end : end + 1);
    ++count_;
    if (line.ends_with('\r')) line.pop_back();
    if (line.find_first_not_of(" \t") != std::string::npos) {
      return input_line{count_, std::move(line)};
    }
  }
}

bool line_source::fill(std::chrono::milliseconds wait) {
  if (io_.in_fd < 0) {
    std::string line;
    if (!std::getline(io_.in, line)) {
      ended_ = true;
      return false;
    }
    buffered_ += line + '\n';
    return true;
  }
  pollfd entry{.fd = io_.in_fd, .events = POLLIN, .revents = 0};
  if (::poll(&entry, 1, static_cast<int>(wait.count())) <= 0) return false;
  char chunk[64 << 10];
  const auto count = ::read(io_.in_fd, chunk, sizeof chunk);
  if (count <= 0) {
    ended_ = true;
    return false;
  }
  buffered_.append(chunk, static_cast<std::size_t>(count));
  return true;
}

std::optional<input_line> line_source::next(std::chrono::milliseconds wait) {
  for (;;) {
    if (auto line = take_line()) return line;
    if (ended_) return std::nullopt;
    if (buffered_.size() > line_bytes_max) {
      ended_ = true;
      overlong_ = count_ + 1;
      buffered_.clear();
      return std::nullopt;
    }
    if (!fill(wait) && !ended_) return std::nullopt;
  }
}

}  // namespace callboard::cli
