#include "cli/client/public_subscription.hpp"

#include "cli/client/public_answers.hpp"
#include "cli/client/raw_json.hpp"

#include <boost/json/serialize.hpp>

#include <algorithm>
#include <callboard/json_text.hpp>
#include <thread>
#include <utility>

namespace callboard {

namespace {

using client::number_of;
using client::text_of;
using std::chrono::milliseconds;

/// What an attempt to reach the node may take at least, however short the wait is.
constexpr milliseconds connect_min{1'000};

}  // namespace

subscription::subscription(std::unique_ptr<state> made) : state_{std::move(made)} {}

subscription::subscription(subscription&& other) noexcept = default;
subscription& subscription::operator=(subscription&& other) noexcept = default;
subscription::~subscription() = default;

outcome<std::optional<received_event>> subscription::next(time_span wait) {
  return state_->next(wait);
}

std::string subscription::cursor() const {
  return state_->cursor;
}

subscription::state::state(client::account who, std::string topic, subscribe_options options)
    : api_{std::move(who)},
      topic_{std::move(topic)},
      options_{std::move(options)},
      is_pattern_{topic_.find_first_of("*>") != std::string::npos},
      places_{options_.from} {}

std::string subscription::state::subscribe_frame() const {
  const auto place =
      is_pattern_ ? places_.members()
                  : "\"from\":" + client::json_quoted(cursor.empty() ? options_.from : cursor);
  return R"({"op":"subscribe","id":1,"topic":)" + client::json_quoted(topic_) + "," + place + "}";
}

result<void> subscription::state::connect(client::deadline until) {
  auto options = api_.websocket_for("callboard.v1.json");
  options.timeout = milliseconds{until.remaining_ms()};
  auto made = client::websocket::connect(api_.who().server, options);
  if (!made) return std::unexpected{made.error()};
  socket_ = std::move(*made);
  auto sent = socket_->send_text(subscribe_frame());
  if (!sent) socket_.reset();
  return sent;
}

result<bool> subscription::state::receive(client::deadline until) {
  auto message = socket_->receive(milliseconds{until.remaining_ms()});
  if (!message) return std::unexpected{message.error()};
  if (!*message) return false;
  const auto frame = read_json((*message)->data);
  if (!frame || !frame->is_object()) return true;
  if (auto taken = take(frame->as_object()); !taken) return std::unexpected{taken.error()};
  return true;
}

result<void> subscription::state::open(client::deadline until) {
  auto done = connect(until);
  while (done && !has_begun_) {
    const auto came = receive(until);
    if (!came) return std::unexpected{came.error()};
    if (!*came) return fail(errc::unreachable, "the node did not answer the subscription in time");
  }
  return done;
}

std::optional<received_event> subscription::state::take_ready() {
  if (ready_.empty()) return std::nullopt;
  auto one = std::move(ready_.front());
  ready_.pop_front();
  if (!one.cursor.empty() && !is_pattern_) cursor = one.cursor;
  if (is_pattern_) places_.pass(one.topic, one.cursor);
  return one;
}

outcome<std::optional<received_event>> subscription::state::next(milliseconds wait) {
  const auto until = client::deadline::after(wait);
  for (;;) {
    if (auto one = take_ready()) return one;
    if (gap_) return std::unexpected{*std::exchange(gap_, std::nullopt)};
    result<void> done;
    if (!socket_) {
      if (look_again_ && !look_again_->passed()) {
        std::this_thread::sleep_for(
            milliseconds{std::min(look_again_->remaining_ms(), until.remaining_ms())});
        if (until.passed() && !look_again_->passed()) return std::nullopt;
      }
      done = connect(std::max(until, client::deadline::after(connect_min)));
    } else if (const auto came = receive(until); !came) {
      done = std::unexpected{came.error()};
    } else if (!*came && until.passed()) {
      return std::nullopt;
    }
    if (done) continue;
    // What was read before the connection broke is given first.
    socket_.reset();
    if (!give_up_) give_up_ = client::deadline::after(options_.retry_for);
    if (!is_retryable(done.error().code) || give_up_->passed()) {
      give_up_.reset();
      return std::unexpected{client::failure_of(done.error())};
    }
    look_again_ = client::deadline::after(
        std::max(backoff_.next(), milliseconds{done.error().retry_after_ms}));
    if (ready_.empty() && until.passed()) return std::nullopt;
  }
}

void subscription::state::begin_at(const boost::json::object& ok) {
  give_up_.reset();
  look_again_.reset();
  backoff_.reset();
  const auto* recovered = ok.if_contains("recovered");
  if (recovered != nullptr && recovered->is_bool() && !recovered->as_bool()) {
    gap_ = failure{
        .kind = failure_class::permanent,
        .code = "gap",
        .message = topic_ + ": history is gone (" + text_of(ok, "reason") + "); it goes on at seq "
                   + std::to_string(number_of(ok, "first_seq"))};
  }
  // With `now` the place is known before the first event: what is published meanwhile is not lost.
  if (!std::exchange(has_begun_, true) && !is_pattern_ && options_.from == "now") {
    cursor = text_of(ok, "cursor");
  }
  const auto* cursors = ok.if_contains("cursors");
  if (is_pattern_ && cursors != nullptr) {
    places_.begin(boost::json::serialize(*cursors), text_of(ok, "since"));
  }
}

result<void> subscription::state::take(const boost::json::object& frame) {
  const auto op = text_of(frame, "op");
  if (op == "event") {
    ready_.push_back(client::received_from(frame, text_of(frame, "topic")));
  } else if (op == "events") {
    const auto* events = frame.if_contains("events");
    if (events == nullptr || !events->is_array()) return {};
    for (const auto& one : events->as_array()) {
      if (!one.is_object()) continue;
      ready_.push_back(client::received_from(one.as_object(), text_of(frame, "topic")));
    }
  } else if (op == "ok") {
    begin_at(frame);
  } else if (op == "gap") {
    const auto name = text_of(frame, "topic");
    if (!is_pattern_) cursor = text_of(frame, "cursor");
    if (is_pattern_) places_.pass(name, text_of(frame, "cursor"));
    gap_ = failure{
        .kind = failure_class::permanent,
        .code = "gap",
        .message = name + ": history is gone (" + text_of(frame, "reason") + "); it goes on at seq "
                   + std::to_string(number_of(frame, "first_seq"))};
  } else if (op == "mark") {
    places_.mark(text_of(frame, "since"));
  } else if (op == "error" && is_pattern_ && frame.contains("topic")) {
    gap_ = failure{
        .kind = failure_class::permanent,
        .code = "gap",
        .message = text_of(frame, "topic") + ": left out (" + text_of(frame, "detail")
                   + "); the other topics go on"};
  } else if (op == "error") {
    return fail(
        errc_named(text_of(frame, "code")).value_or(errc::internal),
        text_of(frame, "detail"),
        static_cast<std::uint32_t>(number_of(frame, "retry_after_ms")));
  } else if (op == "goaway") {
    return fail(
        errc::draining,
        "the node shuts down",
        static_cast<std::uint32_t>(number_of(frame, "reconnect_after_ms")));
  }
  return {};
}

}  // namespace callboard
