// Where a server is: the URL that commands are given.
#pragma once

#include "base/error.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace callboard::client {

/// Scheme, host and port of a server, and how its certificate is judged.
struct endpoint {
  std::string host = "127.0.0.1";
  std::uint16_t port = 8700;
  bool tls = false;
  /// PEM file of the authority to trust; empty: those of the system.
  std::string tls_ca_file;
  /// Accept any certificate.
  bool tls_insecure = false;

  /// Parses `http://HOST[:PORT]` or `https://HOST[:PORT]`; an IPv6 host stands in brackets.
  /// The port defaults to 8700 for both. Errors: bad_request with what was expected.
  [[nodiscard]] static result<endpoint> parse(std::string_view url);

  /// Value of the Host header.
  [[nodiscard]] std::string authority() const;

  [[nodiscard]] std::string url() const;
};

/// Escapes everything but unreserved characters (RFC 3986) for a path segment or query value.
[[nodiscard]] std::string percent_encoded(std::string_view text);

}  // namespace callboard::client
