#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <ostream>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/replicas.h"
#include "tests/e2e/system.h"

// The controller dies by SIGKILL at every crash point of tests/testdata/crash-points.txt and is
// started again; or it is the leader of two, and the other one takes over. The log of the emulated
// Azure is the truth about what it did (issue 2, crash safety; design.md §6.9, §7.4).
namespace failover::e2e {
namespace {

using Json = nlohmann::json;
using Strings = std::vector<std::string>;

constexpr absl::Duration kPatience = absl::Seconds(60);  // of a story's end

struct Point {
  std::string armed, story, reason;  // armed: NAME or NAME:PASSAGE
  bool taken_over = false;           // by a second replica, instead of a new start
};
void PrintTo(const Point& point, std::ostream* out) { *out << point.armed << " " << point.story; }

std::vector<Point> Listed() {
  std::ifstream in(std::string(FAILOVER_TESTDATA) + "/crash-points.txt");
  std::vector<Point> points;
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line[0] == '#') continue;
    const Strings words = absl::StrSplit(line, absl::MaxSplits(' ', 2));
    points.push_back(
        {words[0], words.size() > 1 ? words[1] : "", words.size() > 2 ? words[2] : "", false});
  }
  return points;
}

std::vector<Point> Reachable() {
  std::vector<Point> points = Listed();
  std::erase_if(points,
                [](const Point& point) { return point.story == "-" || point.story == "takeover"; });
  return points;
}

// Where the leader of two replicas dies: after every step's record was written, on both sides of
// every request to Azure, and in the store of ConfigMaps. What differs from a death just before a
// record was written is only the record, and a new leader reads it as a new process does.
std::vector<Point> OfLeaders() {
  std::vector<Point> points = Listed();
  std::erase_if(points, [](const Point& point) {
    const bool of_files = absl::StartsWith(point.armed, "store.") && point.story != "takeover";
    const bool restarts_again = point.story == "abort";
    return point.story == "-" || of_files || restarts_again ||
           absl::EndsWith(point.armed, ".before");
  });
  for (Point& point : points) {
    if (point.story == "takeover") point.story = "sync";
    point.taken_over = true;
  }
  return points;
}

SystemOptions Quick() {
  SystemOptions options;
  options.fixed_ports = true;
  options.timing =
      "{verifyReadsPerSecond: 500, ambiguityWait: 300ms, ambiguityWatch: 1s, freezeHold: 1s, "
      "freezeThaw: 1s}";
  options.change_world = [](Json& world) {
    for (const char* kind : {"backup", "restore"})
      world["timing"][kind] = {{"min", "250ms"}, {"max", "400ms"}};
    world["trafficManagerProfiles"][0]["ttl"] = 1;
    world["trafficManagerProfiles"][0]["propagation"] = "100ms";
  };
  return options;
}

// What a story leaves in the log of the emulated Azure.
struct Truth {
  int backups_of_active = 1, backups_of_standby = 0, restores = 1;
  Strings switches;
};

bool SyncEnded(const v1::GroupStatus& status) { return status.sync().run().ended_ms() != 0; }
bool Fit(const v1::GroupStatus& status) {
  return status.state() == "healthy" && !status.best_standby().empty();
}

// Waits for a standby that is proved equal. A run that ended badly (a backup that provably never
// began is closed as lost, and its run with it; Azure refused) is ordered once more by the
// operator: a run and operations of their own, with new names.
testing::AssertionResult BecomesFit(System& system) {
  std::string ordered;
  const bool fit = system.StatusBecomes(kPatience, [&](const v1::GroupStatus& status) {
    if (Fit(status)) return true;
    if (status.sync().run().stage() == v1::SYNC_STAGE_FAILED &&
        ordered != status.sync().run().id()) {
      if (system.Ctl({"sync", "run", "orders-api", "--reason", "the last one failed"}).exit_code ==
          0)
        ordered = status.sync().run().id();
    }
    return false;
  });
  return fit ? testing::AssertionSuccess() : testing::AssertionFailure() << "no fit standby";
}

void ExpectTraffic(const Strings& switches, const Strings& expected) {
  EXPECT_EQ(switches, expected)
      << "exactly one enable and then one disable: a request whose answer was lost is looked for "
         "by a "
         "read-back, and sent again only when that shows that it was never applied";
  std::map<std::string, bool> enabled = {{"weu", true}, {"neu", false}};
  for (const std::string& write : switches) {
    const Strings words = absl::StrSplit(write, ' ');
    enabled[words[0]] = words[1] == "Enabled";
    EXPECT_TRUE(enabled["weu"] || enabled["neu"]) << "an empty traffic target after: " << write;
  }
}

