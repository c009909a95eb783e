callboard_test(runtime_topic_test
  SOURCES topic/id_window.test.cpp topic/position.test.cpp topic/topic_core.test.cpp
    topic/topic_core_random.test.cpp topic/broker_projection.test.cpp
  LINKS callboard_runtime_projection
  LABELS unit)
