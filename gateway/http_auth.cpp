#include "gateway/http_auth.hpp"

#include "gateway/auth.hpp"
#include "gateway/sessions.hpp"

#include <algorithm>

namespace callboard::gateway {

namespace {

bool starts_with_ignoring_case(std::string_view text, std::string_view lower) {
  if (text.size() < lower.size()) return false;
  for (std::size_t i = 0; i < lower.size(); ++i) {
    const char c = text[i];
    if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c) != lower[i]) return false;
  }
  return true;
}

/// The first subprotocol that is offered and satisfies `wanted`, or nothing.
template <class Wanted>
std::string_view find_subprotocol(const http_request& request, Wanted wanted) {
  for (const auto& [name, value] : request.headers) {
    if (name != "sec-websocket-protocol") continue;
    std::string_view rest = value;
    while (!rest.empty()) {
      const auto comma = rest.find(',');
      auto each = rest.substr(0, comma);
      rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 1);
      while (each.starts_with(' ') || each.starts_with('\t'))
        each.remove_prefix(1);
      while (each.ends_with(' ') || each.ends_with('\t'))
        each.remove_suffix(1);
      if (wanted(each)) return each;
    }
  }
  return {};
}

/// `bearer.<token>` among the subprotocols that are offered.
std::string_view subprotocol_token(const http_request& request) {
  static constexpr std::string_view prefix = "bearer.";
  const auto found =
      find_subprotocol(request, [](std::string_view each) { return each.starts_with(prefix); });
  return found.substr(std::min(prefix.size(), found.size()));
}

std::string_view token_of(const exchange& now, const http_request& request) {
  if (const auto* header = request.find("authorization")) {
    if (!starts_with_ignoring_case(*header, "bearer ")) return {};
    auto token = std::string_view{*header}.substr(7);
    while (token.starts_with(' '))
      token.remove_prefix(1);
    return token;
  }
  const bool is_websocket = now.route->at == endpoint::websocket;
  if (is_websocket) {
    if (const auto token = subprotocol_token(request); !token.empty()) return token;
  }
  if (is_websocket || (now.route->at == endpoint::events && wants_event_stream(request))) {
    if (const auto* token = now.target.find("access_token")) return *token;
  }
  return {};
}

/// Everything is allowed, in whichever tenant the path names.
std::shared_ptr<const principal> anybody(const tenant_name& tenant) {
  auto who = std::make_shared<principal>();
  const auto all = topic_pattern::parse(">");
  who->subject = "anonymous";
  who->tenant = tenant;
  who->publish.push_back(*all);
  who->subscribe.push_back(*all);
  who->work.emplace_back(">");
  who->admin = true;
  return who;
}

bool is_current(const known_token& known, std::string_view token, time_ms now) {
  return known.who && known.token == token && known.who->expires && now < *known.who->expires;
}

}  // namespace

bool offers_subprotocol(const http_request& request) {
  return !find_subprotocol(request, [](std::string_view each) {
            return std::ranges::find(subprotocols, each) != subprotocols.end();
          }).empty();
}

result<std::shared_ptr<const principal>> authenticate(
    const session_environment& environment,
    const exchange& now,
    const http_request& request,
    known_token& known) {
  const auto& tenant = now.route->tenant;
  if (environment.verifier == nullptr) {
    if (!known.who || known.who->tenant != tenant) known.who = anybody(tenant);
    return known.who;
  }
  const auto token = token_of(now, request);
  if (token.empty()) {
    return fail(errc::unauthorized, "this needs a token: Authorization: Bearer <token>");
  }
  const auto wall = environment.time.wall();
  if (!is_current(known, token, wall)) {
    auto who = environment.verifier->verify(token, wall);
    if (!who) return std::unexpected{who.error()};
    known.token = token;
    known.who = std::make_shared<const principal>(std::move(*who));
  }
  if (!tenant.str().empty() && known.who->tenant != tenant) {
    return fail(errc::forbidden, "the token is for another tenant");
  }
  return known.who;
}

}  // namespace callboard::gateway
