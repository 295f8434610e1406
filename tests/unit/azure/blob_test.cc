#include "controller/azure/blob.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/azure/scripted.h"

namespace failover::azure {
namespace {

using ::testing::HasSubstr;

v1::Storage Storage() {
  v1::Storage storage;
  storage.set_account("contosodr");
  storage.set_container("apim-backups");
  return storage;
}

TEST(BlobTest, UrlsComeFromTheTemplate) {
  EXPECT_EQ(ContainerUrl("https://{account}.blob.core.windows.net", Storage()),
            "https://contosodr.blob.core.windows.net/apim-backups?restype=container");
  EXPECT_EQ(BlobUrl("http://127.0.0.1:10000/{account}/", Storage(), "a b/c+d"),
            "http://127.0.0.1:10000/contosodr/apim-backups/a%20b/c%2Bd");
}

const absl::Time kNow = absl::FromUnixSeconds(1'795'467'600);  // Mon, 23 Nov 2026 21:00:00 GMT

HttpResponse Head(const char* length, const char* modified,
                  const char* date = "Mon, 23 Nov 2026 21:00:00 GMT") {
  return Response(200, "",
                  {{"Content-Length", length}, {"Last-Modified", modified}, {"Date", date}});
}

TEST(BlobTest, ABackupIsGoodWhenItIsNewAndNotEmpty) {
  const BlobLook look =
      LookAtBlob(Head("42", "Mon, 23 Nov 2026 20:59:30 GMT"), kNow - absl::Minutes(1), kNow);
  EXPECT_TRUE(look.good);
  EXPECT_EQ(look.size, 42);
}

TEST(BlobTest, MissingEmptyOldOrUnreadableBlobsAreNotGood) {
  const struct {
    HttpResponse response;
    const char* message;
  } cases[] = {
      {Response(404), "does not exist"},
      {Response(403, "", {{"x-ms-error-code", "AuthenticationFailed"}}), "cannot be looked at"},
      {Head("0", "Mon, 23 Nov 2026 20:59:30 GMT"), "is empty"},
      {Head("x", "Mon, 23 Nov 2026 20:59:30 GMT"), "no Content-Length"},
      {Head("42", "yesterday"), "no Last-Modified"},
      {Head("42", "Mon, 23 Nov 2026 20:00:00 GMT"), "before its operation began"},
  };
  for (const auto& c : cases) {
    const BlobLook look = LookAtBlob(c.response, kNow - absl::Minutes(1), kNow);
    EXPECT_FALSE(look.good) << c.message;
    EXPECT_THAT(look.error.message(), HasSubstr(c.message));
  }
}

TEST(BlobTest, AClockOfOursThatIsAheadCondemnsNoBackup) {
  // We believe it is 21:00 and that the operation began at 20:59; for Azure it is 20:30.
  const HttpResponse head =
      Head("42", "Mon, 23 Nov 2026 20:29:30 GMT", "Mon, 23 Nov 2026 20:30:00 GMT");
  EXPECT_TRUE(LookAtBlob(head, kNow - absl::Minutes(1), kNow).good);
}

TEST(BlobTest, AManifestIsReadBackWhole) {
  v1::BackupRecord backup;
  backup.set_blob("orders/apim/x");
  const core::Entities before = {{"apis/a", "1"}}, after = {{"apis/a", "2"}, {"apis/b", "3"}};
  const auto read =
      ReadManifestText(ManifestText("orders", backup, before, after), "orders/apim/x");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->before, before);
  EXPECT_EQ(read->after, after);
}

TEST(BlobTest, AManifestThatIsCutForeignOrMalformedIsRefused) {
  v1::BackupRecord backup;
  backup.set_blob("orders/apim/x");
  const std::string text = ManifestText("orders", backup, {}, {});
  EXPECT_FALSE(ReadManifestText(text.substr(0, text.size() / 2), "orders/apim/x").ok());
  EXPECT_THAT(std::string(ReadManifestText(text, "orders/apim/y").status().message()),
              HasSubstr("another blob"));
  for (const char* bad :
       {"", "[]", "{}", R"({"schemaVersion":2,"blob":"b"})", R"({"schemaVersion":1,"blob":"b"})",
        R"({"schemaVersion":1,"blob":"b","before":{"a":1},"after":{}})",
        R"({"schemaVersion":1,"blob":"b","before":{},"after":[]})"}) {
    EXPECT_FALSE(ReadManifestText(bad, "b").ok()) << bad;
  }
}

core::Fence Fence(const char* store, uint64_t epoch, uint64_t term, const char* operation = "op") {
  return {store, epoch, term, operation};
}

TEST(BlobTest, AFenceIsReadBackWhole) {
  const auto read = ReadFenceText(FenceText(Fence("s", 3, 1ull << 60, "op")));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(SameFence(*read, Fence("s", 3, 1ull << 60, "op")));
  for (const char* bad :
       {"", "x", "{}", R"({"storeId":"","epoch":1,"term":1})",
        R"({"storeId":"s","epoch":-1,"term":1})", R"({"storeId":"s","epoch":"1","term":1})",
        R"({"storeId":"s","epoch":1})"}) {
    EXPECT_FALSE(ReadFenceText(bad).ok()) << bad;
  }
}

TEST(BlobTest, AHigherOrForeignFenceRefuses) {
  const core::Fence ours = Fence("ours", 5, 7);
  EXPECT_EQ(FenceRefusal(Fence("ours", 5, 7), ours, ""), "");
  EXPECT_EQ(FenceRefusal(Fence("ours", 4, 6), ours, ""), "");
  EXPECT_THAT(FenceRefusal(Fence("ours", 6, 7), ours, ""), HasSubstr("higher"));
  EXPECT_THAT(FenceRefusal(Fence("ours", 4, 8), ours, ""), HasSubstr("higher"));
  EXPECT_THAT(FenceRefusal(Fence("theirs", 1, 1), ours, ""), HasSubstr("another store"));
  EXPECT_EQ(FenceRefusal(Fence("theirs", 1, 1), ours, "theirs"), "");
  EXPECT_THAT(FenceRefusal(Fence("third", 1, 1), ours, "theirs"), HasSubstr("another store"));
  EXPECT_THAT(FenceRefusal(Fence("theirs", 9, 1), ours, "theirs"), HasSubstr("higher"));
}

}  // namespace
}  // namespace failover::azure
