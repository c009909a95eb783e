// The command line beside a node: one backup restored twice, `--tls-ca`, and `journal repair`.
#include "tests/e2e/broker.hpp"
#include "tests/support/catch.hpp"

#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

namespace {

using namespace callboard::testing;
namespace fs = std::filesystem;

std::string epoch_of(const std::string& cursor) {
  return cursor.substr(0, cursor.rfind(':'));
}

/// A certificate for 127.0.0.1 that vouches for itself, and its key, as PEM files.
struct own_authority {
  temp_dir folder;
  std::string certificate = (folder.path() / "cert.pem").string();
  std::string key = (folder.path() / "key.pem").string();

  own_authority() {
    const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> pair{
        EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"), &EVP_PKEY_free};
    const std::unique_ptr<X509, decltype(&X509_free)> made{X509_new(), &X509_free};
    X509_set_version(made.get(), 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made.get()), 1);
    X509_gmtime_adj(X509_getm_notBefore(made.get()), -60);
    X509_gmtime_adj(X509_getm_notAfter(made.get()), 3600);
    auto* name = X509_get_subject_name(made.get());
    X509_NAME_add_entry_by_txt(
        name,
        "CN",
        MBSTRING_ASC,
        reinterpret_cast<const unsigned char*>("callboard test"),
        -1,
        -1,
        0);
    X509_set_issuer_name(made.get(), name);
    X509_set_pubkey(made.get(), pair.get());
    for (const auto& [kind, value] :
         {std::pair{NID_subject_alt_name, "IP:127.0.0.1"},
          std::pair{NID_basic_constraints, "critical,CA:TRUE"}}) {
      const std::unique_ptr<X509_EXTENSION, decltype(&X509_EXTENSION_free)> extension{
          X509V3_EXT_conf_nid(nullptr, nullptr, kind, value), &X509_EXTENSION_free};
      X509_add_ext(made.get(), extension.get(), -1);
    }
    X509_sign(made.get(), pair.get(), nullptr);
    FILE* pem = std::fopen(certificate.c_str(), "w");
    PEM_write_X509(pem, made.get());
    std::fclose(pem);
    pem = std::fopen(key.c_str(), "w");
    PEM_write_PrivateKey(pem, pair.get(), nullptr, nullptr, 0, nullptr, nullptr);
    std::fclose(pem);
  }
};

}  // namespace

TEST_CASE("one backup restored twice makes two histories that know each other's cursors apart") {
  const temp_dir folder;
  const auto backup = (folder.path() / "backup").string();
  std::string original;
  {
    server_process node;
    broker to{node.where()};
    for (int i = 1; i <= 20; ++i)
      REQUIRE(to.publish("twice", cloud_event(std::to_string(i))).status == 200);
    original = to.history("twice").at(9).cursor;
    const auto made = run_callboard({"backup", "create", backup, "--server", node.url()});
    INFO(made.err);
    REQUIRE(made.status == 0);
  }
  std::vector<std::unique_ptr<server_process>> nodes;
  std::vector<std::string> cursors;
  for (const auto* name : {"one", "two"}) {
    const auto data = folder.path() / name;
    const auto restored = run_callboard({"backup", "restore", backup, "--data", data.string()});
    INFO(restored.err);
    REQUIRE(restored.status == 0);
    nodes.push_back(std::make_unique<server_process>(server_options{.data_dir = data}));
    broker now{nodes.back()->where()};
    REQUIRE(now.history("twice").size() == 20);
    cursors.push_back(now.history("twice").at(9).cursor);
  }
  std::cout << "seq 10 before the backup " << original << ", restored " << cursors[0] << " and "
            << cursors[1] << '\n';
  CHECK(epoch_of(cursors[0]) != epoch_of(cursors[1]));
  CHECK(epoch_of(cursors[0]) != epoch_of(original));
  CHECK(epoch_of(cursors[1]) != epoch_of(original));
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    broker now{nodes[i]->where()};
    for (const auto& foreign : {cursors[1 - i], original}) {
      const auto page = now.get("/topics/twice/events?from=" + foreign);
      CHECK(page.status == 410);
      CHECK(page.code() == "cursor_expired");
      websocket_client client{nodes[i]->where()};
      const auto answer = client.ask({{"op", "subscribe"}, {"topic", "twice"}, {"from", foreign}});
      INFO(json::serialize(answer));
      CHECK(text_of(answer, "op") == "ok");
      CHECK(answer.contains("recovered"));
      CHECK_FALSE(flag_of(answer, "recovered"));
      CHECK(text_of(answer, "reason") == "epoch_changed");
    }
    CHECK(now.get("/topics/twice/events?from=" + cursors[i]).status == 200);
    websocket_client client{nodes[i]->where()};
    const auto own = client.ask({{"op", "subscribe"}, {"topic", "twice"}, {"from", cursors[i]}});
    CHECK(flag_of(own, "recovered"));
  }
}

