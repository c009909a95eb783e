// Tokens: what verifies, and every way in which one must not.
#include "gateway/auth.hpp"

#include "gateway/base64.hpp"
#include "gateway/token_keys.hpp"

#include "tests/support/catch.hpp"
#include "tests/support/temp_dir.hpp"

#include <cstdio>
#include <fstream>
#include <openssl/pem.h>

using namespace callboard;
using namespace callboard::gateway;

namespace {

constexpr std::string_view secret = "0123456789abcdef0123456789abcdef";
constexpr time_ms now{std::chrono::seconds{1'700'000'000}};

struct key_files {
  testing::temp_dir folder;
  config::auth_section settings;

  key_files() {
    settings.hs256_secret_file = folder.str() + "/secret";
    settings.ed25519_public_key_file = folder.str() + "/public.pem";
    settings.ed25519_private_key_file = folder.str() + "/private.pem";
    std::ofstream{settings.hs256_secret_file} << secret << '\n';
    const key_ptr key{EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")};
    auto* file = std::fopen(settings.ed25519_public_key_file.c_str(), "w");
    PEM_write_PUBKEY(file, key.get());
    std::fclose(file);
    file = std::fopen(settings.ed25519_private_key_file.c_str(), "w");
    PEM_write_PrivateKey(file, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    std::fclose(file);
  }

  [[nodiscard]] std::unique_ptr<token_verifier> verifier() const {
    auto made = token_verifier::from(settings);
    REQUIRE(made.has_value());
    return std::move(*made);
  }
};

token_claims usual_claims() {
  return {
      .subject = "ada",
      .tenant = tenant_name::trusted("acme"),
      .publish = {"orders.>"},
      .subscribe = {"orders.*", "news"},
      .work = {"llm"},
      .admin = true,
      .lifetime = std::chrono::seconds{60}};
}

std::string signed_hs256(std::string_view header, std::string_view claims) {
  auto input = encode_base64url(header) + '.' + encode_base64url(claims);
  const auto signature = encode_base64url(hmac_sha256(secret, input));
  return input + '.' + signature;
}

std::string with_claims(const std::string& claims) {
  return signed_hs256(R"({"alg":"HS256"})", claims);
}

constexpr auto scopes = R"("callboard":{"tenant":"acme"})";

}  // namespace

TEST_CASE("an issued token verifies, with either kind of key", "[gateway][auth]") {
  key_files keys;
  const auto verifier = keys.verifier();
  for (const bool use_hs256 : {false, true}) {
    auto signer = keys.settings;
    if (use_hs256) signer.ed25519_private_key_file.clear();
    const auto token = issue_token(signer, usual_claims(), now);
    REQUIRE(token.has_value());
    const auto who = verifier->verify(*token, now);
    if (!who) FAIL(who.error().detail);
    CHECK(who->subject == "ada");
    CHECK(who->tenant.str() == "acme");
    CHECK(who->may_publish("orders.eu.1"));
    CHECK_FALSE(who->may_publish("orders"));
    CHECK(who->may_subscribe("orders.*"));
    CHECK(who->work == std::vector<std::string>{"llm"});
    CHECK(who->admin);
    CHECK(who->repair);
    // The leeway of the clocks is part of its time.
    CHECK(who->expires == now + std::chrono::seconds{60 + keys.settings.leeway_s});
  }
}

TEST_CASE("a token may say that it repairs nothing", "[gateway][auth]") {
  key_files keys;
  const auto verifier = keys.verifier();
  auto claims = usual_claims();
  claims.repair = false;
  const auto token = issue_token(keys.settings, claims, now);
  REQUIRE(token.has_value());
  const auto who = verifier->verify(*token, now);
  REQUIRE(who.has_value());
  CHECK_FALSE(who->repair);
  CHECK(who->may_publish("orders.eu.1"));
}

TEST_CASE("times count with the leeway and not beyond", "[gateway][auth]") {
  key_files keys;
  keys.settings.leeway_s = 10;
  const auto verifier = keys.verifier();
  const auto token = *issue_token(keys.settings, usual_claims(), now);
  CHECK(verifier->verify(token, now + std::chrono::milliseconds{69'999}).has_value());
  const auto late = verifier->verify(token, now + std::chrono::seconds{70});
  REQUIRE_FALSE(late.has_value());
  CHECK_THAT(late.error().detail, Catch::Contains("expired"));

  const auto early =
      with_claims(std::string{R"({"sub":"a","exp":1700000500,"nbf":1700000100,)"} + scopes + "}");
  CHECK_FALSE(verifier->verify(early, now).has_value());
  CHECK(verifier->verify(early, now + std::chrono::seconds{90}).has_value());
}

TEST_CASE("a tampered token is refused", "[gateway][auth]") {
  key_files keys;
  const auto verifier = keys.verifier();
  const auto token = *issue_token(keys.settings, usual_claims(), now);
  for (std::size_t i = 0; i < token.size(); ++i) {
    auto bad = token;
    bad[i] = bad[i] == 'A' ? 'B' : 'A';
    const auto outcome = verifier->verify(bad, now);
    INFO("byte " << i);
    REQUIRE_FALSE(outcome.has_value());
    CHECK(outcome.error().code == errc::unauthorized);
    CHECK_THAT(outcome.error().detail, !Catch::Contains(token.substr(0, 20)));
  }
  CHECK_FALSE(verifier->verify(token.substr(0, token.rfind('.') + 1), now).has_value());
}

TEST_CASE("a token cannot choose its algorithm", "[gateway][auth]") {
  key_files keys;
  const auto claims = std::string{R"({"sub":"a","exp":1700000500,)"} + scopes + "}";
  const auto verifier = keys.verifier();
  REQUIRE(verifier->verify(with_claims(claims), now).has_value());
  for (const auto* header :
       {R"({"alg":"none"})",
        R"({"alg":"None"})",
        R"({"alg":"HS512"})",
        R"({"alg":"hs256"})",
        R"({"alg":"RS256"})",
        R"({"alg":"EdDSA"})",
        R"({"alg":["HS256"]})",
        R"({})",
        R"({"alg":"HS256","crit":["b64"],"b64":false})"}) {
    INFO(header);
    CHECK_FALSE(verifier->verify(signed_hs256(header, claims), now).has_value());
  }
  const auto unsigned_token =
      encode_base64url(R"({"alg":"none"})") + '.' + encode_base64url(claims) + '.';
  CHECK_FALSE(verifier->verify(unsigned_token, now).has_value());

  // The classic: the public key's file used as the shared secret.
  auto only_public = keys.settings;
  only_public.hs256_secret_file.clear();
  auto pinned = token_verifier::from(only_public);
  REQUIRE(pinned.has_value());
  std::ifstream file{keys.settings.ed25519_public_key_file};
  const std::string pem{std::istreambuf_iterator<char>{file}, {}};
  auto input = encode_base64url(R"({"alg":"HS256"})") + '.' + encode_base64url(claims);
  const auto forged = input + '.' + encode_base64url(hmac_sha256(pem, input));
  CHECK_FALSE((*pinned)->verify(forged, now).has_value());
  CHECK_FALSE((*pinned)->verify(with_claims(claims), now).has_value());
}

TEST_CASE("claims that are missing or of the wrong kind are refused", "[gateway][auth]") {
  key_files keys;
  const auto verifier = keys.verifier();
  const std::string exp = R"("exp":1700000500)";
  const std::string vectors[] = {
      R"({"sub":"a",)" + std::string{scopes} + "}",
      R"({"sub":"a","exp":"1700000500",)" + std::string{scopes} + "}",
      R"({"sub":"a","exp":1e999,)" + std::string{scopes} + "}",
      R"({"sub":"a","exp":-5,)" + std::string{scopes} + "}",
      R"({"sub":"a","exp":1700000500,"nbf":"x",)" + std::string{scopes} + "}",
      "{" + exp + "," + scopes + "}",
      R"({"sub":5,)" + exp + "," + scopes + "}",
      R"({"sub":"a",)" + exp + "}",
      R"({"sub":"a",)" + exp + R"(,"callboard":{}})",
      R"({"sub":"a",)" + exp + R"(,"callboard":{"tenant":"UPPER"}})",
      R"({"sub":"a",)" + exp + R"(,"callboard":{"tenant":"acme","publish":"x"}})",
      R"({"sub":"a",)" + exp + R"(,"callboard":{"tenant":"acme","publish":["a..b"]}})",
      R"({"sub":"a",)" + exp + R"(,"callboard":{"tenant":"acme","subscribe":[1]}})",
      R"({"sub":"a",)" + exp + R"(,"callboard":{"tenant":"acme","admin":1}})",
      R"({"sub":"a",)" + exp + R"(,"callboard":{"tenant":"acme","repair":"no"}})",
      "[]",
      "not json",
  };
  for (const auto& claims : vectors) {
    INFO(claims);
    CHECK_FALSE(verifier->verify(with_claims(claims), now).has_value());
  }
  for (const auto* junk : {"", ".", "..", "a.b", "a.b.c.d", "a b.c.d", "....", "€.€.€"}) {
    CHECK_FALSE(verifier->verify(junk, now).has_value());
  }
  CHECK_FALSE(verifier->verify(std::string(token_size_max + 1, 'a'), now).has_value());
}

TEST_CASE("issuer and audience count when they are configured", "[gateway][auth]") {
  key_files keys;
  keys.settings.issuer = "https://id.example";
  keys.settings.audience = "callboard";
  const auto verifier = keys.verifier();
  CHECK(verifier->verify(*issue_token(keys.settings, usual_claims(), now), now).has_value());
  const std::string start = R"({"sub":"a","exp":1700000500,)" + std::string{scopes};
  const auto good = start + R"(,"iss":"https://id.example","aud":["other","callboard"]})";
  CHECK(verifier->verify(with_claims(good), now).has_value());
  CHECK_FALSE(verifier->verify(with_claims(start + R"(,"aud":"callboard"})"), now).has_value());
  CHECK_FALSE(
      verifier->verify(with_claims(start + R"(,"iss":"https://id.example","aud":"x"})"), now)
          .has_value());
}

TEST_CASE("keys that cannot be used are named at start", "[gateway][auth]") {
  key_files keys;
  CHECK(token_verifier::from({}).error().code == errc::invalid_setting);
  auto settings = keys.settings;
  settings.hs256_secret_file = keys.folder.str() + "/missing";
  CHECK(token_verifier::from(settings).error().code == errc::io_error);
  settings.hs256_secret_file = keys.folder.str() + "/short";
  std::ofstream{settings.hs256_secret_file} << "short";
  CHECK(token_verifier::from(settings).error().code == errc::invalid_setting);
  settings = keys.settings;
  settings.ed25519_public_key_file = keys.settings.ed25519_private_key_file;
  CHECK(token_verifier::from(settings).error().code == errc::invalid_setting);
  CHECK(issue_token({}, usual_claims(), now).error().code == errc::invalid_setting);
  auto claims = usual_claims();
  claims.publish = {"a..b"};
  CHECK_FALSE(issue_token(keys.settings, claims, now).has_value());
}
