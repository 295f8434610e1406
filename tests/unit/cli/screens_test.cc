// Screens against golden files. FAILOVER_WRITE_SCREENS=1 writes them anew: read the difference
// before committing it.
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "controller/cli/render.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/cli/fixtures.h"

namespace failover::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

void ExpectScreen(const std::string& name, const std::string& text) {
  const std::string path = absl::StrCat(FAILOVER_TESTDATA, "/screens/", name, ".txt");
  if (std::getenv("FAILOVER_WRITE_SCREENS") != nullptr)
    std::ofstream(path, std::ios::binary) << text;
  std::ifstream file(path, std::ios::binary);
  ASSERT_TRUE(file.good()) << path;
  EXPECT_EQ(text, std::string(std::istreambuf_iterator<char>(file), {})) << path;
}

View Wide(int width) { return {kNow, width, false}; }

struct Situation {
  const char* name;
  v1::GroupStatus (*make)();
  int exit, check_exit;
};

const Situation kSituations[] = {
    {"healthy", Healthy, 0, 0},         {"syncing", Syncing, 0, 0},
    {"outage", InOutage, 1, 0},         {"failing_over", FailingOver, 1, 0},
    {"failed_over", FailedOver, 1, 1},  {"approval", WaitingForApproval, 1, 0},
    {"unconfirmed", Unconfirmed, 2, 1}, {"troubled", Troubled, 1, 1},
    {"verifying", Verifying, 0, 0},     {"uncertain", Uncertain, 0, 0},
    {"broken", Broken, 2, 1},
};

class Screens : public ::testing::TestWithParam<Situation> {};

INSTANTIATE_TEST_SUITE_P(Situations, Screens, ::testing::ValuesIn(kSituations),
                         [](const auto& test) { return std::string(test.param.name); });

TEST_P(Screens, StatusLooksAsItShouldOnEightyColumns) {
  ExpectScreen(absl::StrCat("status_", GetParam().name, "_80"),
               StatusScreen(Status(GetParam().make()), Wide(80)));
}

TEST_P(Screens, StatusLooksAsItShouldOnAHundredAndTwentyColumns) {
  ExpectScreen(absl::StrCat("status_", GetParam().name, "_120"),
               StatusScreen(Status(GetParam().make()), Wide(120)));
}

TEST_P(Screens, CheckLooksAsItShouldOnEightyColumns) {
  ExpectScreen(absl::StrCat("check_", GetParam().name, "_80"),
               CheckSheet(Status(GetParam().make()), Wide(80)));
}

TEST_P(Screens, TheExitCodesFollowTheState) {
  EXPECT_EQ(StatusExit(Status(GetParam().make())), GetParam().exit);
  EXPECT_EQ(CheckExit(Status(GetParam().make())), GetParam().check_exit);
}

TEST_P(Screens, NoLineIsWiderThanTheTerminal) {
  for (const int width : {80, 100, 132}) {
    const v1::GetStatusResponse status = Status(GetParam().make());
    const std::string text = StatusScreen(status, Wide(width)) + CheckSheet(status, Wide(width)) +
                             Topology(status.groups(0), Wide(width));
    for (const auto line : absl::StrSplit(text, '\n')) EXPECT_LE(Columns(line), width) << line;
  }
}

TEST_P(Screens, WithoutColourThereIsNoEscapeAndWithColourTheWordsAreTheSame) {
  const v1::GetStatusResponse status = Status(GetParam().make());
  const std::string plain = StatusScreen(status, Wide(100));
  std::string painted = StatusScreen(status, View{kNow, 100, true});
  EXPECT_THAT(plain, Not(HasSubstr("\x1b")));
  EXPECT_THAT(painted, HasSubstr("\x1b["));
  std::string stripped;
  for (size_t i = 0; i < painted.size(); ++i) {
    if (painted[i] == '\x1b') {
      i = painted.find('m', i);
    } else {
      stripped += painted[i];
    }
  }
  EXPECT_EQ(stripped, plain);
}

TEST(Screen, SeveralGroupsFollowEachOther) {
  v1::GetStatusResponse status = Status(Healthy());
  *status.add_groups() = InOutage();
  status.mutable_groups(1)->set_name("billing-api");
  const std::string text = StatusScreen(status, Wide(80));
  EXPECT_LT(text.find("orders-api"), text.find("billing-api"));
  EXPECT_EQ(StatusExit(status), 1);
}

TEST(Screen, NoGroupIsCannotTell) {
  v1::GetStatusResponse status = Status(Healthy());
  status.clear_groups();
  EXPECT_THAT(StatusScreen(status, Wide(80)), HasSubstr("no failover group is configured"));
  EXPECT_EQ(StatusExit(status), 2);
  EXPECT_EQ(CheckExit(status), 2);
}

TEST(Screen, AFailedStoreAndARefusedConfigurationAreSaidFirst) {
  v1::GetStatusResponse status = Status(Healthy());
  status.set_store_ok(false);
  status.set_config_error("controller.yaml:3: mode: found \"auto\"");
  const std::string text = StatusScreen(status, Wide(80));
  EXPECT_LT(text.find("the state cannot be stored"), text.find("orders-api"));
  EXPECT_LT(text.find("found \"auto\""), text.find("orders-api"));
  EXPECT_EQ(StatusExit(status), 1);
}