TEST_CASE("the command line trusts the authority of --tls-ca, and no other") {
  const own_authority trusted;
  const own_authority stranger;
  const server_process secure{
      {.arguments =
           {"--set",
            "listen.tls_certificate=" + trusted.certificate,
            "--set",
            "listen.tls_key=" + trusted.key},
       .tls = true}};
  const auto list = [&](std::vector<std::string> more) {
    std::vector<std::string> words{"topic", "list", "--server", secure.url()};
    words.insert(words.end(), more.begin(), more.end());
    auto done = run_callboard(words);
    std::cout << (more.empty() ? "default" : more.front()) << ": " << done.status << ' ' << done.err
              << '\n';
    return done;
  };
  CHECK(list({"--tls-ca", trusted.certificate}).status == 0);
  CHECK(list({"--tls-insecure"}).status == 0);
  for (const auto& refused : {list({}), list({"--tls-ca", stranger.certificate})}) {
    CHECK(refused.status > 0);
    CHECK_THAT(refused.err, Catch::Contains("certificate"));
  }
  const auto absent = list({"--tls-ca", trusted.folder.str() + "/absent.pem"});
  CHECK(absent.status > 0);
  CHECK_THAT(absent.err, Catch::Contains("absent.pem"));
}

TEST_CASE("journal repair keeps what can be read of a damaged folder, which then serves again") {
  server_process node{{.arguments = {"--set", "storage.shard_count=4"}}};
  constexpr std::size_t published = 200;
  {
    broker to{node.where()};
    for (std::size_t i = 1; i <= published; ++i)
      REQUIRE(to.publish("hurt", cloud_event(std::to_string(i))).status == 200);
  }
  const auto old_cursor = broker{node.where()}.history("hurt").front().cursor;
  node.kill();
  int damaged = 0;
  for (const auto& entry : fs::directory_iterator{node.data_dir() / "db"}) {
    if (entry.path().extension() != ".log" || fs::file_size(entry) == 0) continue;
    std::fstream file{entry.path(), std::ios::in | std::ios::out | std::ios::binary};
    const std::string bytes{std::istreambuf_iterator<char>{file}, {}};
    // In an event, not in what is made of events again. Behind what was written there are zeros.
    const auto at = bytes.find(R"({"n":1})", bytes.find_last_not_of('\0') / 2);
    if (at == std::string::npos) continue;
    file.clear();
    file.seekp(static_cast<std::streamoff>(at));
    file.write("\xff\x01\xff\x01", 4);
    ++damaged;
  }
  REQUIRE(damaged > 0);
  const auto data = node.data_dir().string();
  const auto found = run_callboard({"journal", "verify", "--data", data});
  INFO(found.out << found.err);
  CHECK(found.status > 0);
  CHECK_THROWS_WITH(node.start(), Catch::Contains("corruption"));

  const auto repaired = run_callboard({"journal", "repair", "--data", data});
  std::cout << repaired.out << repaired.err;
  REQUIRE(repaired.status >= 0);
  CHECK(fs::exists(data + ".damaged-1"));
  CHECK(run_callboard({"journal", "verify", "--data", data}).status == 0);
  node.start();
  broker now{node.where()};
  const auto kept = now.history("hurt");
  std::cout << kept.size() << " of " << published << " events kept\n";
  REQUIRE_FALSE(kept.empty());
  CHECK(kept.size() < published);
  // A hole where the damage was; what is left stands where it was acked.
  std::uint64_t before = 0;
  bool in_place = true;
  for (const auto& event : kept) {
    in_place = in_place && event.seq > before && event.id == std::to_string(event.seq);
    before = event.seq;
  }
  CHECK(in_place);
  CHECK(kept.front().seq == 1);
  CHECK(kept.back().seq == published);
  // What was lost is told: the shard's cursors are of another epoch now.
  CHECK(now.get("/topics/hurt/events?from=" + old_cursor).status == 410);
  const auto after = now.publish("hurt", cloud_event("after"));
  CHECK(after.status == 200);
  CHECK(number_of(after.json(), "seq") == published + 1);
}
