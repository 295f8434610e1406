#include "agent/assignment.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/support/temp_dir.h"

namespace failover::agent {
namespace {

v1::Assignment Version(uint64_t term, uint64_t generation, const std::string& id = "a/b/c") {
  v1::Assignment assignment;
  assignment.set_term(term);
  assignment.set_generation(generation);
  v1::Target& target = *assignment.add_targets();
  target.set_id(id);
  target.set_url("https://a.example/");
  target.mutable_interval()->set_seconds(1);
  target.mutable_timeout()->set_seconds(1);
  return assignment;
}

class AssignmentKeeperTest : public testing::Test {
 protected:
  std::unique_ptr<AssignmentKeeper> Make(const std::string& file) {
    return std::make_unique<AssignmentKeeper>(
        file, [this](std::shared_ptr<const PreparedAssignment> assignment) {
          applied_.emplace_back(assignment->term, assignment->generation);
        });
  }
  TempDir directory_;
  std::vector<std::pair<uint64_t, uint64_t>> applied_;
};

TEST_F(AssignmentKeeperTest, OnlyAHigherTermOrGenerationReplaces) {
  const auto keeper = Make("");
  EXPECT_FALSE(keeper->version().assigned);
  EXPECT_TRUE(keeper->Offer(Version(2, 5)).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(keeper->Offer(Version(2, 5))));
  EXPECT_TRUE(absl::IsFailedPrecondition(keeper->Offer(Version(2, 4))));
  EXPECT_TRUE(absl::IsFailedPrecondition(keeper->Offer(Version(1, 9))));
  EXPECT_TRUE(keeper->Offer(Version(2, 6)).ok());
  EXPECT_TRUE(keeper->Offer(Version(3, 1)).ok());
  EXPECT_EQ(applied_, (std::vector<std::pair<uint64_t, uint64_t>>{{2, 5}, {2, 6}, {3, 1}}));
}

TEST_F(AssignmentKeeperTest, TheLastAssignmentSurvivesARestart) {
  const std::string file = directory_.File("assignment.json");
  EXPECT_TRUE(Make(file)->Offer(Version(7, 1)).ok());
  EXPECT_TRUE(Make(file)->Offer(Version(7, 2)).ok());
  applied_.clear();
  const auto keeper = Make(file);
  EXPECT_TRUE(keeper->LoadStored().ok());
  EXPECT_EQ(keeper->version().term, 7u);
  EXPECT_EQ(keeper->version().generation, 2u);
  EXPECT_EQ(applied_.size(), 1u);
  EXPECT_TRUE(absl::IsFailedPrecondition(keeper->Offer(Version(6, 9))))
      << "an older one after a restart";
}

TEST_F(AssignmentKeeperTest, TheFileIsForItsOwnerOnly) {
  const std::string file = directory_.File("assignment.json");
  EXPECT_TRUE(Make(file)->Offer(Version(1, 1)).ok());
  struct stat info {};
  ASSERT_EQ(stat(file.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(AssignmentKeeperTest, AMissingFileIsNoError) {
  EXPECT_TRUE(absl::IsNotFound(Make(directory_.File("none"))->LoadStored()));
  EXPECT_TRUE(absl::IsNotFound(Make("")->LoadStored()));
}

TEST_F(AssignmentKeeperTest, ACorruptFileIsRefusedByNameAndKept) {
  for (const char* text : {"", "{", "{\"unknown\": 1}", "{}", "\xff\xfe"}) {
    const std::string file = directory_.Write("assignment.json", text);
    const auto keeper = Make(file);
    const absl::Status status = keeper->LoadStored();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << text;
    EXPECT_NE(status.message().find("assignment.json"), absl::string_view::npos);
    EXPECT_FALSE(keeper->version().assigned);
    EXPECT_EQ(directory_.Read("assignment.json"), text);
  }
}

TEST_F(AssignmentKeeperTest, AnAssignmentThatCannotBeStoredIsInForceAllTheSame) {
  const auto keeper = Make(directory_.File("no/such/directory/file"));
  EXPECT_TRUE(keeper->Offer(Version(1, 1)).ok());
  EXPECT_TRUE(keeper->version().assigned);
}

TEST_F(AssignmentKeeperTest, AnOversizedAssignmentChangesNothing) {
  const auto keeper = Make("");
  EXPECT_TRUE(keeper->Offer(Version(1, 1)).ok());
  v1::Assignment huge = Version(1, 2);
  for (int i = 0; i <= kMaxTargets; ++i) huge.add_targets();
  EXPECT_TRUE(absl::IsInvalidArgument(keeper->Offer(huge)));
  EXPECT_EQ(keeper->version().generation, 1u);
}

}  // namespace
}  // namespace failover::agent
