// Tokens from any bytes: nothing verifies that was not signed, even when the claims are ours.
#include "gateway/auth.hpp"
#include "gateway/base64.hpp"
#include "gateway/token_keys.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <unistd.h>

namespace {

using namespace callboard;

constexpr std::string_view secret = "0123456789abcdef0123456789abcdef";

const gateway::token_verifier& verifier() {
  static const auto made = [] {
    char path[] = "/tmp/callboard-fuzz-XXXXXX";
    const int file = ::mkstemp(path);
    if (file < 0 || ::write(file, secret.data(), secret.size()) < 0) std::abort();
    ::close(file);
    config::auth_section settings;
    settings.hs256_secret_file = path;
    auto opened = gateway::token_verifier::from(settings);
    std::remove(path);
    if (!opened) std::abort();
    return std::move(*opened);
  }();
  return *made;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  const time_ms now{std::chrono::seconds{1'700'000'000}};
  const auto refused = verifier().verify(text, now);
  // Finding a valid signature by chance is not to be expected.
  if (refused || refused.error().code != errc::unauthorized) std::abort();
  // With a good signature the bytes are looked at as claims.
  const auto input =
      gateway::encode_base64url(R"({"alg":"HS256"})") + '.' + gateway::encode_base64url(text);
  const auto token = input + '.' + gateway::encode_base64url(gateway::hmac_sha256(secret, input));
  const auto who = verifier().verify(token, now);
  if (who && (who->subject.empty() || who->tenant.str().empty() || !who->expires)) std::abort();
  if (who) (void)who->may_subscribe(text);
  const auto plain = gateway::decode_base64url(text);
  if (plain && gateway::encode_base64url(*plain) != text) std::abort();
  return 0;
}
