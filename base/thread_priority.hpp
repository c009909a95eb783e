// Which thread has the core when there are more of them than cores: nothing for correctness, much
// for speed. Where the system does not allow it, threads stay as they are.
#pragma once

namespace callboard {

/// While it lives, threads that are begun, and this one, cut off no other when they are woken
/// (SCHED_BATCH, sched(7)): for many threads that wake each other for a few microseconds of work,
/// and may compute for long. Not for those that others wait for: behind code that computes they
/// would wait for the rest of its slice.
class batch_threads {
public:
  batch_threads();
  ~batch_threads();
  batch_threads(const batch_threads&) = delete;
  batch_threads& operator=(const batch_threads&) = delete;

private:
  int policy_before_;
};

/// This thread has a core as soon as it is woken: whoever works waits for it, and it needs little.
void prefer_this_thread();

/// This thread has what others leave: it works much, and nobody waits for it.
void yield_this_thread();

}  // namespace callboard
