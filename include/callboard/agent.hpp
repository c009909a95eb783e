// An agent is a class with a name, a state and a handler for each kind of message. Each key has an
// agent of its own, which lives from its first message on and handles one message at a time.
//
//   struct counter : callboard::agent<counter, std::int64_t> {
//     static constexpr std::string_view type = "counter";
//     static void handlers(callboard::handler_table<counter>& on) { on.message("add",
//     &counter::add); } callboard::flow<std::int64_t> add(callboard::context& ctx, std::int64_t by)
//     {
//       state() += by;
//       co_return state();
//     }
//   };
#pragma once

#include "callboard/json_text.hpp"
#include "callboard/workflow.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <concepts>
#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace callboard {

/// The messages an agent class understands.
template <class Derived>
class handler_table {
public:
  /// `handler` takes the message's JSON as its `Message` and gives the reply. A payload of another
  /// shape is answered with the failure `bad_message`, and no handler runs.
  template <class R, class Message>
  handler_table& message(std::string name, flow<R> (Derived::*handler)(context&, Message)) {
    handlers_[std::move(name)] = [handler](Derived& self, context& ctx, const json& payload) {
      return handle(self, handler, ctx, payload);
    };
    return *this;
  }

  /// Failures: unknown_message, bad_message, and what the handler gives or throws.
  flow<outcome<json>> dispatch(Derived& self, context& ctx, std::string name, json payload) const {
    const auto found = handlers_.find(name);
    if (found == handlers_.end()) {
      co_return give_up("unknown_message", "this agent has no handler for '" + name + "'");
    }
    co_return co_await found->second(self, ctx, payload);
  }

private:
  using handler = std::function<flow<outcome<json>>(Derived&, context&, const json&)>;

  template <class R, class Message>
  static flow<outcome<json>> handle(
      Derived& self, flow<R> (Derived::*handler)(context&, Message), context& ctx, json payload) {
    using plain = std::remove_cvref_t<Message>;
    std::optional<plain> message;
    try {
      message.emplace(from_json<plain>(payload));
    } catch (const std::exception& thrown) {
      co_return give_up("bad_message", std::string{"the payload: "} + thrown.what());
    } catch (...) {
      co_return give_up("bad_message", "its conversion threw something that is no std::exception");
    }
    try {
      if constexpr (std::is_void_v<R>) {
        co_await (self.*handler)(ctx, std::move(*message));
        co_return json{};
      } else {
        co_return to_json(co_await (self.*handler)(ctx, std::move(*message)));
      }
    } catch (const run_failed& thrown) {
      co_return std::unexpected{thrown.why()};
    } catch (const cancelled&) {
      throw;
    } catch (const std::exception& thrown) {
      co_return std::unexpected{failure{failure_class::bug, "exception", thrown.what()}};
    } catch (...) {
      co_return std::unexpected{
          failure{failure_class::bug, "exception", "something that is no std::exception"}};
    }
  }

  std::map<std::string, handler, std::less<>> handlers_;
};

namespace detail {

/// What distinguishes agents from other workflows in journals and registries.
inline constexpr std::string_view agent_type_prefix = "agent:";
inline constexpr std::string_view agent_id_prefix = "agent.";
/// The signal that carries messages.
inline constexpr std::string_view agent_signal = "message";
/// What the handler of a message fails with that leaves a state behind which cannot be handed on.
inline constexpr std::string_view state_too_large = "state_too_large";

/// Replies that an agent remembers, so that a message that comes again is answered and not handled
/// again.
class recent_replies {
public:
  static constexpr std::size_t replies_max = 64;
  static constexpr std::size_t bytes_max = 64 << 10;

  void remember(boost::json::object reply) {
    const auto size = boost::json::serialize(reply).size();
    bytes_ += size;
    replies_.emplace_back(std::move(reply), size);
    while (replies_.size() > 1 && (replies_.size() > replies_max || bytes_ > bytes_max)) {
      bytes_ -= replies_.front().second;
      replies_.pop_front();
    }
  }

  [[nodiscard]] boost::json::array all() const {
    boost::json::array list;
    for (const auto& [reply, size] : replies_)
      list.push_back(reply);
    return list;
  }

private:
  std::deque<std::pair<boost::json::object, std::size_t>> replies_;
  std::size_t bytes_ = 0;
};

}  // namespace detail

/// Base of an agent class. `Derived` has `type` (a token of `[A-Za-z0-9_-]`), may have `version`
/// (default 1), and `static void handlers(handler_table<Derived>&)`. `State` is default-constructed
/// for a new key, copyable, and JSON-convertible: it is what outlives the journal of old messages.
/// What a handler that fails did to the state is undone; what it made the world do is not.
template <class Derived, class State>
  requires std::default_initializable<State> && std::copyable<State>
