callboard_test(actors_relay_test
  SOURCES relay/io_actor.test.cpp relay/pattern_subscription.test.cpp relay/relay.test.cpp
    relay/relay_hub.test.cpp relay/unheard_events.test.cpp relay/recording_output.cpp
  LINKS callboard::actors_relays callboard_runtime_projection
  LABELS unit)
