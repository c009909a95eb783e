// HTTP requests from any bytes, cut into reads at any place: the same requests come out whichever
// way the bytes arrive, bodies stay within their limit, and targets and routes are only refused.
#include "gateway/request_reader.hpp"
#include "gateway/routes.hpp"
#include "gateway/url.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

using namespace callboard;

constexpr gateway::reader_limits limits{.header_bytes_max = 2048, .body_bytes_max = 4096};

void note(std::vector<std::string>& seen, const gateway::http_request& request) {
  if (request.body.size() > limits.body_bytes_max) std::abort();
  seen.push_back(request.method + ' ' + request.target + ' ' + request.body);
  const auto target = gateway::parse_target(request.target);
  if (!target) return;
  if (target->path.size() > gateway::path_segments_max) std::abort();
  (void)gateway::find_route(*target);
}

/// Requests that come out when at most `step` bytes arrive at a time.
std::vector<std::string> read_all(std::string_view bytes, std::size_t step) {
  std::vector<std::string> seen;
  gateway::request_reader reader{limits};
  while (true) {
    const auto progress = reader.advance();
    if (!progress) {
      if (progress.error().status < 400) std::abort();
      return seen;
    }
    if (*progress == gateway::request_reader::progress::complete) {
      note(seen, reader.request());
      reader.next();
    } else if (*progress == gateway::request_reader::progress::need_more) {
      const auto into = reader.prepare();
      const auto size = std::min({into.size(), bytes.size(), step});
      if (size == 0) return seen;
      std::memcpy(into.data(), bytes.data(), size);
      reader.commit(size);
      bytes.remove_prefix(size);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes{reinterpret_cast<const char*>(data + 1), size - 1};
  const auto whole = read_all(bytes, bytes.size() + 1);
  const auto pieces = read_all(bytes, std::size_t{1} + data[0] % 64);
  if (whole != pieces) std::abort();
  return 0;
}
