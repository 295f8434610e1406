#include "tests/unit/azure_emulator/emulated.h"

namespace failover::emulator {
namespace {

class BlobsTest : public Emulated {
 protected:
  Answer Send(const std::string& method, const std::string& target, const std::string& body = "",
              Headers headers = {}) {
    Request request = Make(method, absl::StrCat("/contosodr/", target), body, std::move(headers));
    request.front = Front::kBlob;
    request.headers.emplace_back("x-ms-date", HttpDate(date_));
    request.headers.emplace_back("x-ms-version", "2021-12-02");
    request.headers.emplace_back("Content-Length", absl::StrCat(body.size()));
    const std::string signature =
        Base64(HmacSha256(FromBase64(key_).value(), SharedKeyStringToSign(request, "contosodr")));
    request.headers.emplace_back("Authorization", absl::StrCat("SharedKey contosodr:", signature));
    return Handle(world, request, now);
  }
  Answer Put(const std::string& name, const std::string& body, Headers headers = {}) {
    headers.emplace_back("x-ms-blob-type", "BlockBlob");
    return Send("PUT", absl::StrCat("apim-backups/", name), body, std::move(headers));
  }

  absl::Time date_ = now;
  std::string key_ = world.accounts["contosodr"].key;
};

TEST_F(BlobsTest, SharedKeySignsTheDocumentedString) {
  // The example of azure.md §8.2, which a real client signed and Azurite accepted.
  const Request request = Make("PUT", "/devstoreaccount1/apim-backups?restype=container", "",
                               {{"x-ms-date", "Mon, 23 Nov 2026 21:00:00 GMT"},
                                {"x-ms-version", "2021-12-02"},
                                {"Content-Length", "0"}});
  EXPECT_EQ(SharedKeyStringToSign(request, "devstoreaccount1"),
            "PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Mon, 23 Nov 2026 21:00:00 GMT\n"
            "x-ms-version:2021-12-02\n/devstoreaccount1/devstoreaccount1/apim-backups\n"
            "restype:container");
}

TEST_F(BlobsTest, AWrongKeyOrAStaleDateIsRefused) {
  key_ = Base64("wrong");
  EXPECT_EQ(Put("a", "x").status, 403);
  EXPECT_EQ(Put("a", "x").Header("x-ms-error-code"), "AuthenticationFailed");
  key_ = world.accounts["contosodr"].key;
  date_ = now - absl::Minutes(16);
  EXPECT_EQ(Put("a", "x").status, 403);
  date_ = now;
  EXPECT_EQ(Put("a", "x").status, 201);
}

TEST_F(BlobsTest, DatesAreComparedWithTheRealClock) {
  world.clock = {now, now, 1};
  ASSERT_EQ(Control("PATCH", "/_emulator/clock", R"({"advance":"5h"})").status, 200);
  now += absl::Hours(5);
  EXPECT_EQ(Put("a", "x").status, 201);
}

TEST_F(BlobsTest, NoCredentialsAndForbiddenKeysAreRefused) {
  Request request = Make("GET", "/contosodr/apim-backups/a", "", {});
  request.front = Front::kBlob;
  EXPECT_EQ(Handle(world, request, now).status, 401);
  world.accounts["contosodr"].shared_key_access = false;
  EXPECT_EQ(Put("a", "x").Header("x-ms-error-code"), "KeyBasedAuthenticationNotPermitted");
}

TEST_F(BlobsTest, ABlobIsWrittenReadAndDeleted) {
  const Answer put = Put("dir/a b", "content", {{"x-ms-meta-epoch", "3"}});
  EXPECT_EQ(put.status, 201);
  const Answer get = Send("GET", "apim-backups/dir/a%20b");
  EXPECT_EQ(get.status, 200);
  EXPECT_EQ(get.body, "content");
  EXPECT_EQ(get.Header("etag"), put.Header("etag"));
  EXPECT_EQ(get.Header("x-ms-meta-epoch"), "3");
  EXPECT_EQ(get.Header("last-modified"), HttpDate(now));
  EXPECT_EQ(Send("HEAD", "apim-backups/dir/a%20b").status, 200);
  EXPECT_EQ(Send("DELETE", "apim-backups/dir/a%20b").status, 202);
  const Answer gone = Send("GET", "apim-backups/dir/a%20b");
  EXPECT_EQ(gone.status, 404);
  EXPECT_EQ(gone.Header("x-ms-error-code"), "BlobNotFound");
}

TEST_F(BlobsTest, ConditionsDecideWrites) {
  const Answer first = Put("fence", "1", {{"If-None-Match", "*"}});
  EXPECT_EQ(first.status, 201);
  EXPECT_EQ(Put("fence", "2", {{"If-None-Match", "*"}}).status, 409);
  const std::string etag(first.Header("etag"));
  EXPECT_EQ(Put("fence", "2", {{"If-Match", etag}}).status, 201);
  const Answer lost = Put("fence", "3", {{"If-Match", etag}});
  EXPECT_EQ(lost.status, 412);
  EXPECT_EQ(lost.Header("x-ms-error-code"), "ConditionNotMet");
  EXPECT_EQ(Put("absent", "1", {{"If-Match", "*"}}).status, 412);
  EXPECT_EQ(Send("DELETE", "apim-backups/fence", "", {{"If-Match", etag}}).status, 412);
  EXPECT_EQ(Send("GET", "apim-backups/fence").body, "2");
}

TEST_F(BlobsTest, ContainersAreMadeOnceAndChecked) {
  EXPECT_EQ(Send("HEAD", "fresh?restype=container").status, 404);
  EXPECT_EQ(Send("PUT", "fresh?restype=container").status, 201);
  EXPECT_EQ(Send("HEAD", "fresh?restype=container").status, 200);
  const Answer again = Send("PUT", "fresh?restype=container");
  EXPECT_EQ(again.status, 409);
  EXPECT_EQ(again.Header("x-ms-error-code"), "ContainerAlreadyExists");
  EXPECT_EQ(Send("PUT", "Bad--Name?restype=container").Header("x-ms-error-code"),
            "InvalidResourceName");
  EXPECT_EQ(Send("GET", "none/a").Header("x-ms-error-code"), "ContainerNotFound");
}

TEST_F(BlobsTest, ListsAreXmlWithPrefixAndMarker) {
  for (const char* name : {"g/1", "g/2", "g/3", "h/1"}) Put(name, "12345");
  const Answer page =
      Send("GET", "apim-backups?restype=container&comp=list&prefix=g%2F&maxresults=2");
  EXPECT_EQ(page.status, 200);
  EXPECT_NE(page.body.find("<Name>g/1</Name>"), std::string::npos);
  EXPECT_NE(page.body.find("<Content-Length>5</Content-Length>"), std::string::npos);
  EXPECT_NE(page.body.find("<NextMarker>g/3</NextMarker>"), std::string::npos) << page.body;
  EXPECT_EQ(page.body.find("<Etag>\""), std::string::npos) << "etags of lists are not quoted";
  const Answer rest =
      Send("GET", "apim-backups?restype=container&comp=list&prefix=g%2F&marker=g%2F3");
  EXPECT_EQ(rest.body.find("h/1"), std::string::npos);
  EXPECT_NE(rest.body.find("<Name>g/3</Name>"), std::string::npos);
}

TEST_F(BlobsTest, MetadataMovesLastModified) {
  Put("a", "x");
  now += absl::Minutes(5);
  date_ = now;
  EXPECT_EQ(Send("PUT", "apim-backups/a?comp=metadata", "", {{"x-ms-meta-k", "v"}}).status, 200);
  EXPECT_EQ(Send("HEAD", "apim-backups/a").Header("last-modified"), HttpDate(now));
}

TEST_F(BlobsTest, ABlobDisappearsByTheControlApi) {
  Put("g/1", "x");
  EXPECT_EQ(Control("DELETE", "/_emulator/blobs/contosodr/apim-backups/g/1").status, 200);
  EXPECT_EQ(Send("HEAD", "apim-backups/g/1").status, 404);
  EXPECT_EQ(Control("DELETE", "/_emulator/blobs/contosodr/apim-backups/g/1").status, 404);
}

}  // namespace
}  // namespace failover::emulator
