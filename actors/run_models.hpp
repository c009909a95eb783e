// The model calls of one run: begins and ends them, and shows on the run's channel what comes.
#pragma once

#include "actors/model_feed.hpp"
#include "model/chat_client.hpp"
#include "runtime/topic/event_batch.hpp"
#include "runtime/workflow/model_events.hpp"

#include <callboard/model.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace callboard::actors {

/// What it needs of the run it works for. Called in the run's actor only.
class model_home {
public:
  virtual ~model_home() = default;

  /// Events of the run's channel that are not stored.
  virtual void show(std::vector<runtime::encoded_event> events) = 0;
  virtual void model_ended(std::uint32_t command, std::uint32_t attempt, outcome<json> ended) = 0;
  /// Something that any thread may call to have `rest` done in the run's actor.
  [[nodiscard]] virtual std::function<void(std::move_only_function<void()>)> doorbell() = 0;
  virtual void later(std::chrono::milliseconds delay, std::move_only_function<void()> rest) = 0;
};

/// Lifecycle: part of a run_host, in its actor. Bound: per call the text of one answer, twice.
/// Survives a restart: nothing; the run begins anew what was under way.
class run_models {
public:
  struct ask {
    std::uint32_t command = 0;
    std::uint32_t attempt = 1;
    std::string name;
    std::string idempotency_key;
    std::shared_ptr<const model_request> question;
    /// A longer time that a provider names is the run's to wait for.
    std::optional<std::chrono::milliseconds> wait_max;
  };

  /// `calls` may be null: then a command's first attempt fails for good.
  run_models(model_home& home, model::chat_calls* calls) : home_{home}, calls_{calls} {}

  ~run_models() { cancel_all(); }

  run_models(const run_models&) = delete;
  run_models& operator=(const run_models&) = delete;

  /// `model_ended` follows, unless it is cancelled.
  /// Errors: overloaded, draining; of an attempt behind the first not_found, bad_request: the node
  /// has no such provider, or no model for it. Nothing was begun and nothing follows.
  [[nodiscard]] result<void> start(ask what, run_identity run);

  /// Errors: not_found: the node has no such provider, or no model for it.
  [[nodiscard]] result<void> find(const model_request& question) const;

  /// What the command's attempt came to is on disk: its text is not shown any more.
  void recorded(std::uint32_t command);

  /// Ends the call of a command, if there is one. Nothing follows.
  void cancel(std::uint32_t command);
  void cancel_all();

  /// What was shown last did not go out: whoever watches gets all text of calls under way next.
  void frames_lost();

  /// Of a call that waits for its next request to a provider.
  [[nodiscard]] std::optional<model_feed::pause> pause_of(std::uint32_t command) const;

  /// Whoever is asked has the call now.
  [[nodiscard]] bool is_under_way(std::uint32_t command) const;

  /// All text of calls whose end is not recorded, for somebody who has seen nothing of it; but of
  /// those that have ended none of `told`, whose end comes before it.
  [[nodiscard]] std::vector<runtime::encoded_event>
  so_far(const std::set<std::uint32_t>& told) const;

private:
  struct call {
    ask what;
    run_identity run;
    /// Null once it has ended.
    std::shared_ptr<model_feed> feed;
    model::call_id id;
    /// What has been shown.
    std::uint32_t round = 0;
    std::uint64_t next_index = 0;
    std::string text;
    bool lost = false;
  };

  [[nodiscard]] std::shared_ptr<model_feed> make_feed(std::uint32_t command);
  void on_news(std::uint32_t command, const std::weak_ptr<model_feed>& of, model_feed::look when);
  void look_at(std::uint32_t command, const std::weak_ptr<model_feed>& of);
  void show(call& one, model_feed::taken& news);
  void end(std::uint32_t command, model::chat_outcome with);

  model_home& home_;
  model::chat_calls* calls_;
  std::map<std::uint32_t, call> open_;
};

}  // namespace callboard::actors
