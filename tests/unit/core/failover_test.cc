// Failover, step by step (design.md §7), orders, and what the record keeps.
#include <gtest/gtest.h>

#include <algorithm>

#include "controller/core/evaluate.h"
#include "tests/unit/core/driver.h"

namespace failover::core {
namespace {

class FailoverTest : public ::testing::Test {
 protected:
  void SetUp() override { d.Synced(); }
  bool Switched(absl::Duration within = absl::Seconds(30)) {
    return d.RunUntil([&] { return d.record().services(0).role() != v1::ROLE_ACTIVE; }, within);
  }
  bool Decided(absl::Duration within = absl::Seconds(30)) {
    return d.RunUntil(
        [&] {
          return d.record().failover().stage() == v1::FAILOVER_STAGE_DECIDED ||
                 !d.record().failover().id().empty();
        },
        within);
  }
  v1::FailoverStage stage() const { return d.record().failover().stage(); }
  // Forgets an answer that never comes, and answers it now.
  template <typename C>
  C Pop() {
    for (auto it = d.open.begin(); it != d.open.end(); ++it) {
      if (std::holds_alternative<C>(*it)) {
        const C found = std::get<C>(*it);
        d.open.erase(it);
        return found;
      }
    }
    ADD_FAILURE() << "no such command is open";
    return C();
  }
  Driver d;
};

TEST_F(FailoverTest, ADeadActiveIsReplacedAndTheWholeStoryIsKept) {
  const uint64_t epoch = d.record().epoch();
  d.Outage();
  ASSERT_TRUE(Switched());
  EXPECT_EQ(d.record().services(1).role(), v1::ROLE_ACTIVE)
      << "equal recovery points: the listed order decides";
  EXPECT_EQ(d.record().epoch(), epoch + 1);
  EXPECT_TRUE(d.standby("weu").not_resynced());
  EXPECT_TRUE(d.endpoints["neu"]);
  EXPECT_FALSE(d.endpoints["weu"]);
  d.public_from = "neu";
  ASSERT_TRUE(d.RunUntil([&] { return stage() == v1::FAILOVER_STAGE_DONE; }, absl::Seconds(30)));
  const v1::Failover& failover = d.record().failover();
  EXPECT_TRUE(failover.proved());
  EXPECT_LE(failover.last_good_ms(), failover.first_failed_ms());
  EXPECT_LE(failover.first_failed_ms(), failover.down_ms());
  EXPECT_LE(failover.down_ms(), failover.decided_ms());
  EXPECT_LE(failover.decided_ms(), failover.enable_sent_ms());
  EXPECT_LE(failover.enable_sent_ms(), failover.switched_ms());
  EXPECT_LE(failover.switched_ms(), failover.visible_ms());
  ASSERT_EQ(d.record().last_switches_size(), 1);
  EXPECT_EQ(d.record().last_switches(0).rto().total_ms(),
            failover.visible_ms() - failover.last_good_ms())
      << "from the earlier bound";
  const v1::Rto& rto = d.record().last_switches(0).rto();
  EXPECT_EQ(rto.detect_ms() + rto.decide_ms() + rto.switch_ms() + rto.visible_ms(), rto.total_ms())
      << "the phases add up";
  EXPECT_GE(failover.rpo_ms(), 0);
}

TEST_F(FailoverTest, TheOldEndpointIsDisabledOnlyAfterTheNewOneWasReadBack) {
  std::vector<std::string> order;
  d.take = [&](const Command& c) {
    if (const auto* set = std::get_if<SetEndpoint>(&c))
      order.push_back(set->service + (set->enabled ? "+" : "-"));
    if (std::holds_alternative<ReadTraffic>(c)) order.emplace_back("read");
    return false;
  };
  d.Outage();
  ASSERT_TRUE(Switched());
  const auto on = std::find(order.begin(), order.end(), "neu+"),
             off = std::find(order.begin(), order.end(), "weu-");
  ASSERT_NE(on, order.end());
  ASSERT_NE(off, order.end());
  EXPECT_NE(std::find(on, off, "read"), off) << "read back in between";
}

TEST_F(FailoverTest, TheDwellHoldsTheDecision) {
  d.config.min_down_duration = absl::Seconds(20);
  const SteadyTime start = d.now().steady;
  d.Outage();
  ASSERT_TRUE(Switched(absl::Minutes(1)));
  EXPECT_GE(d.now().steady - start, absl::Seconds(19));
  EXPECT_LE(d.now().steady - start, absl::Seconds(24));
}

TEST_F(FailoverTest, ObserveAndManualNeverActAlone) {
  for (const Mode mode : {Mode::kObserve, Mode::kManual}) {
    d.config.mode = mode;
    d.Do(ConfigChanged{});
    d.Outage();
    d.Run(absl::Minutes(1));
    EXPECT_EQ(d.Count<SetEndpoint>(), 0);
    EXPECT_NE(d.state.observed.would_do.find("weu"), std::string::npos)
        << "what would have been done is told";
  }
}

TEST_F(FailoverTest, AFailoverWithoutAQuorumNeverHappens) {
  d.silent = {false, true, true};
  d.Outage();
  d.Run(absl::Minutes(2));
  EXPECT_EQ(d.Count<SetEndpoint>(), 0);
}

TEST_F(FailoverTest, TheSmallestRpoWinsBeforeTheListedOrder) {
  d.state.record.mutable_services(1)->set_recovery_point_ms(
      d.record().services(1).recovery_point_ms() - 60000);
  d.Outage();
  ASSERT_TRUE(Switched());
  EXPECT_EQ(d.record().services(2).role(), v1::ROLE_ACTIVE);
}

TEST_F(FailoverTest, BeforeThePointOfNoReturnARecoveryAborts) {
  d.Outage();
  d.RunUntil([&] { return d.state.observed.verdicts[0].verdict == Verdict::kDown; },
             absl::Seconds(20));
  d.durable = false;
  ASSERT_TRUE(Decided());
  const int64_t cooldown = d.record().cooldown_until_ms();
  d.up[0] = {true, true, true};
  d.Run(absl::Seconds(8));
  ASSERT_EQ(stage(), v1::FAILOVER_STAGE_DECIDED) << "the decision is not durable yet";
  d.durable = true;
  d.Durable();
  EXPECT_EQ(stage(), v1::FAILOVER_STAGE_ABORTED);
  EXPECT_EQ(d.Count<SetEndpoint>(), 0);
  EXPECT_EQ(d.record().cooldown_until_ms(), cooldown);
  EXPECT_EQ(d.record().failover_ms_size(), 0);
  EXPECT_EQ(d.record().epoch(), 2u) << "an aborted decision keeps its number";
}

TEST_F(FailoverTest, BeforeThePointOfNoReturnAnUnknownVerdictAbortsAfterAWhile) {
  d.Outage();
  d.durable = false;
  d.RunUntil([&] { return !d.record().failover().id().empty(); }, absl::Seconds(20));
  d.silent = {true, true, true};
  d.Run(absl::Seconds(5));
  d.durable = true;
  d.Durable();
  EXPECT_EQ(stage(), v1::FAILOVER_STAGE_DECIDED);
  d.Run(absl::Seconds(4));
  EXPECT_EQ(stage(), v1::FAILOVER_STAGE_ABORTED);
}

TEST_F(FailoverTest, APauseOrAChangeOfModeBeforeThePointOfNoReturnStopsIt) {
  d.Outage();
  d.durable = false;
  d.RunUntil([&] { return !d.record().failover().id().empty(); }, absl::Seconds(20));
  d.config.mode = Mode::kManual;
  d.Do(ConfigChanged{});
  d.durable = true;
  d.Durable();
  d.Run(absl::Seconds(5));
  EXPECT_EQ(d.Count<SetEndpoint>(), 0);
  EXPECT_EQ(stage(), v1::FAILOVER_STAGE_ABORTED);
}

TEST_F(FailoverTest, AfterThePointOfNoReturnItGoesForwardEvenIfTheOldOneIsUpAgain) {
  d.Take<SetEndpoint>();
  d.Outage();
  ASSERT_TRUE(d.RunUntil([&] { return d.Count<SetEndpoint>() == 1; }, absl::Seconds(30)));
  EXPECT_EQ(stage(), v1::FAILOVER_STAGE_ENABLING);
  EXPECT_EQ(d.record().failover_ms_size(), 1)
      << "cooldown and daily limit are armed with the request";
  EXPECT_GT(d.record().cooldown_until_ms(), absl::ToUnixMillis(d.now().wall));
  const SetEndpoint set = Pop<SetEndpoint>();
  d.up[0] = {true, true, true};
  d.endpoints["neu"] = true;
  d.TakeNothing();
  d.Do(EndpointSet{set.call, set.service, true, {CallStatus::kUnclear, {}}});
  EXPECT_EQ(d.record().services(1).role(), v1::ROLE_ACTIVE);
}

TEST_F(FailoverTest, AnEnableThatWasProvablyNotAppliedMayStillAbort) {
  d.Take<SetEndpoint>();
  d.Outage();
  ASSERT_TRUE(d.RunUntil([&] { return d.Count<SetEndpoint>() == 1; }, absl::Seconds(30)));
  const SetEndpoint first = Pop<SetEndpoint>();
  d.up[0] = {true, true, true};
  d.Run(absl::Seconds(8));
  ASSERT_EQ(d.verdict("weu"), Verdict::kUp);
  d.Do(EndpointSet{first.call, first.service, true, {CallStatus::kNotSent, {}}});
  d.Run(absl::Seconds(3));
  EXPECT_EQ(stage(), v1::FAILOVER_STAGE_ABORTED);
  EXPECT_EQ(d.record().failover_ms_size(), 0) << "it did not happen and does not count";
  EXPECT_EQ(d.record().cooldown_until_ms(), 0);
  EXPECT_EQ(d.record().services(0).role(), v1::ROLE_ACTIVE);
}

TEST_F(FailoverTest, ALostAnswerIsReadBackAndSetAgainNeverToggled) {
  uint64_t first = 0;
  d.take = [&](const Command& c) {
    const auto* set = std::get_if<SetEndpoint>(&c);
    if (set != nullptr && first == 0) first = set->call;
    return set != nullptr && set->call == first;
  };
  d.Outage();
  ASSERT_TRUE(d.RunUntil([&] { return d.Count<SetEndpoint>() == 1; }, absl::Seconds(30)));
  const SetEndpoint set = Pop<SetEndpoint>();
  d.Do(EndpointSet{
      set.call, set.service, true, {CallStatus::kUnclear, {}}});  // lost before it arrived
  ASSERT_TRUE(Switched(absl::Seconds(10)));
  EXPECT_TRUE(d.endpoints["neu"]);
  EXPECT_GE(d.record().failover().enable_attempts(), 2);
}

TEST_F(FailoverTest, ARestartAtEveryStepResumesAndEndsIt) {
  for (const v1::FailoverStage at : {v1::FAILOVER_STAGE_DECIDED, v1::FAILOVER_STAGE_ENABLING,
                                     v1::FAILOVER_STAGE_DISABLING, v1::FAILOVER_STAGE_CONFIRMING}) {
    Driver one;
    one.Synced();
    one.Take<SetEndpoint>();
    one.Outage();
    const auto reached = [&] { return one.record().failover().stage() >= at; };
    one.take = [&](const Command& c) {
      return std::holds_alternative<SetEndpoint>(c) && reached();
    };
    ASSERT_TRUE(one.RunUntil(reached, absl::Seconds(30))) << at;
    one.TakeNothing();
    one.Restart();
    one.public_from = "neu";
    EXPECT_TRUE(
        one.RunUntil([&] { return one.record().failover().stage() == v1::FAILOVER_STAGE_DONE; },
                     absl::Minutes(2)))
        << "from stage " << at << " to " << one.record().failover().stage();
    EXPECT_TRUE(one.endpoints["neu"]);
    EXPECT_FALSE(one.endpoints["weu"]);
    EXPECT_EQ(one.record().epoch(), 2u);
  }
}

TEST_F(FailoverTest, NotSeenWithinFiveMinutesIsSaidAndNothingIsSwitchedBack) {
  d.Outage();
  ASSERT_TRUE(Switched());
  d.Run(absl::Minutes(4));
  EXPECT_EQ(stage(), v1::FAILOVER_STAGE_CONFIRMING);
  d.Run(absl::Minutes(2));
  EXPECT_EQ(stage(), v1::FAILOVER_STAGE_SWITCHED_NOT_SEEN);
  EXPECT_TRUE(d.endpoints["neu"]);
  EXPECT_FALSE(d.record().last_switches(0).success());
  EXPECT_FALSE(d.record().last_switches(0).acknowledged());
  d.state.record.mutable_failover()->Clear();  // as a next one does, which may never switch
  d.state.record.mutable_failover()->set_acknowledged(true);
  d.state.record.set_cooldown_until_ms(0);
  ASSERT_TRUE(d.Order(OrderAck{}).ok);
  EXPECT_TRUE(d.record().last_switches(0).acknowledged());
}

TEST_F(FailoverTest, AFormerActiveServiceIsNotResyncedAndNoSyncRunReplacesIt) {
  d.Outage();
  ASSERT_TRUE(Switched());
  d.public_from = "neu";
  ASSERT_TRUE(d.RunUntil([&] { return stage() == v1::FAILOVER_STAGE_DONE; }, absl::Seconds(30)));
  const Blockers blockers = EvaluateBlockers(Look{d.config, d.state, d.now()});
  EXPECT_TRUE(blockers.services[0].Has(Blocker::kNotResynced));
  EXPECT_FALSE(blockers.services[0].Has(Blocker::kNeverSynced)) << "it has content of its own";
  for (const bool dry_run : {true, false}) {
    const Reply discard = d.Order(OrderStandbyDiscard{"weu"}, "", dry_run);
    EXPECT_FALSE(discard.ok);
    EXPECT_NE(discard.text.find("not_resynced"), std::string::npos) << discard.text;
    EXPECT_FALSE(d.Order(OrderSyncRun{"weu"}, "", dry_run).ok);
  }
  EXPECT_FALSE(d.record().services(0).adopted());
}

TEST_F(FailoverTest, AnAnswerThatCannotBeAttributedCountsAsUnproved) {
  d.config.served_by_header = "";
  d.Outage();
  ASSERT_TRUE(Switched());
  d.public_from = "somebody";
  ASSERT_TRUE(d.RunUntil([&] { return stage() == v1::FAILOVER_STAGE_DONE; }, absl::Seconds(30)));
  EXPECT_FALSE(d.record().failover().proved());
}

TEST_F(FailoverTest, WithoutAPublicUrlTheRtoEndsAtTheSwitchAndSaysSo) {
  d.config.public_url = "";
  d.Outage();
  ASSERT_TRUE(d.RunUntil([&] { return stage() == v1::FAILOVER_STAGE_DONE; }, absl::Seconds(30)));
  EXPECT_NE(d.record().failover().outcome().find("public URL"), std::string::npos);
  EXPECT_EQ(d.record().last_switches(0).rto().total_ms(),
            d.record().failover().switched_ms() - d.record().failover().last_good_ms());
}

TEST_F(FailoverTest, TheCooldownHoldsASecondFailoverAndAckLiftsIt) {
  d.Outage();
  ASSERT_TRUE(Switched());
  d.public_from = "neu";
  d.RunUntil([&] { return stage() == v1::FAILOVER_STAGE_DONE; }, absl::Seconds(30));
  d.Run(absl::Seconds(20));
  d.up[1] = {false, false, false};
  d.public_from.clear();
  d.Run(absl::Minutes(3));
  EXPECT_TRUE(d.Blocked(Blocker::kCooldown));
  EXPECT_EQ(d.record().services(1).role(), v1::ROLE_ACTIVE);
  d.Restart();
  d.Run(absl::Seconds(20));
  EXPECT_TRUE(d.Blocked(Blocker::kCooldown)) << "it survives a restart";
  ASSERT_TRUE(d.Order(OrderAck{}).ok);
  ASSERT_TRUE(d.RunUntil([&] { return d.record().services(2).role() == v1::ROLE_ACTIVE; },
                         absl::Minutes(12)))
      << "never back to weu, which is not resynced";
  EXPECT_TRUE(d.Blocked(Blocker::kDailyLimit));
}

TEST_F(FailoverTest, AnUnfitStandbyIsNotChosenAndAForceNeedsItsNameAndAReason) {
  for (int i : {1, 2}) d.state.record.mutable_services(i)->set_content_unverified(true);
  d.Outage();
  d.Run(absl::Seconds(30));
  EXPECT_EQ(d.Count<SetEndpoint>(), 0);
  EXPECT_NE(d.Order(OrderFailover{"neu", {}}).text.find("unverified"), std::string::npos);
  EXPECT_FALSE(d.Order(OrderFailover{"neu", {"drift"}}).ok) << "another name waives nothing";
  EXPECT_FALSE(d.Order(OrderFailover{"neu", {"unverified"}}, "").ok) << "without a reason";
  EXPECT_FALSE(d.Order(OrderFailover{"neu", {"switch_path_broken"}}).ok) << "never forceable";
  EXPECT_FALSE(d.Order(OrderFailover{"neu", {"paused"}}).ok);
  EXPECT_FALSE(d.Order(OrderFailover{"neu", {"nonsense"}}).ok);
  const Reply reply =
      d.Order(OrderFailover{"neu", {"unverified", "recovery_point_too_old", "standby_down"}},
              "it is an emergency");
  ASSERT_TRUE(reply.ok) << reply.text;
  EXPECT_EQ(d.record().failover().forced_size(), 2)
      << "only what stood in the way is kept as waived";
  EXPECT_EQ(d.record().failover().reason(), "it is an emergency");
  EXPECT_EQ(d.record().failover().trigger(), "operator");
  EXPECT_EQ(d.record().services(1).role(), v1::ROLE_ACTIVE);
}

TEST_F(FailoverTest, AnOperatorMayFailOverWhileAllIsWellAndPaused) {
  d.Order(OrderPause{});
  EXPECT_FALSE(d.Order(OrderFailover{"weu", {}}).ok) << "it is active already";
  EXPECT_FALSE(d.Order(OrderFailover{"nonsense", {}}).ok);
  const Reply dry = d.Order(OrderFailover{"uks", {}}, "", true);
  EXPECT_TRUE(dry.ok);
  EXPECT_EQ(d.record().failover().id(), "");
  ASSERT_TRUE(d.Order(OrderFailover{"uks", {}}).ok);
  EXPECT_EQ(d.record().services(2).role(), v1::ROLE_ACTIVE);
  EXPECT_FALSE(d.endpoints["weu"]);
}

TEST_F(FailoverTest, ApproveWaitsForTheWordAndTheWordMustFit) {
  d.config.mode = Mode::kApprove;
  d.Do(ConfigChanged{});
  EXPECT_FALSE(d.Order(OrderApprove{"A1"}).ok) << "nothing waits";
  d.Outage();
  ASSERT_TRUE(
      d.RunUntil([&] { return d.record().approval().expires_ms() != 0; }, absl::Seconds(30)));
  d.Run(absl::Seconds(20));
  EXPECT_EQ(d.Count<SetEndpoint>(), 0);
  EXPECT_FALSE(d.Order(OrderApprove{"A99"}).ok);
  EXPECT_TRUE(d.Order(OrderApprove{d.record().approval().id(), true}, "", true).ok);
  EXPECT_EQ(d.record().failover().id(), "") << "a dry run changes nothing";
  ASSERT_TRUE(d.Order(OrderApprove{d.record().approval().id()}).ok);
  EXPECT_EQ(d.record().failover().trigger(), "approved");
  EXPECT_EQ(d.record().services(1).role(), v1::ROLE_ACTIVE);
}

TEST_F(FailoverTest, ADeniedApprovalIsNotAskedAgainForTheSameOutage) {
  d.config.mode = Mode::kApprove;
  d.Do(ConfigChanged{});
  d.Outage();
  ASSERT_TRUE(
      d.RunUntil([&] { return d.record().approval().expires_ms() != 0; }, absl::Seconds(30)));
  const std::string id = d.record().approval().id();
  ASSERT_TRUE(d.Order(OrderApprove{id, false}).ok);
  d.Run(absl::Minutes(2));
  EXPECT_EQ(d.record().approval().id(), id);
  EXPECT_EQ(d.record().approval().expires_ms(), 0);
  EXPECT_FALSE(d.Order(OrderApprove{id}).ok);
  d.up[0] = {true, true, true};
  d.Run(absl::Seconds(20));
  d.Outage();
  ASSERT_TRUE(
      d.RunUntil([&] { return d.record().approval().expires_ms() != 0; }, absl::Seconds(30)));
  EXPECT_NE(d.record().approval().id(), id);
}

TEST_F(FailoverTest, AnApprovalExpiresAfterFifteenMinutesAndVoidsWhenTheVerdictTurns) {
  d.config.mode = Mode::kApprove;
  d.Do(ConfigChanged{});
  d.Outage();
  ASSERT_TRUE(
      d.RunUntil([&] { return d.record().approval().expires_ms() != 0; }, absl::Seconds(30)));
  EXPECT_EQ(d.record().approval().expires_ms() - d.record().approval().created_ms(),
            15 * 60 * 1000);
  const std::string id = d.record().approval().id();
  d.up[0] = {true, true, true};
  d.Run(absl::Seconds(10));
  EXPECT_FALSE(d.Order(OrderApprove{id}).ok);
  EXPECT_EQ(d.Count<SetEndpoint>(), 0);
}

TEST_F(FailoverTest, AFailoverNeverStartsWhileTheStoreFails) {
  d.Do(StoreFailed{"disk full"});
  d.durable = false;
  d.Outage();
  d.Run(absl::Seconds(30));
  EXPECT_EQ(d.Count<SetEndpoint>(), 0);
}

TEST_F(FailoverTest, AClockGapForgetsTheVotesAndHoldsEffectsUntilAWriteSucceeded) {
  d.Outage();
  d.Run(absl::Seconds(2));
  d.durable = false;
  d.Do(ClockGap{});
  EXPECT_TRUE(d.Blocked(Blocker::kStoreUnavailable));
  EXPECT_NE(d.verdict("weu"), Verdict::kDown);
  d.durable = true;
  d.Durable();
  EXPECT_FALSE(d.Blocked(Blocker::kStoreUnavailable));
  EXPECT_TRUE(Switched());
}

TEST_F(FailoverTest, AForeignChangeDuringDisablingNeverLeavesNothingEnabled) {
  d.take = [&](const Command& c) {
    const auto* set = std::get_if<SetEndpoint>(&c);
    if (set != nullptr && !set->enabled) {  // somebody switched back by hand just before
      d.endpoints = {{"weu", true}, {"neu", false}, {"uks", false}};
      return true;
    }
    return false;
  };
  d.Outage();
  ASSERT_TRUE(d.RunUntil(
      [&] { return d.Last<SetEndpoint>() != nullptr && !d.Last<SetEndpoint>()->enabled; },
      absl::Seconds(30)));
  const SetEndpoint set = Pop<SetEndpoint>();
  d.take = [&](const Command& c) { return std::holds_alternative<SetEndpoint>(c); };
  d.Do(EndpointSet{set.call, set.service, false, {CallStatus::kUnclear, {}}});
  d.Run(absl::Seconds(3));
  for (const Command& command : d.open) {
    const auto* next = std::get_if<SetEndpoint>(&command);
    if (next == nullptr) continue;
    EXPECT_TRUE(next->enabled) << "neu is disabled: weu must stay";
  }
}

TEST_F(FailoverTest, OnlyALateWriteOfOurOwnIsRepaired) {
  ASSERT_TRUE(d.Order(OrderFailover{"neu", {}}).ok);
  d.public_from = "neu";
  ASSERT_TRUE(d.RunUntil([&] { return stage() == v1::FAILOVER_STAGE_DONE; }, absl::Seconds(30)));
  ASSERT_TRUE(
      d.Order(OrderFailover{"weu", {"not_resynced", "never_synced", "recovery_point_too_old"}}).ok);
  d.public_from = "weu";
  ASSERT_TRUE(d.RunUntil(
      [&] { return stage() == v1::FAILOVER_STAGE_DONE && d.record().failover().to() == "weu"; },
      absl::Seconds(30)));
  d.Run(absl::Seconds(35));
  d.endpoints["neu"] = true;  // our first enable, delivered a second time
  d.Run(absl::Seconds(45));
  EXPECT_FALSE(d.endpoints["neu"]);
  EXPECT_NE(d.Told().find("late write of our own"), std::string::npos);
  d.endpoints["uks"] = true;  // never ours
  d.Run(absl::Seconds(60));
  EXPECT_TRUE(d.endpoints["uks"]);
  d.Run(absl::Minutes(11));
  d.endpoints["uks"] = false;
  d.endpoints["neu"] = true;  // too long ago to be a late write
  d.Run(absl::Seconds(60));
  EXPECT_TRUE(d.endpoints["neu"]);
}

// ---- the record ----

TEST_F(FailoverTest, TheHistoryIsBoundedAndItsEntriesStayValidText) {
  const std::string reason = std::string(690, 'x') + "→→→→→→→→→→→→→→→→→→→→";
  for (int cut = 0; cut < 4; ++cut)
    d.Order(OrderFreeze{cut % 2 == 0}, std::string(cut, 'y') + reason);
  for (int i = 0; i < 520; ++i) d.Order(OrderPause{i % 2 == 0});
  EXPECT_LE(d.record().history_size(), 500);
  EXPECT_LE(d.record().decisions_size(), 20);
  v1::GroupRecord again;
  ASSERT_TRUE(again.ParseFromString(d.record().SerializeAsString()))
      << "a cut inside a character makes a record unreadable";
  for (const v1::HistoryEntry& entry : d.record().history()) EXPECT_LE(entry.ByteSizeLong(), 1024u);
  for (int i = 1; i < d.record().history_size(); ++i) {
    EXPECT_EQ(d.record().history(i).sequence(), d.record().history(i - 1).sequence() + 1);
  }
}

TEST_F(FailoverTest, EveryOrderIsKeptWithWhoGaveIt) {
  d.Order(OrderPause{}, "maintenance");
  const v1::HistoryEntry& last = d.record().history(d.record().history_size() - 1);
  EXPECT_EQ(last.who(), "spiffe://test/operator/ann");
  EXPECT_NE(last.text().find("maintenance"), std::string::npos);
}

TEST_F(FailoverTest, DeadlinesFromAClockThatWasAheadAreClippedAtTheStartOfALife) {
  d.state.record.set_cooldown_until_ms(absl::ToUnixMillis(d.now().wall + absl::Hours(24 * 300)));
  d.state.record.set_last_sync_start_ms(absl::ToUnixMillis(d.now().wall + absl::Hours(24 * 300)));
  d.Order(OrderPause{});
  d.Order(OrderPause{false});
  d.Restart();
  EXPECT_LE(d.record().cooldown_until_ms(), absl::ToUnixMillis(d.now().wall + d.config.cooldown));
  const std::string before = d.record().sync_run().id();
  d.config.sync_interval = absl::Minutes(2);
  d.Run(absl::Minutes(3));
  EXPECT_NE(d.record().sync_run().id(), before);
}

TEST_F(FailoverTest, ReboundOrRemovedServicesAreRefusedByName) {
  EXPECT_EQ(RebindingProblem(d.config, d.record()), "");
  GroupConfig config = d.config;
  config.services[1].resource_id = "/subscriptions/s/service/other";
  EXPECT_NE(RebindingProblem(config, d.record()).find("neu"), std::string::npos);
  config = d.config;
  config.services.erase(config.services.begin());
  EXPECT_NE(RebindingProblem(config, d.record()).find("cannot be removed"), std::string::npos);
  config = d.config;
  config.services[1].name = "renamed";
  EXPECT_NE(RebindingProblem(config, d.record()).find("bound to the name neu"), std::string::npos);
}

TEST_F(FailoverTest, AnotherOrderOfServicesKeepsTheRoles) {
  std::swap(d.config.services[0], d.config.services[2]);
  d.Do(ConfigChanged{});
  EXPECT_EQ(d.record().services(2).name(), "weu");
  EXPECT_EQ(d.record().services(2).role(), v1::ROLE_ACTIVE);
  EXPECT_EQ(d.verdict("weu"), Verdict::kUnknown) << "votes start again";
}

TEST_F(FailoverTest, TheStatusSaysWhatTheRecordHolds) {
  const v1::GroupStatus status = StatusOf(d.config, d.state, d.now());
  EXPECT_EQ(status.active(), "weu");
  EXPECT_EQ(status.best_standby(), "neu");
  ASSERT_EQ(status.services_size(), 3);
  const int64_t age = absl::ToUnixMillis(d.now().wall) - d.standby("neu").recovery_point_ms();
  EXPECT_EQ(status.services(1).rpo_now_ms(), age);
  EXPECT_EQ(status.rpo_now_ms(), age);
  EXPECT_TRUE(status.services(1).ready());
  d.state.record.mutable_services(1)->set_content_unverified(true);
  EXPECT_EQ(StatusOf(d.config, d.state, d.now()).services(1).rpo_now_ms(), -1)
      << "nobody knows what it holds";
}

}  // namespace
}  // namespace failover::core
