#include "actors/topic_actor.hpp"

#include "actors/guest_turn.hpp"
#include "actors/run_alarms.hpp"
#include "actors/run_timers.hpp"
#include "actors/shard_reading.hpp"
#include "actors/topic_answers.hpp"
#include "actors/topic_charges.hpp"
#include "actors/topic_messages.hpp"
#include "actors/topic_reads.hpp"
#include "actors/unheard_events.hpp"
#include "base/lazy_deque.hpp"
#include "runtime/topic/topic_codec.hpp"

#include <caf/actor_ostream.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/send.hpp>

#include <map>
#include <optional>
#include <unordered_map>

namespace callboard::actors {

namespace {

using runtime::append_key;
using runtime::publisher_key;
using runtime::relay_key;
using runtime::topic_effects;

constexpr std::size_t changes_waiting_max = 100;

class topic_actor final : public caf::event_based_actor, public run_home {
public:
  topic_actor(caf::actor_config& config, topic_setup setup, caf::actor shard)
      : event_based_actor{config},
        parts_{setup.parts},
        admission_{setup.admission},
        counters_{setup.counters},
        shard_{setup.shard},
        activation_{setup.activation},
        alarms_{std::move(setup.alarms)},
        parent_{std::move(shard)},
        owned_core_{std::move(setup.core)},
        core_{*owned_core_},
        image_of_run_{std::move(setup.run)} {}

  const char* name() const override { return "callboard.topic"; }

  void on_exit() override {
    counters_.active.Decrement();
    if (is_bulk()) admission_.shard.set_bulk(core_.image().name, false);
    run_.reset();
    parent_ = nullptr;
    publishers_.clear();
    relays_.clear();
    changes_.clear();
    charges_.clear();
  }

  caf::behavior make_behavior() override {
    counters_.active.Increment();
    if (is_bulk()) admission_.shard.set_bulk(core_.image().name, true);
    touch();
    set_down_handler([this](caf::down_msg& down) { on_down(down); });
    if (image_of_run_) {
      run_ = std::make_unique<run_host>(
          *this, parts_, counters_.runs, shard_, core_.image(), std::move(*image_of_run_));
    }
    arm_tick();
    return {
        [this](boxed<run_continuation>& rest) {
          if (run_) run_->go_on(*rest);
        },
        [this](const boxed<publish_replies>& replies) {
          if (run_) run_->on_publish_replies(*replies);
        },
        [this](const boxed<control_reply>& reply) {
          if (run_) run_->on_control_reply(*reply);
        },
        [this](boxed<admitted_publish>& message, const caf::actor& reply_to) {
          on_publish(*message, reply_to);
        },
        [this](boxed<append_told>& message) { on_append(*message); },
        [this](const boxed<attach_relay>& message, const caf::actor& from) {
          on_attach(*message, from);
        },
        [this](const boxed<relay_credit>& message) { on_credit(message->credits); },
        [this](const boxed<ask_snapshot>&, const caf::actor& from) {
          if (run_) run_->show_so_far(key_of(from).raw());
        },
        [this](const boxed<detach_relay>&, const caf::actor& from) { on_detach(from); },
        [this](const boxed<release_relay>& by, const caf::actor& from) { on_release(*by, from); },
        [this](boxed<control_request>& message, const caf::actor& reply_to) {
          on_change(std::move(*message), reply_to);
        },
        [this](boxed<change_told>& message) { on_change_told(*message); },
        [this](boxed<candidates_told>& message) { on_candidates(*message); },
        [this](boxed<trim_told>& message) { on_trim(*message); },
        [this](const boxed<held_floor>& message) {
          if (!message->is_known) return core_.groups_unknown();
          if (core_.held(message->floor)) apply_retention();
        },
        [this](const boxed<topic_tick>&) { on_tick(); },
        [this](const boxed<report_active>&, const caf::actor& hub) {
          is_unheard_ = true;
          // What is on its way to the journal is told to nobody else.
          send(hub, box(news_of(core_.image(), core_.is_settled())));
        },
        [this](const boxed<passivate_topic>&) { on_passivate(); },
        [this](const boxed<retire_topic>& message) {
          is_retiring_ = true;
          if (run_) message->has_failed ? run_->give_up() : run_->retire();
          end_if_retired();
        },
    };
  }

private:
  struct publisher {
    caf::actor handle;
    std::uint32_t waiting = 0;
  };

  struct relay {
    caf::actor handle;
    /// As it attached.
    std::uint32_t credits = 0;
  };

