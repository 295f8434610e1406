#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "controller/runtime/saver.h"
#include "gtest/gtest.h"
#include "re2/re2.h"

namespace failover::runtime {
namespace {

std::string ReadAll(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

// Names written out in the sources: in CrashPoint("…") itself, in a choice of two, or in a table of
// verbs.
std::set<std::string> NamesInSources() {
  static const RE2 name(R"re("([a-z]+\.(?:before|after)_[a-z]+)")re");
  std::set<std::string> names;
  for (const char* directory : {"common", "agent", "controller"}) {
    for (const auto& file : std::filesystem::recursive_directory_iterator(
             std::string(FAILOVER_SOURCE) + "/" + directory)) {
      if (file.path().extension() != ".cc") continue;
      const std::string text = ReadAll(file.path());
      if (text.find("CrashPoint(") == std::string::npos) continue;
      re2::StringPiece rest(text);
      std::string found;
      while (RE2::FindAndConsume(&rest, name, &found)) names.insert(found);
      // Nothing else may be written between the quotes of a call, or the pattern above misses it.
      static const RE2 literal(R"re(CrashPoint\("([^"]*)"\))re");
      rest = re2::StringPiece(text);
      while (RE2::FindAndConsume(&rest, literal, &found)) names.insert(found);
    }
  }
  return names;
}

TEST(CrashPoints, TheListNamesEveryPointInTheCodeAndNoOther) {
  std::set<std::string> listed, in_code = NamesInSources();
  for (const std::string& stage : StageCrashPoints()) in_code.insert(stage);
  for (absl::string_view line :
       absl::StrSplit(ReadAll(std::string(FAILOVER_TESTDATA) + "/crash-points.txt"), '\n')) {
    if (line.empty() || line[0] == '#') continue;
    listed.insert(std::string(line.substr(0, line.find_first_of(": "))));
  }
  EXPECT_EQ(listed, in_code);
  EXPECT_GT(listed.size(), 50u);
}

TEST(CrashPoints, EveryStageHasAPointBeforeAndAfterItsWrite) {
  const std::vector<std::string> names = StageCrashPoints();
  const std::set<std::string> set(names.begin(), names.end());
  EXPECT_EQ(set.size(), names.size());
  for (const char* stage : {"sync.preflight", "sync.failed", "restore.waiting", "restore.skipped",
                            "failover.decided", "failover.switched_not_seen"}) {
    EXPECT_TRUE(set.contains(std::string(stage) + ".before")) << stage;
    EXPECT_TRUE(set.contains(std::string(stage) + ".after")) << stage;
  }
}

}  // namespace
}  // namespace failover::runtime
