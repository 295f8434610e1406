// A process killed at each step of a write leaves the old record or the new one, and the next
// process goes on.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "controller/kubernetes/config_map_store.h"
#include "tests/kubernetes_stub/api_server.h"

namespace failover::kubernetes {
namespace {

constexpr int kKilled = 128 + SIGKILL;

absl::StatusOr<std::unique_ptr<store::Store>> Open(const std::string& url) {
  ConfigMapStoreOptions options;
  options.server = {url, "dr", "", ""};
  options.prefix = "state";
  options.clock = &RealClock();
  return OpenConfigMapStore(std::move(options));
}

// Loads what is there and writes the next term, as a controller that begins to lead does.
bool WriteNextTerm(const std::string& url) {
  absl::StatusOr<std::unique_ptr<store::Store>> store = Open(url);
  if (!store.ok()) return false;
  absl::StatusOr<store::Versioned> found = (*store)->Load("orders-api");
  if (!found.ok() && !absl::IsNotFound(found.status())) return false;
  v1::GroupRecord next;
  if (found.ok()) next = found->record;
  next.set_schema_version(1);
  next.set_name("orders-api");
  next.set_term(next.term() + 1);
  next.add_history()->set_text(absl::StrCat("term ", next.term()));
  return (*store)->Save(next, found.ok() ? found->version : "").ok();
}

// Every write runs in a new process, this binary again. 0 = written, 1 = refused, 128 + signal =
// killed.
int WriteInChild(const std::string& url, const char* crash_point) {
  const pid_t child = fork();
  if (child == 0) {
    setenv("CONFIG_MAP_CRASH_TEST_URL", url.c_str(), 1);
    if (crash_point != nullptr) setenv("FAILOVER_CRASH_POINT", crash_point, 1);
    execl("/proc/self/exe", "store", "--gtest_filter=ConfigMapCrashChild.*",
          "--gtest_also_run_disabled_tests", nullptr);
    _exit(2);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

// The other half of WriteInChild; not a test by itself.
TEST(ConfigMapCrashChild, DISABLED_WritesTheNextTerm) {
  const char* const url = getenv("CONFIG_MAP_CRASH_TEST_URL");
  ASSERT_NE(url, nullptr);
  EXPECT_TRUE(WriteNextTerm(url));
}

uint64_t TermOf(const KubernetesStub& stub) {
  const absl::StatusOr<store::Versioned> found = (*Open(stub.url()))->Load("orders-api");
  EXPECT_TRUE(found.ok() || absl::IsNotFound(found.status())) << found.status();
  if (!found.ok()) return 0;
  EXPECT_TRUE(store::HistoryIntact(found->record));
  return found->record.term();
}

struct Crash {
  const char* point;
  uint64_t written;  // 1: the new record is in place
};

class ConfigMapCrashTest : public testing::TestWithParam<std::tuple<Crash, ServerKind>> {
 protected:
  void SetUp() override {
    if (kind_ == ServerKind::kReal && RealServerOfTests() == nullptr) GTEST_SKIP() << kNoRealServer;
  }
  const Crash crash_ = std::get<0>(GetParam());
  const ServerKind kind_ = std::get<1>(GetParam());
  KubernetesStub stub_{ServerOf(kind_)};
};

TEST_P(ConfigMapCrashTest, TheFirstRecordIsThereWholeOrNotAtAllAndTheNextProcessGoesOn) {
  ASSERT_EQ(WriteInChild(stub_.url(), crash_.point), kKilled);
  EXPECT_EQ(TermOf(stub_), crash_.written);
  ASSERT_EQ(WriteInChild(stub_.url(), nullptr), 0);
  EXPECT_EQ(TermOf(stub_), crash_.written + 1);
}

TEST_P(ConfigMapCrashTest, AnExistingRecordIsTheOldOneOrTheNewOneAndTheNextProcessGoesOn) {
  ASSERT_EQ(WriteInChild(stub_.url(), nullptr), 0);
  ASSERT_EQ(WriteInChild(stub_.url(), crash_.point), kKilled);
  EXPECT_EQ(TermOf(stub_), 1 + crash_.written);
  ASSERT_EQ(WriteInChild(stub_.url(), nullptr), 0);
  EXPECT_EQ(TermOf(stub_), 2 + crash_.written);
}

INSTANTIATE_TEST_SUITE_P(BeforeSending, ConfigMapCrashTest,
                         testing::Combine(testing::Values(Crash{"store.before_send", 0}),
                                          testing::Values(ServerKind::kStub, ServerKind::kReal)),
                         [](const auto& which) {
                           return NameOf({std::get<1>(which.param), which.index});
                         });
INSTANTIATE_TEST_SUITE_P(AfterSending, ConfigMapCrashTest,
                         testing::Combine(testing::Values(Crash{"store.after_send", 1}),
                                          testing::Values(ServerKind::kStub, ServerKind::kReal)),
                         [](const auto& which) {
                           return NameOf({std::get<1>(which.param), which.index});
                         });

}  // namespace
}  // namespace failover::kubernetes