  static relay_key key_of(const caf::actor& handle) { return relay_key{handle.id()}; }

  caf::actor self_handle() { return caf::actor_cast<caf::actor>(this); }

  time_ms now() const { return parts_.journal.shard_time(shard_); }

  void touch() { used_ = parts_.time.boot(); }

  bool is_bulk() const { return core_.image().settings.lane == runtime::topic_lane::bulk; }

  // -- publish -------------------------------------------------------------------------------

  void on_publish(admitted_publish& message, const caf::actor& reply_to) {
    --counters_.topic_mailbox;
    touch();
    auto& requests = message.batch.requests;
    batch_charge charge{
        .bytes = std::move(message.batch.charge), .ticket = std::move(message.ticket)};
    if (is_bulk()) {
      auto bulk = admission_.bulk_events.charge(events_in(requests));
      if (!bulk) {
        counters_.refused(errc::overloaded, requests.size());
        const error many{
            errc::overloaded, "too many events of bulk topics wait to be written", 100};
        const auto most = admission_.bulk_events.size_max();
        return send(
            reply_to, box(refusals_of(requests, many, {most, "topics.bulk_in_flight_max"})));
      }
      charge.bulk = std::move(*bulk);
    }
    auto& from = publishers_[reply_to.id()];
    if (!from.handle) from.handle = reply_to;
    from.waiting += static_cast<std::uint32_t>(requests.size());
    tell_watchers();
    unheard_.expect(requests, used_);
    auto effects = core_.publish(publisher_key{reply_to.id()}, std::move(requests), now());
    charges_.keep(std::move(charge), core_);
    carry_out(std::move(effects));
  }

  // -- effects -------------------------------------------------------------------------------

  void carry_out(topic_effects effects) {
    for (auto& one : effects.appends) {
      if (!append(std::move(one))) break;
    }
    send_replies(std::move(effects.replies));
    for (auto& one : effects.deliveries) {
      unheard_.keep(one, used_);
      const auto found = relays_.find(one.relay.raw());
      if (found != relays_.end()) send(found->second.handle, box(deliver{std::move(one.batch)}));
    }
    for (const auto& one : effects.skips) {
      const auto found = relays_.find(one.relay.raw());
      if (found != relays_.end()) {
        send(found->second.handle, box(relay_skipped{one.last_seq, one.dropped}));
      }
    }
    if (effects.candidates) read_candidates(std::move(effects.candidates->seqs));
    if (effects.trim) plan_trim(*effects.trim);
    if (effects.asks_groups) send(parent_, box(news_of(core_.image())));
    if (effects.reload) {
      refuse_changes();
      if (run_) run_->abandon({errc::overloaded, "the workflow is being reloaded; retry", 50});
      send(parent_, box(topic_failed{activation_}));
    }
    end_if_retired();
  }

  /// Everything that was asked before the shard's last word is answered first.
  void end_if_retired() {
    const bool is_over = !run_ || run_->is_settled();
    if (!is_over || !changes_.empty() || !core_.is_settled()) return;
    if (is_retiring_) return quit();
    // The shard has to know, or it goes on handing over what is to end a run that never began.
    if (run_ && core_.is_unmade()) say_if_idle();
  }

  /// Those that are not on their way to the journal.
  void refuse_changes() {
    const std::size_t kept = is_changing_ ? 1 : 0;
    while (changes_.size() > kept) {
      answer(changes_.back(), fail(errc::overloaded, "the topic is being reloaded; retry", 50));
      changes_.pop_back();
    }
  }

  /// False: it was refused, and with it all that follow it.
  bool append(topic_effects::append one) {
    const auto key = one.key;
    std::uint64_t bytes = 0;
    for (const auto& record : one.records)
      bytes += record.payload.size();
    if (!one.frees_space) {
      counters_.published.Increment(static_cast<double>(one.records.size()));
      counters_.published_bytes.Increment(static_cast<double>(bytes));
    }
    auto queued = parts_.journal.append(
        {.shard = shard_,
         .activation = activation_,
         .records = std::move(one.records),
         .tell_written = one.tell_written,
         .frees_space = one.frees_space,
         .listener = [self = self_handle(), key, on = run_ ? parts_.steps : nullptr](
                         storage::append_stage stage, const auto& outcome) {
           tell_on(on, self, caf::make_message(box(append_told{key, stage, outcome})));
         }});
    if (queued) return true;
    charges_.refused(key);
    carry_out(core_.refused(key, told_to_client(queued.error())));
    return false;
  }

