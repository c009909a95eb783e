# Shards and topics, the pool that reads for them, and the router of a single node.
callboard_module(actors_topics
  SOURCES agent_activity.cpp armed_timers.cpp command_id.cpp earlier_signals.cpp guest_turn.cpp local_router.cpp model_feed.cpp reader_pool.cpp retention_sweep.cpp run_accepted.cpp run_alarms.cpp run_calls.cpp run_cancel.cpp run_census.cpp run_children.cpp run_costs.cpp run_debts.cpp run_effects.cpp run_explain.cpp run_host.cpp run_memory.cpp run_metrics.cpp run_model_calls.cpp run_models.cpp run_next.cpp run_reads.cpp run_recall.cpp run_repair.cpp run_requests.cpp run_rerun.cpp run_rerun_reads.cpp run_resends.cpp run_schedule.cpp run_stay.cpp run_sweep.cpp run_tasks.cpp run_timers.cpp run_upkeep.cpp run_view.cpp run_waits.cpp step_stops.cpp stuck_runs.cpp
    shard_actor.cpp topic_actor.cpp topic_answers.cpp topic_interest.cpp topic_loading.cpp
    topic_metrics.cpp topic_reads.cpp wait_cycle.cpp
  LINKS callboard::base callboard::storage callboard_runtime_topic callboard_runtime_workflow
    callboard_actors_groups callboard::model
    caf::core)
