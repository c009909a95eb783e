#include "base/thread_priority.hpp"

#include <cerrno>
#include <sched.h>
#include <sys/resource.h>

namespace callboard {

namespace {

void set_policy(int policy) {
  const sched_param none{};
  (void)::sched_setscheduler(0, policy, &none);
}

/// Relative to what the process was started with. Linux gives each thread its own.
void change_niceness(int by) {
  errno = 0;
  const int now = ::getpriority(PRIO_PROCESS, 0);
  if (errno == 0) (void)::setpriority(PRIO_PROCESS, 0, now + by);
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
  change_niceness(-10);
}

void yield_this_thread() {
  change_niceness(5);
}

}  // namespace callboard
