#include "runtime/workflow/run_engine.hpp"

#include "base/time.hpp"
#include "base/utf8.hpp"
#include "runtime/workflow/agent_names.hpp"
#include "runtime/workflow/run_codec.hpp"

#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <stdexcept>
#include <utility>

namespace callboard::runtime {

namespace {

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
std::uint64_t next_random(std::uint64_t& state) {
  state += 0x9e3779b97f4a7c15ULL;
  auto mixed = state;
  mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9ULL;
  mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebULL;
  return mixed ^ (mixed >> 31);
}

json described(command_kind kind, const std::string& name) {
  return {{"kind", name_of(kind)}, {"name", name}};
}

/// For programs: what was recorded, and what the code does instead; null if it does nothing.
std::string difference(std::uint32_t command, json recorded, json attempted) {
  return boost::json::serialize(boost::json::object{
      {"command", command},
      {"recorded", std::move(recorded)},
      {"attempted", std::move(attempted)}});
}

/// In the record of a command whose arguments are above their limit.
json without_arguments(command_kind kind) {
  const boost::json::object said{{"arguments_too_large", true}};
  if (kind == command_kind::update) return boost::json::object{{"data", said}};
  return said;
}

/// What a signal brought, as the command that waits for it reads it.
json heard_by(const detail::command_request& waiting, json payload) {
  if (!detail::may_time_out(waiting)) return payload;
  boost::json::array list;
  list.push_back(std::move(payload));
  return list;
}

flow<json> thrown_at_start(std::exception_ptr thrown) {
  std::rethrow_exception(std::move(thrown));
  co_return json{};
}

/// Such a command is not recorded: it fails in every replay at the same place. A reply is not
/// asked, as it says so itself.
std::optional<failure> flaw_in(const detail::command_request& request) {
  if (request.kind == command_kind::reply) return std::nullopt;
  if (!is_utf8(request.name)) {
    return not_json(fmt::format("the name of a {}", name_of(request.kind)), "is not UTF-8");
  }
  const auto flaw = flaw_of(request.arguments, code_depth_max, argument_levels);
  if (!flaw) return std::nullopt;
  return not_json(
      fmt::format("what the {} '{}' hands on", name_of(request.kind), request.name), *flaw);
}

/// A failure that is too large with its details: what it is says more than that they were long.
failure without_details(failure why, std::size_t bytes_max) {
  why.details.clear();
  return is_larger(describe_failure(why), bytes_max) ? reply_too_large(bytes_max) : why;
}

}  // namespace

run_engine::run_engine(
    const workflow_definition& code, run_identity identity, std::uint64_t seed, run_limits limits)
    : code_{code},
      identity_{std::move(identity)},
      limits_{limits},
      seed_{seed},
      random_state_{seed},
      context_{*this, identity_} {}

run_engine::~run_engine() {
  close();
}

void run_engine::close() {
  is_closed_ = true;
  for (auto& [index, one] : open_) {
    if (one.slot != nullptr) one.slot->owner = nullptr;
    one.slot = nullptr;
  }
  root_.reset();
  instance_.reset();
}

// -- inputs ------------------------------------------------------------------------------------

run_outputs run_engine::replay(std::span<const run_event> history, time_ms now) {
  for (const auto& event : history)
    note_recorded(event);
  replayed_at_ = now;
  for (const auto& event : history) {
    if (is_input(event.kind)) take_in(event);
  }
  replayed_at_ = {};
  if (!blocked_) park_if_commands_are_missing();
  return take_outputs();
}

void run_engine::note_recorded(const run_event& event) {
  if (is_input(event.kind)) ++inputs_recorded_;
  note_worked_on(event);
  if (event.kind == run_event_kind::issued) {
    recorded_[event.command] = {event.what, event.name, event.data, event.due, is_by_wall(event)};
  } else if (event.kind == run_event_kind::command_cancelled) {
    recorded_cancels_.insert(event.command);
  } else if (event.kind == run_event_kind::parted) {
    const auto commands = recorded_.empty() ? 0 : recorded_.rbegin()->first;
    const auto parting = read_parted(event);
    // No code has worked on what came behind the cut.
    inputs_worked_on_ = inputs_recorded_ - std::min(parting.signals, inputs_recorded_);
    partings_.push_back({inputs_worked_on_, commands, parting.seed, event.time});
  }
}

/// What comes in while a run is blocked waits for code that fits; whatever is put out then shows
/// that the code has caught up.
void run_engine::note_worked_on(const run_event& event) {
  if (event.kind == run_event_kind::ended) {
    is_recorded_blocked_ = event.status == run_status::blocked;
    is_recorded_continued_ = event.status == run_status::continued;
  } else if (!is_input(event.kind)) {
    is_recorded_blocked_ = false;
  }
  if (!is_recorded_blocked_) inputs_worked_on_ = inputs_recorded_;
}

/// The same at the same place of every replay, so it depends on the record alone.
void run_engine::part() {
  while (!partings_.empty() && inputs_taken_ >= partings_.front().inputs
         && last_index_ >= partings_.front().commands) {
    seed_ = random_state_ = partings_.front().seed;
    now_ = std::max(now_, partings_.front().time);
    partings_.pop_front();
  }
}

run_outputs run_engine::deliver(std::span<const run_event> inputs) {
  for (const auto& input : inputs)
    take_in(input);
  return take_outputs();
}

void run_engine::take_in(const run_event& input) {
  if (blocked_) return pass_over(input);
  if (is_closed_) return;
  if (is_ended_) {
    if (input.kind == run_event_kind::signalled) keep_unread(input);
    return;
  }
  now_ = std::max(now_, input.time);
  ++inputs_taken_;
  part();
  commands_left_ = turn_commands_max;
  bytes_left_ = turn_bytes_max;
  switch (input.kind) {
  case run_event_kind::started:
    start(input);
    break;
  case run_event_kind::completed:
    complete(input);
    break;
  case run_event_kind::failed:
    answer(input.command, std::unexpected{input.why.value_or(failure{})});
    break;
  case run_event_kind::timer_fired:
    if (input.due && open_.contains(input.command))
      shown_least_ = std::max(shown_least_, *input.due);
    answer(input.command, json{});
    break;
  case run_event_kind::attempt_failed:
    if (const auto found = open_.find(input.command); found != open_.end()) {
      found->second.attempt = input.attempt + 1;
      found->second.due = input.due;
      if (found->second.request.kind == command_kind::model && input.why
          && input.why->code == interrupted_code) {
        ++found->second.interruptions;
      }
      if (input.is_deferred) ++found->second.deferrals;
    }
    break;
  case run_event_kind::signalled:
    on_signal(input);
    break;
  case run_event_kind::cancel_requested:
    on_cancel();
    break;
  case run_event_kind::issued:
  case run_event_kind::command_cancelled:
  case run_event_kind::ended:
  case run_event_kind::parent_told:
  case run_event_kind::rerun:
  case run_event_kind::build_changed:
  case run_event_kind::unblocked:
  case run_event_kind::parted:
    break;
  }
  finish_if_done();
}

void run_engine::pass_over(const run_event& input) {
  if (ends_command(input.kind)) passed_over_.insert(input.command);
}

bool run_engine::is_passed_over(std::uint32_t command) const {
  return blocked_ && (passed_over_.contains(command) || recorded_cancels_.contains(command));
}

void run_engine::start(const run_event& input) {
  if (is_started_) return;
  is_started_ = true;
  is_cancelling_ = input.is_cancelled;
  if (input.due) shown_least_ = *input.due;
  if (is_agent_type(identity_.type)) input_bytes_ = size_of(input.data);
  try {
    instance_ = code_.make();
    root_ = instance_->run_with(context_, as_recorded(input.data));
  } catch (...) {
    // The constructor of the class is the user's code, too: the run's end tells what it threw.
    root_ = thrown_at_start(std::current_exception());
  }
  root_.start(*this);
}

void run_engine::on_signal(const run_event& input) {
  const auto reader = std::ranges::find_if(open_, [&](const auto& one) {
    return one.second.request.kind == command_kind::signal && one.second.request.name == input.name;
  });
  if (reader == open_.end()) {
    keep_unread(input);
  } else {
    answer(reader->first, heard_by(reader->second.request, input.data));
  }
}

void run_engine::keep_unread(const run_event& input) {
  const auto bytes = unread_size(input);
  unread_bytes_ += bytes;
  unread_signals_.push_back({input, bytes});
}

std::vector<run_event> run_engine::take_unread() {
  unread_bytes_ = 0;
  std::vector<run_event> unread;
  for (auto& one : std::exchange(unread_signals_, {}))
    unread.push_back(std::move(one.event));
  return unread;
}

void run_engine::on_cancel() {
  if (is_cancelling_) return;
  is_cancelling_ = true;
  std::vector<std::uint32_t> waiting;
  for (const auto& [index, one] : open_) {
    if (!one.request.is_shielded) waiting.push_back(index);
  }
  for (const auto index : waiting) {
    const auto found = open_.find(index);
    if (found == open_.end()) continue;
    auto* slot = std::exchange(found->second.slot, nullptr);
    note_cancelled(index);
    if (slot == nullptr) continue;
    slot->owner = nullptr;
    slot->is_cancelled = true;
    slot->waiter.resume();
  }
}

void run_engine::complete(const run_event& input) {
  const auto found = open_.find(input.command);
  if (found == open_.end()) return;
  // Who skips a signal by hand goes on as if none had come.
  const bool is_skipped = input.data.is_null();
  answer(input.command, is_skipped ? input.data : heard_by(found->second.request, input.data));
}

void run_engine::answer(std::uint32_t command, outcome<json> with) {
  const auto found = open_.find(command);
  if (found == open_.end()) return;
  auto* slot = std::exchange(found->second.slot, nullptr);
  close_command(command);
  if (slot == nullptr) return;
  slot->owner = nullptr;
  if (with) *with = as_recorded(std::move(*with));
  slot->answer = std::move(with);
  slot->waiter.resume();
}

run_outputs run_engine::take_outputs() {
  auto outputs = std::exchange(outputs_, {});
  outputs_bytes_ = 0;
  std::erase_if(outputs.issued, [&](std::uint32_t index) { return !open_.contains(index); });
  return outputs;
}

// -- commands ----------------------------------------------------------------------------------

void run_engine::issue(detail::command_request request, detail::command_slot& slot) {
  if (is_closed_ || blocked_) return;
  if (is_cancelling_ && !request.is_shielded) {
    slot.is_cancelled = true;
    return;
  }
  // What an agent has handled it may always say.
  if (commands_left_ == 0 && request.kind != command_kind::reply) {
    slot.answer = std::unexpected{too_many_commands()};
    return;
  }
  if (auto flawed = flaw_in(request)) {
    slot.answer = std::unexpected{*std::move(flawed)};
    return;
  }
  const bool fits = takes_from(bytes_left_, request.arguments);
  commands_left_ = fits && commands_left_ != 0 ? commands_left_ - 1 : 0;
  const auto index = last_index_ + 1;
  if (!agrees(index, request)) return;
  last_index_ = index;
  part();
  slot.owner = this;
  slot.index = index;
  const auto recorded = recorded_.find(index);
  open_command one;
  one.slot = &slot;
  if (recorded != recorded_.end()) {
    if (watch_) watch_(index, request, shown_time());
    one.due = recorded->second.due;
    one.by_wall = recorded->second.by_wall;
  } else if (request.until) {
    one.due = later(time_ms{}, request.until->time_since_epoch());
    one.by_wall = true;
  } else if (request.delay) {
    one.due = later(std::max(now_, replayed_at_), *request.delay);
  }
  one.request = std::move(request);
  // Once the channel has it, the mirror must get it, too.
  if (is_mirrored(one.request)) one.request.is_shielded = true;
  const auto [place, is_new] = open_.emplace(index, std::move(one));
  if (recorded == recorded_.end()) record_issue(index, place->second);
  answer_at_once(index);
}

bool run_engine::is_mirrored(const detail::command_request& request) const {
  return request.kind == command_kind::update && !identity_.mirror.empty();
}

bool run_engine::agrees(std::uint32_t index, const detail::command_request& request) {
  const auto recorded = recorded_.find(index);
  if (recorded == recorded_.end()) return true;
  if (recorded->second.kind == request.kind && recorded->second.name == request.name) return true;
  park(
      std::string{command_differs_code},
      fmt::format(
          "command {} was {} '{}' when it was recorded; the code that runs now does {} '{}' there",
          index,
          name_of(recorded->second.kind),
          recorded->second.name,
          name_of(request.kind),
          request.name),
      difference(
          index,
          described(recorded->second.kind, recorded->second.name),
          described(request.kind, request.name)));
  return false;
}

bool run_engine::park_if_commands_are_missing() {
  const auto missing = recorded_.upper_bound(last_index_);
  if (missing == recorded_.end()) return false;
  park(
      std::string{command_missing_code},
      fmt::format(
          "command {} was {} '{}' when it was recorded; the code that runs now does not come to it",
          missing->first,
          name_of(missing->second.kind),
          missing->second.name),
      difference(missing->first, described(missing->second.kind, missing->second.name), nullptr));
  return true;
}

json run_engine::reply_that_fits(const json& reply) const {
  std::optional<failure> why;
  const auto* told = reply.as_object().if_contains("error");
  if (const auto flaw = flaw_of(reply, code_depth_max, argument_levels)) {
    why =
        told != nullptr ? recordable(read_failure(*told)) : not_json("a reply of an agent", *flaw);
  }
  if (is_larger(reply, limits_.reply_bytes_max)) {
    if (told != nullptr) {
      why = without_details(recordable(read_failure(*told)), limits_.reply_bytes_max);
    } else if (!why) {
      why = reply_too_large(limits_.reply_bytes_max);
    }
  }
  if (!why) return reply;
  boost::json::object fits{{"id", reply.at("id")}, {"error", describe_failure(*why)}};
  if (const auto* said = reply.as_object().if_contains("said")) fits["said"] = *said;
  return fits;
}

void run_engine::record_issue(std::uint32_t index, open_command& one) {
  if (one.request.kind == command_kind::reply) {
    one.request.arguments = std::move(reply_that_fits(one.request.arguments).as_object());
  }
  run_event event;
  event.kind = run_event_kind::issued;
  event.command = index;
  event.what = one.request.kind;
  event.name = one.request.name;
  const bool is_bounded = event.what != command_kind::reply && event.what != command_kind::version;
  if (is_bounded && is_larger(one.request.arguments, limits_.arguments_bytes_max)) {
    event.data = without_arguments(event.what);
  } else {
    event.data = one.request.arguments;
  }
  event.due = one.due;
  if (is_agent_type(identity_.type)) outputs_bytes_ += size_of(event.data);
  outputs_.events.push_back(std::move(event));
  outputs_.issued.push_back(index);
}

void run_engine::answer_at_once(std::uint32_t index) {
  auto& one = open_.at(index);
  std::optional<json> value;
  const bool is_update = one.request.kind == command_kind::update && !is_mirrored(one.request);
  if (is_update) {
    value.emplace();
  } else if (one.request.kind == command_kind::reply) {
    // As it was recorded, whatever the limit was then.
    const auto recorded = recorded_.find(index);
    value = recorded == recorded_.end() ? one.request.arguments : recorded->second.data;
  } else if (one.request.kind == command_kind::signal) {
    const auto unread = std::ranges::find_if(
        unread_signals_, [&](const auto& kept) { return kept.event.name == one.request.name; });
    if (unread == unread_signals_.end()) return;
    unread_bytes_ -= unread->bytes;
    value = heard_by(one.request, std::move(unread->event.data));
    unread_signals_.erase(unread);
  }
  if (!value) return;
  one.slot->owner = nullptr;
  one.slot->answer = as_recorded(std::move(*value));
  close_command(index);
}

void run_engine::close_command(std::uint32_t index) {
  open_.erase(index);
  outputs_.closed.push_back(index);
}

void run_engine::note_cancelled(std::uint32_t index) {
  close_command(index);
  if (recorded_cancels_.contains(index)) return;
  run_event event;
  event.kind = run_event_kind::command_cancelled;
  event.command = index;
  outputs_.events.push_back(std::move(event));
}

void run_engine::abandon(detail::command_slot& slot) {
  slot.owner = nullptr;
  if (is_closed_ || !open_.contains(slot.index)) return;
  note_cancelled(slot.index);
}

void run_engine::park(std::string code, std::string message, std::string details) {
  blocked_ =
      failure{failure_class::bug, std::move(code), std::move(message), 0, std::move(details)};
}

// -- what is answered at once --------------------------------------------------------------------

std::chrono::sys_time<std::chrono::milliseconds> run_engine::now() const {
  return std::chrono::sys_time<std::chrono::milliseconds>{shown_time().time_since_epoch()};
}

std::uint64_t run_engine::random() {
  return next_random(random_state_);
}

/// The code that made the record came here and issued nothing more, yet worked on what came later.
/// A record without any command is that of a run that no code has worked on.
bool run_engine::has_passed() const {
  return !recorded_.empty() && inputs_taken_ < inputs_worked_on_;
}

std::uint32_t run_engine::version(const std::string& change, std::uint32_t current) {
  if (!is_utf8(change)) throw std::invalid_argument{"the name of a change is not UTF-8"};
  if (const auto known = versions_.find(change); known != versions_.end()) return known->second;
  const auto index = last_index_ + 1;
  const auto recorded = recorded_.find(index);
  const bool is_marked = recorded != recorded_.end()
                         && recorded->second.kind == command_kind::version
                         && recorded->second.name == change;
  if (is_marked) {
    last_index_ = index;
    part();
    current = from_json<std::uint32_t>(recorded->second.data.at("version"));
  } else if (recorded != recorded_.end() || has_passed()) {
    current = 0;
  } else if (!is_closed_ && !blocked_) {
    last_index_ = index;
    run_event event;
    event.kind = run_event_kind::issued;
    event.command = index;
    event.what = command_kind::version;
    event.name = change;
    event.data = {{"version", current}};
    outputs_.events.push_back(std::move(event));
  }
  versions_[change] = current;
  return current;
}

void run_engine::set_status(json state) {
  status_ = std::move(state);
}

void run_engine::continue_with(json input) {
  next_input_ = std::move(input);
}

}  // namespace callboard::runtime
