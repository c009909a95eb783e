#include "actors/run_models.hpp"

#include "base/utf8.hpp"
#include "runtime/workflow/run_event.hpp"

#include <boost/json/serialize.hpp>

#include <algorithm>
#include <utility>

namespace callboard::actors {

namespace {

/// Pieces are gathered for so long: a reader sees no difference, and a hundred of them cost what
/// one does.
constexpr auto gather_time = std::chrono::milliseconds{20};
/// Text of one `model.delta`; more has gathered only if the run was kept busy.
constexpr std::size_t delta_bytes_max = 64U << 10;

constexpr std::string_view no_provider = "this node has no provider of models: see [models]";

model::chat_request request_of(const run_models::ask& what, const run_identity& run) {
  const auto& question = *what.question;
  model::chat_request to;
  to.tenant = run.tenant;
  to.provider = question.provider;
  to.model = question.model;
  to.messages = question.messages;
  to.tools = question.tools;
  to.temperature = question.temperature;
  to.max_tokens = question.max_tokens;
  to.stream = question.stream;
  to.idempotency_key = what.idempotency_key;
  to.options = question.options;
  to.timeout = question.timeout;
  to.wait_max = what.wait_max;
  return to;
}

failure_class class_of(model::failure_kind kind) {
  switch (kind) {
  case model::failure_kind::retryable:
    return failure_class::retryable;
  case model::failure_kind::rate:
    return failure_class::rate;
  case model::failure_kind::quota:
    return failure_class::quota;
  case model::failure_kind::permanent:
  case model::failure_kind::cancelled:
    break;
  }
  return failure_class::permanent;
}

failure failure_of(const model::failure& why) {
  failure to;
  to.kind = class_of(why.kind);
  const bool is_ours = why.provider_code.empty() || why.provider_code == runtime::interrupted_code;
  to.code = is_ours ? std::string{name_of(why.code)} : why.provider_code;
  to.message = why.detail;
  if (why.retry_after) to.retry_after_ms = static_cast<std::uint32_t>(why.retry_after->count());
  return to;
}

outcome<json> reply_of(model::chat_result from) {
  model_reply to;
  to.text = std::move(from.text);
  to.refusal = std::move(from.refusal);
  for (auto& one : from.tool_calls)
    to.tool_calls.push_back({std::move(one.id), std::move(one.name), std::move(one.arguments)});
  to.finish_reason = std::move(from.finish_reason);
  if (from.usage) {
    const auto& counted = *from.usage;
    to.usage = model_usage{
        counted.prompt, counted.completion, counted.total, counted.cached, counted.reasoning};
  }
  to.provider = std::move(from.provider);
  to.model = std::move(from.model);
  to.response_id = std::move(from.response_id);
  return to_json(to);
}

}  // namespace

std::shared_ptr<model_feed> run_models::make_feed(std::uint32_t command) {
  // The feed is known to those who tell of it only weakly: it holds the run's actor.
  auto known = std::make_shared<std::weak_ptr<model_feed>>();
  auto feed = std::make_shared<model_feed>(
      [this, command, known, ring = home_.doorbell()](model_feed::look when) {
        ring([this, command, known, when] { on_news(command, *known, when); });
      });
  *known = feed;
  return feed;
}

result<void> run_models::start(ask what, run_identity run) {
  const auto command = what.command;
  // Somebody may have taken it before: then it is the node's settings that changed, and may again.
  // Of what was cut before anybody did nobody knows: also a provider that there never was is waited
  // for then, and the run is listed as stuck with the reason.
  const bool was_taken = what.attempt > 1;
  if (calls_ == nullptr) {
    if (was_taken) return fail(errc::not_found, std::string{no_provider});
    home_.model_ended(
        command, what.attempt, give_up("no_model_provider", std::string{no_provider}));
    return {};
  }
  auto feed = make_feed(command);
  auto begun = calls_->start(
      request_of(what, run),
      {.on_attempt = [feed](std::uint32_t round) { feed->begin(round); },
       .on_delta = [feed](std::uint32_t, std::uint64_t, std::string_view text) { feed->add(text); },
       .on_done = [feed](model::chat_outcome ended) { feed->end(std::move(ended)); },
       .on_pause =
           [feed](std::uint32_t round, const model::failure& why, boot_time next) {
             feed->rest({round, why.detail, next});
           }});
  if (!begun) {
    const auto& why = begun.error();
    const bool is_passing = why.code == errc::overloaded || why.code == errc::draining;
    const bool is_missing = why.code == errc::not_found;
    if (is_passing || (was_taken && is_missing)) return std::unexpected{why};
    home_.model_ended(command, what.attempt, give_up(std::string{name_of(why.code)}, why.detail));
    return {};
  }
  open_.insert_or_assign(
      command,
      call{.what = std::move(what), .run = std::move(run), .feed = std::move(feed), .id = *begun});
  return {};
}

result<void> run_models::find(const model_request& question) const {
  if (calls_ == nullptr) return fail(errc::not_found, std::string{no_provider});
  return calls_->find(question.provider, question.model);
}

void run_models::cancel(std::uint32_t command) {
  const auto found = open_.find(command);
  if (found == open_.end()) return;
  if (found->second.feed) calls_->cancel(found->second.id);
  open_.erase(found);
}

std::optional<model_feed::pause> run_models::pause_of(std::uint32_t command) const {
  const auto found = open_.find(command);
  if (found == open_.end() || !found->second.feed) return std::nullopt;
  return found->second.feed->resting();
}

bool run_models::is_under_way(std::uint32_t command) const {
  const auto found = open_.find(command);
  return found != open_.end() && found->second.feed && !found->second.feed->resting();
}

void run_models::recorded(std::uint32_t command) {
  const auto found = open_.find(command);
  if (found != open_.end() && !found->second.feed) open_.erase(found);
}

void run_models::cancel_all() {
  for (const auto& [command, one] : std::exchange(open_, {}))
    if (one.feed) calls_->cancel(one.id);
}

// -- what comes ----------------------------------------------------------------------------------

void run_models::on_news(
    std::uint32_t command, const std::weak_ptr<model_feed>& of, model_feed::look when) {
  if (when == model_feed::look::now) return look_at(command, of);
  home_.later(gather_time, [this, command, of] { look_at(command, of); });
}

/// Frames of a call that was cancelled or tried again are not looked at.
void run_models::look_at(std::uint32_t command, const std::weak_ptr<model_feed>& of) {
  const auto found = open_.find(command);
  if (found == open_.end() || !found->second.feed || found->second.feed != of.lock()) return;
  auto news = found->second.feed->take();
  show(found->second, news);
  if (news.outcome) end(command, std::move(*news.outcome));
}

void run_models::show(call& one, model_feed::taken& news) {
  if (!one.what.question->stream) return;
  std::vector<runtime::encoded_event> events;
  const runtime::model_piece piece{one.what.command, one.what.name, one.what.attempt, news.round};
  if (news.round != one.round) {
    one.round = news.round;
    one.next_index = 0;
    one.text.clear();
    one.lost = false;
    events.push_back(runtime::encode_model_reset(piece, one.run));
  }
  one.text += news.text;
  if (!news.text.empty() && std::exchange(one.lost, false)) {
    events.push_back(runtime::encode_model_snapshot(piece, one.next_index++, one.text, one.run));
    return home_.show(std::move(events));
  }
  for (std::string_view rest = news.text; !rest.empty();) {
    const auto part = front_of(rest, delta_bytes_max);
    events.push_back(runtime::encode_model_delta(piece, one.next_index++, part, one.run));
    rest.remove_prefix(part.size());
  }
  if (!events.empty()) home_.show(std::move(events));
}

void run_models::end(std::uint32_t command, model::chat_outcome with) {
  auto& ended = open_.at(command);
  const auto attempt = ended.what.attempt;
  ended.feed.reset();
  if (with) return home_.model_ended(command, attempt, reply_of(std::move(*with)));
  // The node stops: the run goes on where it starts next.
  if (with.error().kind == model::failure_kind::cancelled) return recorded(command);
  home_.model_ended(command, attempt, std::unexpected{failure_of(with.error())});
}

void run_models::frames_lost() {
  for (auto& [command, one] : open_)
    one.lost = true;
}

std::vector<runtime::encoded_event> run_models::so_far(const std::set<std::uint32_t>& told) const {
  std::vector<runtime::encoded_event> events;
  for (const auto& [command, one] : open_) {
    if (one.round == 0 || (!one.feed && told.contains(command))) continue;
    const runtime::model_piece piece{command, one.what.name, one.what.attempt, one.round};
    if (one.next_index == 0) {
      events.push_back(runtime::encode_model_reset(piece, one.run));
    } else {
      events.push_back(
          runtime::encode_model_snapshot(piece, one.next_index - 1, one.text, one.run));
    }
  }
  return events;
}

}  // namespace callboard::actors
