// How long a run stays in memory, and how much of its channel is kept for it.
#include "actors/armed_timers.hpp"
#include "actors/run_host.hpp"
#include "base/log.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

namespace callboard::actors {

namespace {

using namespace std::chrono_literals;

/// A run stays in memory for so many times what its replay takes.
constexpr int replays_per_stay = 10;
constexpr boot_time leisure = 1s;
/// Of a history that has not been replayed yet; measured: 2.8 us.
constexpr boot_time replay_per_event = 3us;
constexpr std::uint32_t many_commands = 10'000;
constexpr std::uint64_t many_bytes = 64ULL << 20;
/// How often one that stays looks whether it may still: those that begin wait for it.
constexpr boot_time look_again = 2s;

/// Of the time that a run may stay in memory: all while that is half full, nothing when it is full.
boot_time share_of(boot_time full, double fill) {
  const auto free = std::clamp(2 * (1 - fill), 0.0, 1.0);
  return std::chrono::duration_cast<boot_time>(full * free);
}

}  // namespace

bool run_host::is_long() const {
  if (!shown_ || shown_->ended) return false;
  return shown_->commands >= many_commands || shown_->history_bytes >= many_bytes;
}

runtime::kept_events run_host::keeps() const {
  // Of a fork whose copy is under way nothing goes. An agent's channel has its retention in its
  // settings, by which sleeping ones are found.
  return {
      .needed_from = shown_ ? shown_->first_seq : sequence{1},
      .count = is_agent() ? 0 : limits().events_kept,
      .held_count = limits().events_held_max};
}

/// Of its current run, on disk.
void run_host::note_history(std::uint64_t bytes) {
  costs_.note_history(bytes);
  if (engine_) engine_->note_history(bytes, start_->answered.written_size());
}

void run_host::note_length(std::uint32_t commands_before) {
  if (commands_before >= many_commands || row_->commands < many_commands || row_->ended) return;
  log::channel("actors")->warn(
      "workflow {} has {} commands and is replayed from the first; continue_as_new begins anew",
      id(),
      row_->commands);
}

boot_time run_host::stay() const {
  if (!row_ || row_->ended) return {};
  const auto share = [this](boot_time full) { return share_of(full, parts_.runs->fill()); };
  // Who asks for it asks again, and each time it would be read anew.
  if (!engine_) {
    return share(std::chrono::milliseconds{parts_.settings.topics.passivate_after_ms});
  }
  const auto events = runtime::history_size(*row_);
  const auto took = costs_.replay_took();
  const auto replay =
      took ? boot_time{*took} : replay_per_event * static_cast<std::int64_t>(events);
  return share(std::max(leisure, replays_per_stay * replay));
}

bool run_host::is_idle() const {
  if (is_dead_) return true;
  if (is_busy_ || is_checking_ || steps_running_ != 0 || async_steps_running_ != 0
      || !inputs_.empty() || !result_waiters_.empty() || !explains_.empty() || !asked_.empty()
      || !lookups_.empty() || wakes_open_ != 0 || owes_parent_ || has_debts()
      || !is_rest_on_disk()) {
    return false;
  }
  // What stops is looked at again when the shard starts.
  if (!row_ || row_->ended || row_->status == runtime::run_status::blocked) return true;
  // What would have to be begun again, or is due soon, keeps it here.
  return !has_work_beside(accepted_) && std::ranges::all_of(timers_, [&](const auto& one) {
    return left_of(one.second) > soon_due;
  });
}

void run_host::note_idleness() {
  settle_debts_later();
  if (!is_idle()) return idle_since_.reset();
  if (idle_since_) return;
  idle_since_ = parts_.time.boot();
  if (std::exchange(is_leaving_, true)) return;
  home_.run_at_leisure([this] { leave(); });
}

void run_host::leave() {
  is_leaving_ = false;
  if (!is_idle() || !idle_since_) return;
  const auto left = *idle_since_ + stay() - parts_.time.boot();
  if (left <= boot_time{}) return home_.may_passivate();
  is_leaving_ = true;
  if (left <= leisure) return home_.run_at_leisure([this] { leave(); });
  const auto next = std::min(left, look_again);
  home_.run_later(std::chrono::ceil<std::chrono::milliseconds>(next), [this] { leave(); });
}

}  // namespace callboard::actors
