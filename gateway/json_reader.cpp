// Operations of callboard.v1.json, read.
#include "gateway/json_frame.hpp"
#include "gateway/json_protocol.hpp"
#include "gateway/json_text.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

namespace callboard::gateway {

namespace {

constexpr std::size_t deliveries_per_ack_max = 10'000;
constexpr std::size_t op_id_text_max = 66;

/// The members that operations know, as raw text.
struct raw_frame {
  std::string_view op, id, topic, event, events, expected_seq, durability, ephemeral, from, cursors,
      credits, slow, sub, action, member, state, token, group, max, wait_ms, deliveries, up_to,
      delay_ms, error, queue, lease, lease_ms, result, retryable, retry_after_ms, worker;
};

using field = std::pair<std::string_view, std::string_view raw_frame::*>;

constexpr std::array<field, 31> fields{{
    {"op", &raw_frame::op},
    {"id", &raw_frame::id},
    {"topic", &raw_frame::topic},
    {"event", &raw_frame::event},
    {"events", &raw_frame::events},
    {"expected_seq", &raw_frame::expected_seq},
    {"durability", &raw_frame::durability},
    {"ephemeral", &raw_frame::ephemeral},
    {"from", &raw_frame::from},
    {"cursors", &raw_frame::cursors},
    {"credits", &raw_frame::credits},
    {"slow", &raw_frame::slow},
    {"sub", &raw_frame::sub},
    {"action", &raw_frame::action},
    {"member", &raw_frame::member},
    {"state", &raw_frame::state},
    {"token", &raw_frame::token},
    {"group", &raw_frame::group},
    {"max", &raw_frame::max},
    {"wait_ms", &raw_frame::wait_ms},
    {"deliveries", &raw_frame::deliveries},
    {"up_to_seq", &raw_frame::up_to},
    {"delay_ms", &raw_frame::delay_ms},
    {"error", &raw_frame::error},
    {"queue", &raw_frame::queue},
    {"lease", &raw_frame::lease},
    {"lease_ms", &raw_frame::lease_ms},
    {"result", &raw_frame::result},
    {"retryable", &raw_frame::retryable},
    {"retry_after_ms", &raw_frame::retry_after_ms},
    {"worker", &raw_frame::worker},
}};

std::unexpected<error> missing(std::string_view key) {
  return fail(errc::bad_request, "\"" + std::string{key} + "\" is missing");
}

/// Reads values one after another and keeps the first error.
class value_reader {
public:
  [[nodiscard]] const std::optional<error>& failure() const { return failure_; }

  void text(std::string& into, std::string_view raw, std::string_view key, bool required = false) {
    if (failure_) return;
    if (raw.empty()) {
      if (required) failure_ = missing(key).error();
      return;
    }
    store(json_string(raw, key), into);
  }

  template <class Number>
  void number(std::optional<Number>& into, std::string_view raw, std::string_view key) {
    if (failure_ || raw.empty()) return;
    auto value = json_unsigned(raw, key);
    if (!value) {
      failure_ = value.error();
    } else if (*value > std::numeric_limits<Number>::max()) {
      failure_ = error{errc::bad_request, "\"" + std::string{key} + "\" is too large"};
    } else {
      into = static_cast<Number>(*value);
    }
  }

  std::uint64_t needed(std::string_view raw, std::string_view key) {
    std::optional<std::uint64_t> value;
    if (!failure_ && raw.empty()) failure_ = missing(key).error();
    number(value, raw, key);
    return value.value_or(0);
  }

  void flag(bool& into, std::string_view raw, std::string_view key) {
    if (!failure_ && !raw.empty()) store(json_boolean(raw, key), into);
  }

