# The companions of a shard: consumer groups, bindings, presence and task queues.
callboard_module(actors_groups
  SOURCES bindings_actor.cpp bindings_agents.cpp bindings_dead.cpp bindings_edit.cpp bindings_requests.cpp companions.cpp group_backlogs.cpp group_companion.cpp group_reads.cpp groups_actor.cpp groups_doubts.cpp groups_gauges.cpp groups_letters.cpp groups_requests.cpp groups_units.cpp
    presence_actor.cpp presence_reads.cpp queue_metrics.cpp queue_reads.cpp queue_routing.cpp queues_actor.cpp
    queues_endings.cpp queues_requests.cpp queues_units.cpp task_origin.cpp
  LINKS callboard::base callboard::actors_requests callboard::runtime_group callboard::runtime_presence callboard::runtime_queue caf::core)
