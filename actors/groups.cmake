# The companions of a shard: consumer groups and presence.
callboard_module(actors_groups
  SOURCES companions.cpp group_companion.cpp group_reads.cpp groups_actor.cpp groups_requests.cpp groups_units.cpp
    presence_actor.cpp presence_reads.cpp
  LINKS callboard::base callboard::runtime_group callboard::runtime_presence caf::core)
