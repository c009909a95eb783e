callboard_test(runtime_subscription_test
  SOURCES subscription/subscription_core.test.cpp subscription/subscription_model.test.cpp
  LINKS callboard::runtime_subscription
  LABELS unit)
