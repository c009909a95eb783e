// The two kinds of key that tokens are signed with, on OpenSSL.
#pragma once

#include "base/error.hpp"

#include <memory>
#include <openssl/evp.h>
#include <string>
#include <string_view>

namespace callboard::gateway {

struct free_key {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};

using key_ptr = std::unique_ptr<EVP_PKEY, free_key>;

/// Reads a shared secret; one line break at the end does not belong to it.
/// Errors: io_error, invalid_setting (below 32 bytes, RFC 7518 section 3.2).
[[nodiscard]] result<std::string> read_secret(const std::string& path);

/// Read PEM files. Errors: io_error, invalid_setting (not PEM, not Ed25519).
[[nodiscard]] result<key_ptr> read_public_key(const std::string& path);
[[nodiscard]] result<key_ptr> read_private_key(const std::string& path);

/// HMAC-SHA-256, 32 bytes.
[[nodiscard]] std::string hmac_sha256(std::string_view secret, std::string_view input);

/// Compares without telling by its time where they differ.
[[nodiscard]] bool equal_in_constant_time(std::string_view a, std::string_view b);

[[nodiscard]] bool
verify_ed25519(EVP_PKEY* key, std::string_view input, std::string_view signature);
[[nodiscard]] result<std::string> sign_ed25519(EVP_PKEY* key, std::string_view input);

}  // namespace callboard::gateway
