#ifndef CONTROLLER_INTAKE_JUDGE_H_
#define CONTROLLER_INTAKE_JUDGE_H_

#include <string>
#include <vector>

#include "apim_failover/v1/agent.pb.h"
#include "common/steady_time.h"
#include "controller/intake/results.h"
#include "controller/intake/table.h"
#include "controller/intake/token_bucket.h"

namespace failover::intake {

// What one agent may send on one path, by results and by messages. Results are counted in multiples
// of its regular probes (bursts come on top, and a replay of five minutes must fit); messages by R7
// of reliability.md: an agent sends a batch every 200 ms and one more at a change.
class Budget {
 public:
  // `factor` times what an agent's own stream is given.
  explicit Budget(SteadyTime now, double factor = 1);

  void Charge(double results_per_second, int results, SteadyTime now);
  // Until the debt is paid.
  absl::Duration Wait(SteadyTime now);

 private:
  const double factor_;
  TokenBucket results_, messages_;
};

// What the batches of one agent mean that come on one path: live results at once, those of a replay
// after its end mark (agent.proto), at most so many. One thread at a time.
class Judge {
 public:
  // Adds to `groups` what is to be judged now. `moment` is when the batch's ages were true, `now`
  // the same or later by what it has spent with another replica.
  void Take(const v1::ResultBatch& batch, const Table& table, const std::string& region,
            SteadyTime moment, SteadyTime now, MessageNote& note, SamplesByGroup& groups);
  // When the replay in progress began; in the infinite future when there is none.
  SteadyTime replay_since() const { return replay_since_; }

 private:
  struct Kept {  // one result of a replay; what its target means is looked up at the end
    std::string target;
    uint64_t definition;
    core::ProbeSample sample;
  };
  void EndReplay(const Table& table, MessageNote& note, SamplesByGroup& groups);

  std::vector<Kept> replay_;
  SteadyTime replay_since_ = SteadyTime::InfiniteFuture();
};

// True when a batch belongs to a replay, and its event too.
inline bool IsReplay(const v1::ResultBatch& batch) { return batch.replay() || batch.replay_end(); }

}  // namespace failover::intake

#endif  // CONTROLLER_INTAKE_JUDGE_H_
