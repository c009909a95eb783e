// The door itself: how many may come in, with TLS and without.
#include "gateway/listener.hpp"

#include "tests/gateway/http_fixture.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/certificate.hpp"
#include "tests/support/temp_dir.hpp"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/ssl.hpp>

#include <future>
#include <vector>

using namespace callboard;
using namespace callboard::testing;
namespace asio = boost::asio;

namespace {

/// A listener on a free port that says hello to everybody it lets in, and sorry to the others.
class door {
public:
  explicit door(config settings) : settings_{std::move(settings)} {
    settings_.listen.port = 0;
    listener_ = std::make_unique<gateway::listener>(
        settings_,
        std::vector{&loop_},
        counters_,
        [this](
            std::size_t,
            std::unique_ptr<gateway::transport> stream,
            gateway::admission standing,
            auto release) {
          auto& guest = guests_.emplace_back(std::move(stream), std::move(release));
          const auto* word = standing == gateway::admission::admitted ? "hello" : "sorry";
          guest.first->async_write({asio::buffer(word, 5)}, [](auto, std::size_t) {});
        });
  }

  ~door() {
    run([this] {
      listener_->stop();
      guests_.clear();
    });
    loop_.stop();
    if (thread_.joinable()) thread_.join();
  }

  [[nodiscard]] result<void> open() {
    if (auto opened = listener_->open(); !opened) return opened;
    listener_->start();
    thread_ = std::jthread{[this] { loop_.run(); }};
    return {};
  }

  void run(const std::function<void()>& work) {
    if (!thread_.joinable()) return work();
    std::promise<void> done;
    asio::post(loop_, [&] {
      work();
      done.set_value();
    });
    done.get_future().get();
  }

  void dismiss_all() {
    run([this] {
      for (auto& [stream, release] : guests_) {
        stream->close();
        release();
      }
      guests_.clear();
    });
  }

  [[nodiscard]] gateway::listener& get() { return *listener_; }

private:
  config settings_;
  metrics registry_;
  gateway::http_metrics counters_{registry_};
  asio::io_context loop_{1};
  asio::executor_work_guard<asio::io_context::executor_type> guard_{loop_.get_executor()};
  std::vector<std::pair<std::unique_ptr<gateway::transport>, std::function<void()>>> guests_;
  std::unique_ptr<gateway::listener> listener_;
  std::jthread thread_;
};

std::string greeting_over_tls(std::uint16_t port, int version, boost::system::error_code& failed) {
  asio::io_context loop;
  asio::ssl::context context{asio::ssl::context::tls_client};
  SSL_CTX_set_max_proto_version(context.native_handle(), version);
  SSL_CTX_set_security_level(context.native_handle(), 0);
  asio::ssl::stream<asio::ip::tcp::socket> stream{loop, context};
  stream.next_layer().connect({asio::ip::address_v4::loopback(), port}, failed);
  if (failed) return {};
  stream.handshake(asio::ssl::stream_base::client, failed);
  if (failed) return {};
  std::string text(5, '\0');
  asio::read(stream, asio::buffer(text), failed);
  return text;
}

}  // namespace

TEST_CASE("some connections beyond the limit are handed over to be told", "[gateway][listener]") {
  config settings;
  settings.limits.connections_max = 2;
  door entrance{settings};
  REQUIRE(entrance.open().has_value());
  raw_client first{entrance.get().port()};
  raw_client second{entrance.get().port()};
  CHECK(first.read_exactly(5) == "hello");
  CHECK(second.read_exactly(5) == "hello");
  raw_client third{entrance.get().port()};
  CHECK(third.read_exactly(5) == "sorry");
  CHECK(entrance.get().connection_count() == 2);
  std::vector<raw_client> crowd;
  for (int i = 0; i < 63; ++i)
    CHECK(crowd.emplace_back(entrance.get().port()).read_exactly(5) == "sorry");
  raw_client last{entrance.get().port()};
  CHECK(last.is_closed());
  entrance.dismiss_all();
  raw_client fourth{entrance.get().port()};
  CHECK(fourth.read_exactly(5) == "hello");
}

TEST_CASE("a port that is in use is named", "[gateway][listener]") {
  door entrance{config{}};
  REQUIRE(entrance.open().has_value());
  config settings;
  settings.listen.port = entrance.get().port();
  metrics registry;
  gateway::http_metrics counters{registry};
  asio::io_context loop;
  gateway::listener other{settings, {&loop}, counters, {}};
  const auto opened = other.open();
  REQUIRE_FALSE(opened.has_value());
  CHECK(opened.error().code == errc::io_error);
  CHECK_THAT(opened.error().detail, Catch::Contains(std::to_string(settings.listen.port)));
}

TEST_CASE("TLS 1.2 and later is served, older and plain text are not", "[gateway][listener]") {
  temp_dir folder;
  config settings;
  settings.listen.tls_certificate = folder.str() + "/certificate.pem";
  settings.listen.tls_key = folder.str() + "/key.pem";
  settings.limits.handshake_timeout_ms = 200;
  make_certificate(settings.listen.tls_certificate, settings.listen.tls_key);
  door entrance{settings};
  REQUIRE(entrance.open().has_value());
  boost::system::error_code failed;
  CHECK(greeting_over_tls(entrance.get().port(), TLS1_3_VERSION, failed) == "hello");
  CHECK(greeting_over_tls(entrance.get().port(), TLS1_2_VERSION, failed) == "hello");
  CHECK(greeting_over_tls(entrance.get().port(), TLS1_1_VERSION, failed).empty());
  CHECK(failed);
  raw_client plain{entrance.get().port()};
  plain.send("GET /livez HTTP/1.1\r\nHost: h\r\n\r\n");
  CHECK_THAT(plain.read_all(), !Catch::Contains("HTTP/1.1"));
  raw_client silent{entrance.get().port()};
  CHECK(silent.is_closed());
}

TEST_CASE("a TLS client that says nothing is not waited for by a drain", "[gateway][listener]") {
  temp_dir folder;
  config settings;
  settings.listen.tls_certificate = folder.str() + "/certificate.pem";
  settings.listen.tls_key = folder.str() + "/key.pem";
  make_certificate(settings.listen.tls_certificate, settings.listen.tls_key);
  door entrance{settings};
  REQUIRE(entrance.open().has_value());
  raw_client silent{entrance.get().port()};
  boost::system::error_code failed;
  CHECK(greeting_over_tls(entrance.get().port(), TLS1_3_VERSION, failed) == "hello");
  CHECK(entrance.get().connection_count() == 2);
  CHECK(entrance.get().served_count() == 1);
  entrance.dismiss_all();
  CHECK(entrance.get().connection_count() == 1);
  CHECK(entrance.get().served_count() == 0);
}

TEST_CASE("bad certificates are named at start", "[gateway][listener]") {
  temp_dir folder;
  config settings;
  settings.listen.tls_certificate = folder.str() + "/certificate.pem";
  settings.listen.tls_key = folder.str() + "/key.pem";
  CHECK(door{settings}.open().error().code == errc::io_error);
  make_certificate(settings.listen.tls_certificate, settings.listen.tls_key);
  make_certificate(folder.str() + "/other.pem", settings.listen.tls_key);
  const auto mismatch = door{settings}.open();
  REQUIRE_FALSE(mismatch.has_value());
  CHECK_THAT(mismatch.error().detail, Catch::Contains("key.pem"));
  settings.listen.address = "not-an-address";
  settings.listen.tls_certificate.clear();
  settings.listen.tls_key.clear();
  CHECK(door{settings}.open().error().code == errc::invalid_setting);
}