// Every POST that reached Azure belongs to an operation of its own, and none met another one under
// way.
void ExpectOperations(System& system, const Truth& truth) {
  std::set<std::string> operations, blobs;
  for (const Json& entry : system.Requests()) {
    const std::string kind = entry.value("operation", "");
    if (kind != "backup" && kind != "restore") continue;
    EXPECT_LT(entry.value("status", 0), 300) << "two at once, or refused: " << entry.dump();
    const std::string id =
        entry.value("clientRequestId", "").substr(0, 18);  // the operation's 16 digits (lane.cc)
    EXPECT_TRUE(operations.insert(id).second) << "sent twice: " << entry.dump();
    if (kind == "backup") {
      EXPECT_TRUE(blobs.insert(entry.value("blob", "")).second)
          << "a name used twice: " << entry.dump();
    }
  }
  EXPECT_EQ(system.Effects("backup", "apim-weu"), truth.backups_of_active);
  EXPECT_EQ(system.Effects("backup", "apim-neu"), truth.backups_of_standby);
  EXPECT_EQ(system.Effects("restore", "apim-neu"), truth.restores);
  EXPECT_EQ(system.Effects("restore", "apim-weu"), 0) << "a restore onto the active service";
}

void ExpectStateIntact(System& system) {
  const CommandResult run = system.Ctl({"-o", "json", "history", "orders-api", "--limit", "500"});
  ASSERT_EQ(run.exit_code, 0) << run.out << run.err;
  const Json history = Json::parse(run.out);
  EXPECT_TRUE(history["chainIntact"].get<bool>());
  int starts = 0;
  for (const Json& entry : history["entries"])
    starts += entry["kind"] == "roles" &&
              absl::StrContains(entry["text"].get<std::string>(), "only enabled one");
  EXPECT_LE(starts, 1) << "first contact is made once";
  if (!std::filesystem::exists(system.dir().File("state"))) return;
  for (const auto& file : std::filesystem::directory_iterator(system.dir().File("state"))) {
    EXPECT_NE(file.path().extension(), ".tmp") << file.path();
  }
}

void ExpectTruth(System& system, const Truth& truth) {
  ExpectOperations(system, truth);
  ExpectTraffic(system.Switches(), truth.switches);
  ExpectStateIntact(system);
}

class CrashStory : public testing::TestWithParam<Point> {
 protected:
  std::map<std::string, std::string> Armed() const {
    return {{"FAILOVER_CRASH_POINT", GetParam().armed}};
  }

  // A system of its own, where the controller dies at the point while `play` goes on. Two quick
  // writes of the store may become one, which then passes a stage's point by: such a story is
  // played again.
  void UntilItDies(const SystemOptions& options, const std::function<void()>& play) {
    for (int attempt = 0; attempt < 3 && !HasFatalFailure(); ++attempt) {
      if (GetParam().taken_over) {
        system = std::make_unique<Replicas>(options);
      } else {
        system = std::make_unique<System>(options);
      }
      play();
      if (HasFatalFailure() || system->First().DiesBySigkill(absl::Seconds(15))) return;
    }
    FAIL() << GetParam().armed << " was not reached\n" << system->ControllerLog();
  }

  // With the controller armed; its address file may never come.
  void StartArmed() {
    ASSERT_NO_FATAL_FAILURE(system->StartEmulator());
    system->StartController(Armed());
    system->StartAgents();
  }

  void PlaySync();
  void PlayFailedOperation(const std::string& kind);
  void PlayAdopt();
  void PlayFailover();
  void PlayAbort();

  std::unique_ptr<System> system;
};

void CrashStory::PlaySync() {
  ASSERT_NO_FATAL_FAILURE(UntilItDies(Quick(), [this] { StartArmed(); }));
  system->StartController();
  ASSERT_TRUE(BecomesFit(*system));
  const v1::GroupStatus status = system->Status();
  EXPECT_EQ(status.active(), "apim-weu");
  EXPECT_EQ(status.sync().run().stage(), v1::SYNC_STAGE_DONE);
  ASSERT_EQ(status.sync().run().targets_size(), 1);
  EXPECT_EQ(status.sync().run().targets(0).stage(), v1::RESTORE_STAGE_DONE);
  const auto entities = [this](const std::string& service) {
    return system->Control("GET", "services/" + service + "/entities")["entities"];
  };
  EXPECT_EQ(entities("apim-weu"), entities("apim-neu"));
  EXPECT_EQ(status.services(1).record().recovery_point_ms(),
            status.sync().run().backup().started_ms());
  // One of each, wherever it died: what was under way is adopted, what provably never began (lost,
  // never started) was not sent.
  ExpectTruth(*system, {});
}

