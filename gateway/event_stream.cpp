#include "gateway/event_stream.hpp"

#include "gateway/problem.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace callboard::gateway {

namespace {

/// A stream that nothing is taken from ends after so many times `limits.idle_timeout_ms`: a client
/// has nothing to say on one, so it is given longer than a WebSocket, which answers pings.
constexpr int stall_factor = 3;
constexpr std::string_view default_retry = "retry: 2000\n";
constexpr std::chrono::seconds finish_patience{5};

std::string_view epoch_or_none(std::string_view epoch) {
  return epoch.empty() ? runtime::epoch_of_nothing : epoch;
}

}  // namespace

event_stream::event_stream(
    connection_port& port,
    const session_environment& environment,
    std::unique_ptr<transport> stream,
    principal who,
    topic_pattern pattern)
    : port_{port},
      environment_{environment},
      stream_{std::move(stream)},
      who_{std::move(who)},
      pattern_{std::move(pattern)},
      state_{thread_state::of(port.thread().hub, environment.counters)},
      output_{
          port.thread().hub,
          *stream_,
          *this,
          {environment.settings.limits.output_frames_max,
           environment.settings.limits.output_bytes_max}} {
  state_.connected(0, 1);
}

event_stream::~event_stream() {
  state_.connected(0, -1);
}

void event_stream::begin(stream_start start, const std::string& extra_headers) {
  taken_at_ = environment_.time.boot();
  next_comment_ = environment_.time.boot()
                  + std::chrono::milliseconds{environment_.settings.limits.sse_comment_interval_ms};
  output_.push(fmt::format(
      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
      "Cache-Control: no-store\r\nX-Accel-Buffering: no\r\n{}Connection: close\r\n\r\n"
      ": connection {}\n{}\n",
      extra_headers,
      port_.id(),
      default_retry));
  // Headers go before anything that takes time.
  output_.flush();
  if (start.lost) tell_lost();
  auto& hub = port_.thread().hub;
  if (!pattern_.is_wildcard()) {
    single_ = hub.subscribe(
        {who_.tenant, topic_name::trusted(pattern_.str())},
        *this,
        runtime::slow_policy::lag,
        credits_,
        std::move(start.from));
    single_->open();
  } else {
    auto made = hub.subscribe_pattern(
        who_.tenant,
        pattern_,
        *this,
        runtime::slow_policy::lag,
        credits_,
        {std::move(start.from), std::move(start.cursors)});
    if (made) {
      many_ = std::move(*made);
    } else {
      pattern_failed(made.error());
    }
  }
  read();
}

/// Some events between the client's last and now are missing, nobody knows which.
void event_stream::tell_lost() {
  notice("callboard.gap", R"({"recovered":false,"reason":"too_many_topics"})");
}

/// A client sends nothing; what arrives is the end of the connection.
void event_stream::read() {
  stream_->async_read_some(
      boost::asio::buffer(ignored_),
      [self = shared_from_this()](const boost::system::error_code& failed, std::size_t) {
        if (self->ended_) return;
        if (failed) return self->end();
        self->read();
      });
}

void event_stream::notice(std::string_view type, std::string_view data, std::string_view id) {
  if (ended_ || finishing_) return;
  std::string text;
  if (!id.empty()) text += fmt::format("id: {}\n", id);
  text += fmt::format("event: {}\ndata: {}\n\n", type, data);
  output_.push(text);
}

void event_stream::notice_of_topic(
    std::string_view type, std::string_view data, std::string_view id) {
  if (output_.has_room()) return notice(type, data, id);
  ++omitted_;
  stalled_ = true;
}

// -- the end ---------------------------------------------------------------------------------

void event_stream::finish() {
  if (ended_ || std::exchange(finishing_, true)) return;
  finish_deadline_ = environment_.time.boot() + finish_patience;
  if (output_.is_empty()) on_written();
}

void event_stream::end() {
  if (std::exchange(ended_, true)) return;
  single_.reset();
  many_.reset();
  for (; lagging_topics_ > 0; --lagging_topics_)
    state_.lag_ended();
  output_.abandon();
  if (finishing_) {
    stream_->async_shutdown([self = shared_from_this()] { self->stream_->close(); });
  } else {
    stream_->close();
  }
  port_.close();
}

