// Several electors, one Lease, and everything that a network and machines do: delays, drops,
// duplicates, reordering, clocks of different rates, frozen and restarted processes. At no moment
// do two of them lead.
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "controller/kubernetes/lease.h"
#include "tests/sim/random.h"
#include "tests/unit/kubernetes/lease_server.h"

namespace failover::kubernetes {
namespace {

using sim::Queue;
using sim::Random;

struct Trouble {
  double drop = 0, duplicate = 0, long_delay = 0;
  absl::Duration delay = absl::Milliseconds(20);    // of each way, at most
  absl::Duration longest = absl::Milliseconds(20);  // with the chance `long_delay`
};
constexpr int kSlowest = 800, kFastest = 1200;  // clock rates in thousandths

class Cluster {
 public:
  Cluster(uint64_t seed, int nodes, bool equal_clocks) : random_(seed) {
    for (int i = 0; i < nodes; ++i) {
      auto node = std::make_unique<Node>();
      node->rate = equal_clocks ? 1000 : random_.Int(kSlowest, kFastest);
      if (!equal_clocks && random_.Chance(0.5)) node->rate = i % 2 == 0 ? kSlowest : kFastest;
      node->offset = absl::Hours(random_.Int(1, 1000));
      nodes_.push_back(std::move(node));
      Restart(i);
    }
  }

  Trouble trouble;
  Queue queue;
  LeaseServer server;
  bool away = false;  // the API server answers nobody
  int terms = 0;
  std::string overlap;  // the first one

  int nodes() const { return static_cast<int>(nodes_.size()); }
  Random& random() { return random_; }
  void RunFor(absl::Duration time) {
    const SteadyTime end = queue.now + time;
    while (queue.RunNext(end)) {
    }
  }
  // Until `done` holds after an event; false when it did not within `time`.
  template <typename Done>
  bool RunUntil(Done done, absl::Duration time) {
    const SteadyTime end = queue.now + time;
    while (!done()) {
      if (!queue.RunNext(end)) return done();
    }
    return true;
  }
  int Leader() const {
    for (int i = 0; i < nodes(); ++i) {
      if (Leads(i)) return i;
    }
    return -1;
  }
  bool Leads(int i) const {
    const Node& node = *nodes_[i];
    const std::optional<Term>& term = node.elector->term();
    return term.has_value() && Local(node) < term->lead_until;
  }
  void Restart(int i) {
    Node& node = *nodes_[i];
    ++node.life;
    node.awake = true;
    node.asking = false;
    node.late.clear();
    node.elector =
        std::make_unique<Elector>(absl::StrCat("node-", i, "_", node.life), LeaseTimes());
    queue.In(absl::ZeroDuration(), [this, i, life = node.life] { Turn(i, life); });
  }
  void Kill(int i) {
    ++nodes_[i]->life;
    nodes_[i]->asking = false;
    nodes_[i]->elector = std::make_unique<Elector>("dead", LeaseTimes());
  }
  void Release(int i) {
    Node& node = *nodes_[i];
    node.elector->Release(Local(node));
    if (!node.asking) Turn(i, node.life);
  }
  void Freeze(int i, absl::Duration time) {
    Node& node = *nodes_[i];
    if (!node.awake) return;
    node.awake = false;
    queue.In(time, [this, i, life = node.life] {
      Node& woken = *nodes_[i];
      if (woken.life != life) return;
      woken.awake = true;
      for (auto& late : std::exchange(woken.late, {})) late();
    });
  }

 private:
  struct Node {
    int rate = 1000;
    absl::Duration offset;
    std::unique_ptr<Elector> elector;
    int life = 0;
    bool awake = true, asking = false;
    uint64_t request = 0;
    std::vector<std::function<void()>> late;  // what happened while it was frozen
  };

  SteadyTime Local(const Node& node) const {
    return {node.offset + (queue.now.since_epoch / 1000) * node.rate};
  }
  SteadyTime Real(const Node& node, SteadyTime local) const {
    const absl::Duration real = ((local.since_epoch - node.offset) / node.rate) * 1000;
    return SteadyTime{real} + absl::Microseconds(1);  // rounded up
  }
  void Do(int i, int life, std::function<void()> what) {
    Node& node = *nodes_[i];
    if (node.life != life) return;
    if (!node.awake) {
      node.late.push_back(
          [this, i, life, what = std::move(what)]() mutable { Do(i, life, std::move(what)); });
      return;
    }
    what();
    for (const LeaseEvent& event : node.elector->TakeEvents())
      terms += event.kind == LeaseEvent::kStarted;
    Check();
  }
  void Check() {
    std::string leaders;
    int count = 0;
    for (int i = 0; i < nodes(); ++i) {
      if (!Leads(i)) continue;
      ++count;
      absl::StrAppend(&leaders, " ", i, " (rate ", nodes_[i]->rate, ")");
    }
    if (count > 1 && overlap.empty()) {
      overlap = absl::StrCat("at ", absl::FormatDuration(queue.now.since_epoch - absl::Hours(1000)),
                             ":", leaders);
    }
  }

