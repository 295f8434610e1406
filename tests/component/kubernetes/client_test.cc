#include "controller/kubernetes/client.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "nlohmann/json.hpp"
#include "tests/kubernetes_stub/api_server.h"
#include "tests/support/tcp_peer.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_ca.h"

namespace failover::kubernetes {
namespace {

// Answers with statuses in turn, 200 afterwards, and keeps the tokens it was sent.
class FakeHttp final : public HttpClient {
 public:
  struct Record {
    std::vector<int> statuses;
    std::vector<std::string> tokens;
    std::function<void()> on_send = [] {};
    absl::Status error;
    int clients = 0;
  };
  explicit FakeHttp(Record& record) : record_(record) { ++record_.clients; }

  HttpResult Send(const HttpRequest& request) override {
    for (const auto& [name, value] : request.headers) {
      if (name == "Authorization") record_.tokens.push_back(value);
    }
    HttpResult result;
    result.error = record_.error;
    if (!result.error.ok()) return result;
    HttpResponse response;
    response.status = 200;
    if (!record_.statuses.empty()) {
      response.status = record_.statuses.front();
      record_.statuses.erase(record_.statuses.begin());
    }
    response.body = "{}";
    result.response = response;
    record_.on_send();
    return result;
  }

 private:
  Record& record_;
};

class ClientTest : public testing::Test {
 protected:
  ApiClient Faked() {
    directory_.Write("token", "first\n");
    directory_.Write("ca.crt", "authority 1");
    return ApiClient(
        {"https://127.0.0.1:1", "dr", directory_.File("token"), directory_.File("ca.crt")},
        RealClock(), {},
        [this](const std::string&, std::stop_token) { return std::make_unique<FakeHttp>(http_); });
  }
  ApiClient Stubbed() { return ApiClient({stub_.url(), "dr", "", ""}, RealClock(), {}); }
  static ApiRequest Request(const std::string& method = "GET", const std::string& path = "/x") {
    ApiRequest request;
    request.method = method;
    request.path = path;
    if (method != "GET") request.body = "{}";
    return request;
  }

