// A process killed at each step of a write leaves the old record or the new one, and a directory
// that the next process can use.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "controller/store/file_store.h"
#include "gtest/gtest.h"

namespace failover::store {
namespace {

namespace fs = std::filesystem;

v1::GroupRecord Record(uint64_t term) {
  v1::GroupRecord record;
  record.set_schema_version(1);
  record.set_name("orders-api");
  record.set_term(term);
  record.add_history()->set_text(absl::StrCat("term ", term));
  return record;
}

// Loads what is there and writes the next term, as a controller that starts does.
bool WriteNextTerm(const std::string& directory) {
  absl::StatusOr<std::unique_ptr<Store>> store = OpenFileStore({directory});
  if (!store.ok()) return false;
  absl::StatusOr<Versioned> found = (*store)->Load("orders-api");
  if (!found.ok() && !absl::IsNotFound(found.status())) return false;
  v1::GroupRecord next = Record(found.ok() ? found->record.term() + 1 : 1);
  return (*store)->Save(next, found.ok() ? found->version : "").ok();
}

// Every write runs in a new process, this binary again: which crash point is armed is read once per
// process. 0 = written, 1 = refused, 128 + signal = killed.
int WriteInChild(const std::string& directory, const char* crash_point) {
  const pid_t child = fork();
  if (child == 0) {
    setenv("STORE_CRASH_TEST_DIRECTORY", directory.c_str(), 1);
    if (crash_point != nullptr) setenv("FAILOVER_CRASH_POINT", crash_point, 1);
    execl("/proc/self/exe", "store", "--gtest_filter=CrashChild.*",
          "--gtest_also_run_disabled_tests", nullptr);
    _exit(2);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

// The other half of WriteInChild; not a test by itself.
TEST(CrashChild, DISABLED_WritesTheNextTerm) {
  const char* const directory = getenv("STORE_CRASH_TEST_DIRECTORY");
  ASSERT_NE(directory, nullptr);
  EXPECT_TRUE(WriteNextTerm(directory));
}

uint64_t TermOnDisk(const std::string& directory) {
  absl::StatusOr<std::unique_ptr<Store>> store = OpenFileStore({directory});
  if (!store.ok()) return 0;
  const absl::StatusOr<Versioned> found = (*store)->Load("orders-api");
  EXPECT_TRUE(found.ok() || absl::IsNotFound(found.status())) << found.status();
  return found.ok() ? found->record.term() : 0;
}

struct Crash {
  const char* point;
  bool written;  // the new record is in place
};

class CrashTest : public testing::TestWithParam<Crash> {
 protected:
  void SetUp() override {
    std::string pattern = (fs::path(testing::TempDir()) / "crash-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override {
    std::error_code ignored;
    fs::remove_all(directory_, ignored);
  }
  std::string directory_;
};

constexpr int kKilled = 128 + SIGKILL;

TEST_P(CrashTest, TheFirstRecordIsThereWholeOrNotAtAll) {
  ASSERT_EQ(WriteInChild(directory_, GetParam().point), kKilled);
  EXPECT_EQ(TermOnDisk(directory_), GetParam().written ? 1u : 0u);
}

TEST_P(CrashTest, AnExistingRecordIsTheOldOneOrTheNewOne) {
  ASSERT_EQ(WriteInChild(directory_, nullptr), 0);
  ASSERT_EQ(WriteInChild(directory_, GetParam().point), kKilled);
  EXPECT_EQ(TermOnDisk(directory_), GetParam().written ? 2u : 1u);
}

TEST_P(CrashTest, TheNextProcessGoesOnAndLeavesNothingBehind) {
  ASSERT_EQ(WriteInChild(directory_, GetParam().point), kKilled);
  ASSERT_EQ(WriteInChild(directory_, nullptr), 0);
  EXPECT_EQ(TermOnDisk(directory_), GetParam().written ? 2u : 1u);
  for (const auto& entry : fs::directory_iterator(directory_)) {
    EXPECT_NE(entry.path().extension(), ".tmp") << entry.path();
  }
}

INSTANTIATE_TEST_SUITE_P(EveryPoint, CrashTest,
                         testing::Values(Crash{"store.before_write", false},
                                         Crash{"store.before_rename", false},
                                         Crash{"store.after_rename", true},
                                         Crash{"store.after_fsync", true}),
                         [](const testing::TestParamInfo<Crash>& crash) {
                           std::string name = crash.param.point;
                           for (char& c : name) c = c == '.' ? '_' : c;
                           return name;
                         });

}  // namespace
}  // namespace failover::store
