#include "common/http_client.h"

#include <gtest/gtest.h>
#include <httplib.h>
#include <stdlib.h>

#include <atomic>
#include <chrono>
#include <future>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/support/tcp_peer.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_ca.h"
#include "tests/support/wait_until.h"

namespace failover {
namespace {

constexpr char kOk[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: 1\r\nx-a: 2\r\n\r\nok";

HttpRequest Get(std::string url) {
  HttpRequest request;
  request.url = std::move(url);
  request.timeout = absl::Seconds(10);
  return request;
}

HttpResult Send(const HttpRequest& request) { return NewCurlHttpClient({})->Send(request); }

// A port on which nobody listens.
int ClosedPort() {
  return TcpPeer([](TcpPeer::Connection&, int) {}).port();
}

// Answers every request with kOk and keeps what it got.
class Recorder {
 public:
  Recorder()
      : peer_([this](TcpPeer::Connection& connection, int) {
          for (std::string text = connection.ReadRequest(); !text.empty();
               text = connection.ReadRequest()) {
            MutexLock lock(mutex_);
            last_ = text;
            connection.Write(absl::StartsWith(text, "HEAD")
                                 ? "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"
                                 : kOk);
          }
        }) {}
  std::string last() {
    MutexLock lock(mutex_);
    return last_;
  }
  std::string Url(absl::string_view path) { return peer_.Url(path); }
  int connections() { return peer_.connections(); }

 private:
  Mutex mutex_;
  std::string last_;
  TcpPeer peer_;
};

TEST(HttpClientTest, ARequestThatMayNotBeSentIsNotEvenConnectedFor) {
  Recorder server;
  const auto client =
      NewCurlHttpClient({.ca_file = "", .user_agent = "", .stop = {}, .may_send = [] {
                           return absl::CancelledError("the term is over");
                         }});
  const HttpResult result = client->Send(Get(server.Url("/")));
  EXPECT_EQ(result.error, absl::CancelledError("the term is over"));
  EXPECT_FALSE(result.maybe_sent);
  EXPECT_EQ(server.connections(), 0);
}

TEST(HttpClientTest, ARequestThatMayNotBeSentAnyMoreWhenTheConnectionStandsLeavesNothing) {
  Recorder server;
  int asked = 0;
  const auto client = NewCurlHttpClient(
      {.ca_file = "", .user_agent = "", .stop = {}, .may_send = [&asked] {
         return ++asked == 1 ? absl::OkStatus() : absl::CancelledError("the term is over");
       }});
  HttpRequest request = Get(server.Url("/"));
  request.method = "POST";
  request.body = "{}";
  const HttpResult result = client->Send(request);
  EXPECT_EQ(result.error, absl::CancelledError("the term is over"));
  EXPECT_FALSE(result.maybe_sent);
  EXPECT_EQ(asked, 2);
  EXPECT_EQ(server.last(), "");
}

TEST(HttpClientTest, TheRequestIsSentVerbatim) {
  Recorder server;
  HttpRequest request = Get(server.Url("/a/../b//c?t=638=&c=MII%2b=="));
  request.headers = {{"X-Custom", "v"}, {"X-Empty", ""}};
  const HttpResult result = Send(request);
  ASSERT_TRUE(result.response.has_value()) << result.error;
  const std::string text = server.last();
  EXPECT_TRUE(absl::StartsWith(text, "GET /a/../b//c?t=638=&c=MII%2b== HTTP/1.1\r\n")) << text;
  EXPECT_TRUE(absl::StrContains(text, "\r\nX-Custom: v\r\n")) << text;
  EXPECT_TRUE(absl::StrContains(text, "\r\nX-Empty:\r\n")) << text;
  EXPECT_TRUE(absl::StrContains(text, "\r\nUser-Agent: apim-failover/")) << text;
  EXPECT_EQ(result.response->status, 200);
  EXPECT_EQ(result.response->body, "ok");
  EXPECT_EQ(result.response->Header("x-A"), "1");
  EXPECT_TRUE(result.error.ok());
}

TEST(HttpClientTest, EachMethodCarriesItsBody) {
  Recorder server;
  const auto client = NewCurlHttpClient({});
  for (const char* method : {"POST", "PUT", "PATCH", "DELETE"}) {
    HttpRequest request = Get(server.Url("/x"));
    request.method = method;
    request.body =
        std::string(3000, 'b');  // over the size from which libcurl would ask first (Expect)
    ASSERT_TRUE(client->Send(request).response.has_value()) << method;
    const std::string text = server.last();
    EXPECT_TRUE(absl::StartsWith(text, absl::StrCat(method, " /x HTTP/1.1\r\n"))) << text;
    EXPECT_TRUE(absl::StrContains(text, "\r\nContent-Length: 3000\r\n")) << text;
    EXPECT_TRUE(absl::EndsWith(text, "\r\n\r\n" + request.body));
    EXPECT_FALSE(absl::StrContains(text, "Expect")) << text;
    EXPECT_FALSE(absl::StrContains(text, "Content-Type")) << text;
  }
  EXPECT_EQ(server.connections(), 1) << "the connection is kept";
}

TEST(HttpClientTest, AnEmptyPostSaysSoAndADeleteHasNoBody) {
  Recorder server;
  HttpRequest request = Get(server.Url("/x"));
  request.method = "POST";
  request.headers = {{"Content-Type", "application/json"}};
  ASSERT_TRUE(Send(request).response.has_value());
  EXPECT_TRUE(absl::StrContains(server.last(), "\r\nContent-Length: 0\r\n")) << server.last();
  EXPECT_TRUE(absl::StrContains(server.last(), "\r\nContent-Type: application/json\r\n"))
      << server.last();
  request.method = "DELETE";
  ASSERT_TRUE(Send(request).response.has_value());
  EXPECT_FALSE(absl::StrContains(server.last(), "Content-Length")) << server.last();
}

TEST(HttpClientTest, AHeadEndsAfterItsHeaders) {
  Recorder server;
  HttpRequest request = Get(server.Url("/blob"));
  request.method = "HEAD";
  const HttpResult result = Send(request);
  ASSERT_TRUE(result.response.has_value()) << result.error;
  EXPECT_EQ(result.response->Header("content-length"), "99999999999");
  EXPECT_EQ(result.response->body, "");
}

TEST(HttpClientTest, ARedirectIsAnAnswerLikeAnyOther) {
  TcpPeer peer([](TcpPeer::Connection& connection, int) {
    connection.ReadRequest();
    connection.Write("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n");
  });
  const HttpResult result = Send(Get(peer.Url("/")));
  ASSERT_TRUE(result.response.has_value()) << result.error;
  EXPECT_EQ(result.response->status, 302);
  EXPECT_EQ(result.response->Header("Location"), "/elsewhere");
  EXPECT_EQ(peer.connections(), 1);
}

TEST(HttpClientTest, HeadersOfAnInformationalAnswerAreNotThoseOfTheFinalOne) {
  TcpPeer peer([](TcpPeer::Connection& connection, int) {
    connection.ReadRequest();
    connection.Write("HTTP/1.1 103 Early Hints\r\nRetry-After: 1\r\n\r\n");
    connection.Write(kOk);
  });
  const HttpResult result = Send(Get(peer.Url("/")));
  ASSERT_TRUE(result.response.has_value()) << result.error;
  EXPECT_EQ(result.response->status, 200);
  EXPECT_EQ(result.response->Header("Retry-After"), "");
}

TEST(HttpClientTest, AProxyOfTheEnvironmentIsNotUsed) {
  const std::string dead = absl::StrCat("http://127.0.0.1:", ClosedPort());
  setenv("http_proxy", dead.c_str(), 1);
  setenv("ALL_PROXY", dead.c_str(), 1);
  Recorder server;
  const HttpResult result = Send(Get(server.Url("/")));
  unsetenv("http_proxy");
  unsetenv("ALL_PROXY");
  EXPECT_TRUE(result.response.has_value()) << result.error;
}

TEST(HttpClientTest, NothingIsSentToAPortThatRefuses) {
  const HttpResult result =
      Send(Get(absl::StrCat("http://127.0.0.1:", ClosedPort(), "/p?sig=canary")));
  EXPECT_FALSE(result.response.has_value());
  EXPECT_EQ(result.error.code(), absl::StatusCode::kUnavailable);
  EXPECT_FALSE(result.maybe_sent);
  EXPECT_TRUE(absl::StrContains(result.error.message(), "/p: ")) << result.error;
  EXPECT_FALSE(absl::StrContains(result.error.message(), "canary")) << result.error;
}

TEST(HttpClientTest, NothingIsSentToANameThatDoesNotResolve) {
  const HttpResult result = Send(Get("http://name.invalid/"));
  EXPECT_FALSE(result.response.has_value());
  EXPECT_FALSE(result.maybe_sent);
  EXPECT_FALSE(result.error.ok());
}

TEST(HttpClientTest, ARequestThatWouldNotMeanWhatItSaysIsRefused) {
  HttpRequest request = Get("http://127.0.0.1:1/");
  request.headers = {{"X", "a\r\nY: b"}};
  HttpResult result = Send(request);
  EXPECT_EQ(result.error.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(result.maybe_sent);
  request.headers = {{"X: y\r\nZ", "a"}};
  EXPECT_EQ(Send(request).error.code(), absl::StatusCode::kInvalidArgument);
  request.headers = {};
  request.method = "GET /x HTTP/1.1\r\n";
  EXPECT_EQ(Send(request).error.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Send(Get("ftp://127.0.0.1/")).error.code(), absl::StatusCode::kInvalidArgument);
}

TEST(HttpClientTest, AnAnswerThatNeverComesTimesOutAndMayHaveBeenActedOn) {
  TcpPeer peer([](TcpPeer::Connection& connection, int) { connection.Hang(); });
  HttpRequest request = Get(peer.Url("/"));
  request.timeout = absl::Milliseconds(50);
  const HttpResult result = Send(request);
  EXPECT_FALSE(result.response.has_value());
  EXPECT_EQ(result.error.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(result.maybe_sent);
}

TEST(HttpClientTest, ACutAnswerIsAnErrorNotAShortBody) {
  for (const char* answer :
       {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nha", "junk\r\n\r\n"}) {
    TcpPeer peer([answer](TcpPeer::Connection& connection, int) {
      connection.ReadRequest();
      connection.Write(answer);
    });
    const HttpResult result = Send(Get(peer.Url("/")));
    EXPECT_FALSE(result.response.has_value()) << answer;
    EXPECT_EQ(result.error.code(), absl::StatusCode::kUnavailable) << answer;
    EXPECT_TRUE(result.maybe_sent);
  }
}

TEST(HttpClientTest, AnAnswerOverItsBoundIsAnError) {
  TcpPeer peer([](TcpPeer::Connection& connection, int number) {
    connection.ReadRequest();
    if (number == 0) connection.Write("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world");
    connection.Write("HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 3000; ++i)
      connection.Write(absl::StrCat("X-", i, ": ", std::string(90, 'h'), "\r\n"));
  });
  HttpRequest request = Get(peer.Url("/"));
  request.max_response_bytes = 10;
  HttpResult result = Send(request);
  EXPECT_FALSE(result.response.has_value());
  EXPECT_EQ(result.error.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(absl::StrContains(result.error.message(), "allowed: at most 10 bytes"))
      << result.error;
  request.max_response_bytes = 1 << 20;
  result = Send(request);
  EXPECT_FALSE(result.response.has_value());
  EXPECT_EQ(result.error.code(), absl::StatusCode::kResourceExhausted) << result.error;
}

// The first request of a connection is answered, the second one read and the connection closed:
// what a server does that acted on the request and then died. libcurl alone would send it again.
TEST(HttpClientTest, ARequestThatChangesSomethingIsNeverSentTwice) {
  for (const char* method : {"POST", "PUT", "PATCH", "DELETE"}) {
    std::atomic<int> second_requests{0};
    TcpPeer peer([&](TcpPeer::Connection& connection, int number) {
      if (connection.ReadRequest() != "" && number > 0) ++second_requests;
      connection.Write(kOk);
      if (connection.ReadRequest() != "") ++second_requests;
    });
    const auto client = NewCurlHttpClient({});
    ASSERT_TRUE(client->Send(Get(peer.Url("/"))).response.has_value());
    HttpRequest request = Get(peer.Url("/"));
    request.method = method;
    const HttpResult result = client->Send(request);
    EXPECT_FALSE(result.response.has_value());
    EXPECT_TRUE(result.maybe_sent);
    EXPECT_TRUE(absl::StrContains(result.error.message(), "may have acted")) << result.error;
    EXPECT_EQ(second_requests, 1) << method;
  }
}

TEST(HttpClientTest, AGetOnADeadConnectionIsRepeated) {
  TcpPeer peer([](TcpPeer::Connection& connection, int) {
    connection.ReadRequest();
    connection.Write(kOk);
    connection.ReadRequest();
  });
  const auto client = NewCurlHttpClient({});
  ASSERT_TRUE(client->Send(Get(peer.Url("/"))).response.has_value());
  EXPECT_TRUE(client->Send(Get(peer.Url("/"))).response.has_value());
  EXPECT_EQ(peer.connections(), 2);
}

TEST(HttpClientTest, AStopAbortsACallInProgress) {
  std::promise<void> arrived;
  TcpPeer peer([&arrived](TcpPeer::Connection& connection, int) {
    connection.ReadRequest();
    arrived.set_value();
    connection.Hang();
  });
  std::stop_source stop;
  HttpResult result;
  std::thread caller([&] {
    result = NewCurlHttpClient({.ca_file = "", .user_agent = "", .stop = stop.get_token()})
                 ->Send(Get(peer.Url("/")));
  });
  arrived.get_future().wait();
  const auto asked = std::chrono::steady_clock::now();
  stop.request_stop();
  caller.join();
  EXPECT_LT(std::chrono::steady_clock::now() - asked, std::chrono::seconds(1))
      << "not a poll's length later";
  EXPECT_EQ(result.error.code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(result.maybe_sent);
}

TEST(HttpClientTest, AfterAStopNothingIsSent) {
  Recorder server;
  std::stop_source stop;
  const auto client =
      NewCurlHttpClient({.ca_file = "", .user_agent = "x", .stop = stop.get_token()});
  stop.request_stop();
  const HttpResult result = client->Send(Get(server.Url("/")));
  EXPECT_EQ(result.error.code(), absl::StatusCode::kCancelled);
  EXPECT_FALSE(result.maybe_sent);
  EXPECT_EQ(server.connections(), 0);
}

// HTTPS on 127.0.0.1 with a certificate that the test chooses.
class HttpsServer {
 public:
  HttpsServer(const TempDir& directory, const TestCa& ca, const PemPair& pair)
      : files_(WriteTlsFiles(directory, "server", ca, pair)),
        server_(files_.certificate_file.c_str(), files_.key_file.c_str()) {
    server_.Get("/", [](const httplib::Request&, httplib::Response& response) {
      response.set_content("ok", "text/plain");
    });
    port_ = server_.bind_to_any_port("127.0.0.1");
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    EXPECT_TRUE(WaitUntil([this] { return server_.is_running(); }));
  }
  ~HttpsServer() {
    server_.stop();
    thread_.join();
  }
  std::string Url(absl::string_view host = "127.0.0.1") const {
    return absl::StrCat("https://", host, ":", port_, "/");
  }
  const std::string& ca_file() const { return files_.ca_file; }

 private:
  TlsFiles files_;
  httplib::SSLServer server_;
  int port_ = 0;
  std::thread thread_;
};

TEST(HttpsClientTest, AServerOfTheGivenAuthorityIsTrusted) {
  const TempDir directory;
  const TestCa ca;
  const HttpsServer server(directory, ca, ca.IssueServer());
  const HttpResult result =
      NewCurlHttpClient({.ca_file = server.ca_file(), .user_agent = "", .stop = {}})
          ->Send(Get(server.Url()));
  ASSERT_TRUE(result.response.has_value()) << result.error;
  EXPECT_EQ(result.response->body, "ok");
}

TEST(HttpsClientTest, NothingIsSentToAServerThatCannotProveItself) {
  const TempDir directory;
  const TestCa ca, other("other CA");
  LeafSpec expired, wrong_name;
  expired.ips = {"127.0.0.1"};
  expired.not_before = absl::Now() - absl::Hours(2);
  expired.not_after = absl::Now() - absl::Hours(1);
  wrong_name.dns = {"elsewhere.example"};
  const struct {
    const char* what;
    PemPair pair;
  } cases[] = {{"unknown authority", other.IssueServer()},
               {"expired", ca.Issue(expired)},
               {"wrong name", ca.Issue(wrong_name)}};
  for (const auto& c : cases) {
    const HttpsServer server(directory, ca, c.pair);
    const HttpResult result =
        NewCurlHttpClient({.ca_file = server.ca_file(), .user_agent = "", .stop = {}})
            ->Send(Get(server.Url()));
    EXPECT_FALSE(result.response.has_value()) << c.what;
    EXPECT_EQ(result.error.code(), absl::StatusCode::kFailedPrecondition) << c.what << result.error;
    EXPECT_FALSE(result.maybe_sent) << c.what;
  }
}

TEST(HttpsClientTest, AGivenAuthorityReplacesTheSystemsAndMustBeReadable) {
  const TempDir directory;
  const TestCa ca;
  const HttpsServer server(directory, ca, ca.IssueServer());
  EXPECT_FALSE(Send(Get(server.Url())).response.has_value())
      << "the system does not know this authority";
  const HttpResult result =
      NewCurlHttpClient({.ca_file = directory.File("absent"), .user_agent = "", .stop = {}})
          ->Send(Get(server.Url()));
  EXPECT_EQ(result.error.code(), absl::StatusCode::kFailedPrecondition) << result.error;
  EXPECT_FALSE(result.maybe_sent);
}

TEST(HttpClientTest, AStreamedAnswerIsGivenInPartsAsTheyComeAndMayBeLong) {
  std::promise<void> seen;
  TcpPeer peer([&seen](TcpPeer::Connection& connection, int) {
    connection.ReadRequest();
    connection.Write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
    seen.get_future().wait();  // the rest only when the first part has come
    connection.Write("6\r\nsecond\r\n0\r\n\r\n");
  });
  HttpRequest request = Get(peer.Url("/"));
  request.max_response_bytes = 6;  // in all there is more
  std::string got;
  request.on_body = [&](absl::string_view part) {
    if (got.empty()) seen.set_value();
    absl::StrAppend(&got, part);
    return true;
  };
  const HttpResult result = Send(request);
  ASSERT_TRUE(result.response.has_value()) << result.error;
  EXPECT_EQ(got, "firstsecond");
  EXPECT_EQ(result.response->body, "");
}

TEST(HttpClientTest, AStreamEndsWhenNoMoreOfItIsWanted) {
  Recorder recorder;
  HttpRequest request = Get(recorder.Url("/"));
  request.on_body = [](absl::string_view) { return false; };
  const HttpResult result = Send(request);
  EXPECT_FALSE(result.response.has_value());
  EXPECT_TRUE(absl::IsCancelled(result.error)) << result.error;
}

TEST(HttpClientTest, ARefusalIsNoStream) {
  TcpPeer peer([](TcpPeer::Connection& connection, int) {
    connection.ReadRequest();
    connection.Write("HTTP/1.1 410 Gone\r\nContent-Length: 4\r\n\r\nGone");
  });
  HttpRequest request = Get(peer.Url("/"));
  request.on_body = [](absl::string_view) { return false; };
  const HttpResult result = Send(request);
  ASSERT_TRUE(result.response.has_value()) << result.error;
  EXPECT_EQ(result.response->status, 410);
  EXPECT_EQ(result.response->body, "Gone");
}

}  // namespace
}  // namespace failover
