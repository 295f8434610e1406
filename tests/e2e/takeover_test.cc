#include <csignal>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/replicas.h"

// The leader dies, freezes, or loses the API server while an outage goes on (design.md §9).
namespace failover::e2e {
namespace {

const std::vector<std::string> kMoved = {"neu Enabled", "weu Disabled"};

bool FailedOver(const v1::GroupStatus& status) {
  return status.active() == "apim-neu" && status.failover().stage() == v1::FAILOVER_STAGE_DONE;
}
bool HasOutage(const v1::GroupStatus& status) { return status.outage().active(); }

absl::Time TimeIn(const std::string& text) {
  absl::Time time = absl::InfinitePast();
  std::string error;
  EXPECT_TRUE(absl::ParseTime(absl::RFC3339_full, text, &time, &error)) << text << error;
  return time;
}

// When the standby's endpoint was enabled. The emulator's clock is the machine's.
absl::Time Enabled(System& system) {
  for (const nlohmann::json& entry : system.Requests()) {
    if (entry.value("applied", false) && entry.value("endpointStatus", "") == "Enabled")
      return TimeIn(entry.value("time", ""));
  }
  ADD_FAILURE() << "no endpoint was enabled";
  return absl::InfiniteFuture();
}

TEST(Takeover, ANewLeaderInTheMidstOfAnOutageDecidesWithoutABlindInterval) {
  SystemOptions options;
  // Over when the Lease has run out; one who begins to count then would need as long again.
  options.min_down = "5s";
  Replicas system(options);
  ASSERT_NO_FATAL_FAILURE(system.StartAll());
  ASSERT_TRUE(system.Ready());
  const v1::GroupStatus before = system.Status();
  system.Control("PATCH", "gateways/apim-weu", R"({"mode":"cut"})");
  ASSERT_TRUE(system.StatusBecomes(absl::Seconds(20), HasOutage));
  const int leader = system.Holder();
  system.replica(leader).Kill();
  ASSERT_EQ(system.Switches(), std::vector<std::string>()) << "the dwell was to go on";
  ASSERT_TRUE(system.StatusBecomes(absl::Seconds(40), FailedOver));
  const absl::Time led = TimeIn(system.stub.Field(kLeasePath, "/spec/acquireTime"));
  const absl::Duration blind = Enabled(system) - led;
  std::cout << "enabled " << blind << " after the takeover\n";
  EXPECT_GT(blind, absl::ZeroDuration());
  // Three fresh results of two regions (startup_grace), every 0.5 s; 4 s for a busy machine.
  EXPECT_LT(blind, absl::Seconds(4));
  EXPECT_EQ(system.Switches(), kMoved);
  const v1::GroupStatus after = system.Status();
  EXPECT_EQ(after.epoch(), before.epoch() + 1);
  EXPECT_TRUE(after.rto().proved());
  EXPECT_GT(after.rto().total_ms(), 0);
  EXPECT_EQ(system.Effects("backup"), 1);
}

TEST(Takeover, AFrozenLeaderThatWakesSendsNothing) {
  SystemOptions options;
  options.min_down = "3s";
  Replicas system(options);
  ASSERT_NO_FATAL_FAILURE(system.StartAll());
  ASSERT_TRUE(system.Ready());
  const int frozen = system.Holder();
  EXPECT_FALSE(system.ToAzure(frozen, 0).empty()) << "its requests can be told apart";
  EXPECT_FALSE(system.Writes(frozen, 0).empty());
  system.Control("PATCH", "gateways/apim-weu", R"({"mode":"cut"})");
  ASSERT_TRUE(system.StatusBecomes(absl::Seconds(20), HasOutage));
  system.replica(frozen).Signal(SIGSTOP);
  const absl::Time wake = absl::Now() + absl::Seconds(30);
  ASSERT_EQ(system.Leader(frozen), 1 - frozen) << system.ControllerLog();
  ASSERT_TRUE(system.StatusBecomes(absl::Seconds(40), FailedOver));
  ASSERT_TRUE(Eventually(absl::Seconds(40), [&] { return absl::Now() >= wake; }));

  const uint64_t azure = system.LastToAzure();
  const size_t cluster = system.stub.Requests().size();
  system.replica(frozen).Signal(SIGCONT);
  // It follows: knows who leads, and has read what that one wrote.
  EXPECT_TRUE(Eventually(absl::Seconds(20), [&] {
    const v1::GetStatusResponse status = system.WhatSays(frozen);
    return !status.leader() &&
           status.leader_identity().starts_with(absl::StrCat("ctl-", 1 - frozen)) &&
           status.groups_size() == 1 && status.groups(0).active() == "apim-neu";
  })) << system.LogOf(frozen);
  for (const nlohmann::json& request : system.ToAzure(frozen, azure))
    ADD_FAILURE() << "sent by the woken one: " << request.dump();
  for (const KubernetesStub::Seen& write : system.Writes(frozen, cluster))
    ADD_FAILURE() << "written by the woken one: " << write.method << " " << write.path;
  EXPECT_EQ(system.Leader(), 1 - frozen);
  EXPECT_EQ(system.Switches(), kMoved);
  EXPECT_EQ(system.Effects("backup"), 1);
}

}  // namespace
}  // namespace failover::e2e
