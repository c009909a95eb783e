callboard_test(runtime_group_test
  SOURCES group/binding_groups.test.cpp group/codec.test.cpp group/core.test.cpp group/dead_letter.test.cpp
    group/invariants.test.cpp group/seq_set.test.cpp
  LINKS callboard::runtime_group
  LABELS unit)
callboard_test(runtime_presence_test
  SOURCES presence/presence.test.cpp
  LINKS callboard::runtime_presence
  LABELS unit)
