// A blocking client of one tenant of a node, over HTTP and WebSocket: for programs that are no
// node.
//
//   auto acme = callboard::tenant_client::open({.tenant = "acme"});
//   auto placed = acme->publish("orders", {.type = "order.placed", .data = {{"total", 42}}});
//   auto orders = acme->subscribe("orders", {.from = "first"});
//   while (auto one = orders->next(10s)) {
//     if (!*one) break;
//     …
//   }
//
// Failures are values. `code` is that of docs/protocol.md ("Errors"), `unreachable` if there was no
// answer; `kind` is `retryable` or `rate` where the same call may succeed later (`retry_after_ms`),
// else `permanent`.
//
// After `unreachable`, `outcome_unknown` or `timeout` nobody knows whether the call counted. Calls
// that carry an id or a key tell it in `details` (`{"id":"…"}` or `{"key":"…"}`), also one that the
// client made: the same call with it counts once. Made anew without it, it may count twice.
#pragma once

#include "callboard/event.hpp"
#include "callboard/failure.hpp"
#include "callboard/json.hpp"
#include "callboard/time_span.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace callboard {

/// Where the node is, and as whom to talk to it.
struct client_options {
  /// `http://HOST[:PORT]` or `https://HOST[:PORT]`; the port defaults to 8700.
  std::string server = "http://127.0.0.1:8700";
  std::string tenant = "default";
  /// Empty: no token, for a node without authentication.
  std::string token;
  /// PEM file of the authority to trust; empty: those of the system.
  std::string tls_ca_file;
  /// Accept any certificate.
  bool tls_insecure = false;
};

struct published {
  std::uint64_t seq = 0;
  std::string cursor;
  /// The event's, made if it had none.
  std::string id;
  /// It had been stored before, under the same id.
  bool duplicate = false;
};

struct event_page {
  std::vector<received_event> events;
  std::uint64_t first_seq = 0;
  std::uint64_t last_seq = 0;
  /// For the next page, until it is above `last_seq`.
  std::uint64_t next_from = 1;
};

struct subscribe_options {
  /// `now`, `first`, a seq (inclusive) or a cursor (exclusive).
  std::string from = "now";
  /// How long to look for the node once the connection broke. 0: not at all.
  time_span retry_for = std::chrono::seconds{60};
};

struct workflow_start {
  std::string id;
  /// False: this start had been made before.
  bool is_new = true;
};

struct start_options {
  /// Makes the start one that counts once. Empty: made by the client, told by a failure's `details`.
  std::string id;
  std::string correlation_id;
};

/// How a workflow ended.
struct workflow_end {
  /// `completed`, `failed` or `cancelled`.
  std::string status;
  json result;
  /// Where it failed.
  std::optional<failure> error;
};

struct agent_call_options {
  /// How long to wait for the reply.
  time_span timeout = std::chrono::seconds{30};
  /// Makes the message one that is handled once. Empty: made by the client, told by a failure's
  /// `details`.
  std::string key;
};

struct enqueue_options {
  /// `control`, `interactive`, `normal` or `bulk`.
  std::string priority = "normal";
  time_span delay = std::chrono::milliseconds{0};
  /// Empty: none.
  std::string dedupe_key;
  std::string fairness_key;
  /// 0: the queue's.
  std::uint32_t attempts_max = 0;
};

struct enqueued {
  std::uint64_t task = 0;
  /// The dedupe key is that of this task.
  bool duplicate = false;
};

struct lease_options {
  /// For people who look at the queue.
  std::string worker;
  /// 1 to 100.
  std::uint32_t tasks_max = 1;
  /// 0: the queue's.
  time_span lease = std::chrono::milliseconds{0};
  /// How long the node waits for a task; at most 15 s.
  time_span wait = std::chrono::seconds{15};
};

struct leased_task {
  std::uint64_t task = 0;
  std::string lease;
  /// Rises with every lease of the queue: hand it to what the work writes to.
  std::uint64_t fencing = 0;
  std::uint32_t attempt = 1;
  std::chrono::milliseconds lease_length{0};
  json payload;
};

struct task_failure {
  std::string error;
  /// False: to the dead letters at once.
  bool retryable = true;
  /// 0: the queue's backoff, and the attempt counts.
  time_span retry_after = std::chrono::milliseconds{0};
};

