#include "actors/shard_actor.hpp"

#include "actors/absence.hpp"
#include "actors/companions.hpp"
#include "actors/retention_sweep.hpp"
#include "actors/run_alarms.hpp"
#include "actors/run_schedule.hpp"
#include "actors/run_turns.hpp"
#include "actors/shard_messages.hpp"
#include "actors/topic_answers.hpp"
#include "actors/topic_interest.hpp"
#include "actors/topic_loading.hpp"
#include "actors/topic_reads.hpp"
#include "actors/topic_slot.hpp"
#include "base/log.hpp"
#include "runtime/topic/topic_codec.hpp"

#include <caf/actor_ostream.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/send.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>
#include <variant>
#include <vector>

namespace callboard::actors {

namespace {

constexpr auto activation_retry = std::chrono::milliseconds{500};

class shard_actor final : public caf::event_based_actor {
public:
  shard_actor(caf::actor_config& config, const shard_setup& setup)
      : event_based_actor{config},
        parts_{setup.parts},
        admission_{setup.admission},
        counters_{setup.counters},
        shard_{setup.shard} {}

  const char* name() const override { return "callboard.shard"; }

  void on_exit() override {
    for (auto& [name, slot] : topics_) {
      if (slot.actor) anon_send_exit(slot.actor, caf::exit_reason::user_shutdown);
    }
    topics_.clear();
    turns_.clear();
    interest_.clear();
    companions_.clear();
  }

  caf::behavior make_behavior() override {
    companions_.spawn(shard_, parts_);
    set_down_handler([this](caf::down_msg& down) { on_down(down); });
    activate();
    arm_tick();
    // One shard after another: what they have to do then is much.
    arm_schedule(run_schedule::tick * (shard_.raw() + 1) / parts_.journal.shard_count());
    return {
        [this](boxed<admitted_publish>& message, const caf::actor& reply_to) {
          on_publish(message, reply_to);
        },
        [this](boxed<control_request>& message, const caf::actor& reply_to) {
          on_control(message, reply_to);
        },
        [this](boxed<attach_relay>& message, const caf::actor& relay) {
          on_attach(message, relay);
        },
        [this](const boxed<detach_relay>& message, const caf::actor& relay) {
          on_detach(message, relay);
        },
        [this](const boxed<watch_pattern>& message, const caf::actor& hub) {
          on_watch(*message, hub);
        },
        [this](const boxed<unwatch_pattern>& message, const caf::actor& hub) {
          interest_.unwatch(*message, hub);
        },
        [this](boxed<topic_loaded>& message) { on_loaded(*message); },
        [this](boxed<topic_made>& message) { on_made(*message); },
        [this](const boxed<topic_born>& message) { on_born(*message); },
        [this](const boxed<load_again>& message) { load(message->topic); },
        [this](const boxed<topic_idle>& message) { on_idle(message->topic); },
        [this](const boxed<topic_busy>& message) { on_busy(message->topic); },
        [this](const boxed<topic_failed>& message) { on_failed(message->activation); },
        [this](const boxed<topic_deleted>& message) { on_deleted(*message); },
        [this](const boxed<topic_in_doubt>& message) { wake({message->topic}, true); },
        [this](const boxed<companion_append_failed>& message) { on_failed(message->activation); },
        [this](const boxed<topic_active>& message) { companions_.tell(*message); },
        [this](const boxed<topic_stirs>& message) { interest_.tell(message->news); },
        [this](boxed<held_floor>& message) {
          const auto found = topics_.find(message->topic);
          if (found != topics_.end() && found->second.actor) send(found->second.actor, message);
        },
        [this](boxed<sweep_told>& message) { wake(sweep_.take(*message), false); },
        [this](boxed<runs_found>& message) { wake(schedule_.take(*message, handle()), true); },
        [this](const boxed<run_sleeps>& message) { schedule_.sleeps(message->until); },
        [](const boxed<control_reply>&) {},
        [this](const boxed<schedule_tick>&) {
          alarms_->ring();
          schedule_.look(handle());
          wake(turns_.take(), true);
          arm_schedule();
        },
        [](const boxed<begin_shard>&) {},
        [this](const boxed<stop_shard>&) { on_stop(); },
        [this](const boxed<shard_tick>&) { on_tick(); },
    };
  }

private:
  caf::actor handle() { return caf::actor_cast<caf::actor>(this); }

  // -- activation ----------------------------------------------------------------------------

