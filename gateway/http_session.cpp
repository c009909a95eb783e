#include "gateway/http_session.hpp"

#include "base/hash.hpp"
#include "base/uuid.hpp"

#include <boost/asio/error.hpp>
#include <fmt/format.h>

#include <algorithm>

namespace callboard::gateway {

namespace {

/// A refused body up to this size is read and dropped, so that the connection can stay.
constexpr std::uint64_t dropped_body_max = 64 << 10;
constexpr std::uint64_t first_chunked_charge = 64 << 10;
constexpr std::uint32_t budget_retry_ms = 100;
constexpr std::uint32_t connections_retry_ms = 1000;
/// Places for those who are told that there is no place are few.
constexpr std::uint32_t beyond_limit_timeout_ms = 2000;
constexpr std::string_view continue_line = "HTTP/1.1 100 Continue\r\n\r\n";

bool is_request_id(std::string_view text) {
  return !text.empty() && text.size() <= 128 && std::ranges::all_of(text, [](char c) {
    return c > 0x20 && c < 0x7F && c != '"' && c != '\\';
  });
}

bool expects_continue(const http_request& request) {
  const auto* expect = request.find("expect");
  return expect != nullptr && request.version >= 11;
}

bool is_state_changing(http_method method) {
  return method == http_method::post || method == http_method::put
         || method == http_method::delete_;
}

}  // namespace

std::shared_ptr<http_session> http_session::open(
    connection_port& port,
    const http_environment& environment,
    std::unique_ptr<transport> stream,
    admission standing) {
  auto made = std::make_shared<http_session>(port, environment, std::move(stream), standing);
  made->set_deadline(made->head_timeout_ms());
  made->read();
  return made;
}

http_session::http_session(
    connection_port& port,
    const http_environment& environment,
    std::unique_ptr<transport> stream,
    admission standing)
    : port_{port},
      environment_{environment},
      transport_{std::move(stream)},
      reader_{
          {environment.sessions.settings.limits.header_bytes_max,
           environment.sessions.settings.limits.body_bytes_max}},
      publish_rate_{environment.sessions.settings.limits.publishes_per_s},
      standing_{standing} {}

std::uint32_t http_session::head_timeout_ms() const {
  return standing_ == admission::admitted
             ? limits().handshake_timeout_ms
             : std::min(limits().handshake_timeout_ms, beyond_limit_timeout_ms);
}

void http_session::read() {
  if (reading_ || input_ended_ || phase_ == phase::gone) return;
  const auto into = reader_.prepare();
  if (into.size() == 0) return;  // a long poll with a full buffer of pipelined requests
  reading_ = true;
  transport_->async_read_some(into, [self = shared_from_this()](auto failed, std::size_t size) {
    self->on_read(failed, size);
  });
}

void http_session::on_read(boost::system::error_code failed, std::size_t size) {
  reading_ = false;
  if (phase_ == phase::gone) return;
  if (failed) return on_peer_gone(failed);
  reader_.commit(size);
  if (phase_ == phase::waiting) return read();  // pipelined, or how we notice that a client left
  if (phase_ == phase::reading_head || phase_ == phase::reading_body) proceed();
}

void http_session::on_peer_gone(boost::system::error_code why) {
  input_ended_ = true;
  switch (phase_) {
  case phase::reading_head:
  case phase::reading_body:
    return finish();
  case phase::waiting:
    // We only read here during a long poll, and whoever polls stays to listen.
    give_up_poll();
    return finish();
  case phase::writing:
    keep_alive_ = false;
    if (why == boost::asio::error::eof) return;
    give_up_poll();
    return finish();
  case phase::ending:
  case phase::gone:
    return;
  }
}

void http_session::proceed() {
  while (phase_ == phase::reading_head || phase_ == phase::reading_body) {
    if (!head_begun_ && reader_.has_begun()) {
      head_begun_ = true;
      set_deadline(head_timeout_ms());
    }
    const auto progress = reader_.advance();
    if (!progress) return on_broken(progress.error());
    switch (*progress) {
    case request_reader::progress::need_more:
      if (phase_ == phase::reading_body && !take_body_charge()) return;
      if (input_ended_) return finish();
      return read();
    case request_reader::progress::head:
      if (!on_head()) return;
      break;
    case request_reader::progress::complete:
      return dispatch();
    }
  }
}

void http_session::on_broken(const broken_request& broken) {
  if (request_id_.empty()) request_id_ = make_uuid(environment_.sessions.time.wall());
  if (started_.count() == 0) started_ = now();
  keep_alive_ = false;
  respond(problem_response(broken.problem, broken.status));
}

bool http_session::on_head() {
  auto& request = reader_.request();
  phase_ = phase::reading_body;
  started_ = now();
  set_deadline(limits().request_timeout_ms);
  keep_alive_ = request.keep_alive && !draining_ && standing_ == admission::admitted;
  old_version_ = request.version < 11;
  head_only_ = request.method == "HEAD";
  const auto* id = request.find("x-request-id");
  request_id_ =
      id != nullptr && is_request_id(*id) ? *id : make_uuid(environment_.sessions.time.wall());
  if (auto response = check_head()) return refuse_early(std::move(*response));
  if (!take_body_charge()) return false;
  if (expects_continue(request) && request.has_body()) {
    send_continue();
    return false;
  }
  return true;
}

std::optional<http_response> http_session::check_head() {
  const auto& request = reader_.request();
  if (const auto* expect = request.find("expect")) {
    if (*expect != "100-continue" && *expect != "100-Continue") {
      return problem_response({errc::bad_request, "only Expect: 100-continue is understood"}, 417);
    }
  }
  const auto method = method_named(request.method);
  if (!method) {
    return problem_response(
        {errc::method_not_allowed, fmt::format("the method '{}' is not known", request.method)},
        501);
  }
  exchange_.method = *method;
  if (request.target == "*" && *method == http_method::options) return json_response(204, {});
  auto target = parse_target(request.target);
  if (!target) return problem_response(target.error());
  exchange_.target = std::move(*target);
  auto route = find_route(exchange_.target);
  if (!route) return problem_response(route.error());
  exchange_.route = std::move(*route);
  return check_route();
}

std::optional<http_response> http_session::check_route() {
  const auto& request = reader_.request();
  const auto& route = *exchange_.route;
  const auto& environment = environment_.sessions;
  const auto* origin = request.find("origin");
  const auto standing = standing_of(
      origin,
      request.find("host"),
      environment.settings.listen.allowed_origins,
      environment.verifier == nullptr);
  cors_ = cors_lines(standing, origin);
  if (exchange_.method == http_method::options) return preflight();
  if (!route.allows(exchange_.method)) {
    auto response = problem_response(
        {errc::method_not_allowed,
         fmt::format("{} is not possible here; {} are", request.method, route.allowed_methods())});
    response.headers.emplace_back("Allow", route.allowed_methods());
    return response;
  }
  const bool is_live = route.at == endpoint::websocket
                       || (route.at == endpoint::events && wants_event_stream(request));
  if (standing == origin_standing::denied && (is_live || is_state_changing(exchange_.method))) {
    return problem_response(
        {errc::forbidden, "pages of this origin may not do this: see listen.allowed_origins"});
  }
  if (route.is_open()) return std::nullopt;
  auto refused = check_client();
  if (!refused) return std::nullopt;
  if (route.at == endpoint::websocket && offers_subprotocol(request)) {
    exchange_.refused = std::move(refused);
    return std::nullopt;
  }
  return problem_response(*refused);
}

std::optional<error> http_session::check_client() {
  if (standing_ == admission::beyond_limit) {
    return error{
        errc::too_many_connections,
        "this node has limits.connections_max connections",
        connections_retry_ms};
  }
  auto who = authenticate(environment_.sessions, exchange_, reader_.request(), token_);
  if (!who) return who.error();
  exchange_.who = std::move(*who);
  return std::nullopt;
}

http_response http_session::preflight() const {
  auto response = json_response(204, {});
  const auto methods = exchange_.route->allowed_methods();
  response.headers.emplace_back("Allow", methods);
  if (!cors_.empty()) {
    for (auto& line : preflight_headers(methods))
      response.headers.push_back(std::move(line));
  }
  return response;
}

bool http_session::take_body_charge() {
  const auto& request = reader_.request();
  if (refusal_ || !request.has_body()) return true;
  std::uint64_t needed = request.content_length.value_or(first_chunked_charge);
  if (request.chunked && reader_.body_size() > 0) {
    needed = std::max<std::uint64_t>(body_charge_.size(), first_chunked_charge);
    while (needed < reader_.body_size())
      needed *= 2;
  }
  if (body_charge_.size() >= needed) return true;
  auto charge = environment_.sessions.payload_budget.charge(needed);
  if (!charge) {
    return refuse_early(problem_response(
        {errc::overloaded, "the node has too many payload bytes in flight", budget_retry_ms}));
  }
  body_charge_ = std::move(*charge);
  return true;
}

bool http_session::refuse_early(http_response response) {
  const auto& request = reader_.request();
  const bool small = !request.chunked && request.content_length.value_or(0) <= dropped_body_max;
  if (!request.has_body() || (small && !expects_continue(request))) {
    refusal_ = std::move(response);
    return true;
  }
  keep_alive_ = false;  // the rest of the body is still on its way
  respond(std::move(response));
  return false;
}

void http_session::send_continue() {
  continuing_ = true;
  transport_->async_write(
      {boost::asio::buffer(continue_line)}, [self = shared_from_this()](auto failed, std::size_t) {
        self->continuing_ = false;
        if (self->phase_ == phase::gone) return;
        if (failed) return self->finish();
        self->proceed();
      });
}

void http_session::on_drain(std::chrono::milliseconds spread) {
  draining_ = true;
  keep_alive_ = false;
  const auto share =
      spread.count() > 0 ? hash_64(port_.id()) % static_cast<std::uint64_t>(spread.count()) : 0;
  drain_at_ = now() + std::chrono::milliseconds{share};
}

void http_session::on_tick(boot_time now) {
  if (phase_ == phase::gone) return;
  if (draining_ && is_idle() && now >= drain_at_) return finish();
  if (draining_ && is_awaiting() && now >= drain_at_) {
    // Another node answers when it is asked again, or this one when it is back.
    const bool is_asked_again = exchange_.on_disconnect || exchange_.method == http_method::get;
    give_up_poll();
    return respond_problem(
        {errc::draining,
         is_asked_again ? "the node is shutting down; ask again"
                        : "the node is shutting down and waits no longer; what was asked goes on: "
                          "ask for its end, or again with the same id",
         1000});
  }
  if (now >= deadline_) on_timeout();
}

void http_session::on_stop() {
  phase_ = phase::gone;
  if (transport_) transport_->close();
}

}  // namespace callboard::gateway
