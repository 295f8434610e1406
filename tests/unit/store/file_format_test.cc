#include "controller/store/file_format.h"

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/digest.h"
#include "gtest/gtest.h"

namespace failover::store {
namespace {

v1::GroupRecord Record() {
  v1::GroupRecord record;
  record.set_schema_version(kSchemaVersion);
  record.set_name("orders-api");
  record.set_term(7);
  record.set_epoch(3);
  record.set_fingerprint_key(std::string("\x00\xff\x80key", 6));
  v1::ServiceRecord* service = record.add_services();
  service->set_name("apim-weu");
  service->set_role(v1::ROLE_ACTIVE);
  return record;
}

std::string Encode(const v1::GroupRecord& record, uint64_t write = 1) {
  FileHeader header;
  return EncodeFile(record, write, header).value();
}

absl::Status DecodeStatus(absl::string_view text) {
  return DecodeFile(text, "orders-api", "/dir/x.state").status();
}

TEST(FileFormatTest, ARecordIsReadBackAsItWasWritten) {
  FileHeader header;
  const absl::StatusOr<std::string> text = EncodeFile(Record(), 12, header);
  ASSERT_TRUE(text.ok()) << text.status();
  const absl::StatusOr<Versioned> read = DecodeFile(*text, "orders-api", "x");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->record.SerializeAsString(), Record().SerializeAsString());
  EXPECT_EQ(read->version, header.Version());
}

TEST(FileFormatTest, APersonCanReadTheFileAndCheckItsSum) {
  const std::string text = Encode(Record(), 12);
  EXPECT_TRUE(absl::StartsWith(text, "apim-failover-state schema=1 write=12 bytes=")) << text;
  EXPECT_TRUE(absl::StrContains(text, "\n{\"schemaVersion\":1,\"name\":\"orders-api\"")) << text;
  const size_t sum = text.find(" sha256="), end = text.find('\n');
  EXPECT_EQ(Sha256Hex(text.substr(0, sum) + text.substr(end)), text.substr(sum + 8, end - sum - 8));
}

TEST(FileFormatTest, EqualRecordsOfDifferentWritesHaveDifferentVersions) {
  FileHeader first, second;
  ASSERT_TRUE(EncodeFile(Record(), 1, first).ok());
  ASSERT_TRUE(EncodeFile(Record(), 2, second).ok());
  EXPECT_NE(first.Version(), second.Version());
}

TEST(FileFormatTest, EveryChangedByteIsRefused) {
  const std::string text = Encode(Record());
  for (size_t i = 0; i < text.size(); ++i) {
    std::string damaged = text;
    damaged[i] ^= 0x01;
    const absl::Status status = DecodeStatus(damaged);
    // A changed schema number may look like a newer file; both are refused and kept.
    EXPECT_TRUE(absl::IsDataLoss(status) || absl::IsFailedPrecondition(status))
        << i << ": " << status;
  }
}

TEST(FileFormatTest, EveryTruncationIsDataLoss) {
  const std::string text = Encode(Record());
  for (size_t length = 0; length < text.size(); ++length) {
    EXPECT_TRUE(absl::IsDataLoss(DecodeStatus(text.substr(0, length)))) << length;
  }
}

TEST(FileFormatTest, ARefusalSaysWhichFileWhatIsWrongAndWhatToDo) {
  const std::string text = Encode(Record());
  const absl::Status truncated = DecodeStatus(text.substr(0, text.size() - 5));
  EXPECT_TRUE(absl::StrContains(truncated.message(),
                                "state file /dir/x.state is corrupt: it is truncated: "));
  EXPECT_TRUE(absl::StrContains(truncated.message(), "it is kept untouched"));
  EXPECT_TRUE(absl::StrContains(truncated.message(), "failoverctl adopt"));
  EXPECT_TRUE(absl::StrContains(DecodeStatus("").message(), "it is empty"));
  EXPECT_TRUE(
      absl::StrContains(DecodeStatus("{}\n").message(), "its first line does not begin with"));
  EXPECT_TRUE(absl::StrContains(DecodeStatus(std::string(400, 'x')).message(),
                                "its first line has no end"));
  EXPECT_TRUE(absl::StrContains(DecodeStatus(text + "x").message(), "1 bytes follow its end"));
  EXPECT_TRUE(absl::StrContains(DecodeStatus("apim-failover-state schema=1 write=x\n").message(),
                                "malformed"));
  EXPECT_TRUE(absl::StrContains(
      DecodeStatus(absl::StrReplaceAll(text, {{"apim-weu", "apim-neu"}})).message(),
      "its checksum is"));
}

TEST(FileFormatTest, ANewerSchemaIsRefusedAsNewerNotAsCorrupt) {
  v1::GroupRecord newer = Record();
  newer.set_schema_version(kSchemaVersion + 1);
  const absl::Status status = DecodeStatus(Encode(newer));
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_TRUE(
      absl::StrContains(status.message(), "written by a newer version: schema 2, this one knows 1"))
      << status;
}

TEST(FileFormatTest, AFieldThatThisVersionDoesNotKnowIsRefusedAsNewer) {
  const std::string json = "{\"schemaVersion\":1,\"name\":\"orders-api\",\"inventedLater\":1}\n";
  const std::string bare = absl::StrCat("apim-failover-state schema=1 write=1 bytes=", json.size());
  const absl::Status status =
      DecodeStatus(absl::StrCat(bare, " sha256=", Sha256Hex(bare + "\n" + json), "\n", json));
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "inventedLater")) << status;
}

TEST(FileFormatTest, AFileOfAnotherGroupIsRefused) {
  const absl::Status status =
      DecodeFile(Encode(Record()), "payments", "/dir/payments.state").status();
  EXPECT_TRUE(absl::IsDataLoss(status));
  EXPECT_TRUE(absl::StrContains(status.message(),
                                "it holds the group \"orders-api\", expected \"payments\""))
      << status;
}

TEST(FileFormatTest, NoGroupNameLeavesTheDirectoryOrMeetsAnother) {
  EXPECT_EQ(FileNameOf("orders-api"), "orders-api.state");
  EXPECT_EQ(FileNameOf("../etc/passwd"), "%2E%2E%2Fetc%2Fpasswd.state");
  EXPECT_EQ(FileNameOf("Orders"), "%4Frders.state");
  EXPECT_EQ(FileNameOf(absl::string_view("a\0b", 3)), "a%00b.state");
  EXPECT_EQ(FileNameOf(""), "");
  EXPECT_EQ(FileNameOf(std::string(300, 'a')), "");
}

TEST(FileFormatTest, FileNamesLeadBackToTheirGroupsAndOthersToNone) {
  for (const std::string group : {"orders-api", "../x", "Größe", "a b%41", "."}) {
    EXPECT_EQ(GroupOf(FileNameOf(group)), group);
  }
  for (const char* other : {"lock", "orders.state.tmp", ".state", "Orders.state", "%4f.state",
                            "%4.state", "a.b.state"}) {
    EXPECT_EQ(GroupOf(other), "") << other;
  }
}

}  // namespace
}  // namespace failover::store