TEST(Screen, NamesAndReasonsCannotSteerTheTerminal) {
  v1::GroupStatus group = Troubled();
  group.set_name("orders\x1b[2J");
  group.mutable_pause()->set_reason("\x1b]0;owned\x07");
  group.add_notices("a\nb\xc2\x9b");
  const std::string text = GroupScreen(group, Wide(100)) + CheckSheet(Status(group), Wide(100));
  for (const char c : text) EXPECT_TRUE(c == '\n' || static_cast<unsigned char>(c) >= 0x20);
  EXPECT_THAT(text, Not(HasSubstr("\xc2\x9b")));
}

TEST(Check, AManualModeIsReadyWhenAnOrderWouldBeAccepted) {
  v1::GroupStatus group = Healthy();
  group.set_mode("manual");
  *group.add_blockers() = MakeBlocker("mode", "the mode is manual", "set mode", false);
  EXPECT_EQ(WhyNoFailover(group), "");
  group.mutable_blockers(0)->set_name("switch_path_broken");
  group.mutable_blockers(0)->set_stops_manual(true);
  EXPECT_EQ(WhyNoFailover(group), "switch_path_broken");
}

TEST(Check, AnObservingGroupWouldNotFailOver) {
  v1::GroupStatus group = Healthy();
  group.set_mode("observe");
  EXPECT_THAT(WhyNoFailover(group), HasSubstr("observe"));
}

TEST(Check, AnInactiveBlockerHoldsNothing) {
  v1::GroupStatus group = Healthy();
  *group.add_blockers() = MakeBlocker("paused", "", "", false);
  group.mutable_blockers(0)->set_active(false);
  EXPECT_EQ(WhyNoFailover(group), "");
  group.mutable_blockers(0)->set_active(true);
  EXPECT_EQ(WhyNoFailover(group), "paused");
}

TEST(Lists, HistoryTellsWhenWhatAndWho) {
  v1::GetHistoryResponse history;
  history.set_chain_intact(true);
  v1::HistoryEntry* entry = history.add_entries();
  entry->set_at_ms(kNow - kHour);
  entry->set_kind("roles");
  entry->set_text("roles confirmed: apim-weu is active");
  entry = history.add_entries();
  entry->set_at_ms(kNow - kMinute);
  entry->set_kind("failover");
  entry->set_text(
      "failover apim-weu → apim-neu: switched, but not seen through the public name within 5 "
      "minutes; nothing is switched back");
  entry->set_outcome("failed");
  entry->set_who("spiffe://contoso/operator/alice");
  v1::Decision* decision = history.add_decisions();
  decision->set_at_ms(kNow);
  decision->set_action("none");
  decision->set_verdict("down");
  decision->set_rule("held by cooldown");
  decision->add_group_blockers("cooldown");
  decision->add_votes()->set_probe_region("uksouth");
  decision->mutable_votes(0)->set_vote("down");
  decision->add_standbys()->set_service("apim-neu");
  decision->mutable_standbys(0)->set_rpo_ms(14 * kMinute);
  ExpectScreen("history_80", HistoryList(history, Wide(80)));
  history.set_chain_intact(false);
  EXPECT_THAT(HistoryList(history, Wide(80)), HasSubstr("hash chain is BROKEN"));
}

TEST(Lists, AgentsOfARegionThatNobodyServesAreSeen) {
  v1::ListAgentsResponse agents;
  v1::AgentInfo* agent = agents.add_agents();
  agent->set_probe_region("westeurope");
  agent->set_name("agent-1");
  agent->set_version("0.1.0");
  agent->set_connected(true);
  agent->set_last_report_ms(kNow - kSecond);
  agent->set_generation(4);
  agent->set_current_generation(5);
  agent->set_report_delay_ms(42);
  agent->set_results(12345);
  agent->set_refused(2);
  agent->set_refused_why("the definition of target t1 is another one");
  agent->set_certificate_expiry_ms(kNow + 5 * kDay);
  agent->set_peer("ipv4:10.0.0.4:51234");
  EXPECT_EQ(AgentExit(agents), 0);
  agents.add_agents()->set_probe_region("uksouth");
  ExpectScreen("agents_120", AgentList(agents, Wide(120)));
  ExpectScreen("agents_80", AgentList(agents, Wide(80)));
  EXPECT_EQ(AgentExit(agents), 1);
  EXPECT_EQ(AgentExit({}), 2);
}

TEST(Lists, AnAgentThatIsGoneDoesNotMatterWhileAnotherOneIsThere) {
  v1::ListAgentsResponse agents;
  for (const bool connected : {true, false}) {
    v1::AgentInfo* agent = agents.add_agents();
    agent->set_probe_region("westeurope");
    agent->set_name("a");
    agent->set_connected(connected);
  }
  EXPECT_EQ(AgentExit(agents), 0);
}