  /// An array of strings.
  void texts(std::vector<std::string>& into, std::string_view raw, std::string_view key) {
    if (failure_ || raw.empty()) return;
    if (raw.front() != '[') {
      failure_ =
          error{errc::bad_request, "\"" + std::string{key} + "\" must be an array of strings"};
      return;
    }
    if (auto checked = check_json(raw); !checked) return fail_with(checked.error());
    for (json_walker walk{raw}; !failure_ && walk.next();) {
      if (into.size() >= deliveries_per_ack_max) {
        return fail_with({errc::too_large, "\"" + std::string{key} + "\" is too long"});
      }
      std::string one;
      text(one, walk.value(), key);
      into.push_back(std::move(one));
    }
  }

  /// An object of strings.
  void
  text_map(std::map<std::string, std::string>& into, std::string_view raw, std::string_view key) {
    if (failure_ || raw.empty()) return;
    if (raw.front() != '{') {
      failure_ = error{errc::bad_request, "\"" + std::string{key} + "\" must be an object"};
      return;
    }
    if (auto checked = check_json(raw); !checked) return fail_with(checked.error());
    for (json_walker walk{raw}; !failure_ && walk.next();) {
      std::string one;
      text(one, walk.value(), key);
      into.emplace(unescape_json(walk.key()), std::move(one));
    }
  }

  void fail_with(error why) {
    if (!failure_) failure_ = std::move(why);
  }

private:
  template <class T>
  void store(result<T> value, T& into) {
    if (value) {
      into = std::move(*value);
    } else {
      failure_ = value.error();
    }
  }

