callboard_test(actors_topic_test
  SOURCES topic/agents.test.cpp topic/asked_again.test.cpp topic/backlogs.test.cpp topic/begun_again.test.cpp topic/blocked.test.cpp topic/broker.test.cpp topic/costs.test.cpp topic/debts.test.cpp topic/deep_json.test.cpp topic/endings.test.cpp topic/left_channels.test.cpp topic/model_feed.test.cpp topic/models.test.cpp topic/random_runs.test.cpp topic/repair.test.cpp topic/resting.test.cpp topic/rows_behind.test.cpp topic/step_stops.test.cpp topic/stuck.test.cpp topic/taken_over.test.cpp topic/throwing_steps.test.cpp topic/trees.test.cpp topic/guest_turn.test.cpp topic/waiting.test.cpp topic/workflows.test.cpp topic/child_ids.test.cpp
  LINKS callboard_actors_topics callboard_runtime_projection callboard_storage
  LABELS unit)
callboard_test(actors_topic_failure_test
  SOURCES topic/census.test.cpp topic/class_versions.test.cpp topic/clock_steps.test.cpp topic/continued.test.cpp topic/dedupe.test.cpp topic/explain.test.cpp topic/failure.test.cpp topic/forgotten_replies.test.cpp topic/lanes.test.cpp topic/model_calls.test.cpp topic/noted_cancels.test.cpp topic/patterns.test.cpp topic/retention.test.cpp topic/run_models.test.cpp topic/run_schedule.test.cpp topic/signalled_again.test.cpp topic/starting.test.cpp topic/unreadable.test.cpp relay/recording_output.cpp topic/send_order.test.cpp topic/correlation.test.cpp topic/resident.test.cpp
  LINKS callboard::actors_relays callboard_actors_topics callboard_runtime_projection callboard_storage
  LABELS unit)