void event_stream::on_stop() {
  end();
}

void event_stream::on_written() {
  if (ended_) return;
  taken_at_ = environment_.time.boot();
  if (timed_event_ != time_ms{}) {
    state_.note_latency(environment_.time.wall() - std::exchange(timed_event_, {}));
  }
  if (finishing_) {
    if (output_.is_empty()) end();
    return;
  }
  if (!output_.has_drained() || !std::exchange(stalled_, false)) return;
  if (omitted_ != 0) {
    notice("callboard.omitted", fmt::format(R"({{"notices":{}}})", std::exchange(omitted_, 0)));
  }
  if (single_) single_->resume();
  if (many_) many_->resume();
}

void event_stream::on_write_failed(const boost::system::error_code&) {
  end();
}

void event_stream::on_drain(std::chrono::milliseconds spread) {
  if (ended_ || drain_at_ != boot_time{}) return;
  const auto ms = static_cast<std::uint64_t>(std::max<std::int64_t>(spread.count(), 1));
  const auto draw = hash_64(port_.id());
  drain_at_ = environment_.time.boot() + std::chrono::milliseconds{draw % ms};
  drain_hint_ms_ = static_cast<std::uint32_t>((draw >> 32U) % ms);
}

void event_stream::on_tick(boot_time now) {
  state_.publish(now);
  if (ended_) return;
  if (finishing_) {
    if (now >= finish_deadline_) end();
    return;
  }
  if (failed_) return finish();
  if (output_.is_empty()) taken_at_ = now;
  const std::chrono::milliseconds idle{environment_.settings.limits.idle_timeout_ms};
  if (now - taken_at_ >= stall_factor * idle) return end();
  if (who_.expires && environment_.time.wall() >= *who_.expires) {
    notice("callboard.error", text_of({errc::unauthorized, "token expired"}, {}));
    return finish();
  }
  if (drain_at_ != boot_time{} && now >= drain_at_) {
    output_.push(fmt::format(
        "retry: {0}\nevent: callboard.goaway\ndata: {{\"reconnect_after_ms\":{0}}}\n\n",
        drain_hint_ms_));
    return finish();
  }
  if (!std::exchange(quiet_, true)) {
    next_comment_ =
        now + std::chrono::milliseconds{environment_.settings.limits.sse_comment_interval_ms};
  } else if (now >= next_comment_) {
    next_comment_ =
        now + std::chrono::milliseconds{environment_.settings.limits.sse_comment_interval_ms};
    if (output_.has_room()) output_.push(": \n\n");
  }
  if (output_.is_empty()) output_.shrink();
}

// -- events ----------------------------------------------------------------------------------

void event_stream::started(
    actors::topic_subscription& which,
    const runtime::start_outcome& outcome,
    const runtime::topic_head& head) {
  if (!outcome.recovered()) return gap(which, outcome.reason, std::nullopt, head);
  if (pattern_.is_wildcard()) {
    place_.set(which.topic().topic.str(), head.epoch, outcome.after);
    return;
  }
  // An id without data: the client knows its place before the first event.
  output_.push(fmt::format("id: {}:{}\n\n", epoch_or_none(head.epoch), outcome.after.raw()));
}

std::uint32_t event_stream::write(
    actors::topic_subscription&,
    actors::offered_batch& batch,
    runtime::portion planned,
    actors::delivery_mode) {
  if (ended_ || finishing_) return 0;
  const auto count =
      pattern_.is_wildcard() ? write_pattern(batch, planned) : write_one_topic(batch, planned);
  if (count != 0) {
    quiet_ = false;
    state_.delivered(count);
    state_.note_queue(output_.bytes());
    if (timed_event_ == time_ms{} && state_.wants_latency()) {
      timed_event_ = batch.batch->events[planned.skip].time;
    }
  }
  if (count < planned.count) stalled_ = true;
  return count;
}

std::uint32_t
event_stream::write_one_topic(actors::offered_batch& batch, runtime::portion planned) {
  const auto made = frame_cache::of(batch).take(
      wire_format::sse,
      0,
      planned,
      output_.room_bytes(),
      output_.room_frames(),
      output_.is_empty());
  if (made.events != 0) output_.push(made.bytes, made.frame_count);
  return made.events;
}