  std::optional<error> failure_;
};

template <class Op>
result<client_op> finish(value_reader& read, Op op) {
  if (read.failure()) return std::unexpected{*read.failure()};
  return client_op{std::move(op)};
}

result<client_op> read_publish(const raw_frame& raw, const read_limits& limits) {
  ops::publish op;
  value_reader read;
  read.text(op.topic, raw.topic, "topic", true);
  std::optional<std::uint64_t> expected;
  read.number(expected, raw.expected_seq, "expected_seq");
  if (expected) op.expected = sequence{*expected};
  std::string level;
  read.text(level, raw.durability, "durability");
  if (!level.empty()) {
    const auto known = durability_named(level);
    if (!known) {
      read.fail_with({errc::bad_request, "\"durability\" must be written, synced or replicated"});
    }
    op.level = known.value_or(durability::synced);
  }
  read.flag(op.ephemeral, raw.ephemeral, "ephemeral");
  if (read.failure()) return std::unexpected{*read.failure()};
  if (raw.event.empty() == raw.events.empty()) {
    return fail(errc::bad_request, "publish needs either \"event\" or \"events\"");
  }
  event_defaults defaults;
  defaults.event_bytes_max = limits.event_bytes_max;
  if (!raw.event.empty()) {
    auto event = decode_structured(raw.event, defaults, true);
    if (!event) return std::unexpected{event.error()};
    op.events.push_back(std::move(*event));
    return op;
  }
  op.together = true;
  if (raw.events.front() != '[') return fail(errc::bad_request, "\"events\" must be an array");
  if (auto checked = check_json(raw.events); !checked) return std::unexpected{checked.error()};
  for (json_walker walk{raw.events}; walk.next();) {
    if (op.events.size() >= limits.batch_events_max) {
      return fail(
          errc::too_large,
          "a batch has at most " + std::to_string(limits.batch_events_max) + " events");
    }
    auto event = decode_structured(walk.value(), defaults, true);
    if (!event) {
      auto why = event.error();
      why.detail = "event " + std::to_string(op.events.size()) + ": " + why.detail;
      return std::unexpected{std::move(why)};
    }
    op.events.push_back(std::move(*event));
  }
  if (op.events.empty()) return fail(errc::bad_request, "\"events\" is empty");
  return op;
}

result<client_op> read_subscribe(const raw_frame& raw) {
  ops::subscribe op;
  value_reader read;
  read.text(op.topic, raw.topic, "topic", true);
  const auto is_map = !raw.from.empty() && raw.from.front() == '{';
  if (is_map) {
    read.text_map(op.cursors, raw.from, "from");
  } else if (!raw.from.empty() && raw.from.front() != '"') {
    op.from = std::to_string(read.needed(raw.from, "from"));
  } else {
    read.text(op.from, raw.from, "from");
  }
  read.text_map(op.cursors, raw.cursors, "cursors");
  // There was no topic yet: what came since is new from its first event.
  const auto has_place = is_map || (!raw.cursors.empty() && raw.from.empty());
  if (has_place && op.cursors.empty()) op.from = "first";
  read.number(op.credits, raw.credits, "credits");
  read.text(op.slow, raw.slow, "slow");
  return finish(read, std::move(op));
}

result<client_op> read_presence(const raw_frame& raw) {
  ops::presence op;
  value_reader read;
  read.text(op.topic, raw.topic, "topic", true);
  read.text(op.action, raw.action, "action", true);
  read.text(op.member, raw.member, "member");
  if (!raw.state.empty()) {
    if (raw.state.front() != '{') {
      read.fail_with({errc::bad_request, "\"state\" must be an object"});
    } else if (auto checked = check_json(raw.state); !checked) {
      read.fail_with(checked.error());
    } else {
      append_minified(op.state, raw.state);
    }
  }
  return finish(read, std::move(op));
}

template <class Op>
void read_group(value_reader& read, Op& op, const raw_frame& raw) {
  read.text(op.topic, raw.topic, "topic", true);
  read.text(op.group, raw.group, "group", true);
}

result<client_op> read_fetch(const raw_frame& raw) {
  ops::fetch op;
  value_reader read;
  read_group(read, op, raw);
  std::optional<std::uint32_t> max;
  std::optional<std::uint32_t> wait_ms;
  read.number(max, raw.max, "max");
  read.number(wait_ms, raw.wait_ms, "wait_ms");
  op.max = max.value_or(op.max);
  op.wait_ms = wait_ms.value_or(op.wait_ms);
  return finish(read, std::move(op));
}

result<client_op> read_consume(const raw_frame& raw) {
  ops::consume op;
  value_reader read;
  read_group(read, op, raw);
  op.credits = read.needed(raw.credits, "credits");
  return finish(read, std::move(op));
}

result<client_op> read_ack(const raw_frame& raw) {
  ops::ack op;
  value_reader read;
  read_group(read, op, raw);
  read.texts(op.deliveries, raw.deliveries, "deliveries");
  std::optional<std::uint64_t> up_to;
  read.number(up_to, raw.up_to, "up_to_seq");
  if (up_to) op.up_to = sequence{*up_to};
  if (op.deliveries.empty() && !op.up_to) read.fail_with(missing("deliveries").error());
  return finish(read, std::move(op));
}

result<client_op> read_nack(const raw_frame& raw) {
  ops::nack op;
  value_reader read;
  read_group(read, op, raw);
  read.texts(op.deliveries, raw.deliveries, "deliveries");
  read.number(op.delay_ms, raw.delay_ms, "delay_ms");
  read.text(op.error, raw.error, "error");
  if (op.deliveries.empty()) read.fail_with(missing("deliveries").error());
  return finish(read, std::move(op));
}

result<client_op> read_work(const raw_frame& raw) {
  ops::work op;
  value_reader read;
  read.text(op.queue, raw.queue, "queue", true);
  op.credits = read.needed(raw.credits, "credits");
  read.number(op.lease_ms, raw.lease_ms, "lease_ms");
  read.text(op.worker, raw.worker, "worker");
  return finish(read, std::move(op));
}

result<client_op> read_complete(const raw_frame& raw) {
  ops::complete op;
  value_reader read;
  read.text(op.lease, raw.lease, "lease", true);
  if (!raw.result.empty()) {
    if (auto checked = check_value(raw.result); !checked) read.fail_with(checked.error());
    op.result = raw.result;
  }
  return finish(read, std::move(op));
}

result<client_op> read_fail(const raw_frame& raw) {
  ops::fail op;
  value_reader read;
  read.text(op.lease, raw.lease, "lease", true);
  read.text(op.error, raw.error, "error");
  read.flag(op.is_retryable, raw.retryable, "retryable");
  read.number(op.retry_after_ms, raw.retry_after_ms, "retry_after_ms");
  return finish(read, std::move(op));
}

result<client_op> read_extend(const raw_frame& raw) {
  ops::extend op;
  value_reader read;
  read.text(op.lease, raw.lease, "lease", true);
  read.number(op.lease_ms, raw.lease_ms, "lease_ms");
  return finish(read, std::move(op));
}

result<client_op> read_op(std::string_view name, const raw_frame& raw, const read_limits& limits) {
  value_reader read;
  if (name == "publish") return read_publish(raw, limits);
  if (name == "subscribe") return read_subscribe(raw);
  if (name == "unsubscribe") {
    const ops::unsubscribe op{read.needed(raw.sub, "sub")};
    return finish(read, op);
  }
  if (name == "credit") {
    const auto sub = read.needed(raw.sub, "sub");
    const ops::credit op{sub, read.needed(raw.credits, "credits")};
    return finish(read, op);
  }
  if (name == "ping") return client_op{ops::ping{}};
  if (name == "presence") return read_presence(raw);
  if (name == "auth") {
    ops::auth op;
    read.text(op.token, raw.token, "token", true);
    return finish(read, std::move(op));
  }
  if (name == "fetch") return read_fetch(raw);
  if (name == "consume") return read_consume(raw);
  if (name == "ack") return read_ack(raw);
  if (name == "nack") return read_nack(raw);
  if (name == "work") return read_work(raw);
  if (name == "complete") return read_complete(raw);
  if (name == "fail") return read_fail(raw);
  if (name == "extend") return read_extend(raw);
  return fail(
      errc::bad_request,
      "unknown \"op\"; known are publish, subscribe, unsubscribe, credit, presence, auth, ping, "
      "fetch, consume, ack, nack, work, complete, fail, extend");
}

result<op_id> read_id(std::string_view raw) {
  op_id id;
  if (raw.empty()) return id;
  id.given = true;
  if (raw.front() == '"') {
    if (raw.size() > op_id_text_max)
      return fail(errc::bad_request, "\"id\" is longer than 64 bytes");
    if (auto checked = check_json(raw); !checked) return std::unexpected{checked.error()};
    id.text = raw;
    return id;
  }
  auto number = json_unsigned(raw, "id");
  if (!number) return fail(errc::bad_request, "\"id\" must be a whole number or a string");
  id.number = *number;
  return id;
}

}  // namespace

void json_protocol::read(
    std::string_view message,
    const read_limits& limits,
    const std::function<void(received_op)>& each) const {
  raw_frame raw;
  std::optional<error> trouble;
  frame_members members{message};
  while (const auto member = members.next()) {
    const auto known = std::ranges::find(fields, member->key, &field::first);
    if (known == fields.end()) {
      if (auto checked = check_json(member->value); !checked) trouble = checked.error();
      continue;
    }
    auto& slot = raw.*(known->second);
    if (!slot.empty()) {
      trouble = error{errc::bad_request, "\"" + std::string{member->key} + "\" is given twice"};
    }
    slot = member->value == "null" ? std::string_view{} : member->value;
  }
  auto id = read_id(raw.id);
  received_op op{id.value_or(op_id{}), fail(errc::internal, "")};
  if (members.failure()) {
    op.op = std::unexpected{*members.failure()};
  } else if (trouble) {
    op.op = std::unexpected{std::move(*trouble)};
  } else if (!id) {
    op.op = std::unexpected{id.error()};
  } else if (raw.op.empty()) {
    op.op = missing("op");
  } else {
    const auto name = json_string(raw.op, "op");
    if (name) {
      op.op = read_op(*name, raw, limits);
    } else {
      op.op = std::unexpected{name.error()};
    }
  }
  each(std::move(op));
}

}  // namespace callboard::gateway
