// A provider's stream from any bytes, cut at any place: the same events and the same answer come
// out whichever way the bytes arrive, and never more than the bounds. The same bytes as a whole
// answer, as an error document and as headers are only refused.
#include "model/answer_stream.hpp"
#include "model/response_head.hpp"
#include "model/retry_after.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

using namespace callboard;

constexpr model::answer_limits limits{
    .body_bytes_max = 4096,
    .stream_bytes_max = 65536,
    .event_bytes_max = 1024,
    .text_bytes_max = 512,
    .tool_calls_max = 4,
    .header_bytes_max = 1024};

struct taken {
  std::string text;
  model::chat_outcome outcome{model::chat_result{}};

  friend bool operator==(const taken&, const taken&) = default;
};

void check(const model::failure& failed) {
  if (failed.detail.size() > 1024) std::abort();
  if (failed.detail.find("sk-fuzz") != std::string::npos) std::abort();
}

/// What comes of it when at most `step` bytes arrive at a time. Text before a failure may have come
/// in another number of pieces, so it does not count.
taken take(std::string_view bytes, std::size_t step) {
  model::answer_stream stream{limits, "sk-fuzz"};
  taken out;
  while (!bytes.empty()) {
    const auto size = std::min(bytes.size(), step);
    auto text = stream.feed(bytes.substr(0, size));
    bytes.remove_prefix(size);
    if (!text) {
      check(text.error());
      return {{}, std::unexpected{text.error()}};
    }
    out.text += *text;
  }
  out.outcome = stream.finish();
  if (!out.outcome) return {{}, std::move(out.outcome)};
  const auto& answer = *out.outcome;
  std::size_t size = answer.text.size() + answer.refusal.size();
  for (const auto& call : answer.tool_calls)
    size += call.arguments.size();
  if (size > limits.text_bytes_max) std::abort();
  if (answer.tool_calls.size() > limits.tool_calls_max) std::abort();
  if (!answer.text.starts_with(out.text)) std::abort();
  return out;
}

void read_headers(std::string_view bytes) {
  model::response_head head{limits.header_bytes_max};
  while (!bytes.empty()) {
    const auto end = std::min(bytes.find('\n'), bytes.size() - 1) + 1;
    if (!head.add_line(bytes.substr(0, end))) break;
    bytes.remove_prefix(end);
  }
  const auto wish = model::retry_after_of(head, time_ms{});
  if (wish && (wish->count() < 0 || *wish > model::retry_after_max)) std::abort();
  check(model::classify_response(head, bytes, time_ms{}, "sk-fuzz"));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes{reinterpret_cast<const char*>(data + 1), size - 1};
  const auto whole = take(bytes, bytes.size() + 1);
  if (take(bytes, std::size_t{1} + data[0] % 64) != whole) std::abort();
  if (take(bytes, 1) != whole) std::abort();
  const auto answer = model::parse_answer(bytes, limits, "sk-fuzz");
  if (!answer) check(answer.error());
  read_headers(bytes);
  return 0;
}