void CrashStory::PlayFailedOperation(const std::string& kind) {
  ASSERT_NO_FATAL_FAILURE(UntilItDies(Quick(), [&] {
    ASSERT_NO_FATAL_FAILURE(system->StartEmulator());
    system->Control(
        "POST", "faults",
        absl::StrCat(R"({"operation":")", kind, R"(","action":"operation","times":1,"outcome":)",
                     R"({"kind":"fail","code":"ActivationFailed","message":"a test"}})"));
    system->StartController(Armed());
    system->StartAgents();
  }));
  system->StartController();
  ASSERT_TRUE(BecomesFit(*system));
  // The failed run, and the one after it.
  ExpectTruth(*system,
              {.backups_of_active = 2, .restores = kind == "restore" ? 2 : 1, .switches = {}});
}

void CrashStory::PlayAdopt() {
  SystemOptions options = Quick();
  options.change_world = [quick = options.change_world](Json& world) {
    quick(world);
    world["services"][1]["content"] = {{"kind", "realistic"}, {"seed", 3}, {"apis", 2}};
  };
  const bool own_backup = absl::StartsWith(GetParam().armed, "restore.own_backup");
  const auto adopt = [this] {
    const CommandResult run = system->Ctl(
        {"sync", "run", "orders-api", "--adopt", "apim-neu", "--reason", "a test", "--yes"});
    EXPECT_EQ(run.exit_code, 0) << run.out << run.err;
  };
  const auto left_out = [](const v1::GroupStatus& status) {
    return SyncEnded(status) && status.sync().run().targets(0).stage() == v1::RESTORE_STAGE_SKIPPED;
  };
  ASSERT_NO_FATAL_FAILURE(UntilItDies(options, [&] {
    ASSERT_NO_FATAL_FAILURE(StartArmed());
    if (!own_backup) return;
    ASSERT_TRUE(system->StatusBecomes(absl::Seconds(30), left_out));
    EXPECT_EQ(system->Effects("restore"), 0);
    adopt();
  }));
  system->StartController();
  if (!own_backup) {
    ASSERT_TRUE(system->StatusBecomes(absl::Seconds(30), left_out));
    EXPECT_EQ(system->Effects("restore"), 0)
        << "content of its own is not replaced without an order";
    adopt();
  }
  ASSERT_TRUE(BecomesFit(*system));
  // A run that leaves the standby out, then one that backs it up first. After the intent of the own
  // backup was stored, before it was sent: lost, the run ends without touching the standby, and a
  // third one begins anew.
  const int runs = GetParam().armed == "restore.own_backup.after" ? 3 : 2;
  ExpectTruth(*system,
              {.backups_of_active = runs, .backups_of_standby = 1, .restores = 1, .switches = {}});
  EXPECT_FALSE(system->Status().services(1).record().kept_backup_blob().empty());
}

void CrashStory::PlayFailover() {
  v1::GroupStatus before;
  // Armed from the start: no point of this story is passed before the outage.
  ASSERT_NO_FATAL_FAILURE(UntilItDies(Quick(), [&] {
    ASSERT_NO_FATAL_FAILURE(StartArmed());
    ASSERT_TRUE(system->Ready());
    before = system->Status();
    system->Control("PATCH", "gateways/apim-weu", R"({"mode":"cut"})");
  }));
  system->StartController();
  ASSERT_TRUE(system->StatusBecomes(kPatience, [](const v1::GroupStatus& status) {
    return status.active() == "apim-neu" && status.failover().stage() == v1::FAILOVER_STAGE_DONE;
  }));
  const v1::GroupStatus after = system->Status();
  EXPECT_EQ(after.epoch(), before.epoch() + 1);
  EXPECT_GT(after.term(), before.term());
  EXPECT_TRUE(after.rto().proved());
  EXPECT_GT(after.rto().total_ms(), 0);
  EXPECT_EQ(after.failovers_last_day(), 1);
  EXPECT_TRUE(after.services(0).record().not_resynced());
  ExpectTruth(*system, {.switches = {"neu Enabled", "weu Disabled"}});
}

void CrashStory::PlayAbort() {
  v1::GroupStatus before;
  ASSERT_NO_FATAL_FAILURE(UntilItDies(Quick(), [&] {
    ASSERT_NO_FATAL_FAILURE(system->StartEmulator());
    system->StartController({{"FAILOVER_CRASH_POINT", "failover.decided.after"}});
    system->StartAgents();
    ASSERT_TRUE(system->Ready());
    before = system->Status();
    system->Control("PATCH", "gateways/apim-weu", R"({"mode":"cut"})");
    ASSERT_TRUE(system->controller.DiesBySigkill(absl::Seconds(20))) << system->ControllerLog();
    system->Control("PATCH", "gateways/apim-weu", R"({"mode":"ok"})");
    system->StartController(Armed());  // decided, nothing sent, and the active service is back
  }));
  system->StartController();
  ASSERT_TRUE(system->StatusBecomes(kPatience, [](const v1::GroupStatus& status) {
    return Fit(status) && status.failover().stage() == v1::FAILOVER_STAGE_ABORTED;
  }));
  const v1::GroupStatus after = system->Status();
  EXPECT_EQ(after.active(), "apim-weu");
  EXPECT_EQ(after.epoch(), before.epoch() + 1) << "an aborted decision keeps its number";
  EXPECT_EQ(after.failovers_last_day(), 0);
  ExpectTruth(*system, {});
}

