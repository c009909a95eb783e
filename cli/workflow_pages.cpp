#include "cli/workflow_pages.hpp"

#include "cli/client/raw_json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string_view>
#include <utility>

namespace callboard::cli {

namespace {

constexpr std::uint32_t page_size = 1000;

/// Joins the elements of pages, up to a limit.
class joined_pages {
public:
  explicit joined_pages(std::uint32_t limit) : limit_{limit} {}

  /// How many to ask for next.
  [[nodiscard]] std::uint32_t wanted() const {
    return limit_ == 0 ? page_size : std::min(page_size, limit_ - count_);
  }

  [[nodiscard]] bool is_full() const { return limit_ != 0 && count_ == limit_; }

  /// Errors: invalid_json if `page` has no array of that name.
  [[nodiscard]] result<void> add(const client::json_member_list& page, std::string_view member) {
    const auto elements = client::json_elements(client::find_member(page, member));
    if (!elements) {
      return fail(errc::invalid_json, fmt::format("the server's answer has no list of {}", member));
    }
    for (const auto element : *elements) {
      if (is_full()) break;
      if (count_++ != 0) text_ += ',';
      text_ += element;
    }
    return {};
  }

  [[nodiscard]] std::string object(std::string_view member) const {
    return fmt::format(R"({{"{}":[{}]}})", member, text_);
  }

private:
  std::uint32_t limit_;
  std::uint32_t count_ = 0;
  std::string text_;
};

/// The members of `body` stay views into it.
result<client::json_member_list> members_of(const std::string& body) {
  auto members = client::json_members(body);
  if (!members) return fail(errc::invalid_json, "the server's answer is not a JSON object");
  return std::move(*members);
}

std::uint64_t seq_at(const client::json_member_list& page, std::string_view member) {
  const auto text = client::find_member(page, member);
  std::uint64_t seq = 0;
  std::from_chars(text.data(), text.data() + text.size(), seq);
  return seq;
}

}  // namespace

result<std::string> all_workflows(client::api& api, const workflow_filter& which) {
  joined_pages all{which.limit};
  std::string filter;
  if (!which.type.empty()) filter += "&type=" + client::percent_encoded(which.type);
  if (!which.status.empty()) filter += "&status=" + which.status;
  if (which.is_stuck) filter += "&stuck=true";
  std::string cursor;
  do {
    auto target = fmt::format("/workflows?limit={}", all.wanted()) + filter;
    if (!cursor.empty()) target += "&cursor=" + client::percent_encoded(cursor);
    auto body = api.call("GET", api.tenant_path(target));
    if (!body) return body;
    auto page = members_of(*body);
    if (!page) return std::unexpected{page.error()};
    if (auto added = all.add(*page, "workflows"); !added) return std::unexpected{added.error()};
    cursor = client::json_text(client::find_member(*page, "cursor"));
  } while (!cursor.empty() && !all.is_full());
  return all.object("workflows");
}

result<std::string>
whole_history(client::api& api, const std::string& id, std::string from, std::uint32_t limit) {
  joined_pages all{limit};
  for (;;) {
    const auto query = fmt::format(
        "/workflows/{}/history?from={}&limit={}",
        client::percent_encoded(id),
        client::percent_encoded(from),
        all.wanted());
    auto body = api.call("GET", api.tenant_path(query));
    if (!body) return body;
    auto page = members_of(*body);
    if (!page) return std::unexpected{page.error()};
    if (auto added = all.add(*page, "events"); !added) return std::unexpected{added.error()};
    const auto next = seq_at(*page, "next_from");
    if (all.is_full() || next == 0 || next > seq_at(*page, "last_seq")) return all.object("events");
    from = std::to_string(next);
  }
}

}  // namespace callboard::cli
