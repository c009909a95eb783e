#include "model/answer_stream.hpp"

#include <boost/json/monotonic_resource.hpp>
#include <fmt/format.h>

#include <array>
#include <utility>

namespace callboard::model {

namespace json = boost::json;

std::expected<std::string, failure> answer_stream::feed(std::string_view bytes) {
  size_ += bytes.size();
  if (size_ > limits_.stream_bytes_max) {
    return std::unexpected{permanent_failure(
        errc::too_large,
        failure_scope::request,
        fmt::format("the stream is above {} B", limits_.stream_bytes_max))};
  }
  std::string text;
  while (!done_ && !bytes.empty()) {
    auto event = events_.next(bytes);
    if (!event) {
      return std::unexpected{permanent_failure(
          event.error().code, failure_scope::request, std::move(event.error().detail))};
    }
    if (!event->has_value()) break;
    auto added = take(**event);
    if (!added) return added;
    text += *added;
  }
  return text;
}

std::expected<std::string, failure> answer_stream::take(const sse_event& event) {
  constexpr std::size_t depth_max = 32;
  if (event.data == "[DONE]") {
    done_ = true;
    return merger_.end_text();
  }
  std::array<unsigned char, 4096> memory;
  json::monotonic_resource resource{memory.data(), memory.size()};
  json::error_code broken;
  const auto value = parse_json(event.data, broken, &resource, depth_max);
  if (broken || !value.is_object()) {
    return std::unexpected{
        retryable_failure(errc::unreachable, "the stream holds what is not a JSON object")};
  }
  const auto& chunk = value.get_object();
  if (const auto* error = chunk.if_contains("error"); error != nullptr && error->is_object()) {
    return std::unexpected{classify_error(error->get_object(), 0, secret_)};
  }
  if (event.type == "error") return std::unexpected{classify_error(chunk, 0, secret_)};
  return merger_.add(chunk);
}

chat_outcome answer_stream::finish() {
  if (!done_) {
    if (const auto last = events_.finish()) {
      if (auto added = take(*last); !added) return std::unexpected{std::move(added.error())};
    }
  }
  if (!done_) {
    return std::unexpected{retryable_failure(errc::unreachable, "the stream ended before [DONE]")};
  }
  return merger_.finish();
}

}  // namespace callboard::model
