#ifndef COMMON_MUTEX_H_
#define COMMON_MUTEX_H_

#include <mutex>

#include "absl/base/thread_annotations.h"

namespace failover {

// std::mutex with Clang's thread-safety annotations. Not absl::Mutex: Debian builds abseil without
// ThreadSanitizer, which then reports every access that it guards as a race.
// Use with MutexLock, or std::unique_lock + std::condition_variable_any where waiting is needed.
class ABSL_LOCKABLE Mutex {
 public:
  void lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { mutex_.lock(); }
  void unlock() ABSL_UNLOCK_FUNCTION() { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

class ABSL_SCOPED_LOCKABLE MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ABSL_EXCLUSIVE_LOCK_FUNCTION(mutex) : mutex_(mutex) {
    mutex_.lock();
  }
  ~MutexLock() ABSL_UNLOCK_FUNCTION() { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

}  // namespace failover

#endif  // COMMON_MUTEX_H_
