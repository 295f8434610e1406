#ifndef TESTS_UNIT_KUBERNETES_LEASE_FIXTURE_H_
#define TESTS_UNIT_KUBERNETES_LEASE_FIXTURE_H_

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "controller/kubernetes/lease.h"
#include "tests/unit/kubernetes/lease_server.h"

namespace failover::kubernetes {

inline const absl::Time kWall = absl::FromUnixMicros(1'780'000'000'123'456);

inline LeaseRecord HeldBy(const std::string& holder, int64_t seconds = 15) {
  LeaseRecord record;
  record.holder = holder;
  record.duration_seconds = seconds;
  record.acquired = record.renewed = kWall - absl::Hours(3);
  record.transitions = 4;
  return record;
}

// One elector "me" against one Lease, with the time in the test's hands.
class LeaseTest : public testing::Test {
 protected:
  LeaseAction Ask() { return elector_.Next({now_, kWall + (now_ - start_)}); }
  void Answer(LeaseAnswer answer, SteadyTime sent) {
    elector_.Answered(std::move(answer), sent, now_, 0.5);
  }
  // One request, answered after `delay`.
  LeaseAction Go(absl::Duration delay = absl::ZeroDuration()) {
    LeaseAction action = Ask();
    EXPECT_NE(action.kind, LeaseAction::kWait);
    const SteadyTime sent = now_;
    const LeaseAnswer answer = server_.Apply(action);
    now_ = now_ + delay;
    Answer(answer, sent);
    return action;
  }
  // One request that the server refuses or never sees.
  LeaseAction Refuse(LeaseAnswer::Kind kind, absl::Duration retry_after = absl::ZeroDuration()) {
    LeaseAction action = Ask();
    EXPECT_NE(action.kind, LeaseAction::kWait);
    LeaseAnswer answer = LeaseServer::Refuse(kind, "refused");
    answer.retry_after = retry_after;
    Answer(answer, now_);
    return action;
  }
  // To where the elector waits for, or fails the test.
  void Wait() {
    const LeaseAction action = Ask();
    ASSERT_EQ(action.kind, LeaseAction::kWait);
    ASSERT_GT(action.until, now_);
    now_ = action.until;
  }
  void Lead() {
    for (int i = 0; i < 4 && !elector_.term().has_value(); ++i) Go();
    ASSERT_TRUE(elector_.term().has_value());
    Go();  // the first renewal
    elector_.TakeEvents();
  }
  std::string Events() {
    std::string text;
    for (const LeaseEvent& event : elector_.TakeEvents()) {
      const char* const names[] = {"started", "ended", "leader", "broken"};
      absl::StrAppend(&text, text.empty() ? "" : "; ", names[event.kind]);
      if (event.term.number > 0) absl::StrAppend(&text, " ", event.term.number);
      if (!event.text.empty()) absl::StrAppend(&text, " ", event.text);
    }
    return text;
  }

  const SteadyTime start_{absl::Hours(1000)};
  SteadyTime now_ = start_;
  LeaseServer server_;
  Elector elector_{"me", LeaseTimes()};
};

}  // namespace failover::kubernetes

#endif  // TESTS_UNIT_KUBERNETES_LEASE_FIXTURE_H_
