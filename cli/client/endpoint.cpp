#include "cli/client/endpoint.hpp"

#include <fmt/format.h>

#include <charconv>

namespace callboard::client {

namespace {

std::unexpected<error> bad_url(std::string_view url) {
  return fail(
      errc::bad_request,
      fmt::format("'{}' is not a server URL; expected http://HOST[:PORT] or https://…", url));
}

bool is_unreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-'
         || c == '.' || c == '_' || c == '~';
}

}  // namespace

result<endpoint> endpoint::parse(std::string_view url) {
  endpoint parsed;
  auto rest = url;
  if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
  } else if (rest.starts_with("https://")) {
    rest.remove_prefix(8);
    parsed.tls = true;
  } else {
    return bad_url(url);
  }
  while (rest.ends_with('/'))
    rest.remove_suffix(1);
  if (rest.find_first_of("/?#@ ") != std::string_view::npos) return bad_url(url);
  std::string_view port;
  if (rest.starts_with('[')) {
    const auto end = rest.find(']');
    if (end == std::string_view::npos) return bad_url(url);
    parsed.host = rest.substr(1, end - 1);
    const auto after = rest.substr(end + 1);
    if (!after.empty() && !after.starts_with(':')) return bad_url(url);
    if (!after.empty()) port = after.substr(1);
    if (!after.empty() && port.empty()) return bad_url(url);
  } else {
    const auto colon = rest.find(':');
    parsed.host = rest.substr(0, colon);
    if (colon != std::string_view::npos) {
      port = rest.substr(colon + 1);
      if (port.empty()) return bad_url(url);
    }
  }
  if (parsed.host.empty()) return bad_url(url);
  if (!port.empty()) {
    const auto [end, problem] =
        std::from_chars(port.data(), port.data() + port.size(), parsed.port);
    if (problem != std::errc{} || end != port.data() + port.size() || parsed.port == 0) {
      return bad_url(url);
    }
  }
  return parsed;
}

std::string endpoint::authority() const {
  return host.contains(':') ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

std::string endpoint::url() const {
  return fmt::format("{}://{}", tls ? "https" : "http", authority());
}

std::string percent_encoded(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    if (is_unreserved(c)) {
      out.push_back(c);
    } else {
      fmt::format_to(std::back_inserter(out), "%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

}  // namespace callboard::client