  absl::Duration Delay() {
    return random_.Between(absl::ZeroDuration(),
                           random_.Chance(trouble.long_delay) ? trouble.longest : trouble.delay);
  }

  void Turn(int i, int life) {
    Do(i, life, [this, i, life] {
      Node& node = *nodes_[i];
      if (node.asking) return;  // a turn from before a Release
      const SteadyTime now = Local(node);
      // Each wall clock shows something else.
      const LeaseAction action =
          node.elector->Next({now, absl::FromUnixSeconds(1'780'000'000) + 3 * node.offset +
                                       (queue.now.since_epoch - absl::Hours(1000))});
      if (action.kind == LeaseAction::kEnd) return;
      if (action.kind == LeaseAction::kWait) {
        queue.At(Real(node, action.until), [this, i, life] { Turn(i, life); });
        return;
      }
      node.asking = true;
      const uint64_t request = ++node.request;
      // The first of an answer and the end of our patience counts.
      const auto answered = [this, i, life, request, now](LeaseAnswer answer) {
        Do(i, life, [this, i, life, request, now, answer = std::move(answer)] {
          Node& asker = *nodes_[i];
          if (!asker.asking || asker.request != request) return;
          asker.asking = false;
          asker.elector->Answered(answer, now, Local(asker), random_.Int(0, 999) / 1000.0);
          Turn(i, life);
        });
      };
      queue.At(Real(node, action.until),
               [answered] { answered(LeaseServer::Refuse(LeaseAnswer::kFailed, "timeout")); });
      const int copies = random_.Chance(trouble.drop)        ? 0
                         : random_.Chance(trouble.duplicate) ? 2
                                                             : 1;
      for (int copy = 0; copy < copies; ++copy) {
        queue.In(Delay(), [this, action, answered] {
          if (away) return;
          const LeaseAnswer answer = server.Apply(action);
          if (random_.Chance(trouble.drop)) return;
          queue.In(Delay(), [answered, answer] { answered(answer); });
        });
      }
    });
  }

  Random random_;
  std::vector<std::unique_ptr<Node>> nodes_;
};

// What happens to the cluster every few seconds.
void Disturb(Cluster& cluster, absl::Duration time, bool deletions) {
  const SteadyTime end = cluster.queue.now + time;
  Random& random = cluster.random();
  while (cluster.queue.now < end) {
    cluster.RunFor(random.Between(absl::Seconds(1), absl::Seconds(30)));
    const int node = random.Int(0, cluster.nodes() - 1);
    switch (random.Int(0, 6)) {
      case 0:
        cluster.Freeze(node, random.Between(absl::Seconds(1), absl::Seconds(40)));
        break;
      case 1:
        // A process that starts after a deletion cannot know that somebody led.
        if (!deletions) cluster.Restart(node);
        break;
      case 2:
        if (!deletions) {
          cluster.Release(node);
          cluster.RunFor(absl::Seconds(random.Int(0, 12)));
          cluster.Restart(node);
        }
        break;
      case 3:
        cluster.away = !cluster.away;
        break;
      case 4:
        if (cluster.server.object.has_value()) cluster.server.Touch();
        break;
      case 5:
        if (deletions) cluster.server.object.reset();
        break;
      default:
        break;
    }
  }
  cluster.away = false;
}

const Trouble kMuch{0.08, 0.1, 0.15, absl::Milliseconds(400), absl::Seconds(25)};

TEST(LeasePropertyTest, TermsNeverOverlap) {
  int terms = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    Cluster cluster(seed, 2 + static_cast<int>(seed % 3), false);
    cluster.trouble = kMuch;
    Disturb(cluster, absl::Minutes(10), false);
    ASSERT_EQ(cluster.overlap, "") << "seed " << seed;
    terms += cluster.terms;
  }
  EXPECT_GT(terms, 300) << "the trouble is such that leaders change";
}

TEST(LeasePropertyTest, TermsDoNotOverlapWhenALeaseIsDeletedUnderElectorsThatKnowIt) {
  int terms = 0;
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    Cluster cluster(seed, 3, false);
    cluster.RunFor(absl::Seconds(60));
    cluster.trouble = {0.05, 0, 0.1, absl::Milliseconds(300), absl::Seconds(4)};
    Disturb(cluster, absl::Minutes(10), true);
    ASSERT_EQ(cluster.overlap, "") << "seed " << seed;
    terms += cluster.terms;
  }
  EXPECT_GT(terms, 100);
}

TEST(LeasePropertyTest, AfterAnyTroubleThereIsALeaderWithinALeaseAndAWaitAndItStays) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    Cluster cluster(seed, 3, false);
    cluster.trouble = kMuch;
    Disturb(cluster, absl::Minutes(2), false);
    cluster.trouble = Trouble();
    cluster.RunFor(absl::Seconds(100));  // what was under way arrives, the frozen wake
    ASSERT_GE(cluster.Leader(), 0) << "seed " << seed;
    const int leader = cluster.Leader(), terms = cluster.terms;
    cluster.RunFor(absl::Minutes(5));
    EXPECT_EQ(cluster.Leader(), leader) << "seed " << seed;
    EXPECT_EQ(cluster.terms, terms) << "seed " << seed << ": a healthy leader is not replaced";
    cluster.Kill(leader);
    const SteadyTime killed = cluster.queue.now;
    ASSERT_TRUE(cluster.RunUntil([&] { return cluster.Leader() >= 0; }, absl::Minutes(2)))
        << "seed " << seed;
    // D + 4.4 s by the slowest clock, and the requests.
    EXPECT_LE(cluster.queue.now - killed, absl::Seconds(19.4) / 0.8 + absl::Milliseconds(200))
        << "seed " << seed;
    EXPECT_EQ(cluster.overlap, "");
  }
}

