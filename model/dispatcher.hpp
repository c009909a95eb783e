// The work of the client's thread: calls, their timers and their transfers.
#pragma once

#include "model/call.hpp"
#include "model/curl_handles.hpp"
#include "model/provider.hpp"

#include <chrono>
#include <memory>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

namespace callboard::model {

/// All but `wake` is for the client's thread.
class dispatcher {
public:
  using provider_list = std::vector<std::unique_ptr<provider>>;

  /// `providers` and what `parts` refers to outlive it.
  dispatcher(provider_list& providers, client_parts parts);
  ~dispatcher();

  dispatcher(const dispatcher&) = delete;
  dispatcher& operator=(const dispatcher&) = delete;

  /// A call that was counted in at its provider.
  void admit(std::unique_ptr<call> one);

  void cancel(call_id id);

  void cancel_all();

  /// Moves transfers on, ends what is due, starts what has room.
  void turn();

  /// Until something happens, a timer is due or `wake` was called.
  void wait();

  /// Any thread.
  void wake();

private:
  void move_transfers();
  void fire_timers();
  void start_ready();
  void publish();

  void on_timer(call& one, boot_time now);
  void start_attempt(call& one);
  [[nodiscard]] transfer_listener listener_of(call& one);
  void conclude(call& one, chat_outcome outcome);
  void try_again(call& one, failure failed);
  /// Lets a call that waits at its provider wait at the next one that has room; false if none has.
  [[nodiscard]] bool hand_on(call& one);
  void wait_in_queue(call& one);
  void rest(call& one, boot_time until, call_phase how);
  /// When the provider wants to be asked again goes for other calls, too (`holds`).
  void heed(const call& told, const failure& failed);
  /// Those that an answer shows to be held in vain.
  void release(const call& answered);
  /// Where all are held and nobody asks, no answer could show that: one asks all the same.
  void probe(provider& at);
  [[nodiscard]] bool may_probe(const call& one) const;
  void go_on(call& resting);
  /// Until when the provider wants no request for what the call asks for; 0 = it wants them.
  [[nodiscard]] boot_time held_until(const call& one) const;
  /// Whether that is longer than the call waits there.
  [[nodiscard]] bool is_too_late(const call& one, boot_time held) const;
  void end_transfer(call& one);
  void count_attempt(call& one, const chat_outcome& outcome);
  void finish(call& one, chat_outcome outcome);
  [[nodiscard]] failure out_of_time(const call& one) const;
  /// What a call ends with whose last provider has `failed`: what leaves most hope of all that its
  /// providers said.
  [[nodiscard]] static failure verdict(const call& one, failure failed);
  /// Keeps it for the verdict: `why` the call leaves a provider.
  static void leave_for(call& one, failure why);

  void arm(call& one);
  [[nodiscard]] boot_time due_of(const call& one) const;
  [[nodiscard]] transfer_request request_of(const call& one) const;

  provider_list& providers_;
  client_parts parts_;
  multi_handle multi_;
  std::unordered_map<call_id, std::unique_ptr<call>> calls_;
  /// One entry for each call; a transfer that moved on since is looked at again when it is due.
  std::set<std::pair<boot_time, call_id>> timers_;
};

}  // namespace callboard::model
