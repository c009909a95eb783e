callboard_test(actors_bindings_test
  SOURCES binding/bindings.test.cpp binding/once.test.cpp binding/room.test.cpp binding/redrives.test.cpp binding/refusals.test.cpp binding/orphans.test.cpp
  LINKS callboard_actors_topics callboard_runtime_projection callboard_storage
  LABELS unit)