/// The events of one topic, or of all that match a pattern (`orders.*`), one after the other,
/// through lost connections and restarts of the node: each once, in the order of its topic. Owned
/// by one thread. Its end closes the connection.
class subscription {
public:
  subscription(subscription&& other) noexcept;
  subscription& operator=(subscription&& other) noexcept;
  ~subscription();

  /// The next event; nothing when `wait` has passed (while the node is away: within a second more, so
  /// that also short waits find it again). Failures: `gap` if history that was not seen
  /// is gone (the next call goes on behind it); `unreachable` once `retry_for` has passed; refusals
  /// such as `unauthorized`. After any but `gap` another call connects again.
  [[nodiscard]] outcome<std::optional<received_event>> next(time_span wait);

  /// Resumes after what `next` gave last, in this process or another. Empty before there is any,
  /// and for patterns.
  [[nodiscard]] std::string cursor() const;

private:
  friend class tenant_client;
  struct state;

  explicit subscription(std::unique_ptr<state> made);

  std::unique_ptr<state> state_;
};

/// Keeps one connection. Owned by one thread; make one for each. Calls end within 30 s, with all that
/// they try; those that are told how long to wait, within 5 s after that.
class tenant_client {
public:
  /// Does not connect yet. Failures: `bad_request` for a `server` that is no URL.
  [[nodiscard]] static outcome<tenant_client> open(const client_options& options);

  tenant_client(tenant_client&& other) noexcept;
  tenant_client& operator=(tenant_client&& other) noexcept;
  ~tenant_client();

  // -- topics ---

  /// On disk when it returns. Sent again under the same id if the connection broke, and while the
  /// node does not know whether it is on disk.
  [[nodiscard]] outcome<published> publish(const std::string& topic, event what);

  /// History. `from`: `first`, a seq (inclusive) or a cursor (exclusive). `limit`: 1 to 1,000; a
  /// page has about 1 MiB at most. Failures: `topic_not_found`, `cursor_expired`.
  [[nodiscard]] outcome<event_page>
  read(const std::string& topic, const std::string& from = "first", std::uint32_t limit = 100);

  /// A subscription on a connection of its own. The topic need not be there yet. The node has taken
  /// it when this returns: what is published from now on comes. Failures: `forbidden`, `unauthorized`.
  [[nodiscard]] outcome<subscription>
  subscribe(const std::string& topic, subscribe_options options = {});

  // -- workflows ---

  /// Failures: `workflow_exists` if the id stands for another type or input.
  [[nodiscard]] outcome<workflow_start>
  start(const std::string& type, const json& input, start_options options = {});

  /// Waits for its end, through restarts of the node. Failures: `timeout` when `wait` has passed,
  /// `workflow_not_found`. A workflow that failed is no failure of this call.
  [[nodiscard]] outcome<workflow_end> result(const std::string& id, time_span wait);

  /// Gives whether it had been sent before. A signal with a `key` is sent once. Failures:
  /// `wrong_kind` if the workflow has ended.
  [[nodiscard]] outcome<bool>
  signal(const std::string& id, const std::string& name, const json& payload, std::string key = {});

  /// Gives `cancelled`, `cancelling` (its code undoes things first) or `already_completed`.
  [[nodiscard]] outcome<std::string> cancel(const std::string& id, const std::string& reason = {});

  // -- agents ---

  /// Sends a message and gives the reply. Failures: `agent_failed`; `timeout`: the message may be
  /// handled all the same, and the same call with the same key gives its reply.
  [[nodiscard]] outcome<json> call(
      const std::string& type,
      const std::string& key,
      const std::string& message,
      const json& payload,
      agent_call_options options = {});

  // -- task queues ---

  [[nodiscard]] outcome<enqueued>
  enqueue(const std::string& queue, const json& payload, enqueue_options options = {});

  /// None if there was no task within `wait`.
  [[nodiscard]] outcome<std::vector<leased_task>>
  lease(const std::string& queue, lease_options options = {});

  /// Failures of these three: `lease_lost` when the lease has ended: what was done counts for
  /// nothing.
  [[nodiscard]] outcome<void> complete(const std::string& lease, const json& result = {});
  [[nodiscard]] outcome<void> fail(const std::string& lease, const task_failure& why);
  [[nodiscard]] outcome<void> extend(const std::string& lease, time_span by);

private:
  struct state;

  explicit tenant_client(std::unique_ptr<state> made);

  std::unique_ptr<state> state_;
};

}  // namespace callboard
