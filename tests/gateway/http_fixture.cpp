#include "tests/gateway/http_fixture.hpp"

#include "gateway/transports.hpp"

#include "tests/support/catch.hpp"

#include <boost/asio/post.hpp>

#include <arpa/inet.h>
#include <charconv>
#include <future>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace callboard::testing {

namespace asio = boost::asio;

namespace {

constexpr int patience_s = 10;

std::mutex upgrade_mutex;
upgrade_seen last_upgrade;

std::string lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  }
  return text;
}

}  // namespace

raw_client::raw_client(std::uint16_t port) : socket_{::socket(AF_INET, SOCK_STREAM, 0)} {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const timeval patience{patience_s, 0};
  ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  REQUIRE(::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
}

raw_client::raw_client(raw_client&& other) noexcept
    : socket_{std::exchange(other.socket_, -1)}, buffer_{std::move(other.buffer_)} {}

raw_client::~raw_client() {
  close();
}

void raw_client::close() {
  if (socket_ >= 0) ::close(socket_);
  socket_ = -1;
}

void raw_client::end_input() {
  ::shutdown(socket_, SHUT_WR);
}

void raw_client::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;  // closed by the server: what it said first is what counts
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

bool raw_client::fill() {
  char block[8192];
  const auto size = ::recv(socket_, block, sizeof block, 0);
  if (size <= 0) return false;
  buffer_.append(block, static_cast<std::size_t>(size));
  return true;
}

answer raw_client::read(bool head_only) {
  std::size_t end = 0;
  while ((end = buffer_.find("\r\n\r\n")) == std::string::npos) {
    if (!fill()) FAIL("no answer; so far: " << buffer_);
  }
  const auto head = buffer_.substr(0, end + 2);
  buffer_.erase(0, end + 4);
  answer got;
  REQUIRE(head.starts_with("HTTP/1.1 "));
  std::from_chars(head.data() + 9, head.data() + 12, got.status);
  for (auto at = head.find("\r\n") + 2; at < head.size();) {
    const auto stop = head.find("\r\n", at);
    const auto colon = head.find(": ", at);
    REQUIRE(colon < stop);
    got.headers[lower(head.substr(at, colon - at))] = head.substr(colon + 2, stop - colon - 2);
    at = stop + 2;
  }
  if (got.status == 100) return got;
  const std::size_t size =
      got.headers.contains("content-length") ? std::stoul(got.headers["content-length"]) : 0;
  while (!head_only && buffer_.size() < size) {
    if (!fill()) FAIL("a body of " << size << " bytes is cut");
  }
  if (!head_only) {
    got.body = buffer_.substr(0, size);
    buffer_.erase(0, size);
  }
  return got;
}

std::string raw_client::read_exactly(std::size_t size) {
  while (buffer_.size() < size) {
    if (!fill()) FAIL("the stream ends after: " << buffer_);
  }
  auto text = buffer_.substr(0, size);
  buffer_.erase(0, size);
  return text;
}

std::string raw_client::read_all() {
  while (fill()) {
  }
  return std::exchange(buffer_, {});
}

bool raw_client::is_closed() {
  if (!buffer_.empty()) return false;
  char byte = 0;
  const auto size = ::recv(socket_, &byte, 1, 0);
  return size == 0 || (size < 0 && errno == ECONNRESET);
}

result<void> fake_port::publish(actors::publish_batch batch) {
  auto outcome = fixture_.on_publish(batch.requests.front());
  if (outcome && !*outcome && (*outcome).error().code == errc::overloaded) {
    return std::unexpected{(*outcome).error()};  // refused by the router, no reply follows
  }
  const auto correlation = batch.requests.front().correlation;
  fixture_.published.push_back(std::move(batch));
  auto reply = [session = owner, correlation, outcome] {
    actors::publish_replies replies;
    replies.replies.push_back({correlation, outcome ? *outcome : actors::publish_outcome{}});
    session->on_publish_replies(replies);
  };
  if (outcome) {
    asio::post(fixture_.loop_, reply);
  } else {
    fixture_.held_replies.emplace_back(reply);
  }
  return {};
}

result<void> fake_port::control(actors::control_request request) {
  fixture_.asked.push_back(request.body);
  auto outcome = fixture_.on_control(request.body);
  auto reply = [session = owner, correlation = request.correlation](auto what) {
    actors::control_reply reply{correlation, std::move(what)};
    session->on_control_reply(reply);
  };
  if (outcome) {
    asio::post(fixture_.loop_, [reply, what = *outcome] { reply(what); });
  }
  return {};
}

void fake_port::close() {
  asio::post(fixture_.loop_, [this] {
    owner.reset();
    std::erase_if(fixture_.ports, [this](const auto& each) { return each.get() == this; });
  });
}

gateway::io_thread& fake_port::thread() {
  throw std::logic_error{"an HTTP session does not need its thread"};
}

http_fixture::http_fixture(const std::function<void(config&)>& change) : acceptor_{loop_} {
  settings.auth.required = false;
  if (change) change(settings);
  sessions = std::make_unique<gateway::session_environment>(gateway::session_environment{
      .settings = settings,
      .time = time,
      .counters = counters,
      .payload_budget = budget,
      .node_id = node_id});
  http_counters = std::make_unique<gateway::http_metrics>(counters);
  environment = std::make_unique<gateway::http_environment>(gateway::http_environment{
      .sessions = *sessions,
      .counters = *http_counters,
      .readiness = [this] { return not_ready; },
      .node_status = [] { return std::string{R"({"mode":"single"})"}; },
      .backup =
          [](std::string target, auto done) {
            std::jthread{[target, done] { done(R"({"target":")" + target + "\"}"); }}.detach();
          },
      .draining = draining});
  on_publish = [seq = std::uint64_t{0}](const actors::publish_request& request) mutable {
    actors::publish_outcome outcome;
    outcome.first_seq = sequence{seq + 1};
    outcome.epoch = std::make_shared<const std::string>("e1");
    outcome.reached = request.level;
    seq += request.events.size();
    return std::optional<result<actors::publish_outcome>>{std::move(outcome)};
  };
  on_control = [](const actors::control_body&) {
    return std::optional<result<actors::control_answer>>{actors::control_answer{actors::done{}}};
  };
  const asio::ip::tcp::endpoint any{asio::ip::address_v4::loopback(), 0};
  acceptor_.open(any.protocol());
  acceptor_.bind(any);
  acceptor_.listen();
  port_ = acceptor_.local_endpoint().port();
  accept();
  thread_ = std::jthread{[this] { loop_.run(); }};
}

