callboard_test(runtime_queue_test
  SOURCES queue/codec.test.cpp queue/dead.test.cpp queue/leases.test.cpp queue/model.test.cpp
    queue/order.test.cpp queue/origins.test.cpp queue/pages.test.cpp queue/removals.test.cpp
  LINKS callboard::runtime_queue
  LABELS unit)
