callboard_test(actors_groups_test
  SOURCES group/directory.test.cpp group/failure.test.cpp group/groups.test.cpp group/presence.test.cpp group/restart.test.cpp
  LINKS callboard_actors_topics callboard_runtime_projection callboard_storage
  LABELS unit)
