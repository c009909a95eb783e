// How a run asks models: under which key a call is begun, what of it goes out on the run's channel,
// and which calls another process had begun.
#pragma once

#include "actors/run_home.hpp"
#include "actors/run_models.hpp"
#include "runtime/workflow/run_codec.hpp"
#include "runtime/workflow/run_engine.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <vector>

namespace callboard::actors {

/// Whose calls they are. Called in the run's actor only.
class model_caller {
public:
  virtual ~model_caller() = default;

  virtual void model_ended(std::uint32_t command, std::uint32_t attempt, outcome<json> ended) = 0;
};

/// Lifecycle: part of a run_host, in its actor; whoever retires the run cancels all. Bound: one
/// call per command. Survives a restart: nothing; the run begins anew what was under way.
class run_model_calls final : private model_home {
public:
  /// `calls` may be null: then a command's first attempt fails for good.
  run_model_calls(run_home& home, model_caller& run, model::chat_calls* calls)
      : home_{home}, run_{run}, models_{*this, calls} {}

  /// The attempt that the command has come to; `model_ended` follows, unless it is cancelled. A
  /// time that a provider names, if it is longer than `wait_max`, is the run's to wait for.
  /// Errors: as `run_models::start`.
  [[nodiscard]] result<void> start(
      std::uint32_t command,
      const runtime::open_command& one,
      const topic_ref& channel,
      const runtime::run_start& start,
      std::optional<std::chrono::milliseconds> wait_max);

  /// Ends the call of a command, if there is one. Nothing follows.
  void cancel(std::uint32_t command);
  void cancel_all();

  /// Another process had begun the attempt that the command has come to: its text and its end are
  /// lost. Once somebody can be asked it ends with that, and the next one asks him.
  void note_interrupted(std::uint32_t command) { interrupted_.insert(command); }

  /// False: the reply is to something else.
  [[nodiscard]] bool takes_reply(const runtime::publish_reply& reply);

  /// To one relay: what the answers have told whose end is not recorded. Behind the ends of the
  /// commands in `told`.
  void show_so_far(std::uint64_t relay, const std::set<std::uint32_t>& told);

  /// What the command's attempt came to is on disk.
  void recorded(std::uint32_t command) { models_.recorded(command); }

  /// Of a call that waits for its next request to a provider.
  [[nodiscard]] std::optional<model_feed::pause> pause_of(std::uint32_t command) const {
    return models_.pause_of(command);
  }

  /// Whoever is asked has the call now.
  [[nodiscard]] bool is_under_way(std::uint32_t command) const {
    return models_.is_under_way(command);
  }

private:
  void show(std::vector<runtime::encoded_event> events) override;
  void model_ended(std::uint32_t command, std::uint32_t attempt, outcome<json> ended) override;
  [[nodiscard]] std::function<void(std::move_only_function<void()>)> doorbell() override;
  void later(std::chrono::milliseconds delay, std::move_only_function<void()> rest) override;

  run_home& home_;
  model_caller& run_;
  std::set<std::uint32_t> interrupted_;
  run_models models_;
};

}  // namespace callboard::actors
