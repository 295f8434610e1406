#include "common/log.h"

#include <grpc/support/log.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "absl/strings/str_split.h"

namespace failover {
namespace {

using Json = nlohmann::json;

class LogTest : public testing::Test {
 protected:
  void TearDown() override { InitLog("", LogFormat::kJson, LogLevel::kInfo); }

  template <typename Body>
  static std::vector<std::string> Lines(Body body) {
    testing::internal::CaptureStderr();
    body();
    const std::string text = testing::internal::GetCapturedStderr();
    EXPECT_TRUE(text.empty() || text.back() == '\n');
    return absl::StrSplit(text, '\n', absl::SkipEmpty());
  }
};

TEST_F(LogTest, ALineIsOneJsonObject) {
  InitLog("failover-agent", LogFormat::kJson, LogLevel::kInfo);
  const auto lines = Lines([] {
    LogWarning("something happened", {{"count", 3},
                                      {"rate", 0.5},
                                      {"ok", false},
                                      {"error", absl::NotFoundError("no\n\"file\"\x01 \xff")}});
  });
  ASSERT_EQ(lines.size(), 1u);
  const Json line = Json::parse(lines[0]);
  EXPECT_EQ(line["level"], "warn");
  EXPECT_EQ(line["msg"], "something happened");
  EXPECT_EQ(line["component"], "failover-agent");
  EXPECT_EQ(line["count"], 3);
  EXPECT_EQ(line["rate"], 0.5);
  EXPECT_EQ(line["ok"], false);
  EXPECT_EQ(line["error"], "NOT_FOUND: no\n\"file\"\x01 \xef\xbf\xbd");
  absl::Time time;
  EXPECT_TRUE(absl::ParseTime(absl::RFC3339_full, line["time"].get<std::string>(), &time, nullptr));
}

TEST_F(LogTest, TextForPeopleKeepsEachRecordOnOneLine) {
  InitLog("x", LogFormat::kText, LogLevel::kInfo);
  const auto lines = Lines([] {
    LogInfo("all good",
            {{"group", "orders"}, {"note", "two words"}, {"forged", "a\n2026 ERROR b"}, {"n", 1}});
  });
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_NE(lines[0].find(
                " INFO  all good group=orders note=\"two words\" forged=\"a\\n2026 ERROR b\" n=1"),
            std::string::npos)
      << lines[0];
}

TEST_F(LogTest, LinesBelowTheLowestLevelAreNeitherWrittenNorCounted) {
  InitLog("x", LogFormat::kJson, LogLevel::kWarning);
  const auto before = LogCounts();
  const auto lines = Lines([] {
    LogDebug("d");
    LogInfo("i");
    LogWarning("w");
    LogError("e");
    LogError("e");
  });
  const auto after = LogCounts();
  EXPECT_EQ(lines.size(), 3u);
  EXPECT_EQ(after[0] - before[0], 0u);
  EXPECT_EQ(after[1] - before[1], 0u);
  EXPECT_EQ(after[2] - before[2], 1u);
  EXPECT_EQ(after[3] - before[3], 2u);
}

TEST_F(LogTest, ValuesAreRedactedAndThenCut) {
  const auto lines = Lines([] {
    LogInfo("m", {{"long", std::string(5000, 'x')}, {"secret", "sig=" + std::string(5000, 'y')}});
  });
  ASSERT_EQ(lines.size(), 1u);
  const Json line = Json::parse(lines[0]);
  EXPECT_EQ(line["long"], std::string(2048, 'x') + "…");
  EXPECT_EQ(line["secret"], "sig=[redacted]");
}

TEST_F(LogTest, LinesOfManyThreadsDoNotMix) {
  const auto lines = Lines([] {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([] {
        for (int i = 0; i < 50; ++i)
          LogInfo("m", {{"a", std::string(2000, 'a')},
                        {"b", std::string(2000, 'b')},
                        {"c", std::string(2000, 'c')}});
      });
    }
  });
  EXPECT_EQ(lines.size(), 200u);
  for (const std::string& line : lines) EXPECT_TRUE(Json::accept(line));
}

TEST_F(LogTest, ErrorsOfGrpcBecomeWarningsOfOurs) {
  InitLog("x", LogFormat::kJson, LogLevel::kInfo);
  const auto lines = Lines([] {
    gpr_log(GPR_ERROR, "handshake failed: %d", 5);
    gpr_log(GPR_INFO, "of no interest");
    gpr_log(GPR_ERROR, "No match found for server name: 127.0.0.1.");
  });
  ASSERT_EQ(lines.size(), 1u);
  const Json line = Json::parse(lines[0]);
  EXPECT_EQ(line["level"], "warn");
  EXPECT_EQ(line["msg"], "gRPC");
  EXPECT_EQ(line["text"], "handshake failed: 5");
}

}  // namespace
}  // namespace failover
