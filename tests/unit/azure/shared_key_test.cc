#include "controller/azure/shared_key.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/azure/scripted.h"

namespace failover::azure {
namespace {

// The published key of the storage emulator. The signatures were computed from the strings by
// another program.
constexpr char kKey[] =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
constexpr char kDate[] = "Mon, 23 Nov 2026 21:00:00 GMT";

TEST(SharedKeyTest, APathStyleContainerRequestIsSignedAsDocumented) {
  HttpRequest request;
  request.method = "PUT";
  request.url = "http://127.0.0.1:10000/devstoreaccount1/apim-backups?restype=container";
  request.headers = {{"x-ms-version", "2021-12-02"}, {"x-ms-date", kDate}};
  EXPECT_EQ(StringToSign(request, "devstoreaccount1"),
            "PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Mon, 23 Nov 2026 21:00:00 "
            "GMT\nx-ms-version:2021-12-02\n"
            "/devstoreaccount1/devstoreaccount1/apim-backups\nrestype:container");
  ASSERT_TRUE(Sign(request, "devstoreaccount1", kKey).ok());
  EXPECT_EQ(HeaderOf(request, "Authorization"),
            "SharedKey devstoreaccount1:OO63CzHnCd6wNkn4dff+qrlNpiSOLEM+yKvGJEYU4Ak=");
}

TEST(SharedKeyTest, AConditionalUploadSignsLengthTypeAndCondition) {
  HttpRequest request;
  request.method = "PUT";
  request.url = "https://contosodr.blob.core.windows.net/apim-backups/orders%20api/fence";
  request.body = "hello world";
  request.headers = {{"x-ms-version", "2021-12-02"},     {"Content-Type", "application/json"},
                     {"x-ms-blob-type", "BlockBlob"},    {"If-Match", "\"0x8D\""},
                     {"x-ms-client-request-id", "id-1"}, {"X-Ms-Date", kDate}};
  EXPECT_EQ(StringToSign(request, "contosodr"),
            "PUT\n\n\n11\n\napplication/"
            "json\n\n\n\"0x8D\"\n\n\n\nx-ms-blob-type:BlockBlob\nx-ms-client-request-id:id-1\n"
            "x-ms-date:Mon, 23 Nov 2026 21:00:00 "
            "GMT\nx-ms-version:2021-12-02\n/contosodr/apim-backups/orders%20api/fence");
  ASSERT_TRUE(Sign(request, "contosodr", kKey).ok());
  EXPECT_EQ(HeaderOf(request, "Authorization"),
            "SharedKey contosodr:CSJktvF2uQAjgzGDM4PslhS38l7aYbE3RQujc84VE3I=");
}

TEST(SharedKeyTest, QueryParametersAreDecodedLoweredAndSorted) {
  HttpRequest request;
  request.url =
      "https://a.blob.core.windows.net/c?restype=container&comp=list&Prefix=orders%2Fapim";
  EXPECT_THAT(StringToSign(request, "a"),
              ::testing::EndsWith("/a/c\ncomp:list\nprefix:orders/apim\nrestype:container"));
}

TEST(SharedKeyTest, ABadKeyIsRefusedWithoutQuotingIt) {
  HttpRequest request;
  request.url = "https://a.blob.core.windows.net/c";
  const absl::Status bad = Sign(request, "contosodr", "not base64!");
  ASSERT_FALSE(bad.ok());
  EXPECT_THAT(std::string(bad.message()), ::testing::HasSubstr("contosodr"));
  EXPECT_THAT(std::string(bad.message()), ::testing::Not(::testing::HasSubstr("not base64!")));
  EXPECT_EQ(HeaderOf(request, "Authorization"), "");
}

}  // namespace
}  // namespace failover::azure