  void send_replies(std::vector<topic_effects::reply> replies) {
    // One message per publisher and commit; the order of each publisher's answers stays.
    std::map<publisher_key, publish_replies> grouped;
    for (auto& one : replies) {
      counters_.answered(one.reply);
      grouped[one.publisher].replies.push_back(std::move(one.reply));
    }
    for (auto& [key, out] : grouped) {
      if (run_ && key == own_key()) {
        for (const auto& one : out.replies)
          run_->on_appended(one);
        continue;
      }
      const auto found = publishers_.find(key.raw());
      if (found == publishers_.end()) continue;
      found->second.waiting -= static_cast<std::uint32_t>(out.replies.size());
      send(found->second.handle, box(std::move(out)));
      if (found->second.waiting == 0) publishers_.erase(found);
    }
  }

  void on_append(append_told& told) {
    if (told.stage == storage::append_stage::written) return carry_out(core_.written(told.key));
    charges_.done(told.key, [this, now = parts_.time.boot()](const admission_ticket& ticket) {
      const auto waited = now - ticket.since();
      counters_.publish_to_durable.Observe(std::chrono::duration<double>(waited).count());
    });
    if (told.outcome && core_.is_unmade()) {
      core_.made(entity_id{told.outcome->first.raw()}, parts_.journal.state(shard_).incarnation);
      send(parent_, box(topic_born{core_.image().name, activation_, core_.image().epoch}));
    }
    if (told.outcome) return carry_out(core_.committed(told.key, told.outcome->time));
    carry_out(core_.failed(told.key, told_to_client(told.outcome.error())));
  }

  // -- reads ---------------------------------------------------------------------------------

  void read_candidates(std::vector<sequence> seqs) {
    // Candidates may still be on their way to the disk; those are found in the tail of commits.
    const auto entity = core_.image().entity;
    auto look = [entity, seqs = std::move(seqs)](storage::shard_reader& reader) {
      return read_window_rows(reader, entity, seqs);
    };
    read_shard<candidates_told>(parts_, shard_, self_handle(), std::move(look));
  }

  void on_candidates(candidates_told& told) {
    if (!told.rows) {
      charges_.drop_parked();
      return carry_out(core_.candidates_unread(told.rows.error()));
    }
    auto effects = core_.candidates_read(std::move(*told.rows), now());
    charges_.keep_parked(core_);
    carry_out(std::move(effects));
  }

  void plan_trim(const topic_effects::plan_trim& plan) {
    const auto& image = core_.image();
    auto look = [entity = image.entity, first = image.first_seq, plan](auto& reader) {
      return find_trim_target(reader, entity, first, plan);
    };
    read_shard<trim_told>(parts_, shard_, self_handle(), std::move(look));
  }

  void on_trim(trim_told& told) {
    const auto target = found_or_nothing(told.target, core_.image().name);
    counters_.count_trim(core_.image().first_seq, target.up_to);
    carry_out(core_.trim_planned(target.up_to, target.bytes));
    // With a retention by age each tick looks, so at the tick itself it is never at rest.
    say_if_rested();
  }

  // -- relays --------------------------------------------------------------------------------

  void on_attach(const attach_relay& message, const caf::actor& from) {
    touch();
    if (!relays_.contains(from.id())) monitor(from);
    relays_[from.id()] = {from, message.credits};
    send(from, box(attached_to(core_.attach(key_of(from), message.credits), run_ != nullptr)));
    if (auto unheard = unheard_.since_news(used_)) send(from, box(*std::move(unheard)));
  }

  void on_detach(const caf::actor& from) {
    core_.detach(key_of(from));
    if (relays_.erase(from.id()) != 0) demonitor(from.address());
    touch();
  }

  void on_release(const release_relay& by, const caf::actor& from) {
    if (!core_.is_settled() || core_.image().last_seq != by.heard) return;
    if (unheard_.may_be_awaited(parts_.time.boot())) return;
    on_detach(from);
    is_unheard_ = true;
    send(from, box(relay_released{}));
  }

  /// Of a topic that is not made yet its shard tells, once it is.
  void tell_watchers() {
    if (core_.is_unmade() || !std::exchange(is_unheard_, false)) return;
    const auto& news = unheard_.begin(news_of(core_.image()), used_);
    for (const auto& [id, one] : relays_)
      send(one.handle, box(topic_active{news}));
    send(parent_, box(topic_stirs{news}));
  }

  void on_credit(std::uint32_t credits) {
    const auto& sender = current_sender();
    if (sender != nullptr) carry_out(core_.credit(relay_key{sender->id()}, credits));
  }