  /// Begins an activation; until that works, publishes are refused with its error.
  void activate() {
    auto begun = parts_.journal.begin_activation(shard_);
    if (!begun) {
      activation_ = std::unexpected{begun.error()};
      return;
    }
    activation_ = *begun;
    companions_.tell(shard_activated{*begun});
    schedule_.start(handle());
  }

  /// An append of this activation failed: what is in memory may be ahead of the journal.
  void on_failed(activation_id failed) {
    if (!activation_ || *activation_ != failed) return;
    log::channel("actors")->warn(
        "an append of shard {} failed; its topics are read again", shard_.raw());
    retire_all({.has_failed = true});
    activate();
  }

  /// All topics answer what they owe and end; what comes meanwhile is held for their successors.
  void retire_all(retire_topic how) {
    for (auto& [topic, slot] : topics_) {
      if (!slot.actor || slot.is_retired) continue;
      slot.stage = topic_stage::passivating;
      slot.is_retired = true;
      send(slot.actor, box(retire_topic{how}));
    }
  }

  // -- stop ----------------------------------------------------------------------------------

  void on_stop() {
    is_stopping_ = true;
    retire_all({});
    std::vector<topic_ref> unborn;
    for (const auto& [topic, slot] : topics_) {
      if (!slot.actor) unborn.push_back(topic);
    }
    for (const auto& topic : unborn)
      fail_slot(topic, stopping());
    end_if_stopped();
  }

  /// Topics end first, as their ends concern the companions; the companions before the shard, as
  /// nobody else knows when they no longer use the router.
  void end_if_stopped() {
    if (!is_stopping_ || !topics_.empty()) return;
    if (companions_.have_ended()) return quit();
    companions_.end();
  }

  static error stopping() { return {errc::draining, "the node is shutting down; reconnect", 1000}; }

  // -- routing -------------------------------------------------------------------------------

  void on_publish(boxed<admitted_publish>& message, const caf::actor& reply_to) {
    --counters_.shard_mailbox;
    if (is_channel(message->batch.topic.topic)) {
      return refuse(
          waiting_publish{std::move(message), reply_to},
          {errc::forbidden, "the channel of a workflow belongs to its run", 0});
    }
    const auto found = topics_.find(message->batch.topic);
    if (found != topics_.end() && found->second.stage == topic_stage::active) {
      ++counters_.topic_mailbox;
      return send(found->second.actor, std::move(message), reply_to);
    }
    auto name = message->batch.topic;
    hold(name, waiting_publish{std::move(message), reply_to});
  }

  void on_control(boxed<control_request>& message, const caf::actor& reply_to) {
    if (const auto* companion = companions_.serving(message->body)) {
      if (!*companion) return refuse(waiting_control{message, reply_to}, stopping());
      return send(*companion, message, reply_to);
    }
    const auto route = [&]<class Body>(const Body& body) {
      if constexpr (requires { body.topic.topic; }) {
        if (is_channel(body.topic.topic) && std::is_same_v<Body, put_topic>) {
          return refuse(
              waiting_control{message, reply_to},
              {errc::forbidden, "the channel of a workflow belongs to its run", 0});
        }
        const auto found = topics_.find(body.topic);
        if (found != topics_.end() && found->second.hears(body)) {
          // What comes behind a deletion is for the next topic of this name.
          if constexpr (std::is_same_v<Body, delete_topic>) {
            found->second.stage = topic_stage::passivating;
          }
          return send(found->second.actor, message, reply_to);
        }
        hold(topic_ref{body.topic}, waiting_control{message, reply_to});
      } else {
        refuse(
            waiting_control{message, reply_to},
            {errc::internal, "this request does not go through a shard", 0});
      }
    };
    std::visit(route, message->body);
  }

  void on_attach(boxed<attach_relay>& message, const caf::actor& relay) {
    const auto found = topics_.find(message->topic);
    if (found != topics_.end() && found->second.stage == topic_stage::active) {
      return send(found->second.actor, std::move(message), relay);
    }
    auto name = message->topic;
    hold(name, waiting_attach{std::move(message), relay});
  }

  void on_detach(const boxed<detach_relay>& message, const caf::actor& relay) {
    interest_.forget(message->topic, relay);
    const auto found = topics_.find(message->topic);
    if (found == topics_.end()) return;
    erase_if(found->second.held, [&](const waiting& one) {
      const auto* attach = std::get_if<waiting_attach>(&one);
      return attach != nullptr && attach->relay == relay;
    });
    if (found->second.actor) send(found->second.actor, message, relay);
  }

