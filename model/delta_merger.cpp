#include "model/delta_merger.hpp"

#include "base/utf8.hpp"

#include <boost/json/array.hpp>
#include <fmt/format.h>

#include <iterator>
#include <limits>
#include <optional>
#include <utility>

namespace callboard::model {

namespace json = boost::json;

namespace {

std::string_view text_of(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  if (value == nullptr || !value->is_string()) return {};
  return value->get_string();
}

std::uint64_t count_of(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  if (value == nullptr) return 0;
  if (value->is_uint64()) return value->get_uint64();
  return value->is_int64() && value->get_int64() > 0
             ? static_cast<std::uint64_t>(value->get_int64())
             : 0;
}

std::uint64_t count_of(const json::object& object, std::string_view inner, std::string_view name) {
  const auto* value = object.if_contains(inner);
  return value != nullptr && value->is_object() ? count_of(value->get_object(), name) : 0;
}

const json::object* object_of(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value == nullptr ? nullptr : value->if_object();
}

const json::array* array_of(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value == nullptr ? nullptr : value->if_array();
}

/// Nothing if it is missing or no index.
std::optional<std::uint64_t> index_of(const json::object& piece) {
  const auto* value = piece.if_contains("index");
  if (value == nullptr) return std::nullopt;
  if (value->is_uint64()) return value->get_uint64();
  if (!value->is_int64() || value->get_int64() < 0) return std::nullopt;
  return static_cast<std::uint64_t>(value->get_int64());
}

std::string_view name_in(const json::object& piece) {
  const auto* function = object_of(piece, "function");
  return function == nullptr ? std::string_view{} : text_of(*function, "name");
}

/// Text, or the texts of an array of parts.
std::string content_of(const json::object& message) {
  std::string out{text_of(message, "content")};
  const auto* parts = array_of(message, "content");
  if (parts == nullptr) return out;
  for (const auto& part : *parts) {
    if (part.is_object()) out += text_of(part.get_object(), "text");
  }
  return out;
}

}  // namespace

std::expected<void, failure> delta_merger::append(std::string& to, std::string_view text) {
  pair_joiner whole;
  auto added = append(to, whole, text);
  if (!added) return failed{std::move(added.error())};
  to += whole.end();
  return {};
}

std::expected<std::string, failure>
delta_merger::append(std::string& to, pair_joiner& joiner, std::string_view text) {
  size_ += text.size();
  if (size_ > limits_.text_bytes_max) {
    return failed{permanent_failure(
        errc::too_large,
        failure_scope::request,
        fmt::format("the answer is above {} B", limits_.text_bytes_max))};
  }
  auto added = joiner.add(text);
  to += added;
  return added;
}

void delta_merger::note_usage(const json::object& usage) {
  token_usage out;
  out.prompt = count_of(usage, "prompt_tokens");
  out.completion = count_of(usage, "completion_tokens");
  out.total = count_of(usage, "total_tokens");
  out.cached = count_of(usage, "prompt_tokens_details", "cached_tokens");
  out.reasoning = count_of(usage, "completion_tokens_details", "reasoning_tokens");
  result_.usage = out;
}

std::expected<std::string, failure> delta_merger::add(const json::object& chunk) {
  return add_choices(chunk, part::piece);
}

std::expected<std::string, failure> delta_merger::add_whole(const json::object& answer) {
  return add_choices(answer, part::whole);
}

std::expected<std::string, failure> delta_merger::add_choices(const json::object& from, part what) {
  constexpr std::size_t name_size_max = 256;
  if (result_.response_id.empty())
    result_.response_id = front_of(text_of(from, "id"), name_size_max);
  if (result_.model.empty()) result_.model = front_of(text_of(from, "model"), name_size_max);
  if (const auto* usage = object_of(from, "usage")) note_usage(*usage);
  const auto* choices = array_of(from, "choices");
  std::string added;
  if (choices == nullptr) return added;
  for (const auto& value : *choices) {
    const auto* choice = value.if_object();
    if (choice == nullptr || count_of(*choice, "index") != 0) continue;
    has_choice_ = true;
    if (const auto reason = text_of(*choice, "finish_reason"); !reason.empty()) {
      result_.finish_reason = front_of(reason, name_size_max);
    }
    const auto* message = object_of(*choice, what == part::whole ? "message" : "delta");
    if (message == nullptr) continue;
    auto text = add_message(*message, what);
    if (!text) return text;
    added += *text;
  }
  return added;
}

std::expected<std::string, failure>
delta_merger::add_message(const json::object& message, part what) {
  auto text = append(result_.text, text_, content_of(message));
  if (!text) return text;
  if (auto done = append(result_.refusal, refusal_, text_of(message, "refusal")); !done) {
    return done;
  }
  if (const auto* pieces = array_of(message, "tool_calls")) {
    if (auto done = add_tool_calls(*pieces, what); !done) return failed{std::move(done.error())};
  }
  return text;
}

std::expected<void, failure> delta_merger::add_tool_calls(const json::array& pieces, part what) {
  for (std::size_t at = 0; at < pieces.size(); ++at) {
    const auto* piece = pieces[at].if_object();
    if (piece == nullptr) continue;
    const auto to = what == part::whole
                        ? call_place{0, static_cast<std::uint32_t>(tool_calls_.size())}
                        : place_of(*piece, at);
    if (auto done = add_tool_call(*piece, to); !done) return done;
  }
  return {};
}

delta_merger::call_place delta_merger::place_of(const json::object& piece, std::size_t at) const {
  // Some providers leave the index out, some say 0 for every call: there, another id begins one.
  const auto index = index_of(piece);
  const auto last = index ? last_of(*index) : last_place_;
  const auto known = tool_calls_.find(last);
  if (known == tool_calls_.end()) return last;
  const auto& [call, arguments, arguments_end] = known->second;
  const auto id = text_of(piece, "id");
  const bool other_id = !id.empty() && call.id != id;
  // Others make up an id for each piece of one call, the first of which may have no arguments yet.
  const auto name = name_in(piece);
  const bool is_whole = arguments_end.is_here() && (arguments_end.has_begun() || at > 0);
  const bool other_name = !call.name.empty() && name != call.name;
  const bool is_next =
      index ? other_id && !call.id.empty() && !name.empty() && (is_whole || other_name)
            : other_id || (id.empty() && at > 0);
  return is_next ? call_place{last.first, last_of(last.first).second + 1} : last;
}

delta_merger::call_place delta_merger::last_of(std::uint64_t index) const {
  constexpr auto any = std::numeric_limits<std::uint32_t>::max();
  const auto behind = tool_calls_.upper_bound({index, any});
  if (behind == tool_calls_.begin()) return {index, 0};
  const auto place = std::prev(behind)->first;
  return place.first == index ? place : call_place{index, 0};
}

std::expected<void, failure> delta_merger::add_tool_call(const json::object& piece, call_place to) {
  if (!tool_calls_.contains(to) && tool_calls_.size() >= limits_.tool_calls_max) {
    return failed{permanent_failure(
        errc::too_large,
        failure_scope::request,
        fmt::format("the answer calls more than {} tools", limits_.tool_calls_max))};
  }
  last_place_ = to;
  auto& [call, arguments, arguments_end] = tool_calls_[to];
  if (call.id.empty()) {
    if (auto done = append(call.id, text_of(piece, "id")); !done) return done;
  }
  const auto* function = object_of(piece, "function");
  if (function == nullptr) return {};
  if (call.name.empty()) {
    if (auto done = append(call.name, text_of(*function, "name")); !done) return done;
  }
  const auto text = text_of(*function, "arguments");
  arguments_end.pass(text);
  if (auto done = append(call.arguments, arguments, text); !done) {
    return failed{std::move(done.error())};
  }
  return {};
}

void delta_merger::json_end::pass(std::string_view text) {
  for (const char c : text) {
    has_begun_ = has_begun_ || c > ' ';
    if (std::exchange(escaped_, false)) continue;
    if (c == '"') {
      in_text_ = !in_text_;
    } else if (in_text_) {
      escaped_ = c == '\\';
    } else if (c == '{' || c == '[') {
      ++depth_;
    } else if (c == '}' || c == ']') {
      --depth_;
    }
  }
}

std::string delta_merger::end_text() {
  auto rest = text_.end();
  result_.text += rest;
  return rest;
}

std::expected<chat_result, failure> delta_merger::finish() {
  if (result_.finish_reason == "content_filter") {
    auto out = permanent_failure(
        errc::bad_request, failure_scope::request, "the provider's content filter cut the answer");
    out.provider_code = "content_filter";
    return failed{std::move(out)};
  }
  if (!has_choice_) {
    return failed{retryable_failure(errc::unreachable, "the answer has no choice")};
  }
  (void)end_text();
  result_.refusal += refusal_.end();
  for (auto& [place, one] : tool_calls_) {
    one.call.arguments += one.arguments.end();
    result_.tool_calls.push_back(std::move(one.call));
  }
  tool_calls_.clear();
  for (auto* text : {&result_.response_id, &result_.model, &result_.finish_reason})
    *text = as_utf8(std::move(*text));
  return std::move(result_);
}

chat_outcome
parse_answer(std::string_view body, const answer_limits& limits, std::string_view secret) {
  constexpr std::size_t depth_max = 32;
  json::error_code broken;
  const auto value = parse_json(body, broken, {}, depth_max);
  if (broken || !value.is_object()) {
    return std::unexpected{retryable_failure(errc::unreachable, "the answer is not a JSON object")};
  }
  const auto& answer = value.get_object();
  if (const auto* error = object_of(answer, "error")) {
    return std::unexpected{classify_error(*error, 0, secret)};
  }
  delta_merger merger{limits};
  if (auto added = merger.add_whole(answer); !added) return std::unexpected{added.error()};
  return merger.finish();
}

}  // namespace callboard::model