/// The events are shared with other streams, their ids are not: they say where this one stands.
std::uint32_t event_stream::write_pattern(actors::offered_batch& batch, runtime::portion planned) {
  const auto& topic = batch.batch->topic.topic.str();
  std::uint32_t count = 0;
  for (; count < planned.count; ++count) {
    const auto& event = batch.batch->events[planned.skip + count];
    const auto made = frame_cache::of(batch).take(
        wire_format::sse_pattern,
        0,
        {planned.skip + count, 1},
        output_.room_bytes(),
        output_.room_frames(),
        output_.is_empty());
    if (made.events == 0) break;
    if (!batch.batch->ephemeral) {
      place_.set(topic, batch.batch->epoch, event.seq);
      output_.push("id: " + place_.text(topic) + '\n', 0);
    }
    output_.push(made.bytes, 1);
  }
  return count;
}

void event_stream::lagging(
    actors::topic_subscription& which, std::uint64_t behind, std::uint64_t dropped) {
  state_.dropped(dropped);
  if (behind != 0) {
    ++lagging_topics_;
    state_.lag_began();
  }
  notice(
      "callboard.lagging",
      fmt::format(
          R"({{"topic":"{}","events":{},"dropped":{}}})",
          which.topic().topic.str(),
          behind,
          dropped));
}

void event_stream::caught_up(actors::topic_subscription& which) {
  if (lagging_topics_ != 0) {
    --lagging_topics_;
    state_.lag_ended();
  }
  notice("callboard.caught_up", fmt::format(R"({{"topic":"{}"}})", which.topic().topic.str()));
}

void event_stream::gap(
    actors::topic_subscription& which,
    runtime::loss reason,
    std::optional<runtime::seq_gap> gone,
    const runtime::topic_head& head) {
  const auto& topic = which.topic().topic.str();
  const auto first = gone && reason == runtime::loss::trimmed
                         ? gone->to.next()
                         : std::max(head.first_seq, sequence{1});
  auto data = fmt::format(
      R"({{"recovered":false,"topic":"{}","reason":"{}","first_seq":{})",
      topic,
      name_of(reason),
      first.raw());
  if (gone) data += fmt::format(R"(,"from":{},"to":{})", gone->from.raw(), gone->to.raw());
  data += '}';
  const sequence before{which.core().next().raw() - 1};
  if (!pattern_.is_wildcard()) {
    return notice(
        "callboard.gap", data, fmt::format("{}:{}", epoch_or_none(head.epoch), before.raw()));
  }
  place_.set(topic, head.epoch, before);
  notice_of_topic("callboard.gap", data, place_.text(topic));
}

std::string event_stream::text_of(const error& why, std::string_view topic) {
  std::string data = "{";
  if (!topic.empty()) data += fmt::format(R"("topic":"{}",)", topic);
  append_error_members(data, why);
  data += '}';
  return data;
}

void event_stream::failed(actors::topic_subscription& which, const error& why) {
  const auto data = text_of(why, which.topic().topic.str());
  if (pattern_.is_wildcard()) return notice_of_topic("callboard.error", data);
  notice("callboard.error", data);
  // Ends with the next tick: the caller is still inside the subscription.
  failed_ = true;
}

void event_stream::pattern_started(
    const std::map<std::string, runtime::cursor>& cursors, bool complete) {
  std::string data = R"({"cursors":{)";
  bool first = true;
  if (!complete) place_.lose_count();
  for (const auto& [topic, at] : cursors) {
    place_.set(topic, at.epoch, at.seq);
    if (!std::exchange(first, false)) data += ',';
    data += fmt::format(R"("{}":"{}:{}")", topic, epoch_or_none(at.epoch), at.seq.raw());
  }
  data += fmt::format(R"(}},"complete":{}}})", complete);
  notice("callboard.subscribed", data, place_.text());
}

void event_stream::pattern_failed(const error& why) {
  notice("callboard.error", text_of(why, {}));
  failed_ = true;
}

void event_stream::topic_left_out(const std::string& topic, const error& why) {
  notice_of_topic("callboard.error", text_of(why, topic));
}

}  // namespace callboard::gateway
