// Who may do what: tokens, tenants, TLS, and the refusal to listen in the open.
#include "tests/e2e/broker.hpp"
#include "tests/support/catch.hpp"

#include <callboard/client.hpp>
#include <cstdio>
#include <fstream>
#include <memory>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

namespace {

using namespace callboard::testing;

std::string base64url(std::string_view bytes) {
  static constexpr std::string_view letters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string out;
  std::uint32_t value = 0;
  int bits = 0;
  for (const char c : bytes) {
    value = value << 8 | static_cast<unsigned char>(c);
    for (bits += 8; bits >= 6; bits -= 6)
      out.push_back(letters[value >> (bits - 6) & 63]);
  }
  if (bits > 0) out.push_back(letters[value << (6 - bits) & 63]);
  return out;
}

using key_ptr = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

key_ptr make_key(const char* kind) {
  return {EVP_PKEY_Q_keygen(nullptr, nullptr, kind), &EVP_PKEY_free};
}

std::string sign(EVP_PKEY* key, const EVP_MD* digest, std::string_view text) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context{
      EVP_MD_CTX_new(), &EVP_MD_CTX_free};
  EVP_DigestSignInit(context.get(), nullptr, digest, nullptr, key);
  std::string signature(256, '\0');
  std::size_t size = signature.size();
  EVP_DigestSign(
      context.get(),
      reinterpret_cast<unsigned char*>(signature.data()),
      &size,
      reinterpret_cast<const unsigned char*>(text.data()),
      text.size());
  signature.resize(size);
  return signature;
}

/// A compact JWS over `claims`.
std::string token(EVP_PKEY* key, std::string_view algorithm, const json::object& claims) {
  const auto text = base64url(R"({"typ":"JWT","alg":")" + std::string{algorithm} + "\"}") + '.'
                    + base64url(json::serialize(claims));
  const auto* digest = algorithm == "HS256" ? EVP_sha256() : nullptr;
  return text + '.' + base64url(sign(key, digest, text));
}

json::object claims_for(std::string_view tenant, std::int64_t valid_s = 600) {
  return {
      {"sub", "tester"},
      {"exp", std::time(nullptr) + valid_s},
      {"callboard",
       {{"tenant", tenant},
        {"publish", json::array{"open.>"}},
        {"subscribe", json::array{"open.>"}}}}};
}

void write_file(const std::filesystem::path& path, std::string_view text) {
  std::ofstream{path, std::ios::binary} << text;
}

constexpr std::string_view secret = "a shared secret of at least thirty-two bytes";

/// A node that verifies tokens of both kinds, and the keys to make them.
struct guarded_node {
  temp_dir folder;
  key_ptr hmac{
      EVP_PKEY_new_raw_private_key(
          EVP_PKEY_HMAC,
          nullptr,
          reinterpret_cast<const unsigned char*>(secret.data()),
          secret.size()),
      &EVP_PKEY_free};
  key_ptr ed25519 = make_key("ED25519");
  std::unique_ptr<server_process> process;

  guarded_node() {
    const auto secret_file = folder.path() / "secret";
    const auto public_file = folder.path() / "public.pem";
    write_file(secret_file, secret);
    FILE* pem = std::fopen(public_file.c_str(), "w");
    PEM_write_PUBKEY(pem, ed25519.get());
    std::fclose(pem);
    process = std::make_unique<server_process>(server_options{
        .command = "serve",
        .arguments = {
            "--set",
            "auth.hs256_secret_file=" + secret_file.string(),
            "--set",
            "auth.ed25519_public_key_file=" + public_file.string()}});
  }

  [[nodiscard]] broker as(std::string_view tenant, std::string_view with) const {
    return broker{process->where(), std::string{tenant}, std::string{with}};
  }
};

guarded_node& node() {
  static guarded_node guarded;
  return guarded;
}

}  // namespace

TEST_CASE("serve admits HS256 and EdDSA tokens within their tenant and scopes") {
  const auto hs = token(node().hmac.get(), "HS256", claims_for("acme"));
  const auto ed = token(node().ed25519.get(), "EdDSA", claims_for("acme"));
  CHECK(node().as("acme", hs).publish("open.a", cloud_event("1")).status == 200);
  CHECK(node().as("acme", ed).publish("open.a", cloud_event("2")).status == 200);

  const auto other_topic = node().as("acme", hs).publish("closed.a", cloud_event("1"));
  CHECK(other_topic.status == 403);
  CHECK(other_topic.code() == "forbidden");
  const auto other_tenant = node().as("rival", hs).publish("open.a", cloud_event("1"));
  CHECK(other_tenant.status == 403);
  CHECK(node().as("rival", hs).get("/topics/open.a/events").status == 403);
  CHECK(node().as("acme", hs).history("open.a").size() == 2);
}

