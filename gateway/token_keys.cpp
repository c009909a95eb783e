#include "gateway/token_keys.hpp"

#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>

namespace callboard::gateway {

namespace {

constexpr std::size_t secret_size_min = 32;

struct free_context {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

struct free_bio {
  void operator()(BIO* bio) const { BIO_free(bio); }
};

const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

result<std::string> read_file(const std::string& path) {
  std::ifstream file{path, std::ios::binary};
  if (!file) return fail(errc::io_error, fmt::format("cannot read key file {}", path));
  return std::string{std::istreambuf_iterator<char>{file}, {}};
}

result<key_ptr> checked(key_ptr key, const std::string& path, std::string_view kind) {
  ERR_clear_error();
  if (!key || EVP_PKEY_get_base_id(key.get()) != EVP_PKEY_ED25519) {
    return fail(
        errc::invalid_setting,
        fmt::format("{} is not a PEM file with an Ed25519 {} key", path, kind));
  }
  return key;
}

}  // namespace

result<std::string> read_secret(const std::string& path) {
  auto secret = read_file(path);
  if (!secret) return secret;
  if (secret->ends_with('\n')) secret->pop_back();
  if (secret->ends_with('\r')) secret->pop_back();
  if (secret->size() < secret_size_min) {
    return fail(
        errc::invalid_setting,
        fmt::format("the secret in {} must have at least {} bytes", path, secret_size_min));
  }
  return secret;
}

result<key_ptr> read_public_key(const std::string& path) {
  auto pem = read_file(path);
  if (!pem) return std::unexpected{pem.error()};
  const std::unique_ptr<BIO, free_bio> bio{
      BIO_new_mem_buf(pem->data(), static_cast<int>(pem->size()))};
  return checked(
      key_ptr{PEM_read_bio_PUBKEY(bio.get(), nullptr, nullptr, nullptr)}, path, "public");
}

result<key_ptr> read_private_key(const std::string& path) {
  auto pem = read_file(path);
  if (!pem) return std::unexpected{pem.error()};
  const std::unique_ptr<BIO, free_bio> bio{
      BIO_new_mem_buf(pem->data(), static_cast<int>(pem->size()))};
  return checked(
      key_ptr{PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr)}, path, "private");
}

std::string hmac_sha256(std::string_view secret, std::string_view input) {
  std::string digest(32, '\0');
  unsigned size = 0;
  HMAC(
      EVP_sha256(),
      secret.data(),
      static_cast<int>(secret.size()),
      bytes_of(input),
      input.size(),
      reinterpret_cast<unsigned char*>(digest.data()),
      &size);
  return digest;
}

bool equal_in_constant_time(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

bool verify_ed25519(EVP_PKEY* key, std::string_view input, std::string_view signature) {
  const std::unique_ptr<EVP_MD_CTX, free_context> context{EVP_MD_CTX_new()};
  const bool good =
      EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key) == 1
      && EVP_DigestVerify(
             context.get(), bytes_of(signature), signature.size(), bytes_of(input), input.size())
             == 1;
  if (!good) ERR_clear_error();
  return good;
}

result<std::string> sign_ed25519(EVP_PKEY* key, std::string_view input) {
  const std::unique_ptr<EVP_MD_CTX, free_context> context{EVP_MD_CTX_new()};
  std::string signature(64, '\0');
  std::size_t size = signature.size();
  const bool good = EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key) == 1
                    && EVP_DigestSign(
                           context.get(),
                           reinterpret_cast<unsigned char*>(signature.data()),
                           &size,
                           bytes_of(input),
                           input.size())
                           == 1;
  if (!good) {
    ERR_clear_error();
    return fail(errc::internal, "OpenSSL could not sign the token");
  }
  signature.resize(size);
  return signature;
}

}  // namespace callboard::gateway
