#include "actors/run_model_calls.hpp"

#include "actors/boxed.hpp"
#include "base/hash.hpp"
#include "runtime/topic/publish.hpp"

#include <caf/send.hpp>
#include <fmt/format.h>

#include <string>
#include <utility>

namespace callboard::actors {

namespace {

/// Answers to what is not stored are not waited for.
constexpr correlation_id shown_only{1};

/// The same for all attempts at one command of one run, also of another process; another for a
/// workflow that was deleted and started again. Ids are UTF-8, a header is not.
std::string
key_of(const topic_ref& channel, const runtime::run_start& start, std::uint32_t command) {
  const auto hash = hash_128(fmt::format(
      "{}/{}/{:016x}/{}/{}",
      channel.tenant.str(),
      channel.topic.str(),
      start.incarnation != 0 ? start.incarnation : start.seed,
      start.identity.run,
      command));
  return fmt::format("run-{:016x}{:016x}", hash.high, hash.low);
}

}  // namespace

result<void> run_model_calls::start(
    std::uint32_t command,
    const runtime::open_command& one,
    const topic_ref& channel,
    const runtime::run_start& start,
    std::optional<std::chrono::milliseconds> wait_max) {
  if (interrupted_.contains(command)) {
    // While there is nobody to ask, the record does not grow with each start of a node.
    if (auto found = models_.find(*one.request.question); !found) return found;
    interrupted_.erase(command);
    run_.model_ended(
        command,
        one.attempt,
        std::unexpected{failure{
            failure_class::retryable,
            std::string{runtime::interrupted_code},
            "the process that asked has ended"}});
    return {};
  }
  return models_.start(
      {.command = command,
       .attempt = one.attempt,
       .name = one.request.name,
       .idempotency_key = key_of(channel, start, command),
       .question = one.request.question,
       .wait_max = wait_max},
      start.identity);
}

/// A command of that number that comes later is of the next run.
void run_model_calls::cancel(std::uint32_t command) {
  interrupted_.erase(command);
  models_.cancel(command);
}

void run_model_calls::cancel_all() {
  interrupted_.clear();
  models_.cancel_all();
}

bool run_model_calls::takes_reply(const runtime::publish_reply& reply) {
  if (reply.correlation != shown_only) return false;
  if (!reply.outcome) models_.frames_lost();
  return true;
}

void run_model_calls::show_so_far(std::uint64_t relay, const std::set<std::uint32_t>& told) {
  runtime::publish_request frames;
  frames.correlation = shown_only;
  frames.ephemeral = true;
  frames.role = runtime::frame_role::snapshot;
  frames.only_relay = relay;
  frames.events = models_.so_far(told);
  home_.append_transition(std::move(frames));
}

void run_model_calls::show(std::vector<runtime::encoded_event> events) {
  runtime::publish_request frames;
  frames.correlation = shown_only;
  frames.ephemeral = true;
  frames.role = runtime::frame_role::stream;
  frames.events = std::move(events);
  home_.append_transition(std::move(frames));
}

void run_model_calls::model_ended(
    std::uint32_t command, std::uint32_t attempt, outcome<json> ended) {
  run_.model_ended(command, attempt, std::move(ended));
}

std::function<void(std::move_only_function<void()>)> run_model_calls::doorbell() {
  return [self = home_.run_handle()](std::move_only_function<void()> rest) {
    caf::anon_send(self, box(run_continuation{std::move(rest)}));
  };
}

/// Also into a next run: frames of a call that was cancelled are not looked at.
void run_model_calls::later(std::chrono::milliseconds delay, std::move_only_function<void()> rest) {
  home_.run_later(delay, std::move(rest));
}

}  // namespace callboard::actors