TEST_CASE("the public client carries its token everywhere and says what it does not allow") {
  const auto client_with = [](const std::string& with) {
    return std::move(*callboard::tenant_client::open(
        {.server = node().process->url(), .tenant = "acme", .token = with}));
  };
  auto acme = client_with(token(node().hmac.get(), "HS256", claims_for("acme")));
  REQUIRE(acme.publish("open.client", {.type = "note"}));
  CHECK(acme.subscribe("open.client", {.from = "first"})
            ->next(std::chrono::seconds{10})
            ->has_value());
  CHECK(acme.publish("closed.a", {.type = "note"}).error().code == "forbidden");
  auto nobody = client_with("");
  CHECK(nobody.read("open.client").error().code == "unauthorized");
  auto listening = nobody.subscribe("open.client");
  const auto code =
      listening ? listening->next(std::chrono::seconds{10}).error().code : listening.error().code;
  CHECK(code == "unauthorized");
}

TEST_CASE("serve refuses what is missing, expired, altered or unsigned") {
  const auto refused = [](std::string_view with) {
    const auto answer = node().as("acme", with).publish("open.a", cloud_event("x"));
    CHECK(answer.status == 401);
    CHECK(answer.code() == "unauthorized");
    CHECK_FALSE(answer.header("www-authenticate").empty());
  };
  refused("");
  refused("nonsense");
  refused(token(node().hmac.get(), "HS256", claims_for("acme", -600)));
  auto altered = token(node().hmac.get(), "HS256", claims_for("acme"));
  altered[altered.size() / 2] = altered[altered.size() / 2] == 'A' ? 'B' : 'A';
  refused(altered);
  const auto stranger = make_key("ED25519");
  refused(token(stranger.get(), "EdDSA", claims_for("acme")));
  refused(
      base64url(R"({"alg":"none"})") + '.' + base64url(json::serialize(claims_for("acme"))) + '.');
}

TEST_CASE("a WebSocket takes its token from header, subprotocol or query, and ends with it") {
  const auto with = token(node().ed25519.get(), "EdDSA", claims_for("acme"));
  CHECK_NOTHROW(websocket_client{node().process->where(), websocket_of("acme", with)});
  auto options = websocket_of("acme");
  options.subprotocol = "callboard.v1.json, bearer." + with;
  CHECK_NOTHROW(websocket_client{node().process->where(), options});
  options = websocket_of("acme");
  options.target += "?access_token=" + with;
  CHECK_NOTHROW(websocket_client{node().process->where(), options});
  options = websocket_of("acme");
  options.subprotocol = "";
  CHECK_THROWS_WITH((websocket_client{node().process->where(), options}), Catch::Contains("401"));

  websocket_client client{node().process->where(), websocket_of("acme", with)};
  const auto refused = client.ask({{"op", "subscribe"}, {"topic", "closed.b"}, {"from", "now"}});
  CHECK(text_of(refused, "code") == "forbidden");
  CHECK(text_of(publish_over(client, "open.ws", "1"), "op") == "ok");
}

TEST_CASE("a WebSocket that is refused is told by its close code") {
  const auto closed_with = [](const std::string& tenant, std::string_view with) {
    auto options = websocket_of(tenant, with);
    // No welcome is waited for with this one.
    options.subprotocol = "callboard.v1.proto";
    websocket_client client{node().process->where(), options};
    return client.wait_closed();
  };
  const auto with = token(node().ed25519.get(), "EdDSA", claims_for("acme"));
  CHECK(closed_with("acme", "") == 4401);
  CHECK(closed_with("acme", "nonsense") == 4401);
  CHECK(closed_with("other", with) == 4403);
  auto options = websocket_of("acme", with);
  options.subprotocol = "cloudevents.json";
  options.target += "?topic=closed";
  websocket_client client{node().process->where(), options};
  CHECK(client.wait_closed() == 4403);
}