TEST_P(CrashStory, EndsWellWithoutRepeatingAnything) {
  const std::string& story = GetParam().story;
  if (story == "sync") {
    PlaySync();
  } else if (story == "failover") {
    PlayFailover();
  } else if (story == "failed-backup" || story == "failed-restore") {
    PlayFailedOperation(story.substr(7));
  } else if (story == "adopt") {
    PlayAdopt();
  } else if (story == "abort") {
    PlayAbort();
  } else {
    FAIL()
        << "crash-points.txt: found story \"" << story
        << "\"; allowed: sync, failover, failed-backup, failed-restore, adopt, abort, takeover, -";
  }
}

INSTANTIATE_TEST_SUITE_P(CrashSafety, CrashStory, testing::ValuesIn(Reachable()),
                         [](const testing::TestParamInfo<Point>& point) {
                           return absl::StrReplaceAll(point.param.armed, {{".", "_"}, {":", "_"}});
                         });
INSTANTIATE_TEST_SUITE_P(Takeover, CrashStory, testing::ValuesIn(OfLeaders()),
                         [](const testing::TestParamInfo<Point>& point) {
                           return absl::StrReplaceAll(point.param.armed, {{".", "_"}, {":", "_"}});
                         });

TEST(CrashSafety, EveryPointThatNoStoryReachesHasItsReason) {
  int without = 0;
  for (const Point& point : Listed()) {
    if (point.story != "-") continue;
    ++without;
    EXPECT_GT(point.reason.size(), 20u) << point.armed;
  }
  EXPECT_LE(without, 2) << "an excuse too many";
}

TEST(CrashSafety, AFrozenControllerDoesNotActOnWhatItKnewBefore) {
  SystemOptions options = Quick();
  options.min_down = "4s";
  System system(options);
  ASSERT_NO_FATAL_FAILURE(system.StartAll());
  ASSERT_TRUE(system.Ready());
  const v1::GroupStatus before = system.Status();
  system.Control("PATCH", "gateways/apim-weu", R"({"mode":"cut"})");
  ASSERT_TRUE(system.StatusBecomes(
      absl::Seconds(20), [](const v1::GroupStatus& status) { return status.outage().active(); }));
  system.controller.Signal(SIGSTOP);
  system.Control("PATCH", "gateways/apim-weu", R"({"mode":"ok"})");
  const absl::Time wake = absl::Now() + absl::Seconds(5);  // the dwell passes meanwhile
  ASSERT_TRUE(Eventually(absl::Seconds(10), [&] { return absl::Now() >= wake; }));
  ASSERT_EQ(system.Switches(), Strings());
  system.controller.Signal(SIGCONT);
  ASSERT_TRUE(system.StatusBecomes(absl::Seconds(20), Fit));
  EXPECT_EQ(system.Switches(), Strings());
  EXPECT_EQ(system.Status().epoch(), before.epoch());
}

TEST(CrashSafety, ARunSurvivesADyingAgentAndAnAzureThatIsAwayForAWhile) {
  System system(Quick());
  ASSERT_NO_FATAL_FAILURE(system.StartEmulator());
  for (const char* operation : {"poll", "entityRead", "getService", "trafficRead", "blobRead"}) {
    system.Control("POST", "faults",
                   absl::StrCat(R"({"operation":")", operation,
                                R"(","action":"status","status":503,"times":2})"));
  }
  system.StartController();
  system.StartAgents();
  ASSERT_TRUE(system.StatusBecomes(absl::Seconds(30), [](const v1::GroupStatus& status) {
    return status.sync().run().stage() != v1::SYNC_STAGE_UNSPECIFIED;
  }));
  system.agents[2].Kill();
  ASSERT_TRUE(system.StatusBecomes(absl::Seconds(60), [](const v1::GroupStatus& status) {
    return !status.best_standby().empty();
  }));
  system.agents[2] =
      Process({Binary("failover-agent"), "--config", system.dir().File("agent-uksouth.yaml")},
              system.dir().File("agent-uksouth.log"));
  ASSERT_TRUE(system.Ready());
  ExpectTruth(system, {});
}

}  // namespace
}  // namespace failover::e2e
