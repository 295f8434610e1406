#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/azure/worker_fixture.h"

namespace failover::azure {
namespace {

using core::CallStatus;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr char kFence[] = "https://contosodr.blob.example/apim-backups/orders/fence";

std::string FenceBody(const char* store, int epoch, int term, const char* operation) {
  return absl::StrCat(R"({"epoch":)", epoch, R"(,"operationId":")", operation, R"(","storeId":")",
                      store, R"(","term":)", term, "}");
}

class StorageTest : public WorkerTest {
 protected:
  core::WriteFence Write(const char* adopted = "") {
    return {4, {"ours", 5, 7, kOperation}, adopted, Storage(), clock_.Steady() + absl::Seconds(10)};
  }
  // A blob endpoint with one fence and honest conditions.
  void Serve() {
    On(absl::StrCat("GET ", kFence), [this](const HttpRequest&) {
      return fence_.empty() ? Answered(404)
                            : Answered(200, fence_, {{"ETag", absl::StrCat("\"", version_, "\"")}});
    });
    On(absl::StrCat("PUT ", kFence), [this](const HttpRequest& request) {
      const bool absent = HeaderOf(request, "If-None-Match") == "*";
      const bool matches = HeaderOf(request, "If-Match") == absl::StrCat("\"", version_, "\"");
      if (fence_.empty() ? !absent : !matches)
        return Answered(412, "", {{"x-ms-error-code", "ConditionNotMet"}});
      fence_ = request.body;
      ++version_;
      return lose_answer_ ? Lost(true) : Answered(201);
    });
  }
  std::string fence_;
  int version_ = 1;
  bool lose_answer_ = false;
};

TEST_F(StorageTest, TheFirstFenceIsWrittenOnlyIfThereIsNone) {
  Serve();
  const auto done = CarryOut<core::FenceDone>(Write());
  EXPECT_EQ(done.call, 4u);
  EXPECT_EQ(done.result.status, CallStatus::kOk);
  EXPECT_FALSE(done.found.has_value());
  const HttpRequest& put = wire_.requests.back();
  EXPECT_EQ(HeaderOf(put, "If-None-Match"), "*");
  EXPECT_EQ(put.body, FenceBody("ours", 5, 7, kOperation));
  EXPECT_EQ(HeaderOf(put, "x-ms-blob-type"), "BlockBlob");
  EXPECT_THAT(HeaderOf(put, "Authorization"), StartsWith("SharedKey contosodr:"));
  EXPECT_EQ(HeaderOf(put, "x-ms-date"), "Mon, 23 Nov 2026 21:00:00 GMT");
}

TEST_F(StorageTest, ALaterFenceReplacesExactlyTheOneRead) {
  Serve();
  fence_ = FenceBody("ours", 4, 7, "old");
  const auto done = CarryOut<core::FenceDone>(Write());
  EXPECT_EQ(done.result.status, CallStatus::kOk);
  ASSERT_TRUE(done.found.has_value());
  EXPECT_EQ(done.found->epoch, 4u);
  EXPECT_EQ(HeaderOf(wire_.requests.back(), "If-Match"), "\"1\"");
}

TEST_F(StorageTest, AHigherOrForeignFenceIsNotReplaced) {
  Serve();
  for (const std::string& other :
       {FenceBody("ours", 6, 7, "x"), FenceBody("theirs", 1, 1, "x"), std::string("not a fence")}) {
    fence_ = other;
    const auto done = CarryOut<core::FenceDone>(Write());
    EXPECT_EQ(done.result.status, CallStatus::kFailed) << other;
    EXPECT_NE(done.result.error.message(), "");
  }
  EXPECT_EQ(wire_.Count("PUT"), 0);
  fence_ = FenceBody("theirs", 1, 1, "x");
  EXPECT_EQ(CarryOut<core::FenceDone>(Write("theirs")).result.status, CallStatus::kOk);
}

TEST_F(StorageTest, AFenceLostToARaceRefusesAndShowsTheWinner) {
  Serve();
  int reads = 0;
  On(absl::StrCat("GET ", kFence), [&](const HttpRequest&) {
    if (++reads == 1) return Answered(404);
    return Answered(200, FenceBody("theirs", 9, 9, "w"), {{"ETag", "\"2\""}});
  });
  On(absl::StrCat("PUT ", kFence), 409, "", {{"x-ms-error-code", "BlobAlreadyExists"}});
  const auto done = CarryOut<core::FenceDone>(Write());
  EXPECT_EQ(done.result.status, CallStatus::kFailed);
  EXPECT_EQ(done.found->store_id, "theirs");
}

