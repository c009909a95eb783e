// The BINDINGS actor of a shard: the consumer of the groups that bindings stand on.
//
// For each binding it keeps one fetch at the GROUPS actor. A delivery that does not match is acked;
// for one that does, the target is asked through the router, under an id made of the binding and
// the event. Only when the target has answered that this is on disk (an agent: that it has handled
// the message) is the delivery acked: so it is
// handed on at least once, and its id lets the target count it once. What the target refuses goes
// back to the group: for good (a dead letter), for a retry that counts, or, where the target has no
// room, for one that does not. If that is the node, the whole binding pauses; if it is one workflow
// or agent, only that event. Nothing here survives a restart; the group does.
#pragma once

#include "actors/group_companion.hpp"
#include "runtime/binding/binding_effect.hpp"
#include "runtime/binding/binding_rule.hpp"
#include "runtime/binding/bound_event.hpp"
#include "runtime/group/seq_set.hpp"
#include "runtime/topic/position.hpp"

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <prometheus/counter.h>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace callboard::actors {

/// Counters of bindings with one kind of target.
struct binding_counters {
  prometheus::Counter& handled;
  prometheus::Counter& failed;
  prometheus::Counter& died;
};

/// Why deliveries are given back.
struct return_reason {
  nack_kind kind = nack_kind::retry;
  std::string error;
  /// Of these alone; 0: as long as the binding pauses, or as the group has it.
  std::uint32_t delay_ms = 0;

  friend auto operator<=>(const return_reason&, const return_reason&) = default;
};

/// The messages that a channel had when it was read to its end after the start of the node: what
/// is not among them was handed on before by nobody.
struct channel_memory {
  /// Those of events from then on.
  time_ms since{};
  /// Hashes of their ids.
  std::unordered_set<std::uint64_t> messages;
};

/// A binding at work.
struct binding_unit {
  group_ref group;
  /// From 1; a binding that is made after another of its name was deleted has its own.
  std::uint64_t life = 0;
  std::shared_ptr<const runtime::binding_rule> rule;
  bool is_redrive = false;
  bool is_fetching = false;

  struct work {
    std::string token;
    std::uint32_t attempt = 1;
    std::size_t size = 0;
  };

  /// Deliveries whose target was asked, and the sum of their sizes.
  std::map<sequence, work> works;
  /// Messages that agents have and are still to answer, and since when: given back, to be looked at
  /// again later. Those that retention takes meanwhile do not come back.
  std::map<sequence, boot_time> parked;
  /// Channels of agents, while there may be messages from before the node died.
  std::map<topic_ref, channel_memory> channels;
  /// Of those: at least as many as there are messages and channels.
  std::size_t remembered = 0;
  std::size_t works_bytes = 0;
  /// Tokens to be acked, and those that are being acked.
  std::vector<std::string> done;
  std::vector<std::string> acking;
  /// Tokens to be given back, and those that are being given back.
  std::map<return_reason, std::vector<std::string>> returns;
  std::pair<return_reason, std::vector<std::string>> returning;
  /// No fetch before: the target has no room, or the group could not be asked.
  boot_time paused_until{};
  std::uint32_t setbacks = 0;
  /// How long deliveries whose own target is full wait: longer while too many come back in that
  /// time.
  std::uint32_t inbox_pause_ms = 0;
  std::uint32_t inbox_returns = 0;
  boot_time inbox_counted_until{};
  /// A redrive that has nothing left to do sleeps, but not before this.
  boot_time awake_until{};
  bool is_asleep = false;
};

/// Dead letters that are redriven, given up or edited by hand: what is left to do of one request.
struct dead_work {
  pending_request request;
  group_ref binding;
  binding_dead_filter filter;
  std::string who;
  bool is_redrive = false;
  runtime::binding_rule rule;
  /// Next to be read, and the last one of when it began.
  sequence next{};
  sequence last{};
  runtime::seq_set settled;
  std::map<sequence, sequence> roots;
  std::vector<runtime::delivered_event> chosen;
  /// Of their topic.
  std::string epoch;
  std::uint64_t done = 0;
  /// As many as one request may do, before all were looked at.
  bool is_cut = false;
  /// Of those that were tried: what the target refused, and why the last of it.
  std::uint64_t refused = 0;
  std::string last_error;
};

/// What an agent's channel tells of a message.
enum class message_state : std::uint8_t { unknown, open, answered };

struct message_search {
  topic_ref channel;
  std::string message;
  runtime::position next;
  result<message_state> state = message_state::unknown;
  /// What else is found, if the channel is to be read to its end.
  std::shared_ptr<channel_memory> memory;
  std::move_only_function<void(result<message_state>)> then;
};

/// A dead letter that was redriven by hand, and that its agent has and is still to answer.
struct watched_letter {
  group_ref binding;
  runtime::delivered_event letter;
  /// Of their topic.
  std::string epoch;
  std::shared_ptr<const control_body> request;
  /// Asking has failed: when its channel is to be looked at.
  std::optional<boot_time> look_at{};
};

/// Letters of one page of a redrive by hand that are being handed on.
struct chosen_page {
  std::shared_ptr<dead_work> work;
  std::vector<sequence> taken;
  std::size_t open = 0;
};

/// Letters of a binding that were to take another's place, and have not, as an edit was cut short:
/// how far they are looked for.
struct orphan_search {
  group_ref ledger;
  group_description known;
  sequence next{};
  std::vector<sequence> found;
  std::move_only_function<void(group_description)> then;
};

/// The group through which a binding's dead letters are redriven, on their topic.
[[nodiscard]] group_ref redrive_of(const group_ref& binding);

/// What the ledger of redrives has behind its floor.
[[nodiscard]] runtime::seq_set settled_in(const group_description& ledger);

/// If `seqs`, in their order and not empty, were settled too: there would be more gaps than `most`.
[[nodiscard]] bool opens_too_many_gaps(
    const runtime::seq_set& settled, std::span<const sequence> seqs, std::uint32_t most);

/// What is said of that; `done` were settled before.
[[nodiscard]] error too_many_gaps(std::uint32_t most, std::uint64_t done);

/// False for one that was written to take another's place, and never took it: its edit was cut
/// short. `roots`: as their ledger has them.
[[nodiscard]] bool
is_letter(const runtime::delivered_event& stored, const std::map<sequence, sequence>& roots);

/// Neither redriven nor given up.
[[nodiscard]] std::uint64_t letters_left(const group_description& ledger);

/// What is said of a dead letter that is not there, or not any more.
[[nodiscard]] std::unexpected<error> no_such_letter(sequence seq);

/// True if it says that the topic or the binding does not exist.
[[nodiscard]] bool is_absent(const result<control_answer>& outcome);

/// What the target of a binding is asked for the event that `from` delivers; `seq` is that of the
/// first whose place it has.
[[nodiscard]] control_body request_of(
    const group_ref& from, const std::string& epoch, sequence seq, runtime::binding_effect effect);

/// The request is a call: how long its answer is to wait for the reply of the agent.
void wait_for_reply(control_body& request, std::chrono::milliseconds how_long);

/// What the target says to what it was asked, where that may be more than that it is on disk: an
/// agent that has handled a message may have refused it, or not have come to it yet (`nothing`).
/// Errors: agent_failed, and what it was refused with.
[[nodiscard]] result<std::optional<control_answer>> heard_from(const result<control_answer>& told);

/// Under what its target hears of a dead letter that is redriven, in the group `from`. An agent
/// remembers what it has answered: what its handler has refused is a message of its own when it is
/// redriven, and the same one until it is refused again. What died of anything else the agent may
/// have on disk all the same.
[[nodiscard]] std::string redriven_id(
    const group_ref& from,
    const runtime::binding_rule& rule,
    const runtime::bound_event& letter,
    const std::string& epoch,
    sequence seq);

class bindings_actor final : public companion {
public:
  bindings_actor(
      caf::actor_config& config, shard_id shard, const broker_parts& parts, caf::actor parent);

  const char* name() const override { return "callboard.bindings"; }

  caf::behavior make_behavior() override;
  void on_exit() override;

private:
  using answer_handler = std::move_only_function<void(result<control_answer>)>;

  /// A request of ours; no answer counts as one that it took too long.
  struct open_question {
    answer_handler then;
    boot_time deadline{};
  };

  // bindings_actor.cpp: deliveries
  void on_activated(bool first) override;

  void on_tick() override;
  void on_news(const binding_news& news);
  void on_reply(control_reply& reply);
  void ask(control_body body, std::chrono::milliseconds patience, answer_handler then);
  /// One request with one event; answered like a question, by where it is.
  void publish(publish_batch batch, std::chrono::milliseconds patience, answer_handler then);
  void on_published(const publish_replies& replies);
  void ask_for(
      const binding_unit& unit,
      control_body body,
      std::chrono::milliseconds patience,
      std::move_only_function<void(binding_unit&, result<control_answer>)> then);
  void advance(binding_unit& unit);
  void fetch(binding_unit& unit);
  void on_fetched(binding_unit& unit, result<control_answer> outcome);
  void hand_on(binding_unit& unit, const std::string& epoch, delivery& one);
  void ask_target(binding_unit& unit, sequence seq, std::shared_ptr<const control_body> request);
  void on_target(
      binding_unit& unit,
      sequence seq,
      std::shared_ptr<const control_body> request,
      const result<control_answer>& outcome);
  void finish(binding_unit& unit, sequence seq);
  [[nodiscard]] static bool is_crowded(const binding_unit& unit);
  /// A work that ends here; without token if it has ended before.
  [[nodiscard]] static binding_unit::work take_work(binding_unit& unit, sequence seq);
  void give_back(binding_unit& unit, sequence seq, const error& why, nack_kind kind);
  void send_acks(binding_unit& unit);
  void send_returns(binding_unit& unit);
  [[nodiscard]] std::uint32_t inbox_pause(binding_unit& unit) const;
  void set_back(binding_unit& unit, const error& why);
  void expire();
  [[nodiscard]] binding_counters& counters_of(const binding_unit& unit);

  // bindings_requests.cpp: what clients ask
  void on_request(pending_request request);
  void remove(pending_request request);
  void remove_dead_letters(pending_request request, result<control_answer> outcome);
  void list_dead(pending_request request);
  void read_dead(pending_request request, const group_description& ledger);
  void redrive(pending_request request);
  void redrive_all(pending_request request, const std::string& rule);
  void
  audit_all(pending_request request, const std::string& rule, const result<control_answer>& ledger);
  void
  begin_redrive(pending_request request, const std::string& rule, const group_description& letters);
  [[nodiscard]] publish_batch
  audit_of_all(const group_ref& binding, const std::string& who, std::uint64_t count) const;
  [[nodiscard]] publish_batch
  audit_of_edit(const group_ref& binding, const std::string& who, sequence seq) const;
  void describe(pending_request request);
  void describe_all(pending_request request);
  /// Counts the dead letters of the bindings from `next` on, and answers with all of them.
  void count_dead(
      std::shared_ptr<const pending_request> request,
      std::shared_ptr<group_list> found,
      std::size_t next);

  // bindings_dead.cpp: some of them, and those that are given up
  void change_dead(pending_request request);
  void find_ledger(const std::shared_ptr<dead_work>& work, std::string rule);
  void begin_dead(const std::shared_ptr<dead_work>& work, result<control_answer> ledger);
  void answer_dead(const dead_work& work);
  void read_dead_page(const std::shared_ptr<dead_work>& work);
  void on_dead_page(const std::shared_ptr<dead_work>& work, const event_page& page);
  void hand_on_chosen(const std::shared_ptr<dead_work>& work);
  void
  hand_on_letter(const std::shared_ptr<chosen_page>& page, const runtime::delivered_event& letter);
  void ask_for_letter(
      const std::shared_ptr<chosen_page>& page,
      const runtime::delivered_event& letter,
      const std::shared_ptr<const control_body>& request);
  void on_letter_told(
      const std::shared_ptr<chosen_page>& page,
      const runtime::delivered_event& letter,
      const std::shared_ptr<const control_body>& request,
      const result<std::optional<control_answer>>& heard);
  void refuse_letter(chosen_page& page, const error& why);
  void end_letter(chosen_page& page);
  void let_die_again(
      const group_ref& binding,
      const runtime::delivered_event& letter,
      const error& why,
      std::move_only_function<void()> then);
  void settle_dead(const std::shared_ptr<dead_work>& work, const std::vector<sequence>& seqs);

  // bindings_agents.cpp: what agents have, and answer late
  void find_message(
      const call_agent& call,
      time_ms since,
      std::move_only_function<void(result<message_state>)> then,
      std::shared_ptr<channel_memory> memory = nullptr);
  void read_channel(const std::shared_ptr<message_search>& search);
  /// Nothing that was before the node died is still to come.
  [[nodiscard]] bool is_settled_in() const;
  /// Before the node died.
  [[nodiscard]] bool
  may_have_been_parked(const binding_unit& unit, const runtime::delivered_event& event) const;
  void look_up(
      binding_unit& unit,
      const runtime::delivered_event& event,
      bool was_parked,
      const std::shared_ptr<const control_body>& request);
  void on_looked_up(
      binding_unit& unit,
      sequence seq,
      bool was_parked,
      const std::shared_ptr<const control_body>& request,
      const result<message_state>& found);
  static void remember(binding_unit& unit, const topic_ref& channel, const channel_memory& found);
  [[nodiscard]] bool can_park(binding_unit& unit) const;
  void park(binding_unit& unit, sequence seq) const;
  void watch_letter(
      const dead_work& work,
      const runtime::delivered_event& letter,
      const std::shared_ptr<const control_body>& request);
  [[nodiscard]] bool
  is_watched(const group_ref& binding, sequence seq, const std::string& epoch) const;
  [[nodiscard]] bool is_watched(const std::shared_ptr<watched_letter>& watch) const;
  void unwatch(const group_ref& binding, sequence seq);
  void wait_for_letter(const std::shared_ptr<watched_letter>& watch);
  void look_at_letters();
  void look_at_letter(const std::shared_ptr<watched_letter>& watch);
  void on_letter_answered(const std::shared_ptr<watched_letter>& watch, result<void> outcome);
  void end_watch(const std::shared_ptr<watched_letter>& watch, const result<void>& outcome);
  void look_later(watched_letter& watch, const error& why);

  // bindings_edit.cpp: one of them gets other data
  void edit_dead(pending_request request);
  void read_edited(const std::shared_ptr<dead_work>& work, const result<control_answer>& ledger);
  void write_edited(const std::shared_ptr<dead_work>& work, const runtime::delivered_event& letter);
  void write_replacement(
      const group_ref& ledger, sequence seq, publish_batch batch, answer_handler then);
  void replace(const group_ref& ledger, sequence seq, sequence by, answer_handler then);
  /// Hands on the ledger without what edits that were cut short have left.
  void without_orphans(
      const group_ref& binding,
      group_description ledger,
      std::move_only_function<void(group_description)> then);
  void find_orphans(const std::shared_ptr<orphan_search>& search);
  void settle_orphans(const std::shared_ptr<orphan_search>& search);
  void doubt(const group_ref& ledger);
  void note_orphan_free(const group_ref& ledger);

  std::map<group_ref, binding_unit> units_;
  /// By the group of redrives: how many letters are being written that take another's place.
  std::map<group_ref, std::uint32_t> replacing_;
  /// Such groups of whose letters all that took no other's place are settled.
  std::set<group_ref> orphan_free_;
  /// Such groups of which a write has failed that may be done all the same: until when.
  std::map<group_ref, boot_time> doubted_;
  std::unordered_map<std::uint64_t, open_question> questions_;
  std::uint64_t correlations_ = 0;
  std::uint64_t lives_ = 0;
  boot_time next_expiry_{};
  /// When this began, in both times.
  boot_time began_at_{};
  time_ms began_{};
  /// By binding and seq.
  std::map<std::pair<group_ref, sequence>, std::shared_ptr<watched_letter>> watched_;
  std::vector<binding_counters> counters_;
};

}  // namespace callboard::actors