TEST(Lists, OperationsShowAzuresWords) {
  v1::ListOperationsResponse operations;
  v1::Operation* operation = operations.add_operations();
  *operation = Syncing().open_operations(0);
  operation->set_run_id("R12");
  operation->set_purpose("sync");
  operation = operations.add_operations();
  operation->set_id("89abcdef01234567");
  operation->set_kind(v1::OPERATION_KIND_RESTORE);
  operation->set_state(v1::OPERATION_STATE_FAILED);
  operation->set_service("apim-neu");
  operation->set_intent_ms(kNow - kHour);
  operation->set_ended_ms(kNow - 50 * kMinute);
  operation->mutable_error()->set_http_status(409);
  operation->mutable_error()->set_code("ServiceLocked");
  operation->mutable_error()->set_message("The API Service is transitioning at this time");
  operation->mutable_error()->set_request_id("0b9c6f9e-7d0a-4a53-9d0e-2f6c1b7a8d90");
  ExpectScreen("operations_80", OperationList(operations, Wide(80)));
  EXPECT_THAT(OperationList({}, Wide(80)), HasSubstr("no operation"));
}

TEST(Lists, BackupsShowWhatTheyAreGoodFor) {
  v1::ListBackupsResponse backups;
  for (const int64_t expires : {kNow + 30 * kDay, kNow - kDay}) {
    v1::BackupRecord* backup = backups.add_backups();
    backup->set_blob("orders-api/apim-weu/20261125T072600Z-0f1e2d3c4b5a6978");
    backup->set_service("apim-weu");
    backup->set_started_ms(kNow - 14 * kMinute);
    backup->set_ended_ms(kNow - 9 * kMinute);
    backup->set_size_bytes(1'468'006);
    backup->set_expires_ms(expires);
    backup->set_checked(true);
    backup->add_verified_on("apim-neu");
    backup->set_purpose("sync");
  }
  ExpectScreen("backups_80", BackupList(backups, Wide(80)));
}

TEST(Lists, ADifferenceIsCountedAndListed) {
  v1::SyncDiffResponse diff;
  diff.set_active("apim-weu");
  diff.set_standby("apim-neu");
  EXPECT_THAT(DiffList(diff, Wide(80)), HasSubstr("apim-neu carries what apim-weu carries"));
  diff.set_changed(2);
  diff.set_only_on_active(1);
  diff.add_differences("changed apis/orders");
  diff.add_differences("only on apim-weu: products/gold");
  diff.add_not_compared("developer portal");
  ExpectScreen("diff_80", DiffList(diff, Wide(80)));
}

TEST(TopologyScreen, AFailoverSwapsRolesAndTraffic) {
  v1::OrderRequest order;
  order.mutable_failover()->set_to("apim-neu");
  ExpectScreen("topology_failover_80",
               Topology(Healthy(), Wide(80)) + TopologyAfter(Healthy(), order, Wide(80)));
}

TEST(TopologyScreen, AnAdoptionLeavesTraffic) {
  v1::OrderRequest order;
  order.mutable_adopt()->set_service("apim-neu");
  const std::string text = TopologyAfter(Unconfirmed(), order, Wide(80));
  EXPECT_THAT(text, HasSubstr("traffic is left as it is"));
  EXPECT_THAT(text, Not(HasSubstr("enabled")));
}

TEST(TopologyScreen, ADiscardSaysWhatHappensToTheContent) {
  v1::OrderRequest order;
  order.mutable_standby_discard()->set_standby("apim-neu");
  EXPECT_THAT(TopologyAfter(Healthy(), order, Wide(80)),
              HasSubstr("own content of apim-neu is backed up, that backup is kept"));
}

TEST(Next, TheMostUrgentThingComesFirst) {
  const View view = Wide(80);
  EXPECT_THAT(NextStep(Healthy(), view),
              HasSubstr("if apim-weu goes down, traffic moves to apim-neu"));
  EXPECT_THAT(NextStep(WaitingForApproval(), view), HasSubstr("failoverctl approve orders-api A4"));
  EXPECT_THAT(NextStep(Unconfirmed(), view), HasSubstr("failoverctl adopt orders-api"));
  EXPECT_THAT(NextStep(FailingOver(), view), HasSubstr("past its point of no return"));
  EXPECT_THAT(NextStep(Troubled(), view),
              HasSubstr("failoverctl operations abandon orders-api 89abcdef01234567"));
  EXPECT_THAT(NextStep(InOutage(), view), HasSubstr("traffic moves to apim-neu in 4.0s"));
  v1::GroupStatus held = InOutage();
  *held.add_blockers() = MakeBlocker("paused", "", "failoverctl resume orders-api", false);
  EXPECT_THAT(NextStep(held, view), HasSubstr("held by paused: failoverctl resume orders-api"));
  v1::GroupStatus lost = InOutage();
  lost.clear_best_standby();
  EXPECT_THAT(NextStep(lost, view), HasSubstr("--force BLOCKER"));
}

}  // namespace
}  // namespace failover::cli