http_fixture::~http_fixture() {
  run([this] {
    acceptor_.close();
    for (const auto& port : ports) {
      if (port->owner) port->owner->on_stop();
    }
  });
  guard_.reset();
  loop_.stop();
  thread_.join();
  ports.clear();
}

void http_fixture::accept() {
  acceptor_.async_accept([this](auto failed, asio::ip::tcp::socket socket) {
    if (failed) return;
    auto port = std::make_shared<fake_port>(*this);
    ports.push_back(port);
    port->owner = gateway::http_session::open(
        *port, *environment, gateway::make_plain_transport(std::move(socket), loop_), standing);
    accept();
  });
}

void http_fixture::answer_leases(const actors::leased_tasks& tasks) {
  run([&] {
    on_control = [tasks](const actors::control_body& body) {
      actors::control_answer answer{actors::done{}};
      if (std::holds_alternative<actors::lease_tasks>(body)) answer = tasks;
      return std::optional<result<actors::control_answer>>{std::move(answer)};
    };
  });
}

void http_fixture::run(const std::function<void()>& work) {
  std::promise<void> done;
  asio::post(loop_, [&] {
    work();
    done.set_value();
  });
  done.get_future().get();
}

bool http_fixture::eventually(const std::function<bool()>& condition) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds{patience_s};
  while (std::chrono::steady_clock::now() < limit) {
    bool holds = false;
    run([&] { holds = condition(); });
    if (holds) return true;
    std::this_thread::yield();
  }
  return false;
}

void http_fixture::advance(std::chrono::milliseconds by) {
  // The client may have seen an answer before the completion of its write has run; the loop may
  // still hold that in a list of its own while the first of these runs.
  run([] {});
  run([] {});
  time.advance(by);
  run([this] {
    for (const auto& port : std::vector{ports}) {
      if (port->owner) port->owner->on_tick(time.boot());
    }
  });
}

void http_fixture::drain(std::chrono::milliseconds spread) {
  run([this, spread] {
    for (const auto& port : ports)
      port->owner->on_drain(spread);
  });
}

upgrade_seen take_upgrade() {
  const std::lock_guard lock{upgrade_mutex};
  return std::exchange(last_upgrade, {});
}

void remember_upgrade(gateway::upgrade_request request, const std::string& topic) {
  const std::lock_guard lock{upgrade_mutex};
  last_upgrade = {std::move(request), topic};
}

}  // namespace callboard::testing

namespace callboard::gateway {

// Stand-ins that write a line and end: these tests are about what comes before.

void start_websocket(
    connection_port& port,
    const session_environment& /*environment*/,
    std::unique_ptr<transport> stream,
    upgrade_request request) {
  testing::remember_upgrade(std::move(request), {});
  stream->close();
  port.close();
}

void start_event_stream(
    connection_port& port,
    const session_environment& /*environment*/,
    std::unique_ptr<transport> stream,
    upgrade_request request,
    const std::string& topic_or_pattern) {
  testing::remember_upgrade(std::move(request), topic_or_pattern);
  stream->close();
  port.close();
}

}  // namespace callboard::gateway