  void hold(const topic_ref& name, waiting one) {
    if (is_stopping_) return refuse(one, stopping());
    const auto [place, is_new] = topics_.try_emplace(name);
    place->second.held.push_back(std::move(one));
    if (!is_new) return;
    place->second.begins_new_run() ? make_or_refuse(name, place->second) : load(name);
  }

  /// Hands over what was held, up to and including a deletion.
  void release(topic_slot& slot) {
    while (slot.stage == topic_stage::active && !slot.held.empty()) {
      auto next = std::move(slot.held.front());
      slot.held.pop_front();
      const auto* control = std::get_if<waiting_control>(&next);
      if (control != nullptr && std::holds_alternative<delete_topic>(control->message->body)) {
        slot.stage = topic_stage::passivating;
      }
      forward(slot, next);
    }
  }

  void forward(topic_slot& slot, waiting& one) {
    std::visit(
        [&]<class One>(One& message) {
          if constexpr (std::is_same_v<One, waiting_publish>) ++counters_.topic_mailbox;
          if constexpr (std::is_same_v<One, waiting_attach>) {
            send(slot.actor, std::move(message.message), message.relay);
          } else {
            send(slot.actor, std::move(message.message), message.reply_to);
          }
        },
        one);
  }

  void refuse(const waiting& one, const error& why) {
    if (const auto* publish = std::get_if<waiting_publish>(&one)) {
      send(publish->reply_to, box(refusals_of(publish->message->batch.requests, why)));
    } else if (const auto* control = std::get_if<waiting_control>(&one)) {
      send(
          control->reply_to,
          box(control_reply{control->message->correlation, std::unexpected{why}}));
    } else {
      // The relay waits until the topic can be read or is made.
      const auto& attach = std::get<waiting_attach>(one);
      interest_.wait(attach, is_not_there(why.code));
    }
  }

  // -- loading and making --------------------------------------------------------------------

  void load(const topic_ref& name) {
    const auto slot = topics_.find(name);
    const bool is_to_end = slot != topics_.end() && slot->second.ends_run(name);
    if (slot != topics_.end()) slot->second.is_read_to_end = is_to_end;
    const bool may_wait = slot != topics_.end() && slot->second.may_wait(name);
    load_for(handle(), parts_, shard_, current(), name, {is_to_end, may_wait});
  }

  void put_off(const topic_loaded& message, topic_slot& slot) {
    // Somebody may have asked for it meanwhile.
    if (!slot.may_wait(message.topic)) return load(message.topic);
    for (const auto& one : slot.held)
      refuse(one, message.outcome.error());
    if (slot.is_wanted) turns_.wait(message.topic);
    topics_.erase(message.topic);
  }

  [[nodiscard]] activation_id current() const { return activation_.value_or(activation_id{}); }

  void on_loaded(topic_loaded& message) {
    const auto found = topics_.find(message.topic);
    if (found == topics_.end() || found->second.stage != topic_stage::loading) return;
    if (message.activation != current()) return load(message.topic);
    if (message.is_put_off) return put_off(message, found->second);
    if (!message.outcome) {
      if (!found->second.is_read_to_end && found->second.ends_run(message.topic)) {
        return load(message.topic);
      }
      const auto& why = message.outcome.error();
      if (is_channel(message.topic.topic) && is_retryable(why.code)) schedule_.look_again();
      return fail_slot(found->first, why);
    }
    if (message.outcome->core) {
      return start(message.topic, found->second, std::move(*message.outcome));
    }
    // Of a deletion whose outcome is not known nobody else may have heard.
    companions_.tell(topic_gone{message.topic});
    make_or_refuse(message.topic, found->second);
  }

  /// There is no such topic: the first publish or put makes it, the rest hears that it is not
  /// there.
  void make_or_refuse(const topic_ref& name, topic_slot& slot) {
    for (const auto& [one, why] : slot.take_refused(name, parts_))
      refuse(one, why);
    if (slot.held.empty()) {
      topics_.erase(name);
      return;
    }
    slot.take_settings(name, parts_.settings);
    // Who waits for the topic is to be attached before its first event.
    if (slot.begins_run() && !interest_.is_awaited(name)) return bear(name, slot);
    make(name, slot);
  }

  /// The first transition of a run makes its channel. What else is asked of it waits until then.
  void bear(const topic_ref& name, topic_slot& slot) {
    if (!activation_) return fail_slot(name, activation_.error());
    slot.stage = topic_stage::making;
    runtime::topic_image image{.name = name, .settings = slot.settings};
    spawn_into(slot, {make_topic_core(parts_, std::move(image)), run_image{}});
    forward(slot, slot.held.front());
    slot.held.pop_front();
    for (auto& one : slot.take_for_begun())
      forward(slot, one);
  }