class agent : public workflow_instance {
public:
  [[nodiscard]] static workflow_definition definition() {
    workflow_definition made;
    made.type = std::string{detail::agent_type_prefix} + std::string{Derived::type};
    if constexpr (requires { Derived::version; }) made.version = Derived::version;
    made.make = []() -> std::unique_ptr<workflow_instance> { return std::make_unique<Derived>(); };
    return made;
  }

  flow<json> run_with(context& ctx, json input) final {
    return live(static_cast<Derived&>(*this), *this, ctx, std::move(input));
  }

protected:
  [[nodiscard]] State& state() { return state_; }

  [[nodiscard]] const State& state() const { return state_; }

private:
  static const handler_table<Derived>& table() {
    static const handler_table<Derived> made = [] {
      handler_table<Derived> on;
      Derived::handlers(on);
      return on;
    }();
    return made;
  }

  static flow<json> live(Derived& self, agent& base, context& ctx, json input) {
    base.open(input);
    json shown = to_json(base.state_);
    std::uint32_t handled = 0;
    do {
      ctx.set_status(shown);
      const auto heard = co_await ctx.signal(std::string{detail::agent_signal});
      // Somebody may have ended the wait by hand, with whatever it was.
      if (!heard || !is_message(*heard)) continue;
      const auto& message = heard->as_object();
      const auto& chain = message.at("chain").as_array();
      context within{ctx, chain};
      State before = base.state_;
      auto ended = co_await table().dispatch(
          self, within, std::string{message.at("message").as_string()}, message.at("payload"));
      // What a handler leaves behind that failed may be no state at all. One that cannot be
      // recorded would be lost with the run, which cannot hand it on.
      auto changed = ended ? recorded(base.state_) : outcome<json>{json{}};
      if (!changed) ended = std::unexpected{changed.error()};
      if (ended) {
        if (auto flaw = ctx.flaw_in_state(*changed)) ended = std::unexpected{*std::move(flaw)};
      }
      const json said = co_await ctx.reply(reply_of(message, ended)).required();
      // As it was told, also by a build that did not look, or under another limit.
      if (is_undone(said.as_object(), ended.has_value())) {
        base.state_ = std::move(before);
      } else {
        shown = (ended ? std::move(changed) : recorded(base.state_)).value_or(shown);
      }
      base.replies_.remember(said.as_object());
    } while (!ctx.is_history_long(++handled));
    ctx.set_status(shown);
    co_return ctx.continue_as_new(
        boost::json::object{{"state", std::move(shown)}, {"recent", base.replies_.all()}});
  }

  static bool is_message(const json& heard) {
    const auto* members = heard.if_object();
    if (members == nullptr || !members->contains("payload")) return false;
    const auto* id = members->if_contains("id");
    const auto* name = members->if_contains("message");
    const auto* chain = members->if_contains("chain");
    return id != nullptr && id->is_string() && name != nullptr && name->is_string()
           && chain != nullptr && chain->is_array();
  }

  /// By what its caller was told a handler left no state behind; `is_well`: by the code that runs
  /// now it did. Of a reply that was too large, or no JSON, the state stays.
  static bool is_undone(const boost::json::object& said, bool is_well) {
    const auto* error = said.if_contains("error");
    return error != nullptr
           && (!is_well || error->at("code").as_string() == detail::state_too_large);
  }

  /// The state as JSON, or why it cannot be recorded as that.
  static outcome<json> recorded(const State& state) {
    const auto flawed = [](failure_class kind, std::string code, const std::string& flaw) {
      return std::unexpected{failure{
          kind,
          std::move(code),
          "the state of the agent " + flaw
              + ", so it cannot be recorded as JSON, and stays as it was"}};
    };
    try {
      json said = to_json(state);
      const auto flaw = flaw_of(said);
      if (!flaw) return said;
      return flawed(failure_class::permanent, "not_json", *flaw);
    } catch (const std::exception& bug) {
      return flawed(failure_class::bug, "exception", std::string{"cannot be said: "} + bug.what());
    } catch (...) {
      return flawed(failure_class::bug, "exception", "cannot be said");
    }
  }

  void open(const json& input) {
    if (!input.is_object()) return;
    state_ = from_json<State>(input.at("state"));
    for (const auto& one : input.at("recent").as_array())
      replies_.remember(one.as_object());
  }

  static boost::json::object reply_of(const boost::json::object& message, outcome<json>& ended) {
    boost::json::object reply{{"id", message.at("id")}};
    // By which the same id with other words is told from a repetition.
    if (const auto* said = message.if_contains("said")) reply["said"] = *said;
    if (ended) {
      reply["result"] = std::move(*ended);
    } else {
      const auto& why = ended.error();
      boost::json::object error{
          {"class", name_of(why.kind)}, {"code", why.code}, {"message", why.message}};
      if (why.retry_after_ms != 0) error["retry_after_ms"] = why.retry_after_ms;
      if (!why.details.empty()) error["details"] = json_or_text(why.details);
      reply["error"] = std::move(error);
    }
    return reply;
  }

  State state_{};
  detail::recent_replies replies_;
};

}  // namespace callboard
