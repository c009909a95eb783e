#include "base/config.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <toml.hpp>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <limits>
#include <optional>
#include <set>
#include <sstream>
#include <utility>

namespace callboard {

namespace {

/// Bounds of a number; text and lists ignore them.
struct bounds {
  std::uint64_t min = 0;
  std::uint64_t max = std::numeric_limits<std::int64_t>::max();
};

constexpr std::uint64_t day_ms = 86'400'000;

/// Calls `visit(key, field, bounds, meaning)` for every setting: the one list of them all.
template <class Config, class Visit>
void visit_node_settings(Config& c, Visit&& visit) {
  visit("node.id", c.node.id, bounds{}, "name of this node in logs, welcome frames and metrics");
  visit("node.worker_threads", c.node.worker_threads, bounds{0, 256}, "threads of the actor pool; 0 = one per core");
  visit("node.io_threads", c.node.io_threads, bounds{0, 64}, "threads that serve sockets; 0 = half the cores");
  visit("node.reader_threads", c.node.reader_threads, bounds{1, 64}, "threads that read the journal for subscribers");
  visit("node.payload_bytes_max", c.node.payload_bytes_max, bounds{1 << 20}, "payload bytes in flight on the whole node before publishes are refused");
  visit("node.drain_timeout_ms", c.node.drain_timeout_ms, bounds{0, day_ms}, "how long SIGTERM waits for work in flight");
  visit("listen.address", c.listen.address, bounds{}, "address that clients connect to");
  visit("listen.port", c.listen.port, bounds{0, 65535}, "port that clients connect to; 0 = any free one");
  visit("listen.tls_certificate", c.listen.tls_certificate, bounds{}, "PEM file with the certificate chain; empty = plaintext");
  visit("listen.tls_key", c.listen.tls_key, bounds{}, "PEM file with the private key");
  visit("listen.allow_plaintext", c.listen.allow_plaintext, bounds{}, "serve without TLS on an address other than loopback");
  visit("listen.allowed_origins", c.listen.allowed_origins, bounds{}, "browser origins that may connect; empty = only the same host, [\"*\"] = any");
}

template <class Config, class Visit>
void visit_storage_settings(Config& c, Visit&& visit) {
  auto& s = c.storage;
  visit("storage.data_dir", s.data_dir, bounds{}, "folder of the journal; one process at a time");
  visit("storage.shard_count", s.shard_count, bounds{1, 4096}, "number of shards; fixed when the folder is made");
  visit("storage.journal_queue_bytes_max", s.journal_queue_bytes_max, bounds{1 << 20}, "records waiting for the journal writer before appends are refused");
  visit("storage.group_commit_bytes_max", s.group_commit_bytes_max, bounds{64 << 10, 256 << 20}, "most bytes that one fsync covers");
  visit("storage.tail_cache_bytes_max", s.tail_cache_bytes_max, bounds{0}, "recent records kept in memory for subscribers that catch up");
  visit("storage.block_cache_bytes_max", s.block_cache_bytes_max, bounds{1 << 20}, "block cache of the store");
  visit("storage.disk_soft_bytes", s.disk_soft_bytes, bounds{0}, "free disk space below which publishes are refused");
  visit("storage.disk_hard_bytes", s.disk_hard_bytes, bounds{0}, "free disk space below which all writes are refused");
  visit("storage.ballast_bytes", s.ballast_bytes, bounds{0}, "file that is given up to let compaction work on a full disk");
  visit("storage.spare_log_bytes", s.spare_log_bytes, bounds{0}, "size of each of the two files of zeros that the next write-ahead logs are written over; 0 = none: each fsync writes the log's size as well");
  visit("storage.reader_queue_max", s.reader_queue_max, bounds{1}, "reads waiting for a reader thread before more are refused");
  visit("storage.scrub_bytes_per_s", s.scrub_bytes_per_s, bounds{0}, "pace of the background check of stored records; 0 = off");
}

template <class Config, class Visit>
void visit_topic_settings(Config& c, Visit&& visit) {
  auto& t = c.topics;
  visit("topics.events_in_flight_max", t.events_in_flight_max, bounds{1}, "events of one topic waiting for commit");
  visit("topics.shard_in_flight_max", t.shard_in_flight_max, bounds{1}, "events of one shard waiting for commit");
  visit("topics.bulk_in_flight_max", t.bulk_in_flight_max, bounds{1}, "events of all bulk topics waiting for commit");
  visit("topics.passivate_after_ms", t.passivate_after_ms, bounds{1, day_ms}, "idle time after which a topic leaves memory");
  visit("topics.dedupe_window_s", t.dedupe_window_s, bounds{0, 2'592'000}, "how long an event id is remembered");
  visit("topics.dedupe_cache_ids_max", t.dedupe_cache_ids_max, bounds{16}, "recent event ids of one topic kept whole; older ones as 16-byte fingerprints");
  visit("topics.retention_age_s", t.retention_age_s, bounds{}, "default age at which events go; 0 = never");
  visit("topics.retention_bytes", t.retention_bytes, bounds{}, "default size of a topic; 0 = unlimited");
  visit("topics.retention_events", t.retention_events, bounds{}, "default number of events of a topic; 0 = unlimited");
  visit("topics.retention_check_ms", t.retention_check_ms, bounds{10, day_ms}, "how often retention is applied");
  visit("topics.relay_credits", t.relay_credits, bounds{1, 65536}, "batches a topic may send an I/O thread before it is asked for more");
  visit("topics.presence_lease_ms", t.presence_lease_ms, bounds{100, day_ms}, "how long a presence stands without renewal");
  visit("topics.presence_grace_ms", t.presence_grace_ms, bounds{0, day_ms}, "how long a vanished member is unknown before it has left");
  visit("topics.presence_members_max", t.presence_members_max, bounds{1}, "members present on one topic");
  visit("topics.awaited_max", t.awaited_max, bounds{1}, "topics that are not there yet whose subscribers one shard tells at once; those of others ask every second");
  auto& g = c.groups;
  visit("groups.hold_ms", g.hold_ms, bounds{10, day_ms}, "how long a delivery waits for its ack before it is redelivered");
  visit("groups.deliveries_max", g.deliveries_max, bounds{1, 10'000}, "deliveries of one event before it goes to the dead-letter topic");
  visit("groups.in_flight_max", g.in_flight_max, bounds{1, 1'000'000}, "deliveries of one group waiting for their acks");
  visit("groups.ack_span_max", g.ack_span_max, bounds{16}, "distance of the newest ack from the floor before blocking events are parked, and events a group looks ahead for keys that are free");
  visit("groups.backoff_min_ms", g.backoff_min_ms, bounds{1, day_ms}, "wait before the first redelivery after a nack without delay");
  visit("groups.backoff_max_ms", g.backoff_max_ms, bounds{1, day_ms}, "longest wait before a redelivery");
  visit("groups.fetch_wait_ms_max", g.fetch_wait_ms_max, bounds{0, day_ms}, "longest wait of a fetch for events");
  visit("groups.groups_per_topic_max", g.groups_per_topic_max, bounds{1}, "consumer groups of one topic");
  visit("groups.bindings_per_topic_max", g.bindings_per_topic_max, bounds{1, 10'000}, "bindings of one topic");
  visit("groups.dead_letter_gaps_max", g.dead_letter_gaps_max, bounds{1, 1'000'000}, "places between dead letters of a binding where some were redriven or given up by hand");
  auto& q = c.queues;
  visit("queues.queues_per_shard_max", q.queues_per_shard_max, bounds{1}, "task queues of one shard, of all tenants");
  visit("queues.enqueues_in_flight_max", q.enqueues_in_flight_max, bounds{1, 1'000'000}, "enqueues of one queue waiting for commit");
  visit("queues.leases_max", q.leases_max, bounds{1, 10'000'000}, "tasks of one queue that workers hold at the same time");
  visit("queues.waiters_max", q.waiters_max, bounds{1, 1'000'000}, "requests that wait for tasks of one queue: long polls, and WebSockets that work on it");
  visit("queues.window_keys_max", q.window_keys_max, bounds{1, 1'000'000}, "fairness keys of one queue and priority whose next tasks are in memory");
  visit("queues.window_tasks_max", q.window_tasks_max, bounds{16, 10'000'000}, "waiting tasks of one queue and priority that are in memory; the others are on disk");
  visit("queues.window_key_tasks_max", q.window_key_tasks_max, bounds{8, 1'000'000}, "of these, tasks of one fairness key");
  visit("queues.window_payload_bytes_max", q.window_payload_bytes_max, bounds{0}, "payloads of these tasks that are in memory; others are read when their task is leased");
  visit("queues.recent_keys_max", q.recent_keys_max, bounds{16}, "recent dedupe keys of one queue that need no read");
  auto& w = c.workflows;
  visit("workflows.retention_s", w.retention_s, bounds{0, 3'153'600'000}, "how long a workflow that has ended is kept with its channel; 0 = for ever");
  visit("workflows.sweep_ms", w.sweep_ms, bounds{10, day_ms}, "how often workflows are looked through for those that are stuck or past their retention; what each waits for is looked at once in 60 of these times");
  visit("workflows.events_kept", w.events_kept, bounds{}, "events that the channel of a workflow keeps; above that the oldest go of runs before its current one (continue_as_new, restarts), and none of the current one; 0 = all");
  visit("workflows.agent_events_kept", w.agent_events_kept, bounds{1}, "the same of an agent, which goes on as new every agent_messages; for agents that are called for the first time from then on");
  visit("workflows.agent_messages", w.agent_messages, bounds{1, 1'000'000}, "messages that an agent handles before it goes on as new with its state; so many replies are known to messages that come again, and 64 before them");
  visit("workflows.agent_history_bytes", w.agent_history_bytes, bounds{4096}, "bytes of an agent's history, beyond its state and messages that it has not handled, from which on it goes on as new though it has not handled agent_messages; never before they are as many as it would write again");
  visit("workflows.events_held_max", w.events_held_max, bounds{1}, "events that the channel of a workflow or agent keeps at most, beyond what it would keep anyway, for consumer groups and bindings that have not handled them; what goes above that, they show as missed");
  constexpr bounds document{256, 64ULL << 20};
  visit("workflows.input_bytes_max", w.input_bytes_max, document, "input of a workflow, also of a child, as JSON");
  visit("workflows.result_bytes_max", w.result_bytes_max, document, "result of a step, a model call, a task or a run, also the input that a run leaves to its next, and the state of an agent");
  visit("workflows.arguments_bytes_max", w.arguments_bytes_max, document, "what a command hands on: a child's input, a published event, a message, a task's payload, a question to a model");
  visit("workflows.signal_bytes_max", w.signal_bytes_max, document, "payload of a signal");
  visit("workflows.message_bytes_max", w.message_bytes_max, document, "payload of a message to an agent");
  visit("workflows.reply_bytes_max", w.reply_bytes_max, document, "reply of an agent to one message");
  visit("workflows.unread_bytes_max", w.unread_bytes_max, bounds{4096, 1ULL << 30}, "signals, or messages to an agent, that its code has not read, with 512 bytes for each, before more are refused; continue_as_new writes them again in one batch, so at most a quarter of storage.journal_queue_bytes_max");
  visit("workflows.state_bytes_max", w.state_bytes_max, document, "what set_status shows; it is written whenever it changes");
  visit("workflows.inputs_waiting_max", w.inputs_waiting_max, bounds{1, 1'000'000}, "signals of one workflow that wait for their turn before more are refused");
  visit("workflows.messages_waiting_max", w.messages_waiting_max, bounds{1, 100'000}, "messages of one agent without a reply before more are refused");
  visit("workflows.result_waiters_max", w.result_waiters_max, bounds{1, 1'000'000}, "requests that wait for the end of one workflow, or for replies of one agent");
  visit("workflows.deferrals_max", w.deferrals_max, bounds{0, 1'000'000}, "times that a step or a model call may fail as a matter of rate with a retry_after_ms before that takes an attempt of its retry policy");
  visit("workflows.step_threads", w.step_threads, bounds{1, 4096}, "steps that run at the same time, each on a thread of its own; async_step holds one only until it has begun");
  visit("workflows.steps_waiting_max", w.steps_waiting_max, bounds{1, 10'000'000}, "steps that wait for a thread; others are offered again a little later");
  visit("workflows.resident_max", w.resident_max, bounds{1}, "runs in the memory of this node from which on no new one begins, and those that sleep wait for their turn; from half of it on they stay for less and less when they are idle");
  visit("workflows.resident_bytes_max", w.resident_bytes_max, bounds{1ULL << 20}, "the same for what these have recorded, inputs, results and signals; they take two to three times as much while they hold all of it");
}

template <class Config, class Visit>
void visit_limit_settings(Config& c, Visit&& visit) {
  auto& l = c.limits;
  visit("limits.body_bytes_max", l.body_bytes_max, bounds{1024}, "HTTP body");
  visit("limits.header_bytes_max", l.header_bytes_max, bounds{512}, "HTTP request line and headers");
  visit("limits.frame_bytes_max", l.frame_bytes_max, bounds{1024}, "WebSocket message");
  visit("limits.inflated_bytes_max", l.inflated_bytes_max, bounds{1024}, "WebSocket message after decompression");
  visit("limits.event_bytes_max", l.event_bytes_max, bounds{256}, "one event, encoded");
  visit("limits.batch_events_max", l.batch_events_max, bounds{1, 100'000}, "events in one atomic batch");
  visit("limits.requests_in_flight_max", l.requests_in_flight_max, bounds{1}, "unanswered requests of one connection");
  visit("limits.connections_max", l.connections_max, bounds{1}, "client connections of the node");
  visit("limits.subscriptions_max", l.subscriptions_max, bounds{1}, "subscriptions of one connection");
  visit("limits.pattern_topics_max", l.pattern_topics_max, bounds{1}, "topics that one pattern follows at a time; others wait for their turn");
  visit("limits.output_frames_max", l.output_frames_max, bounds{1}, "frames waiting for one connection");
  visit("limits.output_bytes_max", l.output_bytes_max, bounds{4096}, "bytes waiting for one connection");
  visit("limits.handshake_timeout_ms", l.handshake_timeout_ms, bounds{10, day_ms}, "time for TLS and the first request's headers");
  visit("limits.idle_timeout_ms", l.idle_timeout_ms, bounds{10, day_ms}, "silence after which a connection is closed");
  visit("limits.request_timeout_ms", l.request_timeout_ms, bounds{10, day_ms}, "time for a body to arrive, and for an answer to be found");
  visit("limits.ping_interval_ms", l.ping_interval_ms, bounds{10, day_ms}, "time between WebSocket pings, give or take 20 percent");
  visit("limits.sse_comment_interval_ms", l.sse_comment_interval_ms, bounds{10, day_ms}, "time between comments on a quiet event stream");
  visit("limits.publishes_per_s", l.publishes_per_s, bounds{}, "events one connection may publish a second; 0 = unlimited");
  visit("limits.page_events_max", l.page_events_max, bounds{1, 100'000}, "events in one page of history");
  visit("limits.dead_changes_max", l.dead_changes_max, bounds{1, 10'000'000}, "dead letters that one request redrives or gives up; its answer says whether there are more");
  visit("limits.websocket_deflate", l.websocket_deflate, bounds{}, "accept permessage-deflate from WebSocket clients; what is sent is never compressed");
}

/// `NAME` stands for any name in documents.
template <class Provider, class Visit>
void visit_provider(Provider& p, Visit&& visit) {
  const auto put = [&](std::string_view name, auto& field, bounds limit, const char* meaning) {
    visit(fmt::format("models.{}.{}", p.name, name), field, limit, meaning);
  };
  put("base_url", p.base_url, bounds{}, "where its API is, up to and without /chat/completions");
  put("default_model", p.default_model, bounds{}, "model of calls that name none, and of calls that fall back to it; empty = the latter ask for the model that they began with");
  put("api_key_env", p.api_key_env, bounds{}, "environment variable that holds the key; empty = it needs none");
  put("allow_plaintext", p.allow_plaintext, bounds{}, "send the key over http to another machine");
  put("connect_timeout_ms", p.connect_timeout_ms, bounds{1, day_ms}, "time for TCP and TLS");
  put("first_byte_timeout_ms", p.first_byte_timeout_ms, bounds{1, day_ms}, "time to the first byte of an answer");
  put("idle_timeout_ms", p.idle_timeout_ms, bounds{1, day_ms}, "longest pause within an answer");
  put("total_timeout_ms", p.total_timeout_ms, bounds{1, day_ms}, "time for a call with queueing, attempts and fallbacks");
  put("concurrency_min", p.concurrency_min, bounds{1, 10'000}, "calls at once that its refusals never reduce further");
  put("concurrency_max", p.concurrency_max, bounds{1, 10'000}, "most calls at once");
  put("concurrency_start", p.concurrency_start, bounds{1, 10'000}, "calls at once before anything is known");
  put("attempts_max", p.attempts_max, bounds{1, 100}, "attempts of one call before the next provider is asked");
  put("backoff_min_ms", p.backoff_min_ms, bounds{1, day_ms}, "wait before the second attempt");
  put("backoff_max_ms", p.backoff_max_ms, bounds{1, day_ms}, "longest wait before an attempt");
  put("fallback_wait_max_ms", p.fallback_wait_max_ms, bounds{0, day_ms}, "longest time that it may name to wait before the next provider is asked instead");
  put("hold_max_ms", p.hold_max_ms, bounds{1, day_ms}, "longest time for which its wish to wait (429, 503) holds back other calls than the one that it was told; what is longer, that call's run alone waits for");
  put("queue_max", p.queue_max, bounds{1}, "calls that wait for their turn");
  put("queue_bytes_max", p.queue_bytes_max, bounds{1}, "bytes of calls that wait for their turn");
  put("tenant_queue_percent", p.tenant_queue_percent, bounds{1, 100}, "most of queue_max and of queue_bytes_max that one tenant may have; 100 where there is only one");
  put("text_bytes_max", p.text_bytes_max, bounds{1, 1ULL << 30}, "text and arguments of one answer");
  put("body_bytes_max", p.body_bytes_max, bounds{1, 1ULL << 30}, "an answer that is not streamed, as it comes (JSON: more than its text), and what a refusal says; at least text_bytes_max");
  put("event_bytes_max", p.event_bytes_max, bounds{1, 1ULL << 30}, "one event of a streamed answer");
  put("stream_bytes_max", p.stream_bytes_max, bounds{1, 1ULL << 40}, "all events of a streamed answer, none of which is kept; at least event_bytes_max and text_bytes_max");
  put("tool_calls_max", p.tool_calls_max, bounds{1, 100'000}, "tool calls of one answer");
  put("header_bytes_max", p.header_bytes_max, bounds{512, 1ULL << 30}, "headers of an answer");
  put("stream_usage", p.stream_usage, bounds{}, "ask for the token count of streamed answers");
  put("max_tokens_member", p.max_tokens_member, bounds{}, "what it calls the bound on an answer, for instance max_completion_tokens");
  put("use_proxy", p.use_proxy, bounds{}, "heed https_proxy, http_proxy and no_proxy");
  put("ca_file", p.ca_file, bounds{}, "PEM file of certificate authorities; empty = those of the system");
}

template <class Config, class Visit>
void visit_model_settings(Config& c, Visit&& visit) {
  auto& m = c.models;
  visit("models.order", m.order, bounds{}, "providers that calls go to, the first first, the next when it cannot answer; each has its section [models.NAME]");
  visit("models.request_bytes_max", m.request_bytes_max, bounds{1}, "one request to a model");
  for (auto& provider : m.providers) visit_provider(provider, visit);
}

template <class Config, class Visit>
void visit_other_settings(Config& c, Visit&& visit) {
  auto& a = c.auth;
  visit("auth.required", a.required, bounds{}, "verify tokens; only `callboard dev` turns this off");
  visit("auth.hs256_secret_file", a.hs256_secret_file, bounds{}, "file with the shared secret of HS256 tokens");
  visit("auth.ed25519_public_key_file", a.ed25519_public_key_file, bounds{}, "PEM file with the public key of EdDSA tokens");
  visit("auth.ed25519_private_key_file", a.ed25519_private_key_file, bounds{}, "PEM file with the private key that `token issue` signs with");
  visit("auth.issuer", a.issuer, bounds{}, "required `iss` claim; empty = any");
  visit("auth.audience", a.audience, bounds{}, "required `aud` claim; empty = any");
  visit("auth.leeway_s", a.leeway_s, bounds{0, 60}, "tolerated clock difference when a token's times are checked");
  visit("log.level", c.log.level, bounds{}, "trace, debug, info, warn, error or off");
  visit("log.format", c.log.format, bounds{}, "text or json");
}

template <class Config, class Visit>
void visit_settings(Config& c, Visit&& visit) {
  visit_node_settings(c, visit);
  visit_storage_settings(c, visit);
  visit_topic_settings(c, visit);
  visit_limit_settings(c, visit);
  visit_model_settings(c, visit);
  visit_other_settings(c, visit);
}

template <class T>
constexpr bool is_number = std::is_integral_v<T> && !std::is_same_v<T, bool>;

std::string shown(const std::string& value) {
  return '"' + value + '"';
}

std::string shown(bool value) {
  return value ? "true" : "false";
}

std::string shown(const std::vector<std::string>& value) {
  return fmt::format("[{}]", fmt::join(value, ", "));
}

template <class T>
  requires is_number<T>
std::string shown(T value) {
  return fmt::to_string(value);
}

std::unexpected<error> bad_setting(std::string_view key, std::string_view why) {
  return fail(errc::invalid_setting, fmt::format("setting {}: {}", key, why));
}

template <class T>
  requires is_number<T>
result<void> assign_number(std::string_view key, T& field, std::int64_t value, bounds limit) {
  const auto max = std::min<std::uint64_t>(limit.max, std::numeric_limits<T>::max());
  if (value < 0 || static_cast<std::uint64_t>(value) < limit.min
      || static_cast<std::uint64_t>(value) > max) {
    return bad_setting(key, fmt::format("{} is not within {} and {}", value, limit.min, max));
  }
  field = static_cast<T>(value);
  return {};
}

template <class T>
result<void> assign_text(std::string_view key, T& field, std::string_view text, bounds limit) {
  if constexpr (std::is_same_v<T, std::string>) {
    field = text;
  } else if constexpr (std::is_same_v<T, bool>) {
    if (text != "true" && text != "false") return bad_setting(key, "is true or false");
    field = text == "true";
  } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
    field.clear();
    while (!text.empty()) {
      const auto comma = std::min(text.find(','), text.size());
      field.emplace_back(text.substr(0, comma));
      text.remove_prefix(std::min(comma + 1, text.size()));
    }
  } else {
    std::int64_t value = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (code != std::errc{} || end != text.data() + text.size()) {
      return bad_setting(key, fmt::format("'{}' is not a whole number", text));
    }
    return assign_number(key, field, value, limit);
  }
  return {};
}

/// toml11 3 wraps strings, toml11 4 (Debian 13) does not.
template <class Value>
std::string text_of(const Value& value) {
  if constexpr (requires { value.as_string().str; }) {
    return value.as_string().str;
  } else {
    return value.as_string();
  }
}

template <class Location>
std::size_t line_of(const Location& location) {
  if constexpr (requires { location.line(); }) {
    return location.line();
  } else {
    return location.first_line_number();
  }
}

template <class T>
result<void> assign_toml(std::string_view key, T& field, const toml::value& value, bounds limit) {
  if constexpr (std::is_same_v<T, std::string>) {
    if (!value.is_string()) return bad_setting(key, "takes a string");
    field = text_of(value);
  } else if constexpr (std::is_same_v<T, bool>) {
    if (!value.is_boolean()) return bad_setting(key, "takes true or false");
    field = value.as_boolean();
  } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
    if (!value.is_array()) return bad_setting(key, "takes a list of strings");
    field.clear();
    for (const auto& item : value.as_array()) {
      if (!item.is_string()) return bad_setting(key, "takes a list of strings");
      field.push_back(text_of(item));
    }
  } else {
    if (!value.is_integer()) return bad_setting(key, "takes a whole number");
    return assign_number(key, field, value.as_integer(), limit);
  }
  return {};
}

/// Levenshtein distance, for "did you mean".
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const auto above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::unexpected<error> unknown_key(const config& target, std::string_view key) {
  std::string nearest;
  std::size_t best = std::numeric_limits<std::size_t>::max();
  const bool has_section = key.contains('.');
  for (const auto& known : list_settings(target)) {
    const std::string_view all = known.key;
    const auto d = distance(key, has_section ? all : all.substr(all.rfind('.') + 1));
    if (d < best) {
      best = d;
      nearest = known.key;
    }
  }
  return bad_setting(
      key,
      has_section ? fmt::format("is not known; did you mean {}?", nearest)
                  : fmt::format(
                        "is not of the form section.key=value; the nearest known is {}", nearest));
}

/// Bytes that follow the first one of a UTF-8 sequence; nothing if it cannot begin one.
std::optional<std::size_t> following_bytes(unsigned char lead) {
  if (lead < 0x80) return 0;
  if (lead >= 0xc2 && lead < 0xe0) return 1;
  if (lead >= 0xe0 && lead < 0xf0) return 2;
  if (lead >= 0xf0 && lead < 0xf5) return 3;
  return std::nullopt;
}

/// Where `text` stops being UTF-8; nothing if all of it is.
std::optional<std::size_t> first_bad_byte(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto more = following_bytes(static_cast<unsigned char>(text[i]));
    if (!more || i + *more >= text.size()) return i;
    for (std::size_t k = 1; k <= *more; ++k) {
      if ((static_cast<unsigned char>(text[i + k]) & 0xc0) != 0x80) return i;
    }
    i += *more + 1;
  }
  return std::nullopt;
}

std::string place_of(const toml::value& value, std::string_view origin) {
  return fmt::format("{}:{}", origin, line_of(value.location()));
}

bool is_provider_name(std::string_view name) {
  constexpr std::string_view first = "abcdefghijklmnopqrstuvwxyz0123456789";
  constexpr std::string_view all = "abcdefghijklmnopqrstuvwxyz0123456789_-";
  return !name.empty() && name.size() <= 63 && first.contains(name.front())
         && name.find_first_not_of(all) == std::string_view::npos;
}

/// Makes the provider if there is none of this name.
result<void> name_provider(config& target, const std::string& name) {
  if (!is_provider_name(name)) {
    return bad_setting("models." + name, "a name is [a-z0-9][a-z0-9_-]{0,62}");
  }
  auto& all = target.models.providers;
  const auto place = std::ranges::lower_bound(all, name, {}, &config::model_provider::name);
  if (place == all.end() || place->name != name) all.insert(place, {.name = name});
  return {};
}

/// The same for a key of the form `models.NAME.key`.
result<void> name_provider_of(config& target, std::string_view key) {
  constexpr std::string_view section = "models.";
  const auto end = key.rfind('.');
  if (!key.starts_with(section) || end < section.size()) return {};
  return name_provider(target, std::string{key.substr(section.size(), end - section.size())});
}

result<void> apply_section(
    config& target, const std::string& section, const toml::value& table, std::string_view origin) {
  for (const auto& [name, value] : table.as_table()) {
    const auto key = section + '.' + name;
    bool known = false;
    result<void> outcome;
    if (section == "models" && value.is_table()) {
      outcome = name_provider(target, name);
      if (outcome) outcome = apply_section(target, key, value, origin);
      if (!outcome) return outcome;
      continue;
    }
    visit_settings(target, [&](std::string_view candidate, auto& field, bounds limit, auto) {
      if (candidate != key) return;
      known = true;
      outcome = assign_toml(key, field, value, limit);
    });
    if (!known) outcome = unknown_key(target, key);
    if (!outcome) {
      return fail(
          outcome.error().code,
          fmt::format("{}: {}", place_of(value, origin), outcome.error().detail));
    }
  }
  return {};
}

} // namespace

result<config> parse_config(std::string_view text, std::string_view origin, config base) {
  // TOML is UTF-8; toml11 3 reads past the end of text that is not.
  if (const auto at = first_bad_byte(text)) {
    return fail(
        errc::invalid_setting, fmt::format("{}: byte {} is not UTF-8 text", origin, *at));
  }
  try {
    std::istringstream stream{std::string{text}};
    const auto root = toml::parse(stream, std::string{origin});
    for (const auto& [section, table] : root.as_table()) {
      if (!table.is_table()) {
        return fail(
            errc::invalid_setting,
            fmt::format(
                "{}: '{}' stands outside a section such as [listen]",
                place_of(table, origin),
                section));
      }
      if (auto outcome = apply_section(base, section, table, origin); !outcome) {
        return std::unexpected{outcome.error()};
      }
    }
  } catch (const std::exception& problem) {
    return fail(errc::invalid_setting, fmt::format("{}: {}", origin, problem.what()));
  }
  if (auto sound = check_config(base); !sound) return std::unexpected{sound.error()};
  return base;
}

result<config> load_config(const std::string& path, config base) {
  std::ifstream file{path, std::ios::binary};
  if (!file) return fail(errc::io_error, fmt::format("cannot read config file {}", path));
  std::ostringstream text;
  text << file.rdbuf();
  return parse_config(text.str(), path, std::move(base));
}

result<void> set_setting(config& target, std::string_view assignment) {
  const auto equals = assignment.find('=');
  if (equals == std::string_view::npos) {
    return fail(
        errc::invalid_setting,
        fmt::format("'{}' is not of the form section.key=value", assignment));
  }
  const auto key = assignment.substr(0, equals);
  const auto text = assignment.substr(equals + 1);
  bool known = false;
  if (auto named = name_provider_of(target, key); !named) return named;
  result<void> outcome;
  visit_settings(target, [&](std::string_view candidate, auto& field, bounds limit, auto) {
    if (candidate != key) return;
    known = true;
    outcome = assign_text(key, field, text, limit);
  });
  if (!known) return unknown_key(target, key);
  return outcome;
}

namespace {

/// What can be told without knowing how providers are asked; the rest is told by `node`.
result<void> check_models(const config::models_section& models) {
  for (const auto& p : models.providers) {
    const auto key = [&](std::string_view name) { return fmt::format("models.{}.{}", p.name, name); };
    if (!p.base_url.starts_with("http://") && !p.base_url.starts_with("https://")) {
      return bad_setting(key("base_url"), "is a URL, for instance https://api.openai.com/v1");
    }
    if (p.backoff_min_ms > p.backoff_max_ms) {
      return bad_setting(key("backoff_min_ms"), "must not be above backoff_max_ms");
    }
    if (p.body_bytes_max < p.text_bytes_max) {
      return bad_setting(
          key("body_bytes_max"),
          fmt::format(
              "must not be below text_bytes_max ({}): an answer that is not streamed comes in one body",
              p.text_bytes_max));
    }
    if (p.stream_bytes_max < std::max(p.text_bytes_max, p.event_bytes_max)) {
      return bad_setting(
          key("stream_bytes_max"),
          fmt::format(
              "must not be below text_bytes_max ({}) or event_bytes_max ({})",
              p.text_bytes_max,
              p.event_bytes_max));
    }
    if (p.concurrency_min > p.concurrency_start || p.concurrency_start > p.concurrency_max) {
      return bad_setting(
          key("concurrency_start"), "lies between concurrency_min and concurrency_max");
    }
  }
  for (const auto& name : models.order) {
    if (std::ranges::count(models.providers, name, &config::model_provider::name) == 0) {
      return bad_setting("models.order", fmt::format("there is no section [models.{}]", name));
    }
    if (std::ranges::count(models.order, name) > 1) {
      return bad_setting("models.order", fmt::format("names '{}' twice", name));
    }
  }
  if (models.order.empty() && !models.providers.empty()) {
    return bad_setting("models.order", "must name the provider that is asked first");
  }
  return {};
}

} // namespace

result<void> check_config(const config& c) {
  if (c.storage.disk_hard_bytes > c.storage.disk_soft_bytes) {
    return bad_setting("storage.disk_hard_bytes", "must not be above storage.disk_soft_bytes");
  }
  if (c.listen.tls_certificate.empty() != c.listen.tls_key.empty()) {
    return bad_setting("listen.tls_certificate", "and listen.tls_key go together");
  }
  if (c.groups.backoff_min_ms > c.groups.backoff_max_ms) {
    return bad_setting("groups.backoff_min_ms", "must not be above groups.backoff_max_ms");
  }
  if (c.workflows.unread_bytes_max > c.storage.journal_queue_bytes_max / 4) {
    return bad_setting(
        "workflows.unread_bytes_max",
        fmt::format(
            "must not be above a quarter of storage.journal_queue_bytes_max ({}): what is unread is "
            "handed on in one append; make it smaller, or the queue larger",
            c.storage.journal_queue_bytes_max));
  }
  if (c.log.format != "text" && c.log.format != "json") {
    return bad_setting("log.format", "is text or json");
  }
  constexpr std::string_view levels[] = {"trace", "debug", "info", "warn", "error", "off"};
  if (std::ranges::find(levels, c.log.level) == std::end(levels)) {
    return bad_setting("log.level", "is trace, debug, info, warn, error or off");
  }
  if (c.node.id.empty()) return bad_setting("node.id", "must not be empty");
  return check_models(c.models);
}

std::vector<setting_info> list_settings(const config& settings) {
  std::vector<setting_info> all;
  visit_settings(settings, [&](std::string_view key, const auto& field, bounds, auto meaning) {
    all.push_back(
        {.key = std::string{key}, .value = shown(field), .default_value = {}, .meaning = meaning});
  });
  config defaults;
  for (const auto& p : settings.models.providers) defaults.models.providers.push_back({.name = p.name});
  std::size_t index = 0;
  visit_settings(std::as_const(defaults), [&](auto, const auto& field, bounds, auto) {
    all[index++].default_value = shown(field);
  });
  return all;
}

} // namespace callboard
