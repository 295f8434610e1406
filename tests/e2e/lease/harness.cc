#include "tests/e2e/lease/harness.h"

#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/clock.h"
#include "common/config_file.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace failover::e2e {
namespace {

std::string ToolsOf(const char* name) {
  return absl::StrCat(FAILOVER_SOURCE, "/build/tools/", name);
}

}  // namespace

absl::Duration Boottime() { return RealClock().Steady().since_epoch; }

std::string Elector::OriginalIsMissing() {
  if (std::filesystem::exists(ToolsOf("client-go-elector"))) return "";
  const absl::StatusOr<std::string> why = ReadSmallFile(ToolsOf("client-go-elector.missing"));
  return why.ok() ? *why : "tests/tools/client_go/build.sh has not been run";
}

Elector::Elector(Kind kind, const KubernetesStub& stub, const std::string& identity,
                 const std::string& lease)
    : kind_(kind), identity_(identity) {
  const std::string program =
      kind == kOurs ? Binary("lease-elector") : ToolsOf("client-go-elector");
  process_ = Process({program, absl::StrCat("--server=", stub.url()),
                      absl::StrCat("--token-file=", dir_.Write("token", identity)),
                      "--namespace=dr", absl::StrCat("--lease=", lease),
                      absl::StrCat("--identity=", identity), "--lease-duration=5s",
                      "--renew-deadline=3s", "--retry-period=500ms", "--request-timeout=1s"},
                     dir_.File("log"));
}

std::string Elector::Log() const { return dir_.Read("log"); }

std::vector<Elector::Line> Elector::Lines() const {
  std::vector<Line> lines;
  for (const absl::string_view text : absl::StrSplit(Log(), '\n')) {
    const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
    if (!json.is_object() || !json.contains("event")) continue;  // a log line
    lines.push_back({absl::Nanoseconds(json["at"].get<int64_t>()),
                     absl::Nanoseconds(json.value("until", int64_t{0})),
                     json["event"].get<std::string>(), json.value("leader", "")});
  }
  return lines;
}

int Elector::Said(const std::string& event, const std::string& leader) const {
  int count = 0;
  for (const Line& line : Lines())
    count += line.event == event && (leader.empty() || line.leader == leader);
  return count;
}

bool Elector::Says(const std::string& event, int times, absl::Duration timeout,
                   const std::string& leader) const {
  return Eventually(timeout, [&] { return Said(event, leader) >= times; });
}

absl::Duration Elector::When(const std::string& event) const {
  for (const Line& line : Lines()) {
    if (line.event == event) return line.at;
  }
  return absl::InfiniteDuration();
}

void Elector::Kill() { process_.Kill(); }

void Elector::Freeze() {
  process_.Signal(SIGSTOP);
  int status = 0;
  // Stopped for sure: what it says is what it said.
  EXPECT_EQ(waitpid(process_.pid(), &status, WUNTRACED), process_.pid());
  EXPECT_TRUE(WIFSTOPPED(status));
  frozen_ = Boottime();
}

void Elector::Thaw() {
  thawed_ = Boottime();
  process_.Signal(SIGCONT);
}

void Elector::Release() {
  process_.Signal(SIGTERM);
  const int status = process_.Wait();
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status << Log();
}

std::vector<Interval> Elector::Terms() const {
  std::vector<Interval> terms;
  bool open = false;
  for (const Line& line : Lines()) {
    // What client-go says after it was frozen, to the end of that term.
    const bool believes =
        kind_ == kOriginal && !terms.empty() && terms.back().from < frozen_ && line.at >= thawed_;
    if (line.event == "started") {
      terms.push_back({line.at, kind_ == kOurs ? line.until : line.at});
      open = true;
    } else if (!open) {
      continue;
    } else if (kind_ == kOurs && line.event == "renewed") {
      terms.back().until = line.until;
    } else if (kind_ == kOriginal && line.event == "act" && !believes) {
      terms.back().until = line.at;
    } else if (line.event == "ended") {
      if (!believes)
        terms.back().until = kind_ == kOurs ? std::min(terms.back().until, line.at) : line.at;
      open = false;
    }
  }
  return terms;
}

}  // namespace failover::e2e