  void on_down(const caf::down_msg& down) {
    core_.detach(relay_key{down.source.id()});
    relays_.erase(down.source.id());
    touch();
  }

  // -- settings and deletion -----------------------------------------------------------------

  struct change {
    control_request request;
    caf::actor reply_to;
    runtime::topic_settings settings;
  };

  void answer(const change& to, result<control_answer> outcome) {
    send(to.reply_to, box(control_reply{to.request.correlation, std::move(outcome)}));
  }

  void on_change(control_request request, const caf::actor& reply_to) {
    touch();
    const bool is_of_topic = std::holds_alternative<put_topic>(request.body)
                             || std::holds_alternative<delete_topic>(request.body);
    if (run_ && !is_of_topic) {
      run_->on_request(std::move(request), reply_to);
      return end_if_retired();
    }
    if (changes_.size() >= changes_waiting_max) {
      const bool was_deletion = std::holds_alternative<delete_topic>(request.body);
      const error many{errc::overloaded, "too many changes of this topic are waiting", 100};
      answer({std::move(request), reply_to, {}}, std::unexpected{many});
      if (was_deletion) send(parent_, box(topic_busy{core_.image().name}));
      return;
    }
    changes_.push_back({std::move(request), reply_to, {}});
    if (core_.is_dead()) return refuse_changes();
    if (changes_.size() == 1) start_change();
  }

  void start_change() {
    while (!changes_.empty()) {
      auto& next = changes_.front();
      const auto& image = core_.image();
      if (const auto* deletion = std::get_if<delete_topic>(&next.request.body)) {
        if (auto why = kept_because(run_.get(), *deletion)) {
          answer(next, std::unexpected{*std::move(why)});
          send(parent_, box(topic_busy{image.name}));
          changes_.pop_front();
          continue;
        }
        is_deleting_ = true;
        return write_change(
            storage::record_kind::topic_deleted,
            runtime::encode_topic_deleted(image.name, image.last_seq));
      }
      auto patched = patch_settings(image.settings, std::get<put_topic>(next.request.body).patch);
      if (patched && *patched != image.settings) {
        next.settings = *patched;
        return write_change(
            storage::record_kind::topic_configured,
            runtime::encode_topic_configured(image.name, *patched));
      }
      auto told = patched ? result<control_answer>{describe(image)}
                          : std::unexpected{std::move(patched.error())};
      answer(next, std::move(told));
      changes_.pop_front();
    }
  }

  void write_change(storage::record_kind kind, shared_bytes payload) {
    carry_out(core_.flush());
    std::vector<storage::record_draft> records;
    records.push_back(
        {.kind = kind,
         .entity = core_.image().entity,
         .entity_seq = core_.image().last_seq,
         .payload = std::move(payload)});
    auto queued = parts_.journal.append(
        {.shard = shard_,
         .activation = activation_,
         .records = std::move(records),
         .frees_space = kind == storage::record_kind::topic_deleted,
         .listener = [self = self_handle()](
                         storage::append_stage, const result<storage::append_receipt>& outcome) {
           // In one line with those of the publishes before and after it.
           caf::anon_send<caf::message_priority::high>(self, box(change_told{outcome}));
         }});
    is_changing_ = true;
    if (!queued) send(this, box(change_told{std::unexpected{queued.error()}, true}));
  }

  void on_change_told(const change_told& told) {
    auto done_change = std::move(changes_.front());
    changes_.pop_front();
    is_changing_ = false;
    const bool was_deletion = std::exchange(is_deleting_, false);
    if (told.is_refused) {
      answer(done_change, std::unexpected{told_to_client(told.outcome.error())});
      if (was_deletion) send(parent_, box(topic_busy{core_.image().name}));
      start_change();
      return end_if_retired();
    }
    if (!told.outcome) {
      if (was_deletion) send(parent_, box(topic_in_doubt{core_.image().name}));
      answer(done_change, std::unexpected{told_to_client(told.outcome.error())});
      return carry_out(core_.failed(append_key{}, told_to_client(told.outcome.error())));
    }
    if (was_deletion) return end_deleted(done_change);
    core_.configured(done_change.settings);
    admission_.shard.set_bulk(core_.image().name, is_bulk());
    answer(done_change, describe(core_.image()));
    core_.is_dead() ? refuse_changes() : start_change();
    end_if_retired();
  }