  void on_born(const topic_born& message) {
    const auto found = topics_.find(message.topic);
    if (found == topics_.end() || found->second.stage != topic_stage::making) return;
    if (message.activation != current()) return;
    const topic_active news{message.topic, message.epoch, sequence{}};
    // As of its making: who watches gets its first events, too.
    interest_.tell(news);
    become_active(message.topic, found->second, news);
  }

  void make(const topic_ref& name, topic_slot& slot) {
    if (!activation_) return fail_slot(name, activation_.error());
    slot.stage = topic_stage::making;
    std::vector<storage::record_draft> records;
    records.push_back(
        {.kind = storage::record_kind::topic_created,
         .payload = runtime::encode_topic_created(name, slot.settings)});
    auto queued = parts_.journal.append(
        {.shard = shard_,
         .activation = *activation_,
         .records = std::move(records),
         .listener = [self = handle(), name, activation = *activation_](
                         storage::append_stage, const result<storage::append_receipt>& outcome) {
           caf::anon_send(self, box(topic_made{name, activation, outcome}));
         }});
    if (!queued) fail_slot(name, told_to_client(queued.error()));
  }

  void on_made(topic_made& message) {
    const auto found = topics_.find(message.topic);
    if (found == topics_.end() || found->second.stage != topic_stage::making) return;
    if (!message.outcome) {
      const auto why = told_to_client(message.outcome.error());
      fail_slot(found->first, why);
      return on_failed(message.activation);
    }
    if (is_stopping_) return;
    runtime::topic_image image;
    image.name = message.topic;
    image.entity = entity_id{message.outcome->first.raw()};
    image.epoch = runtime::format_epoch(image.entity, parts_.journal.state(shard_).incarnation);
    image.settings = found->second.settings;
    if (found->second.maker) {
      const auto& maker = *found->second.maker;
      auto made = describe(image);
      made.created = true;
      send(
          maker.reply_to,
          box(control_reply{maker.message->correlation, control_answer{std::move(made)}}));
      found->second.maker.reset();
    }
    if (message.activation != current()) {
      found->second.stage = topic_stage::loading;
      return load(message.topic);
    }
    loaded_topic made{make_topic_core(parts_, std::move(image)), std::nullopt};
    if (is_channel(message.topic.topic)) made.run.emplace();
    start(message.topic, found->second, std::move(made));
  }

  void start(const topic_ref& name, topic_slot& slot, loaded_topic loaded) {
    if (!activation_) return fail_slot(name, activation_.error());
    slot.is_wanted = false;
    const auto& image = loaded.core->image();
    slot.settings = image.settings;
    const topic_active news{name, image.epoch, image.last_seq};
    spawn_into(slot, std::move(loaded));
    become_active(name, slot, news);
  }

  void spawn_into(topic_slot& slot, loaded_topic loaded) {
    const auto name = loaded.core->image().name;
    if (loaded.run && slot.charge.is_held()) loaded.run->charge = std::move(slot.charge);
    slot.actor = spawn_topic(
        home_system(),
        topic_setup{
            .parts = parts_,
            .admission = admission_,
            .counters = counters_,
            .shard = shard_,
            .activation = *activation_,
            .alarms = alarms_,
            .core = std::move(loaded.core),
            .run = std::move(loaded.run)},
        handle());
    monitor(slot.actor);
    topic_of_actor_.emplace(slot.actor.id(), name);
  }

  void become_active(const topic_ref& name, topic_slot& slot, const topic_active& news) {
    slot.stage = topic_stage::active;
    // Who waited for the topic to be made comes before the event that makes it interesting.
    for (auto& one : interest_.take(name))
      send(slot.actor, std::move(one.message), one.relay);
    // Channels ask when something of theirs is to go: most never have anything.
    if (!is_channel(name.topic)) companions_.tell(news);
    release(slot);
  }

  void fail_slot(const topic_ref& name_in, const error& why) {
    const auto name = name_in;
    const auto found = topics_.find(name);
    auto held = std::move(found->second.held);
    auto maker = std::move(found->second.maker);
    topics_.erase(found);
    if (maker) refuse(std::move(*maker), why);
    lazy_deque<waiting> attaches;
    for (auto& one : held) {
      if (!is_stopping_ && std::holds_alternative<waiting_attach>(one)) {
        attaches.push_back(std::move(one));
      } else {
        refuse(one, why);
      }
    }
    if (attaches.empty()) return;
    topics_[name].held = std::move(attaches);
    delayed_send(this, load_again::delay, box(load_again{name}));
  }