TEST_CASE("connections beyond the limit are told so, and health is still answered") {
  server_process narrow{{.arguments = {"--set", "limits.connections_max=2"}}};
  auto options = websocket_of("default");
  const websocket_client first{narrow.where(), options};
  const websocket_client second{narrow.where(), options};
  options.subprotocol = "callboard.v1.proto";
  websocket_client third{narrow.where(), options};
  CHECK(third.wait_closed() == 4429);
  const auto refused = http_client{narrow.where()}.get("/v1/tenants/default/topics");
  CHECK(refused.status == 503);
  CHECK_THAT(refused.body, Catch::Contains("too_many_connections"));
  CHECK(http_client{narrow.where()}.get("/livez").status == 200);
}

TEST_CASE("a token that runs out closes its WebSocket with 4401") {
  guarded_node strict;
  server_process impatient{
      {.command = "serve",
       .arguments = {
           "--set",
           "auth.hs256_secret_file=" + (strict.folder.path() / "secret").string(),
           "--set",
           "auth.leeway_s=0"}}};
  const auto with = token(strict.hmac.get(), "HS256", claims_for("acme", 2));
  websocket_client client{impatient.where(), websocket_of("acme", with)};
  CHECK(client.wait_closed(std::chrono::seconds{10}) == 4401);
}

TEST_CASE("a cursor of one tenant opens nothing in another") {
  const auto acme = token(node().hmac.get(), "HS256", claims_for("acme"));
  const auto rival = token(node().hmac.get(), "HS256", claims_for("rival"));
  const auto answer = node().as("acme", acme).publish("open.cursor", cloud_event("1"));
  REQUIRE(answer.status == 200);
  const auto cursor = text_of(answer.json(), "cursor");
  auto other = node().as("rival", rival);
  const auto stolen = other.get("/topics/open.cursor/events?from=" + cursor);
  CHECK(stolen.status >= 400);
  CHECK_FALSE(stolen.body.contains("test.event"));
}

TEST_CASE("TLS serves HTTP and WebSocket") {
  const temp_dir folder;
  const auto key = make_key("ED25519");
  const std::unique_ptr<X509, decltype(&X509_free)> certificate{X509_new(), &X509_free};
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), 0);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
  X509_set_pubkey(certificate.get(), key.get());
  X509_sign(certificate.get(), key.get(), nullptr);
  FILE* pem = std::fopen((folder.path() / "cert.pem").c_str(), "w");
  PEM_write_X509(pem, certificate.get());
  std::fclose(pem);
  pem = std::fopen((folder.path() / "key.pem").c_str(), "w");
  PEM_write_PrivateKey(pem, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  std::fclose(pem);

  const server_process secure{
      {.arguments =
           {"--set",
            "listen.tls_certificate=" + (folder.path() / "cert.pem").string(),
            "--set",
            "listen.tls_key=" + (folder.path() / "key.pem").string()},
       .tls = true}};
  broker to{secure.where()};
  CHECK(to.publish("tls", cloud_event("1")).status == 200);
  websocket_client client{secure.where()};
  CHECK(number_of(publish_over(client, "tls", "2"), "seq") == 2);
  auto trusting = callboard::tenant_client::open({.server = secure.url(), .tls_insecure = true});
  REQUIRE(trusting);
  CHECK(trusting->read("tls")->events.size() == 2);
  CHECK(trusting->subscribe("tls", {.from = "first"})->next(std::chrono::seconds{10})->has_value());
  auto doubting = callboard::tenant_client::open({.server = secure.url()});
  REQUIRE(doubting);
  CHECK(doubting->read("tls").error().code == "unreachable");
  auto plain = secure.where();
  plain.tls = false;
  CHECK_THROWS_AS(http_client{plain}.get("/livez"), std::runtime_error);
}

TEST_CASE("a node does not listen in plaintext where others can reach it, unless told to") {
  const temp_dir folder;
  write_file(folder.path() / "secret", secret);
  const auto serve = [&](const std::string& flag) {
    return std::vector<std::string>{
        flag,
        "--data",
        (folder.path() / "data").string(),
        "--listen",
        "0.0.0.0:0",
        "--set",
        "auth.hs256_secret_file=" + (folder.path() / "secret").string()};
  };
  const auto refused = run_callboard(serve("serve"));
  CHECK(refused.status != 0);
  CHECK(refused.status > 0);
  CHECK_THAT(refused.err + refused.out, Catch::Contains("plaintext"));
  const auto dev =
      run_callboard({"dev", "--data", (folder.path() / "dev").string(), "--listen", "0.0.0.0:0"});
  CHECK(dev.status > 0);
  CHECK_THAT(dev.err + dev.out, Catch::Contains("loopback"));
}
