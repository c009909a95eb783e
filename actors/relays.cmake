# Relays and what else lives on an I/O thread beside the sockets.
callboard_module(actors_relays
  SOURCES io_actor.cpp pattern_subscription.cpp relay.cpp relay_actor.cpp relay_hub.cpp
    topic_subscription.cpp
  LINKS callboard::base callboard::actors_requests callboard::runtime_subscription caf::core)