  void end_deleted(const change& by) {
    topic_deleted news{.topic = core_.image().name};
    for (const auto& [id, one] : relays_) {
      send(one.handle, box(topic_gone{core_.image().name}));
      news.relays.emplace_back(one.handle, one.credits);
    }
    // Publishes that were decided before the deletion are answered by their own commits.
    answer(by, control_answer{actors::done{}});
    for (const auto& waiting : changes_)
      answer(waiting, fail(errc::topic_not_found, "the topic was deleted"));
    changes_.clear();
    auto left = core_.failed(append_key{}, {errc::topic_not_found, "the topic was deleted", 0});
    send_replies(left.replies);
    if (run_) run_->leave_for_good();
    send(parent_, box(std::move(news)));
    quit();
  }

  // -- time ----------------------------------------------------------------------------------

  void arm_tick() {
    const std::chrono::milliseconds pause{parts_.settings.topics.retention_check_ms};
    if (run_) return run_later(pause, [this] { on_tick(); });
    delayed_send(this, pause, box(topic_tick{}));
  }

  void apply_retention() {
    carry_out(core_.tick(now(), run_ ? run_->keeps() : runtime::kept_events{}));
  }

  void on_tick() {
    apply_retention();
    unheard_.age(parts_.time.boot());
    say_if_rested();
    arm_tick();
  }

  bool is_idle() const { return core_.is_idle() && changes_.empty() && (!run_ || run_->is_idle()); }

  void say_if_idle() {
    if (is_idle()) send(parent_, box(topic_idle{core_.image().name}));
  }

  void say_if_rested() {
    const auto rested = parts_.time.boot() - used_;
    if (rested >= std::chrono::milliseconds{parts_.settings.topics.passivate_after_ms})
      say_if_idle();
  }

  void on_passivate() {
    if (!is_idle()) return send(parent_, box(topic_busy{core_.image().name}));
    if (run_ && run_->next_timers().any()) send(parent_, box(run_sleeps{run_->next_timers()}));
    quit();
  }

  // -- the run of a channel ------------------------------------------------------------------

  publisher_key own_key() const { return publisher_key{id()}; }

  caf::actor run_handle() override { return self_handle(); }

  void append_transition(runtime::publish_request transition) override {
    touch();
    // Behind the deletion it would write of what is not there any more.
    if (is_deleting_) {
      const error why{errc::overloaded, "the workflow's channel is being deleted", 50};
      return run_->on_appended({transition.correlation, std::unexpected{why}});
    }
    std::vector<runtime::publish_request> requests;
    requests.push_back(std::move(transition));
    tell_watchers();
    carry_out(core_.publish(own_key(), std::move(requests), now()));
  }

  void run_later(std::chrono::milliseconds delay, run_timers::work rest) override {
    run_timers_.add(delay, std::move(rest));
  }

  void run_at_leisure(run_timers::work rest) override {
    run_timers_.add_at_leisure(std::move(rest));
  }

  void may_passivate() override {
    // A run that is never here for long meets its retention on the way out, and waits for it.
    apply_retention();
    leave_if_idle();
  }

  void leave_if_idle() {
    say_if_idle();
    if (run_->is_idle() && relays_.empty() && !unheard_.is_kept() && !is_idle())
      run_at_leisure([this] { leave_if_idle(); });
  }

  void run_settled() override { end_if_retired(); }

  const broker_parts& parts_;
  topic_admission admission_;
  topic_metrics& counters_;
  const shard_id shard_;
  const activation_id activation_;
  std::shared_ptr<run_alarms> alarms_;
  caf::actor parent_;
  std::unique_ptr<runtime::topic_core> owned_core_;
  runtime::topic_core& core_;
  std::unordered_map<std::uint64_t, publisher> publishers_;
  std::unordered_map<std::uint64_t, relay> relays_;
  /// There may be who watches a pattern and has not been told that there are events now.
  bool is_unheard_ = true;
  unheard_events unheard_{core_, relay_key{id()}};
  topic_charges charges_;
  lazy_deque<change> changes_;
  /// The front of `changes_` is on its way to the journal; it is the deletion.
  bool is_changing_ = false;
  bool is_deleting_ = false;
  bool is_retiring_ = false;
  boot_time used_{};
  std::optional<run_image> image_of_run_;
  std::unique_ptr<run_host> run_;
  run_timers run_timers_{parts_.time, [this](std::chrono::milliseconds delay, auto work) {
                           alarms_->send_later(*this, delay, {std::move(work)});
                         }};
};

}  // namespace

caf::actor spawn_topic(caf::actor_system& system, topic_setup setup, const caf::actor& shard) {
  return system.spawn<topic_actor>(std::move(setup), shard);
}

}  // namespace callboard::actors
