// Makes tokens; verifying them is in auth.cpp.
#include "gateway/auth.hpp"
#include "gateway/base64.hpp"
#include "gateway/token_keys.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/format.h>

namespace callboard::gateway {

namespace json = boost::json;

namespace {

json::array array_of(const std::vector<std::string>& texts) {
  json::array array;
  for (const auto& text : texts)
    array.emplace_back(text);
  return array;
}

result<void> check_claims(const token_claims& claims) {
  if (claims.subject.empty()) return fail(errc::bad_request, "a token needs a subject");
  if (claims.tenant.str().empty()) return fail(errc::bad_request, "a token needs a tenant");
  if (claims.lifetime < std::chrono::seconds{1}) {
    return fail(errc::bad_request, "a token must live for at least one second");
  }
  for (const auto* patterns : {&claims.publish, &claims.subscribe}) {
    for (const auto& pattern : *patterns) {
      if (auto parsed = topic_pattern::parse(pattern); !parsed) {
        return std::unexpected{parsed.error()};
      }
    }
  }
  return {};
}

std::string
claims_json(const config::auth_section& settings, const token_claims& claims, time_ms now) {
  const auto issued = std::chrono::floor<std::chrono::seconds>(now).time_since_epoch().count();
  json::object scopes;
  scopes["tenant"] = claims.tenant.str();
  scopes["publish"] = array_of(claims.publish);
  scopes["subscribe"] = array_of(claims.subscribe);
  scopes["work"] = array_of(claims.work);
  scopes["admin"] = claims.admin;
  if (!claims.repair) scopes["repair"] = false;
  json::object all;
  if (!settings.issuer.empty()) all["iss"] = settings.issuer;
  if (!settings.audience.empty()) all["aud"] = settings.audience;
  all["sub"] = claims.subject;
  all["iat"] = issued;
  all["exp"] = issued + claims.lifetime.count();
  all["callboard"] = std::move(scopes);
  return json::serialize(all);
}

/// Header and signature for the key that is configured.
result<std::string> sign(const config::auth_section& settings, std::string_view claims) {
  const auto input_of = [&](std::string_view algorithm) {
    return fmt::format(
        "{}.{}",
        encode_base64url(fmt::format(R"({{"alg":"{}","typ":"JWT"}})", algorithm)),
        encode_base64url(claims));
  };
  if (!settings.ed25519_private_key_file.empty()) {
    auto key = read_private_key(settings.ed25519_private_key_file);
    if (!key) return std::unexpected{key.error()};
    auto input = input_of("EdDSA");
    auto signature = sign_ed25519(key->get(), input);
    if (!signature) return signature;
    return input + '.' + encode_base64url(*signature);
  }
  if (!settings.hs256_secret_file.empty()) {
    auto secret = read_secret(settings.hs256_secret_file);
    if (!secret) return secret;
    auto input = input_of("HS256");
    auto signature = encode_base64url(hmac_sha256(*secret, input));
    return input + '.' + signature;
  }
  return fail(
      errc::invalid_setting,
      "there is no key to sign with: set auth.ed25519_private_key_file or auth.hs256_secret_file");
}

}  // namespace

result<std::string>
issue_token(const config::auth_section& settings, const token_claims& claims, time_ms now) {
  if (auto sound = check_claims(claims); !sound) return std::unexpected{sound.error()};
  return sign(settings, claims_json(settings, claims, now));
}

}  // namespace callboard::gateway