  TempDir directory_;
  FakeHttp::Record http_;
  KubernetesStub stub_;
};

TEST_F(ClientTest, TheTokenIsReadForEachCall) {
  ApiClient client = Faked();
  EXPECT_TRUE(client.Call(Request()).status.ok());
  directory_.Write("token", "second\n");
  EXPECT_TRUE(client.Call(Request()).status.ok());
  EXPECT_EQ(http_.tokens, (std::vector<std::string>{"Bearer first", "Bearer second"}));
}

TEST_F(ClientTest, A401IsTriedOnceMoreWithTheTokenAsItIsThen) {
  ApiClient client = Faked();
  http_.statuses = {401};
  http_.on_send = [this] { directory_.Write("token", "rotated\n"); };
  EXPECT_TRUE(client.Call(Request()).status.ok());
  EXPECT_EQ(http_.tokens, (std::vector<std::string>{"Bearer first", "Bearer rotated"}));
}

TEST_F(ClientTest, ASecond401IsTheAnswer) {
  ApiClient client = Faked();
  http_.statuses = {401, 401};
  EXPECT_TRUE(absl::IsUnauthenticated(client.Call(Request()).status));
  EXPECT_EQ(http_.tokens.size(), 2u);
}

TEST_F(ClientTest, WithoutItsTokenNothingIsSent) {
  ApiClient client = Faked();
  directory_.Write("token", " \n");
  const ApiAnswer answer = client.Call(Request("POST"));
  EXPECT_TRUE(absl::IsUnavailable(answer.status)) << answer.status;
  EXPECT_TRUE(absl::StrContains(answer.status.message(), "token")) << answer.status;
  EXPECT_FALSE(answer.maybe_done);
  EXPECT_TRUE(http_.tokens.empty());
}

TEST_F(ClientTest, AChangedAuthorityIsTakenByANewConnection) {
  ApiClient client = Faked();
  client.Call(Request());
  client.Call(Request());
  EXPECT_EQ(http_.clients, 1);
  directory_.Write("ca.crt", "authority 2");
  client.Call(Request());
  EXPECT_EQ(http_.clients, 2);
  std::filesystem::remove(directory_.File("ca.crt"));  // amid a change of the volume
  EXPECT_TRUE(client.Call(Request()).status.ok());
  EXPECT_EQ(http_.clients, 2);
}

TEST_F(ClientTest, AFailedVerificationReadsTheAuthorityAgain) {
  ApiClient client = Faked();
  http_.error = absl::FailedPreconditionError("certificate verify failed");
  EXPECT_TRUE(absl::IsUnavailable(client.Call(Request()).status));
  http_.error = absl::OkStatus();
  EXPECT_TRUE(client.Call(Request()).status.ok());
  EXPECT_EQ(http_.clients, 2);
}

TEST_F(ClientTest, WithoutAnAuthorityNothingIsSent) {
  ApiClient client = Faked();
  std::filesystem::remove(directory_.File("ca.crt"));
  EXPECT_TRUE(absl::IsUnavailable(client.Call(Request()).status));
  EXPECT_EQ(http_.clients, 0);
}

TEST_F(ClientTest, EveryRefusalHasItsCodeAndItsWords) {
  const struct {
    int http;
    const char* reason;
    absl::StatusCode code;
    bool maybe_done;
  } cases[] = {{400, "BadRequest", absl::StatusCode::kInvalidArgument, false},
               {403, "Forbidden", absl::StatusCode::kPermissionDenied, false},
               {404, "NotFound", absl::StatusCode::kNotFound, false},
               {409, "AlreadyExists", absl::StatusCode::kAlreadyExists, false},
               {409, "Conflict", absl::StatusCode::kAborted, false},
               {410, "Expired", absl::StatusCode::kOutOfRange, false},
               {422, "Invalid", absl::StatusCode::kInvalidArgument, false},
               {429, "TooManyRequests", absl::StatusCode::kResourceExhausted, false},
               {500, "InternalError", absl::StatusCode::kUnavailable, true},
               {504, "Timeout", absl::StatusCode::kUnavailable, true}};
  ApiClient client = Stubbed();
  for (const auto& c : cases) {
    KubernetesStub::Fault fault;
    fault.status = c.http;
    fault.reason = c.reason;
    stub_.Add(fault);
    const ApiAnswer answer = client.Call(Request("POST", "/api/v1/namespaces/dr/configmaps?a=b"));
    EXPECT_EQ(answer.status.code(), c.code) << c.http << answer.status;
    EXPECT_EQ(answer.status.message(),
              absl::StrCat("POST /api/v1/namespaces/dr/configmaps: HTTP ", c.http, " ", c.reason,
                           ": ordered by the test: ", c.http));
    EXPECT_EQ(answer.reason, c.reason);
    EXPECT_EQ(answer.maybe_done, c.maybe_done) << c.http;
  }
}

TEST_F(ClientTest, RetryAfterIsReadInSecondsAndBounded) {
  ApiClient client = Stubbed();
  for (const auto& [text, seconds] : std::map<std::string, int>{
           {"7", 7}, {"999999", 3600}, {"-1", 0}, {"Wed, 25 Nov 2026 10:00:00 GMT", 0}, {"", 0}}) {
    KubernetesStub::Fault fault;
    fault.status = 429;
    fault.headers = {{"Retry-After", text}};
    stub_.Add(fault);
    EXPECT_EQ(client.Call(Request()).retry_after, absl::Seconds(seconds)) << text;
  }
}

TEST_F(ClientTest, AnAnswerThatIsNoStatusIsShownByItsNumber) {
  ApiClient client = Stubbed();
  KubernetesStub::Fault fault;
  fault.status = 502;
  fault.body = "<html>bad gateway</html>";
  stub_.Add(fault);
  EXPECT_EQ(client.Call(Request()).status.message(), "GET /x: HTTP 502");
}

TEST_F(ClientTest, AWriteWithoutAnAnswerWasPerhapsDone) {
  ApiClient client = Stubbed();
  KubernetesStub::Fault fault;
  fault.what = KubernetesStub::Fault::kDropBefore;
  fault.times = -1;
  stub_.Add(fault);
  const ApiAnswer post = client.Call(Request("POST"));
  EXPECT_TRUE(absl::IsUnavailable(post.status)) << post.status;
  EXPECT_TRUE(post.maybe_done);
  EXPECT_FALSE(client.Call(Request("GET")).maybe_done);
}

TEST_F(ClientTest, AWriteThatFoundNoServerWasNotDone) {
  const int port = TcpPeer([](TcpPeer::Connection&, int) {}).port();
  ApiClient client({absl::StrCat("http://127.0.0.1:", port), "dr", "", ""}, RealClock(), {});
  const ApiAnswer answer = client.Call(Request("POST"));
  EXPECT_TRUE(absl::IsUnavailable(answer.status)) << answer.status;
  EXPECT_FALSE(answer.maybe_done);
}

TEST_F(ClientTest, ASilentServerIsGivenUpInTime) {
  ApiClient client = Stubbed();
  KubernetesStub::Fault fault;
  fault.what = KubernetesStub::Fault::kHoldBefore;
  stub_.Add(fault);
  ApiRequest request = Request("PUT");
  request.timeout = absl::Milliseconds(50);
  const ApiAnswer answer = client.Call(request);
  EXPECT_TRUE(absl::IsDeadlineExceeded(answer.status)) << answer.status;
  EXPECT_TRUE(answer.maybe_done);
}

TEST_F(ClientTest, CallsShareAConnection) {
  ApiClient client = Stubbed();
  for (int i = 0; i < 3; ++i) client.Call(Request());
  EXPECT_EQ(stub_.connections(), 1);
}

// Straight to the server, a real one over TLS with its authority and the account's token.
class ServerTest : public testing::TestWithParam<ServerKind> {
 protected:
  void SetUp() override {
    if (GetParam() == ServerKind::kReal && RealServerOfTests() == nullptr)
      GTEST_SKIP() << kNoRealServer;
  }
  ApiServer Server() {
    const RealServer* const real = ServerOf(GetParam());
    if (real == nullptr) return {stub_.url(), "dr", "", ""};
    return {real->url, "dr", real->token_file, real->ca_file};
  }
  ApiAnswer Call(const std::string& method, const std::string& path, const std::string& body = "") {
    ApiRequest request;
    request.method = method;
    request.path = path;
    request.body = body;
    return client_.Call(request);
  }