TEST_F(StorageTest, AFenceWhoseAnswerWasLostIsReadBack) {
  Serve();
  lose_answer_ = true;
  EXPECT_EQ(CarryOut<core::FenceDone>(Write()).result.status, CallStatus::kOk);
  EXPECT_EQ(wire_.Count("PUT"), 1);
  On(absl::StrCat("GET ", kFence), 404);
  On(absl::StrCat("PUT ", kFence), [](const HttpRequest&) { return Lost(true); });
  EXPECT_EQ(CarryOut<core::FenceDone>(Write()).result.status, CallStatus::kUnclear);
}

TEST_F(StorageTest, AFenceThatCannotBeReadOrIsTooLateIsNotWritten) {
  On("GET", 500);
  EXPECT_EQ(CarryOut<core::FenceDone>(Write()).result.status, CallStatus::kNotSent);
  Serve();
  core::WriteFence late = Write();
  late.send_by = clock_.Steady();
  EXPECT_EQ(CarryOut<core::FenceDone>(late).result.status, CallStatus::kNotSent);
  EXPECT_EQ(wire_.Count("PUT"), 0);
}

TEST_F(StorageTest, ReadingAFenceTellsAbsentFromUnreadable) {
  Serve();
  const core::ReadFence read{8, Storage()};
  auto done = CarryOut<core::FenceDone>(read);
  EXPECT_EQ(done.result.status, CallStatus::kOk);
  EXPECT_FALSE(done.found.has_value());
  fence_ = FenceBody("s", 3, 4, "o");
  done = CarryOut<core::FenceDone>(read);
  EXPECT_EQ(done.found->term, 4u);
  On("GET", [](const HttpRequest&) { return Lost(false); });
  done = CarryOut<core::FenceDone>(read);
  EXPECT_EQ(done.result.status, CallStatus::kFailed);
  EXPECT_FALSE(done.found.has_value());
}

TEST_F(StorageTest, AManifestIsWrittenBesideItsBackupAndReadBack) {
  std::string stored;
  On("PUT https://contosodr.blob.example/apim-backups/orders/apim-weu/x.manifest.json",
     [&](const HttpRequest& request) {
       stored = request.body;
       return Answered(201);
     });
  On("GET https://contosodr.blob.example/apim-backups/orders/apim-weu/x.manifest.json",
     [&](const HttpRequest&) { return Answered(200, stored); });
  core::WriteManifest write;
  write.call = 2;
  write.backup.set_blob("orders/apim-weu/x");
  write.storage = Storage();
  write.before = std::make_shared<core::Entities>(core::Entities{{"apis/a", "1"}});
  write.after = std::make_shared<core::Entities>(core::Entities{{"apis/a", "2"}});
  EXPECT_EQ(CarryOut<core::ManifestWritten>(write).result.status, CallStatus::kOk);
  const auto read =
      CarryOut<core::ManifestRead>(core::ReadManifest{3, "orders/apim-weu/x", Storage()});
  ASSERT_EQ(read.result.status, CallStatus::kOk) << read.result.error.message();
  EXPECT_EQ(*read.before, *write.before);
  EXPECT_EQ(*read.after, *write.after);
  stored.resize(stored.size() / 2);
  const auto cut =
      CarryOut<core::ManifestRead>(core::ReadManifest{3, "orders/apim-weu/x", Storage()});
  EXPECT_EQ(cut.result.status, CallStatus::kFailed);
  EXPECT_EQ(cut.before, nullptr);
  On("PUT", 500);
  EXPECT_EQ(CarryOut<core::ManifestWritten>(write).result.status, CallStatus::kUnclear);
}

TEST_F(StorageTest, ABlobIsCheckedForExistenceSizeAndAge) {
  const core::CheckBlob check{1, kOperation, "orders/apim-weu/x", Storage(),
                              absl::ToUnixMillis(clock_.Wall())};
  auto checked = CarryOut<core::BlobChecked>(check);
  EXPECT_EQ(checked.result.status, CallStatus::kFailed);
  EXPECT_THAT(checked.result.error.message(), HasSubstr("does not exist"));
  On("HEAD", 200, "",
     {{"Content-Length", "5"}, {"Last-Modified", "Mon, 23 Nov 2026 21:00:01 GMT"}});
  checked = CarryOut<core::BlobChecked>(check);
  EXPECT_EQ(checked.result.status, CallStatus::kOk);
  EXPECT_EQ(checked.size_bytes, 5);
  On("HEAD", 200, "",
     {{"Content-Length", "5"}, {"Last-Modified", "Sun, 22 Nov 2026 21:00:01 GMT"}});
  EXPECT_EQ(CarryOut<core::BlobChecked>(check).result.status, CallStatus::kFailed);
}

TEST_F(StorageTest, ABadAccountKeySendsNothing) {
  dir_.Write("key", "%%%");
  EXPECT_THAT(CarryOut<core::FenceDone>(core::ReadFence{8, Storage()}).result.error.message(),
              HasSubstr("not base64"));
  EXPECT_EQ(wire_.requests.size(), 0u);
}

}  // namespace
}  // namespace failover::azure
