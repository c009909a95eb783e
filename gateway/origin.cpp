#include "gateway/origin.hpp"

#include <boost/asio/ip/address_v4.hpp>

#include <algorithm>

namespace callboard::gateway {

namespace {

/// "https://name:port" without its scheme.
std::string_view authority_of(std::string_view origin) {
  const auto at = origin.find("://");
  return at == std::string_view::npos ? std::string_view{} : origin.substr(at + 3);
}

std::string_view without_port(std::string_view authority) {
  if (authority.starts_with('[')) return authority.substr(0, authority.find(']') + 1);
  return authority.substr(0, authority.rfind(':'));
}

bool names_this_machine(std::string_view authority) {
  const auto name = without_port(authority);
  if (name == "localhost" || name == "[::1]") return true;
  // "127.example.com" is a name that anybody may own.
  boost::system::error_code failed;
  const auto address = boost::asio::ip::make_address_v4(name, failed);
  return !failed && address.is_loopback();
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; };
  return std::ranges::equal(a, b, {}, lower, lower);
}

}  // namespace

origin_standing standing_of(
    const std::string* origin,
    const std::string* host,
    const std::vector<std::string>& allowed,
    bool trusted_local) {
  if (origin == nullptr) return origin_standing::absent;
  for (const auto& each : allowed) {
    if (each == "*" || equal_ignoring_case(each, *origin)) return origin_standing::allowed;
  }
  const auto authority = authority_of(*origin);
  const bool same = host != nullptr && !authority.empty() && equal_ignoring_case(authority, *host);
  if (!same || (trusted_local && !names_this_machine(authority))) return origin_standing::denied;
  return origin_standing::same_host;
}

std::string cors_lines(origin_standing standing, const std::string* origin) {
  if (standing != origin_standing::allowed) return {};
  return "Access-Control-Allow-Origin: " + *origin
         + "\r\nVary: Origin\r\n"
           "Access-Control-Expose-Headers: Retry-After, X-Request-Id, WWW-Authenticate\r\n";
}

std::vector<std::pair<std::string, std::string>> preflight_headers(const std::string& methods) {
  return {
      {"Access-Control-Allow-Methods", methods},
      {"Access-Control-Allow-Headers",
       "Authorization, Content-Type, Idempotency-Key, Callboard-Expected-Seq, Last-Event-ID, "
       "X-Request-Id, ce-id, ce-source, ce-type, ce-specversion, ce-subject, ce-time, "
       "ce-dataschema, ce-correlationid, ce-causationid, ce-traceparent"},
      {"Access-Control-Max-Age", "600"}};
}

}  // namespace callboard::gateway
