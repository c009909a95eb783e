#include "cli/line_publisher.hpp"

#include "base/clock.hpp"
#include "base/utf8.hpp"
#include "base/uuid.hpp"
#include "cli/client/raw_json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <ostream>
#include <thread>
#include <utility>

namespace callboard::cli {

using namespace std::chrono_literals;

namespace {

/// What any server takes.
constexpr std::size_t small_frame = 64U << 10;
/// It is the first that a server sends.
constexpr auto welcome_wait = 5s;

std::uint64_t number_of(std::string_view text) {
  std::uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

error error_of(const client::json_member_list& frame) {
  const auto code = client::json_text(client::find_member(frame, "code"));
  return {
      errc_named(code).value_or(errc::internal),
      client::json_text(client::find_member(frame, "detail")),
      static_cast<std::uint32_t>(number_of(client::find_member(frame, "retry_after_ms")))};
}

}  // namespace

line_publisher::line_publisher(
    const context& run, client::account who, const publish_options& options)
    : run_{run}, api_{std::move(who)}, options_{options}, input_{run.io} {}

exit_code line_publisher::publish_all() {
  for (;;) {
    result<void> step;
    if (!socket_) {
      step = connect();
    } else {
      step = read_input();
      if (step && !in_flight_.empty()) step = receive(5ms);
    }
    if (!step) {
      socket_.reset();
      requeue_unanswered();
      if (!wait_to_reconnect(step.error())) return end_with(run_.refuse(step.error()));
      continue;
    }
    if (socket_ && waiting_.empty() && in_flight_.empty()) give_up_.reset();
    if (input_.at_end() && waiting_.empty() && in_flight_.empty()) break;
  }
  if (socket_) socket_->close();
  if (const auto line = input_.overlong()) {
    return end_with(run_.misuse(fmt::format("line {} of the input is longer than 8 MiB", *line)));
  }
  return end_with(refused_ == 0 ? exit_code::done : exit_code::refused);
}

exit_code line_publisher::end_with(exit_code code) const {
  if (code == exit_code::done) return code;
  const auto unanswered = waiting_.size() + in_flight_.size();
  if (run_.wants_json()) {
    run_.io.err << fmt::format(
        R"({{"stored":{},"refused":{},"unanswered":{}}})", stored_, refused_, unanswered);
  } else {
    run_.io.err << fmt::format(
        "callboard: of the lines read {} are stored, {} were refused, {} have no answer",
        stored_,
        refused_,
        unanswered);
  }
  run_.io.err << std::endl;
  return code;
}

result<void> line_publisher::connect() {
  auto connected =
      client::websocket::connect(api_.who().server, api_.websocket_for("callboard.v1.json"));
  if (!connected) return std::unexpected{connected.error()};
  socket_ = std::move(*connected);
  was_connected_ = true;
  frame_bytes_max_.reset();
  return {};
}

bool line_publisher::wait_to_reconnect(const error& why) {
  if (!is_retryable(why.code)) return false;
  if (why.code == errc::unreachable) {
    // Whoever was never connected most likely has the wrong address.
    if (!was_connected_) return false;
    if (!give_up_) give_up_ = client::deadline::after(std::chrono::seconds{options_.retry_for_s});
    if (give_up_->passed()) return false;
  }
  if (!std::exchange(is_wait_told_, true)) {
    run_.report({why.code, why.detail + "; trying again", why.retry_after_ms});
  }
  const std::chrono::milliseconds asked{why.retry_after_ms};
  std::this_thread::sleep_for(
      std::max({backoff_.next(), asked, std::exchange(reconnect_after_, 0ms)}));
  return true;
}

void line_publisher::requeue_unanswered() {
  for (auto i = in_flight_.rbegin(); i != in_flight_.rend(); ++i) {
    waiting_.push_front(std::move(i->second));
  }
  in_flight_.clear();
}

result<void> line_publisher::read_input() {
  if (paused_) {
    if (!paused_->passed()) return receive(std::chrono::milliseconds{paused_->remaining_ms()});
    paused_.reset();
  }
  while (in_flight_.size() < options_.in_flight_max) {
    if (!waiting_.empty()) {
      auto event = std::move(waiting_.front());
      waiting_.pop_front();
      if (auto sent = send(std::move(event)); !sent) return sent;
      continue;
    }
    // With answers outstanding, input is only taken if it is there already.
    const auto line = input_.next(in_flight_.empty() ? 200ms : 0ms);
    if (!line) break;
    auto event = event_of(*line);
    if (!event) continue;
    if (auto sent = send(std::move(*event)); !sent) return sent;
  }
  return in_flight_.empty() ? receive(0ms) : result<void>{};
}

std::optional<line_publisher::pending> line_publisher::event_of(const input_line& from) {
  const auto& line = from.text;
  if (!client::is_json(line)) {
    run_.report(
        {errc::invalid_json,
         fmt::format("line {}: not JSON, skipped: {}", from.number, front_of(line, 80)),
         0});
    ++refused_;
    return std::nullopt;
  }
  const auto id = make_uuid(system_clock{}.wall());
  const auto members = client::json_members(line);
  if (members && !client::find_member(*members, "specversion").empty()) {
    const auto own = client::json_text(client::find_member(*members, "id"));
    if (!own.empty()) return pending{line, own, from.number};
    return pending{
        fmt::format(R"({{"id":"{}",{})", id, line.substr(line.find('{') + 1)), id, from.number};
  }
  auto event = fmt::format(
      R"({{"specversion":"1.0","id":"{}","source":{},"type":{},)",
      id,
      client::json_quoted(options_.source),
      client::json_quoted(options_.type));
  if (!options_.subject.empty()) {
    event += fmt::format(R"("subject":{},)", client::json_quoted(options_.subject));
  }
  event += fmt::format(R"("datacontenttype":"application/json","data":{}}})", line);
  return pending{std::move(event), id, from.number};
}

result<void> line_publisher::send(pending event) {
  const auto op = next_op_++;
  auto frame = fmt::format(
      R"({{"op":"publish","id":{},"topic":{},)", op, client::json_quoted(options_.topic));
  if (!options_.durability.empty()) {
    frame += fmt::format(R"("durability":"{}",)", options_.durability);
  }
  frame += fmt::format(R"("event":{}}})", event.event);
  // Of a frame that is too large the server would let nothing be answered that came with it.
  if (frame.size() > small_frame && !frame_bytes_max_) {
    if (auto heard = receive(welcome_wait); !heard) {
      waiting_.push_front(std::move(event));
      return heard;
    }
  }
  if (frame.size() > frame_bytes_max_.value_or(frame.size())) {
    refuse(
        event,
        {errc::too_large,
         fmt::format(
             "{} B with its frame, above the server's {} B", frame.size(), *frame_bytes_max_),
         0});
    return {};
  }
  in_flight_.emplace(op, std::move(event));
  return socket_->send_text(frame);
}

result<void> line_publisher::receive(std::chrono::milliseconds wait) {
  for (;;) {
    auto message = socket_->receive(wait);
    if (!message) return std::unexpected{message.error()};
    if (!*message) return {};
    take_answer((*message)->data);
    // What else has come is taken at once, new input has its turn after that.
    wait = 0ms;
  }
}

void line_publisher::take_answer(std::string_view frame) {
  const auto members = client::json_members(frame);
  if (!members) return;
  const auto op = client::json_text(client::find_member(*members, "op"));
  if (op == "goaway") {
    reconnect_after_ =
        std::chrono::milliseconds{number_of(client::find_member(*members, "reconnect_after_ms"))};
  }
  if (op == "welcome") {
    const auto limits = client::json_members(client::find_member(*members, "limits"));
    const auto most = limits ? client::find_member(*limits, "frame_bytes_max") : std::string_view{};
    if (!most.empty()) frame_bytes_max_ = number_of(most);
  }
  if (op != "ok" && op != "error") return;
  const auto found = in_flight_.find(number_of(client::find_member(*members, "id")));
  if (found == in_flight_.end()) return;
  auto event = std::move(found->second);
  in_flight_.erase(found);
  give_up_.reset();
  is_wait_told_ = false;
  if (op == "error") return take_refusal(std::move(event), error_of(*members));
  ++stored_;
  backoff_.reset();
  run_.io.out << fmt::format(R"({{"id":{})", client::json_quoted(event.id));
  for (const std::string_view name : {"topic", "seq", "cursor", "duplicate", "durability"}) {
    const auto value = client::find_member(*members, name);
    if (!value.empty()) run_.io.out << fmt::format(R"(,"{}":{})", name, value);
  }
  run_.io.out << "}" << std::endl;
}

void line_publisher::take_refusal(pending event, const error& problem) {
  if (is_retryable(problem.code)) {
    waiting_.push_front(std::move(event));
    paused_ = client::deadline::after(
        std::chrono::milliseconds{std::clamp(problem.retry_after_ms, 10U, 10'000U)});
    return;
  }
  refuse(event, problem);
}

void line_publisher::refuse(const pending& event, const error& why) {
  ++refused_;
  run_.report(
      {why.code, fmt::format("line {}: {} (event {})", event.line, why.detail, event.id), 0});
}

}  // namespace callboard::cli
