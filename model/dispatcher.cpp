#include "model/dispatcher.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <new>
#include <utility>

namespace callboard::model {

namespace {

using std::chrono::milliseconds;

/// How long the thread sleeps at most while calls are open: a clock that is moved by hand (tests)
/// wakes nobody.
constexpr milliseconds look_again{250};
constexpr milliseconds idle_wait{60'000};

failure cancelled() {
  failure out;
  out.kind = failure_kind::cancelled;
  out.code = errc::cancelled;
  out.detail = "the call was cancelled";
  return out;
}

/// Nobody can be asked now; somebody may be after `pause`.
failure put_off(errc code, milliseconds pause, std::string detail) {
  failure out;
  out.kind = failure_kind::rate;
  out.code = code;
  out.detail = std::move(detail);
  out.retry_after = pause;
  out.retry_after_ms = static_cast<std::uint32_t>(pause.count());
  return out;
}

/// Ours is too much for the providers: somebody is to be asked later.
failure overloaded(std::string detail) {
  return put_off(errc::overloaded, full_queue_pause, std::move(detail));
}

/// The provider wants no request for longer than the call may take.
failure held_back(const std::string& provider, boot_time wait) {
  const auto left = std::chrono::ceil<milliseconds>(wait);
  auto out = put_off(
      errc::rate_limited,
      left,
      fmt::format("{} wants no request for {} ms", provider, left.count()));
  out.provider = provider;
  return out;
}

/// What the provider it is at is asked for.
const std::string& model_of(const call& one) {
  const auto& its_own = one.where().settings.default_model;
  return one.at == 0 || its_own.empty() ? one.model : its_own;
}

/// Higher for what is more likely to pass, or to pass sooner; a wish that is waited for at the
/// provider itself (`wait_max`) is as good as none.
std::pair<int, milliseconds> hope_in(const failure& failed, milliseconds wait_max) {
  const auto wait = std::max(failed.retry_after.value_or(milliseconds{0}), wait_max);
  switch (failed.kind) {
  case failure_kind::retryable:
  case failure_kind::rate:
    return {2, -wait};
  case failure_kind::quota:
    return {1, -wait};
  case failure_kind::permanent:
  case failure_kind::cancelled:
    break;
  }
  return {0, -wait};
}

/// Whoever asked would rather wait for that himself.
bool is_left_to_asker(const call& one, const failure& failed) {
  return failed.kind == failure_kind::rate && failed.retry_after && one.wait_max
         && *failed.retry_after > *one.wait_max;
}

/// True for what says that the provider has too much to do.
bool is_overload(const failure& failed) {
  return failed.kind == failure_kind::rate || failed.code == errc::overloaded
         || failed.code == errc::timeout;
}

}  // namespace

dispatcher::dispatcher(provider_list& providers, client_parts parts)
    : providers_{providers}, parts_{std::move(parts)}, multi_{curl_multi_init()} {
  if (multi_ == nullptr) throw std::bad_alloc{};
  long connections = 0;
  for (const auto& one : providers_)
    connections += one->settings.concurrency.max;
  curl_multi_setopt(multi_.get(), CURLMOPT_MAXCONNECTS, connections);
}

dispatcher::~dispatcher() {
  for (auto& [id, one] : calls_)
    end_transfer(*one);
}

// -- from outside ---

void dispatcher::admit(std::unique_ptr<call> one) {
  auto& added = *one;
  calls_.emplace(added.id, std::move(one));
  wait_in_queue(added);
}

void dispatcher::cancel(call_id id) {
  const auto found = calls_.find(id);
  if (found == calls_.end()) return;
  finish(*found->second, std::unexpected{cancelled()});
}

void dispatcher::cancel_all() {
  while (!calls_.empty())
    finish(*calls_.begin()->second, std::unexpected{cancelled()});
  publish();
}

void dispatcher::turn() {
  move_transfers();
  fire_timers();
  start_ready();
  publish();
}

void dispatcher::wait() {
  auto most = idle_wait;
  if (!timers_.empty()) {
    const auto left = timers_.begin()->first - parts_.time.boot();
    most = std::clamp(std::chrono::ceil<milliseconds>(left), milliseconds{0}, look_again);
  }
  curl_multi_poll(multi_.get(), nullptr, 0, static_cast<int>(most.count()), nullptr);
}

void dispatcher::wake() {
  curl_multi_wakeup(multi_.get());
}

// -- a turn ---

void dispatcher::move_transfers() {
  int running = 0;
  curl_multi_perform(multi_.get(), &running);
  int left = 0;
  while (const auto* message = curl_multi_info_read(multi_.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    const auto code = message->data.result;
    void* owner = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &owner);
    auto& one = *static_cast<call*>(owner);
    conclude(one, one.running->finish(code));
  }
}

void dispatcher::fire_timers() {
  const auto now = parts_.time.boot();
  while (!timers_.empty() && timers_.begin()->first <= now) {
    on_timer(*calls_.at(timers_.begin()->second), now);
  }
}

void dispatcher::start_ready() {
  for (auto& at : providers_) {
    probe(*at);
    const turn_queue::room has_room = [&at](const std::string& model) {
      return at->has_room_for(model);
    };
    while (at->in_flight < at->settings.concurrency.max) {
      const auto next = at->ready.take(has_room);
      if (!next) break;
      auto& one = *calls_.at(*next);
      at->waiting.leave(one.tenant, one.size());
      start_attempt(one);
    }
  }
}

void dispatcher::publish() {
  for (const auto& at : providers_) {
    at->load->ready = static_cast<std::uint32_t>(at->ready.size());
    at->load->backing_off = at->backing_off;
    at->load->in_flight = at->in_flight;
    at->load->limit = at->lowest_limit();
    at->load->oldest_ns =
        at->ready.empty() ? 0 : calls_.at(*at->ready.calls().begin())->since.count();
    at->load->held_until_ns = at->held.last().count();
  }
}

// -- one call ---

boot_time dispatcher::due_of(const call& one) const {
  switch (one.phase) {
  case call_phase::backing_off:
  case call_phase::held:
    return std::min(one.since, one.deadline);
  // An answer that is whole is waited for, if only for its connection.
  case call_phase::in_flight:
    return one.running->whole() ? one.running->due() : std::min(one.running->due(), one.deadline);
  case call_phase::ready:
  case call_phase::between:
    break;
  }
  return one.deadline;
}

void dispatcher::arm(call& one) {
  timers_.erase({one.armed, one.id});
  one.armed = due_of(one);
  timers_.emplace(one.armed, one.id);
}

void dispatcher::on_timer(call& one, boot_time now) {
  if (due_of(one) > now) return arm(one);
  if (one.phase == call_phase::in_flight && one.running->decided()) {
    return conclude(one, one.running->finish(CURLE_OK));
  }
  if (now >= one.deadline) return finish(one, std::unexpected{out_of_time(one)});
  if (one.phase == call_phase::in_flight) {
    return conclude(one, std::unexpected{one.running->timed_out()});
  }
  go_on(one);
}

failure dispatcher::out_of_time(const call& one) const {
  const auto given = std::chrono::duration_cast<milliseconds>(one.deadline - one.began);
  if (one.attempt == 0) {
    return overloaded(fmt::format(
        "{}: its turn did not come within {} ms: others wait before it",
        one.where().name(),
        given.count()));
  }
  return retryable_failure(
      errc::timeout,
      fmt::format(
          "no answer within {} ms; last failure: {}",
          given.count(),
          one.last_failure ? one.last_failure->detail : "none"));
}

failure dispatcher::verdict(const call& one, failure failed) {
  const bool is_about_request =
      failed.kind == failure_kind::permanent && failed.scope == failure_scope::request;
  if (is_about_request || !one.hopeful) return failed;
  const auto wait_max = one.where().settings.retry.fallback_wait_max;
  if (hope_in(failed, wait_max) >= hope_in(*one.hopeful, wait_max)) return failed;
  auto out = *one.hopeful;
  out.detail += "; then " + failed.detail;
  return out;
}

void dispatcher::leave_for(call& one, failure why) {
  one.hopeful = verdict(one, std::move(why));
}

boot_time dispatcher::held_until(const call& one) const {
  const auto until = one.where().held.until(model_of(one), one.tenant);
  return until > parts_.time.boot() && !may_probe(one) ? until : boot_time{};
}

bool dispatcher::may_probe(const call& one) const {
  const auto& at = one.where();
  const auto& model = model_of(one);
  return at.held.is_unheard(model, one.tenant, parts_.time.boot()) && !at.is_asked_for(model);
}

bool dispatcher::is_too_late(const call& one, boot_time held) const {
  if (held == boot_time{}) return false;
  const bool others = one.at + 1 < one.chain.size();
  const auto wait = held - parts_.time.boot();
  return held >= one.deadline || (others && wait > one.where().settings.retry.fallback_wait_max);
}

void dispatcher::heed(const call& told, const failure& failed) {
  const bool is_for_all = failed.status == 429 || failed.status == 503;
  if (!is_for_all || failed.retry_after.value_or(milliseconds{0}) == milliseconds{0}) return;
  auto& at = told.where();
  const auto now = parts_.time.boot();
  const auto& retry = at.settings.retry;
  const auto wish = std::min(*failed.retry_after, retry.hold_max);
  const auto model = model_of(told);
  at.held.add(model, told.tenant, now + honoured(wish, retry, parts_.random), now);
  // The oldest last: it may be the one that asks all the same.
  const std::vector<call_id> waiting{at.ready.calls().rbegin(), at.ready.calls().rend()};
  for (const auto id : waiting) {
    auto& one = *calls_.at(id);
    if (model_of(one) != model || held_until(one) == boot_time{}) continue;
    at.ready.remove(model, one.tenant, id);
    one.phase = call_phase::between;
    wait_in_queue(one);
  }
}

void dispatcher::release(const call& answered) {
  auto& at = answered.where();
  const auto& model = model_of(answered);
  if (!at.held.lift(model, answered.tenant, answered.since, parts_.time.boot())) return;
  std::vector<call_id> waiting;
  for (const auto& [id, one] : calls_) {
    const bool is_here = &one->where() == &at && model_of(*one) == model;
    if (is_here && one->phase == call_phase::held && held_until(*one) == boot_time{}) {
      waiting.push_back(id);
    }
  }
  for (const auto id : waiting)
    go_on(*calls_.at(id));
}

void dispatcher::probe(provider& at) {
  for (const auto& model : at.held.models(parts_.time.boot())) {
    if (at.is_asked_for(model)) continue;
    call* first = nullptr;
    for (const auto& [id, one] : calls_) {
      const bool is_here = &one->where() == &at && model_of(*one) == model;
      if (!is_here || one->phase != call_phase::held || !may_probe(*one)) continue;
      if (first == nullptr || id < first->id) first = one.get();
    }
    if (first != nullptr) go_on(*first);
  }
}

void dispatcher::go_on(call& resting) {
  --resting.where().backing_off;
  resting.phase = call_phase::between;
  wait_in_queue(resting);
}

void dispatcher::wait_in_queue(call& one) {
  auto held = held_until(one);
  while (is_too_late(one, held)) {
    auto why = held_back(one.where().name(), held - parts_.time.boot());
    if (!hand_on(one)) break;
    leave_for(one, std::move(why));
    held = held_until(one);
  }
  if (held != boot_time{}) {
    auto why = held_back(one.where().name(), held - parts_.time.boot());
    if (held >= one.deadline) {
      return finish(one, std::unexpected{verdict(one, std::move(why))});
    }
    if (one.callbacks.on_pause) one.callbacks.on_pause(one.attempt, why, held);
    return rest(one, held, call_phase::held);
  }
  one.phase = call_phase::ready;
  one.since = parts_.time.boot();
  one.where().ready.add(model_of(one), one.tenant, one.id);
  arm(one);
}

void dispatcher::rest(call& one, boot_time until, call_phase how) {
  one.phase = how;
  one.since = until;
  ++one.where().backing_off;
  arm(one);
}

transfer_request dispatcher::request_of(const call& one) const {
  const auto& at = one.where();
  transfer_request out;
  out.url = at.url;
  out.stream = one.body.stream;
  out.body = body_for(at.settings, model_of(one), one.body);
  out.idempotency_key = one.idempotency_key;
  // Two providers may be one server with two models: there, the same key with another request
  // would be refused.
  if (one.at > 0 && !out.idempotency_key.empty()) out.idempotency_key += "/" + at.name();
  return out;
}

transfer_listener dispatcher::listener_of(call& one) {
  return {
      .on_text =
          [&one](std::string_view text) {
            if (!one.callbacks.on_delta) return;
            one.callbacks.on_delta(one.attempt, one.delta_index++, text);
          },
      .on_sooner = [this, &one] { arm(one); }};
}

void dispatcher::start_attempt(call& one) {
  auto& at = one.where();
  one.phase = call_phase::in_flight;
  one.since = parts_.time.boot();
  one.began_after = at.limit_of(model_of(one)).begin(one.tenant);
  ++at.in_flight;
  ++one.attempt;
  one.delta_index = 0;
  at.counters.attempts.Increment();
  if (one.callbacks.on_attempt) one.callbacks.on_attempt(one.attempt);
  one.running = std::make_unique<transfer>(
      at.settings, at.key, request_of(one), parts_.time, listener_of(one));
  curl_easy_setopt(one.running->handle(), CURLOPT_PRIVATE, &one);
  if (curl_multi_add_handle(multi_.get(), one.running->handle()) != CURLM_OK) {
    return conclude(
        one, std::unexpected{retryable_failure(errc::unreachable, "the transfer did not begin")});
  }
  arm(one);
}

void dispatcher::end_transfer(call& one) {
  if (!one.running) return;
  curl_multi_remove_handle(multi_.get(), one.running->handle());
  one.running.reset();
}

void dispatcher::count_attempt(call& one, const chat_outcome& outcome) {
  auto& at = one.where();
  auto& limit = at.limit_of(model_of(one));
  --at.in_flight;
  if (outcome) {
    limit.succeeded(one.tenant, one.began_after);
  } else if (is_overload(outcome.error())) {
    limit.overloaded(one.tenant, one.began_after);
  } else {
    limit.ended(one.tenant);
  }
  const auto took = std::chrono::duration<double>(parts_.time.boot() - one.since);
  at.counters.attempt_seconds.Observe(took.count());
}

void dispatcher::conclude(call& one, chat_outcome outcome) {
  count_attempt(one, outcome);
  end_transfer(one);
  one.phase = call_phase::between;
  one.where().waiting.come_back(one.tenant, one.size());
  if (outcome) {
    release(one);
    return finish(one, std::move(outcome));
  }
  outcome.error().provider = one.where().name();
  outcome.error().detail = fmt::format("{}: {}", one.where().name(), outcome.error().detail);
  try_again(one, std::move(outcome.error()));
}

void dispatcher::try_again(call& one, failure failed) {
  const auto now = parts_.time.boot();
  const auto left = std::chrono::floor<milliseconds>(one.deadline - now);
  const bool others = one.at + 1 < one.chain.size();
  const auto next = one.retries.after(failed, left, others, parts_.random);
  one.last_failure = failed;
  heed(one, failed);
  if (next.step == next_step::wait && !others && is_left_to_asker(one, failed)) {
    // Also if there was more hope elsewhere: only this failure names the time.
    return finish(one, std::unexpected{std::move(failed)});
  }
  if (next.step == next_step::give_up) {
    return finish(one, std::unexpected{verdict(one, std::move(failed))});
  }
  if (next.step == next_step::next_provider && !hand_on(one)) {
    return finish(
        one,
        std::unexpected{overloaded(
            fmt::format("the queues of all fallbacks are full; last failure: {}", failed.detail))});
  }
  if (one.callbacks.on_pause) one.callbacks.on_pause(one.attempt, failed, now + next.delay);
  if (next.step == next_step::next_provider) {
    leave_for(one, std::move(failed));
    return wait_in_queue(one);
  }
  rest(one, now + next.delay, call_phase::backing_off);
}

bool dispatcher::hand_on(call& one) {
  for (auto next = one.at + 1; next < one.chain.size(); ++next) {
    auto& to = *one.chain[next];
    if (!to.waiting.enter(one.tenant, one.size())) {
      to.counters.refused.Increment();
      continue;
    }
    one.where().waiting.leave(one.tenant, one.size());
    one.at = next;
    one.retries = retry_state{to.settings.retry};
    return true;
  }
  return false;
}

void dispatcher::finish(call& one, chat_outcome outcome) {
  auto& at = one.where();
  if (one.phase == call_phase::in_flight) {
    at.limit_of(model_of(one)).ended(one.tenant);
    --at.in_flight;
    end_transfer(one);
  } else {
    if (one.phase == call_phase::ready) at.ready.remove(model_of(one), one.tenant, one.id);
    if (one.rests()) --at.backing_off;
    at.waiting.leave(one.tenant, one.size());
  }
  timers_.erase({one.armed, one.id});
  if (outcome) {
    outcome->provider = at.name();
    outcome->attempts = one.attempt;
  } else {
    if (outcome.error().provider.empty()) outcome.error().provider = at.name();
    outcome.error().attempts = one.attempt;
  }
  at.counters.ended(outcome);
  const auto held = std::move(calls_.extract(one.id).mapped());
  held->callbacks.on_done(std::move(outcome));
}

}  // namespace callboard::model
