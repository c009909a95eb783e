// Tokens: JSON Web Tokens (RFC 7519) signed with HS256 or EdDSA (Ed25519), verified and issued.
// The algorithm is pinned to the kind of key (RFC 8725): a token cannot choose how it is checked.
#pragma once

#include "base/config.hpp"
#include "base/error.hpp"
#include "base/ids.hpp"
#include "gateway/principal.hpp"

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace callboard::gateway {

/// Bytes of the longest token that is looked at.
inline constexpr std::size_t token_size_max = 8192;

/// The keys of a node and what its tokens must say. Immutable once made; any thread.
class token_verifier {
public:
  /// Reads the key files. Errors: io_error (a file cannot be read), invalid_setting (no key at all,
  /// a secret below 32 bytes, not an Ed25519 key).
  [[nodiscard]] static result<std::unique_ptr<token_verifier>>
  from(const config::auth_section& settings);

  ~token_verifier();
  token_verifier(const token_verifier&) = delete;
  token_verifier& operator=(const token_verifier&) = delete;

  /// Checks signature, times, issuer and audience, and reads the claims. `now` is wall-clock time.
  /// Errors: unauthorized. Details never contain the token.
  [[nodiscard]] result<principal> verify(std::string_view token, time_ms now) const;

private:
  struct keys;

  token_verifier(const config::auth_section& settings, std::unique_ptr<keys> with);

  [[nodiscard]] result<void>
  check_signature(std::string_view algorithm, std::string_view input, std::string_view given) const;

  const config::auth_section settings_;
  const std::unique_ptr<keys> keys_;
};

/// What a token shall say.
struct token_claims {
  std::string subject;
  tenant_name tenant;
  std::vector<std::string> publish;
  std::vector<std::string> subscribe;
  std::vector<std::string> work;
  bool admin = false;
  bool repair = true;
  std::chrono::seconds lifetime{3600};
};

/// Signs a token with the Ed25519 private key if one is configured, else with the HS256 secret.
/// Errors: io_error, invalid_setting (no key to sign with), bad_request (a pattern that does not
/// parse, no subject, a lifetime below one second).
[[nodiscard]] result<std::string>
issue_token(const config::auth_section& settings, const token_claims& claims, time_ms now);

}  // namespace callboard::gateway