  TempDir directory_;
  KubernetesStub stub_{ServerOf(GetParam())};  // a real server's namespace is emptied by it
  ApiClient client_{Server(), RealClock(), {}};
};

TEST_P(ServerTest, EveryAnswerHasItsCode) {
  const std::string map = ConfigMapPath("dr", "one");
  EXPECT_EQ(Call("GET", map).reason, "NotFound");
  const std::string body = R"({"metadata":{"name":"one"},"data":{"a":"1"}})";
  const ApiAnswer made = Call("POST", ConfigMapPath("dr"), body);
  EXPECT_EQ(made.http, 201) << made.status;
  EXPECT_TRUE(absl::IsAlreadyExists(Call("POST", ConfigMapPath("dr"), body).status));
  const ApiAnswer read = Call("GET", map);
  ASSERT_TRUE(read.status.ok()) << read.status;
  const std::string changed = absl::StrReplaceAll(read.body, {{R"("a":"1")", R"("a":"2")"}});
  EXPECT_EQ(Call("PUT", map, changed).http, 200);
  const ApiAnswer stale = Call("PUT", map, read.body);
  EXPECT_TRUE(absl::IsAborted(stale.status)) << stale.status;
  EXPECT_FALSE(stale.maybe_done);
  const ApiAnswer lease = Call("POST", LeasePath("dr"),
                               R"({"metadata":{"name":"l"},"spec":{"leaseDurationSeconds":0}})");
  EXPECT_EQ(lease.http, 422) << lease.status;
  EXPECT_EQ(lease.reason, "Invalid");
  EXPECT_TRUE(absl::IsInvalidArgument(lease.status)) << lease.status;
}

TEST_P(ServerTest, APutOfADeletedLeaseIsAConflictWithItsUidAndMakesANewOneWithout) {
  const std::string path = LeasePath("dr", "apim-failover");
  const ApiAnswer made =
      Call("POST", LeasePath("dr"),
           R"({"metadata":{"name":"apim-failover"},"spec":{"leaseDurationSeconds":5}})");
  ASSERT_EQ(made.http, 201) << made.status;
  stub_.Delete(path);
  const ApiAnswer with = Call("PUT", path, made.body);
  EXPECT_EQ(with.http, 409) << with.status;
  EXPECT_EQ(with.reason, "Conflict");
  EXPECT_TRUE(absl::StrContains(with.status.message(), "UID in precondition")) << with.status;
  nlohmann::json without = nlohmann::json::parse(made.body);
  without["metadata"].erase("uid");
  EXPECT_EQ(Call("PUT", path, without.dump()).http, 201);
}

// The stub has neither roles nor a certificate.
class RoleTest : public ServerTest {};

TEST_P(RoleTest, WhatItDoesNotGiveIsForbiddenAndAWrongTokenUnauthorized) {
  const ApiAnswer secrets = Call("GET", "/api/v1/namespaces/dr/secrets");
  EXPECT_TRUE(absl::IsPermissionDenied(secrets.status)) << secrets.status;
  EXPECT_EQ(secrets.reason, "Forbidden");
  ApiServer server = Server();
  server.token_file = directory_.Write("token", "not-a-token");
  ApiClient stranger(server, RealClock(), {});
  ApiRequest request;
  request.path = ConfigMapPath("dr");
  EXPECT_TRUE(absl::IsUnauthenticated(stranger.Call(request).status));
  directory_.Write("token", RealServerOfTests()->token);
  EXPECT_TRUE(stranger.Call(request).status.ok()) << "the file is read again";
}

TEST_P(RoleTest, AServerOfAnotherAuthorityIsNotSpokenTo) {
  ApiServer server = Server();
  server.ca_file = directory_.Write("ca.crt", TestCa().certificate());
  ApiRequest request;
  request.path = ConfigMapPath("dr");
  const ApiAnswer answer = ApiClient(server, RealClock(), {}).Call(request);
  EXPECT_TRUE(absl::IsUnavailable(answer.status)) << answer.status;
  EXPECT_EQ(answer.http, 0);
}

INSTANTIATE_ON_EVERY_SERVER(ServerTest);
INSTANTIATE_TEST_SUITE_P(Against, RoleTest, testing::Values(ServerKind::kReal), NameOf);

class PodTest : public testing::Test {
 protected:
  absl::StatusOr<ApiServer> Server() {
    return ServerOfPod(directory_.path(), [this](const char* name) { return environment_[name]; });
  }
  void SetUp() override {
    environment_ = {{"KUBERNETES_SERVICE_HOST", "10.0.0.1"}, {"KUBERNETES_SERVICE_PORT", "443"}};
    directory_.Write("token", "t");
    directory_.Write("ca.crt", "c");
    directory_.Write("namespace", "dr");
  }
  TempDir directory_;
  std::map<std::string, std::string> environment_;
};

TEST_F(PodTest, APodFindsItsServerItsNamespaceAndItsFiles) {
  const absl::StatusOr<ApiServer> server = Server();
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_EQ(server->url, "https://10.0.0.1:443");
  EXPECT_EQ(server->name_space, "dr");
  EXPECT_EQ(server->token_file, directory_.File("token"));
  EXPECT_EQ(server->ca_file, directory_.File("ca.crt"));
}

TEST_F(PodTest, AnIPv6ServerIsBracketed) {
  environment_["KUBERNETES_SERVICE_HOST"] = "fd00::1";
  EXPECT_EQ(Server()->url, "https://[fd00::1]:443");
}

TEST_F(PodTest, WhatIsMissingIsNamed) {
  environment_.erase("KUBERNETES_SERVICE_PORT");
  EXPECT_TRUE(absl::StrContains(Server().status().message(), "KUBERNETES_SERVICE_PORT"))
      << Server().status();
  SetUp();
  for (const char* file : {"token", "ca.crt", "namespace"}) {
    std::filesystem::remove(directory_.File(file));
    EXPECT_TRUE(absl::IsFailedPrecondition(Server().status())) << Server().status();
    EXPECT_TRUE(absl::StrContains(Server().status().message(), directory_.File(file)))
        << Server().status();
    SetUp();
  }
  directory_.Write("namespace", "Not/One");
  EXPECT_TRUE(absl::IsInvalidArgument(Server().status())) << Server().status();
}

TEST(ApiServerTest, ATokenIsSentInTheClearOnLoopbackOnly) {
  EXPECT_TRUE(CheckServer({"http://127.0.0.1:8001", "dr", "", ""}).ok());
  EXPECT_TRUE(CheckServer({"https://10.0.0.1:443", "dr", "", ""}).ok());
  EXPECT_FALSE(CheckServer({"http://10.0.0.1:8001", "dr", "", ""}).ok());
  EXPECT_FALSE(CheckServer({"10.0.0.1", "dr", "", ""}).ok());
}

TEST(ApiServerTest, NamesOfObjectsAreDnsSubdomains) {
  for (const char* good : {"a", "apim-failover", "a.b-c.9", "0"})
    EXPECT_TRUE(IsObjectName(good)) << good;
  for (const char* bad : {"", "A", "-a", "a-", ".a", "a/b", "a b", "a%2f", "a..b", "a.-b"})
    EXPECT_FALSE(IsObjectName(bad)) << bad;
  std::string longest(63, 'a');
  EXPECT_TRUE(IsLabel(longest));
  EXPECT_FALSE(IsLabel(longest + "a"));
  longest = absl::StrCat(longest, ".", longest, ".", longest, ".", std::string(61, 'a'));
  EXPECT_TRUE(IsObjectName(longest));
  EXPECT_FALSE(IsObjectName(longest + "a"));
}

}  // namespace
}  // namespace failover::kubernetes
