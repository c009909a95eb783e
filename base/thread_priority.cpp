#include "base/thread_priority.hpp"

#include <sched.h>
#include <sys/resource.h>

namespace callboard {

namespace {

void set_policy(int policy) {
  const sched_param none{};
  (void)::sched_setscheduler(0, policy, &none);
}

/// Linux gives each thread its own.
void set_niceness(int niceness) {
  (void)::setpriority(PRIO_PROCESS, 0, niceness);
}

}  // namespace

batch_threads::batch_threads() : policy_before_{::sched_getscheduler(0)} {
  // What is set otherwise was set by somebody who knows better.
  if (policy_before_ == SCHED_OTHER) set_policy(SCHED_BATCH);
}

batch_threads::~batch_threads() {
  if (policy_before_ == SCHED_OTHER) set_policy(SCHED_OTHER);
}

void prefer_this_thread() {
  constexpr int niceness = -10;
  if (::sched_getscheduler(0) == SCHED_BATCH) set_policy(SCHED_OTHER);
  set_niceness(niceness);
}

void yield_this_thread() {
  constexpr int niceness = 5;
  set_niceness(niceness);
}

}  // namespace callboard