  // -- passivation and end of topics -----------------------------------------------------------

  void on_idle(const topic_ref& name) {
    const auto found = topics_.find(name);
    if (found == topics_.end() || !found->second.may_rest()) return;
    found->second.stage = topic_stage::passivating;
    send(found->second.actor, box(passivate_topic{}));
  }

  void on_busy(const topic_ref& name) {
    const auto found = topics_.find(name);
    if (found == topics_.end() || found->second.stage != topic_stage::passivating) return;
    if (found->second.is_retired) return;
    found->second.stage = topic_stage::active;
    release(found->second);
  }

  void on_deleted(const topic_deleted& message) {
    const auto found = topics_.find(message.topic);
    if (found != topics_.end()) found->second.stage = topic_stage::passivating;
    for (const auto& [relay, credits] : message.relays)
      interest_.wait({box(attach_relay{message.topic, credits}), relay});
    forget_stuck(parts_, message.topic);
    companions_.tell(topic_gone{message.topic});
  }

  /// A topic ended: whoever wrote to it meanwhile gets a new one.
  void on_down(const caf::down_msg& down) {
    if (const auto topic = topic_of_actor_.find(down.source.id()); topic != topic_of_actor_.end()) {
      const auto name = topic->second;
      topic_of_actor_.erase(topic);
      return on_topic_down(name);
    }
    interest_.on_down(down.source);
    if (companions_.on_down(down.source)) end_if_stopped();
  }

  void on_topic_down(const topic_ref& name) {
    const auto found = topics_.find(name);
    if (found == topics_.end()) return;
    auto& slot = found->second;
    slot.actor = nullptr;
    slot.is_retired = false;
    if (is_stopping_) {
      fail_slot(name, stopping());
      return end_if_stopped();
    }
    if (slot.held.empty() && !slot.is_wanted) {
      topics_.erase(found);
      return;
    }
    slot.stage = topic_stage::loading;
    load(name);
  }

  // -- patterns ------------------------------------------------------------------------------

  void on_watch(const watch_pattern& message, const caf::actor& hub) {
    interest_.watch(message, hub);
    for (const auto& [name, slot] : topics_) {
      if (!slot.may_go_on() || name.tenant != message.tenant) continue;
      // The topic itself knows how far it is; if it ends instead, the next one tells.
      if (message.pattern.matches(name.topic.str())) send(slot.actor, box(report_active{}), hub);
    }
  }

  // -- time ----------------------------------------------------------------------------------

  void arm_tick() {
    const auto every = std::chrono::milliseconds{parts_.settings.topics.retention_check_ms};
    delayed_send(this, activation_ ? every : std::min(every, activation_retry), box(shard_tick{}));
  }

  void on_tick() {
    if (!activation_) activate();
    if (activation_) sweep_.look(handle());
    arm_tick();
  }

  /// `is_needed`: also what is about to end, anew.
  void wake(const std::vector<topic_ref>& topics, bool is_needed) {
    if (is_stopping_) return;
    for (const auto& name : topics) {
      if (turns_.waits(name)) continue;
      const auto [place, is_new] = topics_.try_emplace(name);
      auto& slot = place->second;
      if (is_new) load(name);
      slot.is_wanted |= is_needed && slot.stage != topic_stage::active;
    }
  }

  // -- runs ----------------------------------------------------------------------------------

  void arm_schedule(std::chrono::milliseconds delay = run_schedule::tick) {
    if (parts_.workflows != nullptr) delayed_send(this, delay, box(schedule_tick{}));
  }

  const broker_parts& parts_;
  topic_admission admission_;
  topic_metrics& counters_;
  const shard_id shard_;
  result<activation_id> activation_ = fail(errc::draining, "the shard is starting");
  companions companions_{*this};
  std::unordered_map<topic_ref, topic_slot> topics_;
  std::unordered_map<caf::actor_id, topic_ref> topic_of_actor_;
  topic_interest interest_{*this, parts_.settings.topics.awaited_max};
  run_schedule schedule_{parts_, shard_};
  run_turns turns_{*parts_.runs};
  std::shared_ptr<run_alarms> alarms_ =
      std::make_shared<run_alarms>(parts_.time, parts_.workflows != nullptr);
  retention_sweep sweep_{parts_, shard_};
  bool is_stopping_ = false;
};

}  // namespace

caf::actor spawn_shard(caf::actor_system& system, const shard_setup& setup) {
  return system.spawn<shard_actor, caf::lazy_init>(setup);
}

}  // namespace callboard::actors