TEST(LeasePropertyTest, TakeoversTakeTheTimesThatAreDocumented) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    Cluster cluster(seed, 3, true);
    cluster.RunFor(absl::Seconds(20) + absl::Milliseconds(seed * 37));
    const int first = cluster.Leader();
    ASSERT_GE(first, 0) << "seed " << seed;
    // A crash: 13 to 19.4 s.
    cluster.Kill(first);
    SteadyTime at = cluster.queue.now;
    ASSERT_TRUE(cluster.RunUntil([&] { return cluster.Leader() >= 0 && cluster.Leader() != first; },
                                 absl::Minutes(1)));
    EXPECT_GE(cluster.queue.now - at, absl::Seconds(13) - absl::Milliseconds(100))
        << "seed " << seed;
    EXPECT_LE(cluster.queue.now - at, absl::Seconds(19.4) + absl::Milliseconds(200))
        << "seed " << seed;
    cluster.Restart(first);
    cluster.RunFor(absl::Seconds(20));
    // A release: at most one follower's wait.
    const int second = cluster.Leader();
    cluster.Release(second);
    at = cluster.queue.now;
    ASSERT_TRUE(cluster.RunUntil(
        [&] { return cluster.Leader() >= 0 && cluster.Leader() != second; }, absl::Minutes(1)));
    EXPECT_LE(cluster.queue.now - at, absl::Seconds(4.4) + absl::Milliseconds(200))
        << "seed " << seed;
    EXPECT_EQ(cluster.overlap, "");
  }
}

TEST(LeasePropertyTest, AnApiServerThatIsAwayForLessThanTheDeadlineChangesNoLeader) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    Cluster cluster(seed, 3, true);
    cluster.RunFor(absl::Seconds(30) + absl::Milliseconds(seed * 37));
    const int leader = cluster.Leader(), terms = cluster.terms;
    cluster.away =
        true;  // a renewal that is lost in it is noticed after 5 s, and one more is due within 2 s
    cluster.RunFor(absl::Seconds(4));
    cluster.away = false;
    cluster.RunFor(absl::Seconds(30));
    EXPECT_EQ(cluster.Leader(), leader) << "seed " << seed;
    EXPECT_EQ(cluster.terms, terms) << "seed " << seed;
    cluster.away = true;
    cluster.RunFor(absl::Seconds(10));
    EXPECT_EQ(cluster.Leader(), -1) << "seed " << seed << ": nobody leads until it is back";
    cluster.RunFor(absl::Minutes(2));
    EXPECT_EQ(cluster.Leader(), -1) << "seed " << seed;
    cluster.away = false;
    cluster.RunFor(absl::Seconds(20));
    EXPECT_GE(cluster.Leader(), 0) << "seed " << seed;
  }
}

}  // namespace
}  // namespace failover::kubernetes
