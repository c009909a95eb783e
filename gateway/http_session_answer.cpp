// The second half of http_session: from a complete request to the last byte of its answer.
#include "base/log.hpp"
#include "gateway/http_session.hpp"
#include "gateway/sessions.hpp"

#include <boost/asio/post.hpp>

namespace callboard::gateway {

namespace {

/// Larger bodies are written from where they are instead of being copied behind the head.
constexpr std::size_t joined_body_max = 16 << 10;
constexpr std::size_t kept_output_max = 64 << 10;
constexpr std::uint32_t goodbye_ms = 3000;
constexpr std::chrono::hours backup_time_max{24};
constexpr std::uint32_t budget_retry_ms = 100;
/// On a node with a small budget pages are smaller.
constexpr std::uint64_t pages_per_budget_min = 16;

/// The path alone: a query may hold a token.
std::string_view path_of(std::string_view target) {
  return target.substr(0, std::min<std::size_t>(target.find('?'), 256));
}

/// How large the page of events is that is asked for; null if it is none.
std::uint64_t* page_bytes_of(actors::control_body& body) {
  if (auto* read = std::get_if<actors::read_events>(&body)) return &read->bytes_max;
  if (auto* dead = std::get_if<actors::list_binding_dead>(&body)) return &dead->bytes_max;
  return nullptr;
}

}  // namespace

void http_session::dispatch() {
  if (refusal_) return respond(std::move(*refusal_));
  auto next = handle_request(environment_, exchange_, reader_.request(), body_charge_, port_.id());
  if (!next) return respond_problem(next.error());
  std::visit([this](auto& what) { perform(what); }, *next);
}

void http_session::perform(actors::publish_batch& batch) {
  auto& request = batch.requests.front();
  if (const auto wait = publish_rate_.take(request.events.size(), now())) {
    return respond_problem(
        {errc::rate_limited,
         "this connection publishes faster than limits.publishes_per_s",
         *wait});
  }
  awaited_ = port_.next_correlation();
  request.correlation = awaited_;
  await_answer({});
  if (auto sent = port_.publish(std::move(batch)); !sent) respond_problem(sent.error());
}

void http_session::perform(actors::control_body& body) {
  if (auto* bytes = page_bytes_of(body)) {
    if (auto charged = charge_page(*bytes); !charged) return respond_problem(charged.error());
  }
  const auto share = environment_.sessions.payload_budget.size_max() / pages_per_budget_min;
  if (auto* lease = std::get_if<actors::lease_tasks>(&body)) lease->lease.bytes_max = share;
  if (auto* fetch = std::get_if<actors::fetch_deliveries>(&body)) fetch->bytes_max = share;
  awaited_ = port_.next_correlation();
  await_answer(exchange_.wait);
  auto sent = port_.control({awaited_, std::move(body)});
  if (!sent) {
    exchange_.on_disconnect.reset();
    return respond_problem(sent.error());
  }
  if (exchange_.wait.count() > 0) read();
}

/// Payloads of an answer are held in memory until the client has taken them. They leave half of the
/// budget to publishes, which slow readers must not stop; only what is larger alone takes more.
result<byte_charge> http_session::charge_payloads(std::uint64_t size) {
  auto& budget = environment_.sessions.payload_budget;
  const auto half = budget.size_max() / 2;
  const auto wanted = std::min(size, budget.size_max());
  if (wanted > half || budget.used() + wanted <= half) {
    if (auto charge = budget.charge(wanted)) return *std::move(charge);
  }
  return fail(errc::overloaded, "the node has too many payload bytes in flight", budget_retry_ms);
}

result<void> http_session::charge_page(std::uint64_t& bytes_max) {
  bytes_max =
      std::min(bytes_max, environment_.sessions.payload_budget.size_max() / pages_per_budget_min);
  auto charge = charge_payloads(bytes_max);
  if (!charge) return std::unexpected{charge.error()};
  answer_charge_ = *std::move(charge);
  return {};
}

/// Leased tasks and deliveries. Not from the question on: who polls may wait long. False: it was
/// refused, and they are given back as if nobody had had them.
bool http_session::charge_handed_out(const actors::control_answer& answer, std::uint64_t size) {
  const auto* leased = std::get_if<actors::leased_tasks>(&answer);
  const auto* fetched = std::get_if<actors::delivery_list>(&answer);
  const bool is_empty = (leased == nullptr || leased->tasks.empty())
                        && (fetched == nullptr || fetched->deliveries.empty());
  if (is_empty) return true;
  body_charge_ = {};
  auto charge = charge_payloads(size);
  if (charge) {
    answer_charge_ = *std::move(charge);
    return true;
  }
  auto& back = *exchange_.on_disconnect;
  if (fetched != nullptr) {
    // Not the member's other deliveries.
    back = actors::put_back(fetched->group, fetched->deliveries);
  }
  give_up_poll();
  respond_problem(charge.error());
  return false;
}

/// The page is there: what it takes is known now.
void http_session::fit_page_charge(std::uint64_t size) {
  if (answer_charge_.size() == 0) return;
  if (auto exact = environment_.sessions.payload_budget.charge(size)) {
    answer_charge_ = std::move(*exact);
  }
}

void http_session::perform(become_websocket& /*action*/) {
  if (environment_.draining) {
    keep_alive_ = false;
    return respond_problem({errc::draining, "the node is shutting down", 1000});
  }
  if (reader_.request().find("upgrade") == nullptr) {
    if (exchange_.refused) return respond_problem(*exchange_.refused);
    auto response = problem_response({errc::bad_request, "this path speaks WebSocket only"}, 426);
    response.headers.emplace_back("Upgrade", "websocket");
    return respond(std::move(response));
  }
  environment_.counters.answered(exchange_.route->at, 101, now() - started_);
  auto stream = std::move(transport_);
  start_websocket(port_, environment_.sessions, std::move(stream), hand_over());
}

void http_session::perform(become_event_stream& /*action*/) {
  if (environment_.draining) {
    keep_alive_ = false;
    return respond_problem({errc::draining, "the node is shutting down", 1000});
  }
  environment_.counters.answered(exchange_.route->at, 200, now() - started_);
  const auto topic = exchange_.route->topic;
  auto stream = std::move(transport_);
  start_event_stream(port_, environment_.sessions, std::move(stream), hand_over(), topic);
}

upgrade_request http_session::hand_over() {
  phase_ = phase::gone;
  auto& request = reader_.request();
  return {
      .tenant = exchange_.route->tenant,
      .who = exchange_.who ? *exchange_.who : principal{},
      .head = std::move(request.head),
      .leftover = reader_.take_rest(),
      .query = std::move(exchange_.target.query),
      .headers = std::move(request.headers),
      .refused = std::move(exchange_.refused)};
}

void http_session::perform(run_backup& action) {
  awaited_ = port_.next_correlation();
  await_answer(backup_time_max);
  auto done = [weak = weak_from_this(), correlation = awaited_, &loop = transport_->context()](
                  result<std::string> outcome) {
    boost::asio::post(loop, [weak, correlation, outcome = std::move(outcome)] {
      const auto self = weak.lock();
      if (!self || !self->is_awaited(correlation)) return;
      if (outcome) return self->respond(json_response(200, *outcome));
      self->respond_problem(outcome.error());
    });
  };
  environment_.backup(std::move(action.target), std::move(done));
}

bool http_session::is_awaited(correlation_id correlation) const {
  return phase_ == phase::waiting && correlation == awaited_;
}

void http_session::await_answer(std::chrono::milliseconds extra) {
  phase_ = phase::waiting;
  deadline_ = now() + extra + std::chrono::milliseconds{limits().request_timeout_ms};
}

void http_session::on_publish_replies(actors::publish_replies& replies) {
  for (auto& reply : replies.replies) {
    if (!is_awaited(reply.correlation)) continue;  // answered as a timeout before
    if (reply.outcome) {
      respond(answer_publish(exchange_, *reply.outcome));
    } else {
      respond_problem(reply.outcome.error());
    }
  }
}

void http_session::on_control_reply(actors::control_reply& reply) {
  if (!is_awaited(reply.correlation)) return;
  if (reply.outcome) {
    auto response = answer_control(exchange_, *reply.outcome);
    fit_page_charge(response.body.size());
    if (!charge_handed_out(*reply.outcome, response.body.size())) return;
    respond(std::move(response));
  } else {
    exchange_.on_disconnect.reset();
    respond_problem(reply.outcome.error());
  }
}

void http_session::respond(http_response response) {
  count_answer(response);
  phase_ = phase::writing;
  set_deadline(limits().request_timeout_ms);
  body_charge_ = {};
  if (draining_ || environment_.draining || input_ended_) keep_alive_ = false;
  append_response_head(
      output_,
      response,
      {.request_id = request_id_,
       .cors = cors_,
       .keep_alive = keep_alive_,
       .old_version = old_version_,
       .now = environment_.sessions.time.wall()});
  std::vector<boost::asio::const_buffer> buffers;
  const bool has_body = !head_only_ && response.status != 204;
  if (has_body && response.body.size() > joined_body_max) {
    output_body_ = std::move(response.body);
    buffers = {boost::asio::buffer(output_), boost::asio::buffer(output_body_)};
  } else {
    if (has_body) output_ += response.body;
    buffers = {boost::asio::buffer(output_)};
  }
  transport_->async_write(
      std::move(buffers),
      [self = shared_from_this()](auto failed, std::size_t) { self->on_written(failed); });
}

void http_session::count_answer(const http_response& response) {
  const auto took = now() - started_;
  environment_.counters.answered(
      exchange_.route ? std::optional{exchange_.route->at} : std::nullopt, response.status, took);
  log_answer(response, took);
}

void http_session::log_answer(const http_response& response, boot_time took) const {
  static const auto log = log::channel("gateway");
  // Only what is our fault: refusals under load or in a drain would flood the log.
  const auto level = response.status == 500 ? spdlog::level::warn : spdlog::level::debug;
  if (!log->should_log(level)) return;
  log->log(
      level,
      "request {} from {}: {} {} -> {} in {} us",
      request_id_,
      port_.id(),
      reader_.request().method,
      path_of(reader_.request().target),
      response.status,
      std::chrono::duration_cast<std::chrono::microseconds>(took).count());
}

void http_session::on_written(boost::system::error_code failed) {
  if (phase_ == phase::gone) return;
  if (failed) {
    give_up_poll();
    return finish();
  }
  answer_charge_ = {};
  if (!keep_alive_ || draining_) return end_gracefully();
  exchange_ = {};
  refusal_.reset();
  request_id_.clear();
  cors_.clear();
  started_ = {};
  output_.clear();
  if (output_.capacity() > kept_output_max) output_.shrink_to_fit();
  output_body_ = {};
  head_begun_ = false;
  reader_.next();
  phase_ = phase::reading_head;
  set_deadline(limits().idle_timeout_ms);
  proceed();
}

void http_session::on_timeout() {
  const error late{errc::timeout, "the request took too long to arrive"};
  switch (phase_) {
  case phase::reading_head:
    if (!reader_.has_begun()) return finish();
    return on_broken({408, late});
  case phase::reading_body:
    return on_broken({408, late});
  case phase::waiting:
    give_up_poll();
    return respond_problem(
        {errc::timeout, "no answer in time: the outcome is unknown, retry with the same id"});
  case phase::writing:
    // What the client has not got whole it cannot work on.
    give_up_poll();
    return finish();
  case phase::ending:
    return finish();
  case phase::gone:
    return;
  }
}

void http_session::give_up_poll() {
  if (!exchange_.on_disconnect) return;
  // Unless something was written, nobody has seen what the worker or the member was given.
  const bool is_unseen = phase_ == phase::waiting;
  if (auto* worker = std::get_if<actors::leave_queue>(&*exchange_.on_disconnect)) {
    if (!is_unseen) worker->unseen.clear();
  } else if (auto* member = std::get_if<actors::leave_group>(&*exchange_.on_disconnect)) {
    if (!is_unseen) member->unseen.clear();
  }
  // Best effort: if it is refused, what was handed out comes back when its time ends.
  (void)port_.control({port_.next_correlation(), std::move(*exchange_.on_disconnect)});
  exchange_.on_disconnect.reset();
}

void http_session::end_gracefully() {
  phase_ = phase::ending;
  set_deadline(goodbye_ms);
  transport_->async_shutdown([self = shared_from_this()] {
    if (self->phase_ != phase::gone) self->finish();
  });
}

void http_session::finish() {
  if (phase_ == phase::gone) return;
  phase_ = phase::gone;
  answer_charge_ = {};
  transport_->close();
  port_.close();
}

}  // namespace callboard::gateway
