callboard_test(actors_queues_test
  SOURCES queue/queues.test.cpp queue/restart.test.cpp queue/tasks.test.cpp
  LINKS callboard_actors_topics callboard_runtime_projection callboard_storage
  LABELS unit)
