// The workflow and the agent of the example.
#pragma once

#include <callboard/agent.hpp>
#include <callboard/workflow.hpp>
#include <string>
#include <string_view>

namespace support {

/// One question of one customer: `{"customer": string, "question": string}`. A model says what it
/// is about, a worker looks up what is known, a model drafts the answer, a person approves it.
/// Gives
/// `{"outcome": "sent"|"rejected"|"expired", "category", "reply", "by", "contact"}`.
struct ticket : callboard::workflow<ticket> {
  static constexpr std::string_view type = "support";

  callboard::flow<callboard::json> run(callboard::context& ctx, callboard::json input);

private:
  static callboard::flow<std::string> classify(callboard::context& ctx, std::string question);

  /// Facts, from the workers on the queue `lookups`.
  static callboard::flow<std::string>
  look_up(callboard::context& ctx, std::string customer, std::string category);

  static callboard::flow<std::string>
  draft(callboard::context& ctx, std::string customer, std::string question, std::string facts);

  static callboard::flow<callboard::json> ask_a_person(callboard::context& ctx, std::string text);
};

/// What the company remembers of one customer, who is the key: how often they asked, and how it
/// ended. The state is `{"contacts": number, "closed": [{"ticket", "outcome"}]}`.
struct desk : callboard::agent<desk, boost::json::object> {
  static constexpr std::string_view type = "desk";
  /// The oldest make room.
  static constexpr std::size_t closed_max = 20;

  static void handlers(callboard::handler_table<desk>& on) {
    on.message("open", &desk::open).message("close", &desk::close);
  }

  /// Gives the number of this contact: 1 for the first.
  callboard::flow<std::int64_t> open(callboard::context& ctx, std::string ticket);

  /// `{"ticket", "outcome"}`.
  callboard::flow<void> close(callboard::context& ctx, boost::json::object ended);
};

}  // namespace support
