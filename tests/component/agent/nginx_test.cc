// A real web server as the gateway: good, stopped, made to answer 503, killed.
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/component/agent/loop_fixture.h"
#include "tests/gateway_stub/gateway.h"
#include "tests/support/temp_dir.h"

namespace failover::agent {
namespace {

// Empty when there is none.
std::string FindNginx() {
  const char* path = std::getenv("PATH");
  std::vector<std::string> directories = absl::StrSplit(path != nullptr ? path : "", ':');
  directories.push_back("/usr/sbin");  // not on the path of ordinary users
  for (const std::string& directory : directories) {
    const std::string file = absl::StrCat(directory, "/nginx");
    if (!directory.empty() && access(file.c_str(), X_OK) == 0) return file;
  }
  return "";
}

class NginxTest : public LoopTest {
 protected:
  void SetUp() override {
    const std::string nginx = FindNginx();
    if (nginx.empty())
      GTEST_SKIP() << "no nginx binary on the PATH: install nginx-light to run this test";
    port_ = FreeTcpPort();
    WriteConfig("200");
    const std::string config = directory_.File("nginx.conf"), prefix = directory_.path();
    const std::string log = directory_.File("error.log");
    const char* arguments[] = {nginx.c_str(),  "-c", config.c_str(), "-p",
                               prefix.c_str(), "-e", log.c_str(),    nullptr};
    ASSERT_EQ(
        posix_spawn(&pid_, nginx.c_str(), nullptr, nullptr, const_cast<char**>(arguments), environ),
        0);
    Start();
    Assign({ProbeOf("nginx", absl::StrCat("http://127.0.0.1:", port_, "/status"), 100, 300)});
    ASSERT_TRUE(WaitForLast([](const v1::ProbeResult& last) { return last.success(); }))
        << directory_.Read("error.log");
  }
  void TearDown() override {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

  // One process, so that a signal stops all of it.
  void WriteConfig(const std::string& status) {
    directory_.Write(
        "nginx.conf",
        absl::StrCat("daemon off;\nmaster_process off;\npid ", directory_.File("nginx.pid"),
                     ";\nevents {}\nhttp {\n  access_log off;\n  client_body_temp_path ",
                     directory_.path(), ";\n  proxy_temp_path ", directory_.path(),
                     ";\n  fastcgi_temp_path ", directory_.path(), ";\n  uwsgi_temp_path ",
                     directory_.path(), ";\n  scgi_temp_path ", directory_.path(),
                     ";\n  server {\n    listen 127.0.0.1:", port_,
                     ";\n    location = /status { if (-f ", directory_.File("fail"),
                     ") { return 503; } return ", status, " good; }\n  }\n}\n"));
  }

  bool WaitForLast(const std::function<bool(const v1::ProbeResult&)>& condition) {
    return WaitUntil([&] {
      const auto results = ResultsOf("nginx");
      return !results.empty() && condition(results.back().kept.result);
    });
  }

  TempDir directory_;
  int port_ = 0;
  pid_t pid_ = -1;
};

TEST_F(NginxTest, IsGoodStoppedGoodAgainFailingAndKilled) {
  kill(pid_, SIGSTOP);
  EXPECT_TRUE(WaitForLast([](const v1::ProbeResult& last) {
    return last.timed_out() && last.failed_stage() == v1::PROBE_STAGE_FIRST_BYTE;
  })) << "stopped: connections are accepted by the kernel and nothing answers";
  kill(pid_, SIGCONT);
  EXPECT_TRUE(WaitForLast([](const v1::ProbeResult& last) { return last.success(); }));
  directory_.Write("fail", "");
  EXPECT_TRUE(WaitForLast([](const v1::ProbeResult& last) {
    return last.failed_stage() == v1::PROBE_STAGE_ASSERTION && last.http_status() == 503;
  }));
  kill(pid_, SIGKILL);
  EXPECT_TRUE(WaitForLast([](const v1::ProbeResult& last) {
    return last.failed_stage() == v1::PROBE_STAGE_CONNECT && !last.timed_out();
  }));
}

}  // namespace
}  // namespace failover::agent
