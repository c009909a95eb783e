// A run without a node: records what the engine puts out, runs steps on demand, and can forget the
// engine and replay it from the record at any point, as a crash does.
#pragma once

#include "runtime/workflow/attempt_end.hpp"
#include "runtime/workflow/run_codec.hpp"
#include "runtime/workflow/run_engine.hpp"

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace callboard::tests {

class scripted_run {
public:
  /// `mirror`: the topic that gets its updates, too.
  explicit scripted_run(
      workflow_definition code,
      json input = {},
      runtime::run_limits limits = {},
      std::string mirror = {})
      : code_{std::move(code)},
        input_{std::move(input)},
        limits_{limits},
        mirror_{std::move(mirror)} {
    restart_engine();
    runtime::run_start start;
    start.identity = identity();
    start.identity.type = code_.type;
    start.identity.mirror = mirror_;
    start.input = input_;
    feed(runtime::make_started(start));
  }

  [[nodiscard]] static run_identity identity() {
    run_identity one;
    one.tenant = "acme";
    one.workflow_id = "w1";
    return one;
  }

  /// Delivers an input, and records it with what the code did about it: one transition.
  void feed(runtime::run_event input) {
    input.time = now;
    auto delivered = input;
    if (delivered.kind == runtime::run_event_kind::started) delivered.data = input_;
    auto outputs = engine->deliver(delivered);
    history.push_back(std::move(input));
    keep(std::move(outputs));
  }

  /// The process dies and another replays the record, through its stored form.
  void crash() {
    restart_engine();
    keep(engine->replay(decoded_history(), now));
  }

  /// Like `crash`, with other code.
  void crash_into(workflow_definition code) {
    code_ = std::move(code);
    crash();
  }

  /// Like `crash`, with other settings.
  void crash_under(const runtime::run_limits& limits) {
    limits_ = limits;
    crash();
  }

  void signal(std::string name, json payload) {
    runtime::run_event event;
    event.kind = runtime::run_event_kind::signalled;
    event.name = std::move(name);
    event.data = std::move(payload);
    feed(std::move(event));
  }

  void cancel() {
    runtime::run_event event;
    event.kind = runtime::run_event_kind::cancel_requested;
    feed(std::move(event));
  }

  void fire(std::uint32_t command) {
    runtime::run_event event;
    event.kind = runtime::run_event_kind::timer_fired;
    event.command = command;
    feed(std::move(event));
  }

  /// Runs the body of an open step once, when its attempt is due, and records what it gives.
  void run_step(std::uint32_t command) {
    const auto& open = await_attempt(command);
    ++step_runs[open.request.name];
    outcome<json> ended;
    open.request.body.begin(
        {open.attempt, "key"},
        std::make_shared<detail::step_end>([&](outcome<json> told) { ended = std::move(told); }));
    end_attempt(command, std::move(ended));
  }

  /// A model answers an open call with `text`.
  void answer_model(std::uint32_t command, const std::string& text) {
    ++step_runs[await_attempt(command).request.name];
    model_reply reply;
    reply.text = text;
    reply.usage = model_usage{.prompt = 1, .completion = 2, .total = 3};
    end_attempt(command, to_json(reply));
  }

  /// The attempt at a step or a model call ends: with its result, with the failure of the command,
  /// or with another attempt later, as a node decides it.
  void end_attempt(std::uint32_t command, outcome<json> with) {
    const auto& open = await_attempt(command);
    feed(runtime::event_of(
        {command, open.attempt, std::move(with)}, open, identity().workflow_id, now, limits_));
  }

  /// A command ends elsewhere: with a result, or for good.
  void end_command(std::uint32_t command, outcome<json> with) {
    runtime::run_event event;
    event.kind = with ? runtime::run_event_kind::completed : runtime::run_event_kind::failed;
    event.command = command;
    if (with) event.data = std::move(*with);
    if (!with) event.why = runtime::recordable(std::move(with.error()));
    feed(std::move(event));
  }

  /// Runs steps and fires timers, lowest command first, until only signals are awaited.
  void run_all() {
    while (!end) {
      std::uint32_t next = 0;
      for (const auto& [index, one] : engine->open()) {
        if (one.request.kind == command_kind::step || one.request.kind == command_kind::sleep) {
          next = index;
          break;
        }
      }
      if (next == 0) return;
      if (engine->open().at(next).request.kind == command_kind::step) {
        run_step(next);
      } else {
        now = std::max(now, *engine->open().at(next).due);
        fire(next);
      }
    }
  }

  [[nodiscard]] std::vector<runtime::run_event> decoded_history() const {
    std::vector<runtime::run_event> decoded;
    for (const auto& one : history) {
      const auto stored = runtime::encode_run_event(one, identity(), decoded.size()).stored;
      auto back = runtime::decode_run_event({sequence{decoded.size() + 1}, one.time, stored});
      if (back->kind == runtime::run_event_kind::started) {
        back->data = runtime::read_started(*back)->input;
      }
      decoded.push_back(std::move(*back));
    }
    return decoded;
  }

  /// The record as text, to be compared.
  [[nodiscard]] std::string record() const {
    std::string text;
    for (const auto& one : history) {
      const auto stored = runtime::encode_run_event(one, identity(), 0).stored;
      text += std::string{stored.view().substr(runtime::event_prefix_size)};
      text += '\n';
    }
    return text;
  }

  time_ms now{std::chrono::milliseconds{1'000'000}};
  std::vector<runtime::run_event> history;
  std::map<std::string, int> step_runs;
  std::optional<runtime::run_end> end;
  std::unique_ptr<runtime::run_engine> engine;

private:
  void restart_engine() {
    engine.reset();
    auto who = identity();
    who.type = code_.type;
    who.mirror = mirror_;
    engine = std::make_unique<runtime::run_engine>(code_, std::move(who), 7, limits_);
  }

  /// Lets the time pass until the attempt begins.
  const runtime::open_command& await_attempt(std::uint32_t command) {
    const auto& open = engine->open().at(command);
    now = std::max(now, open.due.value_or(now));
    return open;
  }

  void keep(runtime::run_outputs outputs) {
    for (auto& event : outputs.events) {
      event.time = now;
      history.push_back(std::move(event));
    }
    if (outputs.end) end = std::move(outputs.end);
  }

  workflow_definition code_;
  json input_;
  runtime::run_limits limits_;
  std::string mirror_;
};

}  // namespace callboard::tests
