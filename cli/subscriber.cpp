#include "cli/subscriber.hpp"

#include "cli/client/event_stream.hpp"
#include "cli/client/raw_json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <ostream>
#include <thread>
#include <utility>

namespace callboard::cli {

using namespace std::chrono_literals;

namespace {

std::int64_t number_of(std::string_view text) {
  std::int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

/// One printed event: members as JSON text, without those that are empty.
std::string line_of(
    std::string_view topic, std::string_view seq, std::string_view cursor, std::string_view event) {
  std::string line;
  const auto add = [&](std::string_view name, std::string_view value) {
    if (!value.empty()) line += fmt::format("{}\"{}\":{}", line.empty() ? "{" : ",", name, value);
  };
  add("topic", topic);
  add("seq", seq);
  add("cursor", cursor);
  add("event", event);
  return line + '}';
}

}  // namespace

resume_point::resume_point(const subscribe_options& options)
    : is_pattern_{options.topic.find_first_of("*>") != std::string::npos},
      from_{options.from},
      places_{options.from} {}

std::string resume_point::members() const {
  if (is_pattern_) return places_.members();
  const auto& from = last_cursor_.empty() ? from_ : last_cursor_;
  const bool is_number = !from.empty() && from.find_first_not_of("0123456789") == std::string::npos;
  return "\"from\":" + (is_number ? from : client::json_quoted(from));
}

void resume_point::passed(const std::string& topic, const std::string& cursor) {
  if (cursor.empty()) return;
  last_cursor_ = cursor;
  if (is_pattern_) places_.pass(topic, cursor);
}

void resume_point::begins_at(const std::string& cursor) {
  if (!is_pattern_ && last_cursor_.empty() && from_ == "now") last_cursor_ = cursor;
}

subscriber::subscriber(const context& run, client::account who, const subscribe_options& options)
    : run_{run}, api_{std::move(who)}, options_{options}, resume_{options} {}

exit_code subscriber::run_to_end() {
  for (;;) {
    result<step> next = step::more;
    if (!socket_) {
      if (auto made = subscribe(); !made) next = std::unexpected{made.error()};
    } else {
      next = receive();
    }
    if (next && *next == step::end) {
      if (socket_) socket_->close();
      return exit_code::done;
    }
    if (next && *next == step::more) continue;
    if (!next) {
      // Whoever was never connected most likely has the wrong address.
      if (!is_retryable(next.error().code) || !was_subscribed_) return run_.refuse(next.error());
      retry_after_ = std::chrono::milliseconds{next.error().retry_after_ms};
    }
    socket_.reset();
    if (!wait_to_reconnect()) {
      return run_.refuse(next ? error{errc::unreachable, "the server went away", 0} : next.error());
    }
  }
}

bool subscriber::wait_to_reconnect() {
  if (!give_up_) give_up_ = client::deadline::after(std::chrono::seconds{options_.retry_for_s});
  if (give_up_->passed()) return false;
  std::this_thread::sleep_for(std::max(std::exchange(retry_after_, 0ms), backoff_.next()));
  return true;
}

result<void> subscriber::subscribe() {
  auto connected =
      client::websocket::connect(api_.who().server, api_.websocket_for("callboard.v1.json"));
  if (!connected) return std::unexpected{connected.error()};
  socket_ = std::move(*connected);
  auto frame = fmt::format(
      R"({{"op":"subscribe","id":1,"topic":{},{})",
      client::json_quoted(options_.topic),
      resume_.members());
  if (!options_.slow.empty()) frame += fmt::format(R"(,"slow":"{}")", options_.slow);
  return socket_->send_text(frame + "}");
}

result<subscriber::step> subscriber::receive() {
  const auto wait = options_.wait_s == 0 ? 3'600'000ms : std::chrono::seconds{options_.wait_s};
  auto message = socket_->receive(wait);
  if (!message) return std::unexpected{message.error()};
  if (!*message) return options_.wait_s == 0 ? step::more : step::end;
  return take((*message)->data);
}

result<subscriber::step> subscriber::take(std::string_view frame) {
  const auto members = client::json_members(frame);
  if (!members) return fail(errc::invalid_json, "the server sent a frame that is not JSON");
  const auto member = [&](std::string_view name) { return client::find_member(*members, name); };
  const auto op = client::json_text(member("op"));
  if (op == "event") return print(member("topic"), frame);
  if (op == "events") {
    const auto elements = client::json_elements(member("events"));
    if (!elements) return fail(errc::invalid_json, "the server sent events without a list");
    for (const auto element : *elements) {
      if (print(member("topic"), element) == step::end) return step::end;
    }
    return step::more;
  }
  if (op == "ok") {
    was_subscribed_ = true;
    give_up_.reset();
    backoff_.reset();
    resume_.begins_at(client::json_text(member("cursor")));
    resume_.places().begin(member("cursors"), client::json_text(member("since")));
    if (member("recovered") == "false") {
      run_.io.err << "callboard: events were missed: " << client::json_text(member("reason"))
                  << "; first available seq " << member("first_seq") << std::endl;
    }
    return step::more;
  }
  if (op == "mark") resume_.places().mark(client::json_text(member("since")));
  // Of a pattern one with a topic is about that one alone: the others go on.
  const bool is_notice = resume_.is_pattern() && op == "error" && !member("topic").empty();
  if (op == "error" && !is_notice) {
    const auto code = client::json_text(member("code"));
    return fail(
        errc_named(code).value_or(errc::internal),
        client::json_text(member("detail")),
        static_cast<std::uint32_t>(number_of(member("retry_after_ms"))));
  }
  if (op == "goaway") {
    retry_after_ = std::chrono::milliseconds{number_of(member("reconnect_after_ms"))};
    socket_->close();
    return step::reconnect;
  }
  if (op == "gap") {
    resume_.passed(client::json_text(member("topic")), client::json_text(member("cursor")));
  }
  if (op == "lagging" || op == "gap" || is_notice)
    run_.io.err << "callboard: " << frame << std::endl;
  return step::more;
}

subscriber::step subscriber::print(std::string_view topic, std::string_view delivery) {
  const auto members = client::json_members(delivery);
  if (!members) return step::more;
  const auto own_topic = client::find_member(*members, "topic");
  if (!own_topic.empty()) topic = own_topic;
  const auto member = [&](std::string_view name) { return client::find_member(*members, name); };
  run_.io.out << line_of(
      topic.empty() ? client::json_quoted(options_.topic) : std::string{topic},
      member("seq"),
      member("cursor"),
      member("event"))
              << std::endl;
  resume_.passed(client::json_text(topic), client::json_text(member("cursor")));
  return options_.limit != 0 && ++printed_ >= options_.limit ? step::end : step::more;
}

namespace {

bool is_notice(std::string_view type) {
  static constexpr std::array<std::string_view, 7> known{
      "callboard.subscribed",
      "callboard.lagging",
      "callboard.caught_up",
      "callboard.gap",
      "callboard.error",
      "callboard.omitted",
      "callboard.goaway"};
  return std::ranges::find(known, type) != known.end();
}

/// What a delivery over a WebSocket says in members of its own, an event stream says in the id; of
/// a pattern's event without one its topic is in the event.
std::string stream_line(
    const client::stream_event& event,
    const client::json_member_list& members,
    const std::string& topic,
    bool is_pattern) {
  if (!event.id_is_own) {
    const auto of = is_pattern ? std::string{client::find_member(members, "callboardtopic")}
                               : client::json_quoted(topic);
    return line_of(of, "", "", event.data);
  }
  if (!is_pattern) {
    // Pieces of a model's answer stand between two events: "<cursor>/<step>.<attempt>.<index>".
    const bool has_seq = !event.id.contains('/');
    return line_of(
        client::json_quoted(topic),
        has_seq ? event.id.substr(event.id.rfind(':') + 1) : "",
        client::json_quoted(event.id),
        event.data);
  }
  // An id of a pattern names all topics, that of its event first: "<topic>/<cursor>,…".
  const auto first = event.id.substr(0, event.id.find(','));
  const auto slash = first.find('/');
  return line_of(
      client::json_quoted(first.substr(0, slash)),
      first.substr(first.rfind(':') + 1),
      client::json_quoted(first.substr(slash + 1)),
      event.data);
}

/// Prints until the stream breaks or the limit is reached; true: reached.
result<bool> follow_stream(
    const context& run,
    client::event_stream& stream,
    const subscribe_options& options,
    resume_point& resume,
    std::uint64_t& printed) {
  const auto wait = options.wait_s == 0 ? 3'600'000ms : std::chrono::seconds{options.wait_s};
  for (;;) {
    auto event = stream.next(wait);
    if (!event) return std::unexpected{event.error()};
    if (!*event) {
      if (options.wait_s != 0) return true;
      continue;
    }
    const auto& id = (*event)->id;
    resume.passed(options.topic, id);
    const auto members = client::json_members((*event)->data);
    if (!members) continue;
    // Of the stream itself: a user's event of such a type has a specversion.
    if (is_notice((*event)->type) && client::find_member(*members, "specversion").empty()) {
      const auto& type = (*event)->type;
      if (type == "callboard.gap" || type == "callboard.error" || type == "callboard.omitted") {
        run.io.err << "callboard: " << (*event)->type << ": " << (*event)->data << std::endl;
      }
      continue;
    }
    run.io.out << stream_line(**event, *members, options.topic, resume.is_pattern()) << std::endl;
    if (options.limit != 0 && ++printed >= options.limit) return true;
  }
}

}  // namespace

exit_code
subscribe_over_sse(const context& run, client::account who, const subscribe_options& options) {
  client::api api{std::move(who)};
  resume_point resume{options};
  backoff wait;
  std::uint64_t printed = 0;
  bool was_open = false;
  std::optional<client::deadline> give_up;
  for (;;) {
    client::http_request request;
    request.target =
        api.topic_path(options.topic, "/events?from=" + client::percent_encoded(options.from));
    if (!resume.last_cursor().empty()) {
      request.headers.emplace_back("Last-Event-ID", resume.last_cursor());
    }
    if (!api.who().token.empty()) {
      request.headers.emplace_back("Authorization", "Bearer " + api.who().token);
    }
    auto stream = client::event_stream::open(api.who().server, std::move(request));
    result<bool> ended = false;
    if (stream) {
      was_open = true;
      give_up.reset();
      wait.reset();
      ended = follow_stream(run, *stream, options, resume, printed);
      if (ended) return exit_code::done;
    } else {
      ended = std::unexpected{stream.error()};
    }
    const auto& why = ended.error();
    if (!was_open || !is_retryable(why.code)) return run.refuse(why);
    if (!give_up) give_up = client::deadline::after(std::chrono::seconds{options.retry_for_s});
    if (give_up->passed()) return run.refuse(why);
    std::this_thread::sleep_for(
        std::max(std::chrono::milliseconds{why.retry_after_ms}, wait.next()));
  }
}

}  // namespace callboard::cli
