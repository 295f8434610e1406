#include "agent/result_buffer.h"

#include <algorithm>
#include <chrono>
#include <mutex>
#include <utility>

namespace failover::agent {

ResultBuffer::ResultBuffer(Clock& clock, Limits limits, OnDrop on_drop)
    : clock_(clock), limits_(limits), on_drop_(std::move(on_drop)) {}

void ResultBuffer::Trim(SteadyTime now) {
  uint64_t full = 0, expired = 0;
  while (!entries_.empty()) {
    const Entry& oldest = entries_.front();
    const bool old = now - oldest.kept.completed > limits_.keep;
    if (!old && entries_.size() <= limits_.results && bytes_ <= limits_.bytes) break;
    if (begin_ >= delivered_) ++(old ? expired : full);
    bytes_ -= oldest.bytes;
    entries_.pop_front();
    ++begin_;
  }
  if (full > 0) on_drop_(AgentMetrics::Drop::kBufferFull, full);
  if (expired > 0) on_drop_(AgentMetrics::Drop::kExpired, expired);
}

void ResultBuffer::Add(KeptResult result, bool urgent) {
  const SteadyTime now = clock_.Steady();
  {
    MutexLock lock(mutex_);
    Entry entry{std::move(result), 0};
    // The message on the wire, and about what it takes in memory besides.
    entry.bytes = entry.kept.result.ByteSizeLong() + sizeof(Entry) + 256;
    bytes_ += entry.bytes;
    entries_.push_back(std::move(entry));
    if (urgent) urgent_end_ = begin_ + entries_.size();
    Trim(now);
  }
  wake_.notify_all();
}

uint64_t ResultBuffer::end() const {
  MutexLock lock(mutex_);
  return begin_ + entries_.size();
}

ResultBuffer::Batch ResultBuffer::Read(uint64_t from, uint64_t until) const {
  const SteadyTime now = clock_.Steady();
  Batch batch;
  MutexLock lock(mutex_);
  const uint64_t end = std::min(until, begin_ + entries_.size());
  uint64_t at = std::max(from, begin_);
  size_t bytes = 0;
  for (; at < end && batch.results.size() < limits_.batch_results; ++at) {
    const Entry& entry = entries_[at - begin_];
    if (now - entry.kept.completed > limits_.keep) continue;
    v1::ProbeResult result = WithAges(entry.kept, now);
    const size_t size = result.ByteSizeLong() + 4;  // tag and length
    if (bytes + size > limits_.batch_bytes && !batch.results.empty()) break;
    bytes += size;
    batch.results.push_back(std::move(result));
  }
  batch.next = at >= end ? until : at;
  return batch;
}

void ResultBuffer::Delivered(uint64_t position) {
  MutexLock lock(mutex_);
  delivered_ = std::max(delivered_, position);
}

bool ResultBuffer::WaitForBatch(uint64_t position, absl::Duration gather,
                                const std::function<bool()>& cancelled)
    ABSL_NO_THREAD_SAFETY_ANALYSIS {
  std::unique_lock<Mutex> lock(mutex_);
  const auto waiting = [this, position]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    const uint64_t end = begin_ + entries_.size();
    return end > position ? end - position : 0;
  };
  wake_.wait(lock, [&] { return cancelled() || waiting() > 0; });
  const auto until = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(gather);
  wake_.wait_until(lock, until, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return cancelled() || urgent_end_ > position || waiting() >= limits_.batch_results;
  });
  return !cancelled();
}

void ResultBuffer::WakeAll() {
  // Under the lock, so that a waiter which has just found `cancelled` false is not missed.
  MutexLock lock(mutex_);
  wake_.notify_all();
}

}  // namespace failover::agent
