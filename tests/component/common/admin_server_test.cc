#include "common/admin_server.h"

#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <gtest/gtest.h>
#include <prometheus/collectable.h>
#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/metric_family.h>
#include <prometheus/registry.h>

#include <atomic>
#include <map>
#include <set>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "common/exposition.h"
#include "common/http_client.h"
#include "common/log.h"
#include "tests/support/catalogue.h"

namespace failover {
namespace {

std::unique_ptr<AdminServer> Started(AdminServer::Options options) {
  options.address = "127.0.0.1:0";
  auto server = AdminServer::Start(std::move(options));
  EXPECT_TRUE(server.ok()) << server.status();
  return *std::move(server);
}

HttpResponse Fetch(const AdminServer& server, absl::string_view path, HttpHeaders headers = {}) {
  HttpRequest request;
  request.headers = std::move(headers);
  request.url = absl::StrCat("http://127.0.0.1:", server.port(), path);
  request.timeout = absl::Seconds(10);
  HttpResult result = NewCurlHttpClient({})->Send(request);
  EXPECT_TRUE(result.response.has_value()) << result.error;
  return result.response.value_or(HttpResponse{});
}

TEST(AdminServerTest, WithoutChecksEverythingIsWell) {
  const auto server = Started({});
  EXPECT_GT(server->port(), 0);
  for (const char* path : {"/livez", "/readyz", "/startupz"}) {
    EXPECT_EQ(Fetch(*server, path).status, 200) << path;
    EXPECT_EQ(Fetch(*server, path).body, "ok\n") << path;
  }
  EXPECT_EQ(Fetch(*server, "/elsewhere").status, 404);
}

TEST(AdminServerTest, AFailingCheckAnswers503AndSaysWhy) {
  std::atomic<bool> ready{false};
  AdminServer::Options options;
  options.ready = [&] { return AdminServer::Check{ready, ready ? "" : "state not loaded"}; };
  options.live = [] { return AdminServer::Check{false, "core thread stuck"}; };
  options.started = [] { return AdminServer::Check{false, ""}; };
  const auto server = Started(std::move(options));
  EXPECT_EQ(Fetch(*server, "/livez").body, "core thread stuck\n");
  EXPECT_EQ(Fetch(*server, "/livez").status, 503);
  EXPECT_EQ(Fetch(*server, "/startupz").body, "not ok\n");
  EXPECT_EQ(Fetch(*server, "/readyz").status, 503);
  ready = true;
  EXPECT_EQ(Fetch(*server, "/readyz").status, 200);
}

TEST(AdminServerTest, ACheckThatThrowsIsAnInternalErrorWithoutDetails) {
  AdminServer::Options options;
  options.ready = []() -> AdminServer::Check { throw std::runtime_error("canary"); };
  const auto server = Started(std::move(options));
  const HttpResponse response = Fetch(*server, "/readyz");
  EXPECT_EQ(response.status, 500);
  EXPECT_FALSE(absl::StrContains(response.body, "canary"));
  for (const auto& [name, value] : response.headers)
    EXPECT_FALSE(absl::StrContains(value, "canary")) << name;
}

TEST(AdminServerTest, MetricsOfAllLivingSourcesAreOneValidText) {
  const auto server = Started({});
  const auto registry = std::make_shared<prometheus::Registry>();
  auto& family =
      prometheus::BuildCounter().Name("a_total").Help("one\ntwo \\ three").Register(*registry);
  family.Add({{"from", "first"}}).Increment(3);
  auto second = std::make_shared<prometheus::Registry>();
  prometheus::BuildCounter()
      .Name("a_total")
      .Help("one\ntwo \\ three")
      .Register(*second)
      .Add({{"from", "second"}});
  server->AddMetrics(registry);
  server->AddMetrics(second);
  HttpResponse response = Fetch(*server, "/metrics");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.Header("Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_EQ(response.body,
            "# HELP a_total one\\ntwo \\\\ three\n# TYPE a_total counter\n"
            "a_total{from=\"first\"} 3\na_total{from=\"second\"} 0\n");
  second.reset();
  EXPECT_FALSE(absl::StrContains(Fetch(*server, "/metrics").body, "second"));
}

TEST(AdminServerTest, OpenMetricsIsForWhoAsks) {
  AdminServer::Options options;
  const auto exemplars = std::make_shared<Exemplars>();
  options.exemplars = exemplars;
  const auto server = Started(std::move(options));
  const auto registry = std::make_shared<prometheus::Registry>();
  prometheus::BuildHistogram()
      .Name("a_seconds")
      .Help("h")
      .Register(*registry)
      .Add({}, std::vector<double>{2})
      .Observe(1);
  exemplars->Note("a_seconds", {}, {2}, {"f00d", 1, absl::FromUnixSeconds(5)});
  server->AddMetrics(registry);
  const HttpResponse open = Fetch(
      *server, "/metrics",
      {{"Accept", "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"}});
  EXPECT_EQ(open.Header("Content-Type"),
            "application/openmetrics-text; version=1.0.0; charset=utf-8");
  EXPECT_TRUE(absl::StrContains(open.body,
                                "a_seconds_bucket{le=\"2.0\"} 1 # {trace_id=\"f00d\"} 1 5.000\n"))
      << open.body;
  EXPECT_TRUE(absl::EndsWith(open.body, "\n# EOF\n"));
  const HttpResponse text = Fetch(*server, "/metrics", {{"Accept", "text/plain"}});
  EXPECT_EQ(text.Header("Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_FALSE(absl::StrContains(text.body, "f00d"));
  EXPECT_FALSE(absl::StrContains(text.body, "EOF"));
}

// Sends `text` over and over until the server closes or `limit` bytes were taken; how many were.
size_t Flood(int port, absl::string_view first, absl::string_view text, size_t limit) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(port));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof(to)), 0);
  const timeval patience{10, 0};
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
  size_t taken = 0;
  for (absl::string_view next = first; taken < limit; next = text) {
    const ssize_t sent = send(fd, next.data(), next.size(), MSG_NOSIGNAL);
    if (sent <= 0) break;
    taken += static_cast<size_t>(sent);
  }
  close(fd);
  return taken;
}

TEST(AdminServerTest, ARequestWithoutEndIsCutOffAndOthersAreAnswered) {
  const auto server = Started({});
  constexpr size_t kLimit = 64 << 20;
  const std::string filler(64 << 10, 'x');
  const std::string headers = [] {
    std::string text;
    for (int i = 0; i < 5000; ++i) absl::StrAppend(&text, "A", i, ": b\r\n");
    return text;
  }();
  const std::string chunk = absl::StrCat("10000\r\n", filler, "\r\n");
  EXPECT_LT(Flood(server->port(), "GET /", filler, kLimit), kLimit);
  EXPECT_LT(Flood(server->port(), "GET / HTTP/1.1\r\nA: ", filler, kLimit), kLimit);
  EXPECT_LT(Flood(server->port(), "GET / HTTP/1.1\r\n", headers, kLimit), kLimit);
  EXPECT_LT(Flood(server->port(), "POST /metrics HTTP/1.1\r\n\r\n", filler, kLimit), kLimit);
  EXPECT_LT(Flood(server->port(), "POST /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
                  chunk, kLimit),
            kLimit);
  EXPECT_EQ(Fetch(*server, "/livez").status, 200);
}

TEST(AdminServerTest, AnAddressThatCannotBeUsedIsNamed) {
  const auto server = Started({});
  const std::string taken = absl::StrCat("127.0.0.1:", server->port());
  AdminServer::Options options;
  options.address = taken;
  absl::Status status = AdminServer::Start(options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << "a second listener on one port";
  EXPECT_TRUE(absl::StrContains(status.message(), taken)) << status;
  for (const char* bad : {"", "localhost", ":80", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000",
                          "127.0.0.1:-1", "::1:80"}) {
    options.address = bad;
    status = AdminServer::Start(options).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bad;
    EXPECT_TRUE(absl::StrContains(status.message(), "allowed: HOST:PORT")) << status;
  }
}

TEST(AdminServerTest, ManyServersStartAndEndAtOnce) {
  for (int i = 0; i < 20; ++i) Started({});
}

double ValueOf(const std::string& text, absl::string_view series) {
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    double value = 0;
    if (absl::StartsWith(line, absl::StrCat(series, " ")) &&
        absl::SimpleAtod(line.substr(series.size() + 1), &value)) {
      return value;
    }
  }
  ADD_FAILURE() << "no series " << series << " in\n" << text;
  return -1;
}

TEST(ProcessMetricsTest, TheProcessIsDescribedUnderTheStandardNames) {
  const auto server = Started({});
  const auto metrics = ProcessMetrics::Create("failover-agent");
  server->AddMetrics(metrics->collectable());
  const std::string text = Fetch(*server, "/metrics").body;
  EXPECT_GT(ValueOf(text, "process_resident_memory_bytes"), 1 << 20);
  EXPECT_GT(ValueOf(text, "process_virtual_memory_bytes"),
            ValueOf(text, "process_resident_memory_bytes"));
  EXPECT_GE(ValueOf(text, "process_open_fds"), 3);
  EXPECT_GT(ValueOf(text, "process_max_fds"), ValueOf(text, "process_open_fds"));
  EXPECT_GE(ValueOf(text, "process_threads"), 65) << "the server's workers";
  EXPECT_GE(ValueOf(text, "process_cpu_seconds_total"), 0);
  const double start = ValueOf(text, "process_start_time_seconds");
  EXPECT_NEAR(start, absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()), 300);
  EXPECT_TRUE(absl::StrContains(
      text, "apim_failover_build_info{component=\"failover-agent\",version=\"" FAILOVER_VERSION
            "\",revision=\""))
      << text;
}

// Every family that each program has, each with another value than at first, but for the one that
// cannot: when the process started.
TEST(ProcessMetricsTest, EveryMetricMovesAndIsTheOneInTheRepository) {
  const std::set<std::string> listed = ReadCatalogue(FAILOVER_TESTDATA "/process-metrics.txt");
  const auto metrics = ProcessMetrics::Create("one");
  double expiry = 1900000000;
  metrics->CertificatesFrom([&expiry] {
    return std::map<std::string, double>{{"server", expiry}};
  });
  metrics->ConfigLoaded("first", true);
  const Families before = metrics->collectable()->Collect();
  EXPECT_EQ(Differences(listed, CatalogueLines(before)), "");
  metrics->ConfigLoaded("second", true);
  metrics->ConfigLoaded("third", false);
  expiry += 3600;
  LogError("counted");
  const auto other = ProcessMetrics::Create("other");  // of another program: its info
  const int file = dup(STDERR_FILENO);
  rlimit limit;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  rlimit lower = limit;
  --lower.rlim_cur;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &lower), 0);
  std::atomic<bool> over{false};
  std::thread thread([&over] {  // a thread, CPU time and memory that is really used
    std::vector<std::string> used;
    while (!over) {
      if (used.size() < 64) used.emplace_back(1 << 20, 'x');
    }
  });
  std::set<std::string> unmoved;
  const absl::Time deadline = absl::Now() + absl::Seconds(20);
  do {
    Families after = metrics->collectable()->Collect();
    for (auto& family : other->collectable()->Collect()) after.push_back(std::move(family));
    unmoved = Unmoved(listed, before, after);
  } while (unmoved.size() > 1 && absl::Now() < deadline);
  over = true;
  thread.join();
  close(file);
  setrlimit(RLIMIT_NOFILE, &limit);
  EXPECT_EQ(absl::StrJoin(unmoved, " "), "process_start_time_seconds");
}

TEST(ProcessMetricsTest, LoadsOfTheConfigurationAreCounted) {
  const auto server = Started({});
  const auto metrics = ProcessMetrics::Create("x");
  server->AddMetrics(metrics->collectable());
  std::string text = Fetch(*server, "/metrics").body;
  EXPECT_FALSE(absl::StrContains(text, "apim_failover_config_info")) << "nothing is loaded yet";
  EXPECT_EQ(ValueOf(text, "apim_failover_config_reloads_total{result=\"success\"}"), 0);

  metrics->ConfigLoaded("abc", true);
  metrics->ConfigLoaded("ignored", false);
  text = Fetch(*server, "/metrics").body;
  EXPECT_EQ(ValueOf(text, "apim_failover_config_info{hash=\"abc\"}"), 1) << "that in force";
  EXPECT_EQ(ValueOf(text, "apim_failover_config_last_reload_successful"), 0);
  EXPECT_GT(ValueOf(text, "apim_failover_config_last_reload_success_timestamp_seconds"), 1e9);
  EXPECT_EQ(ValueOf(text, "apim_failover_config_reloads_total{result=\"success\"}"), 1);
  EXPECT_EQ(ValueOf(text, "apim_failover_config_reloads_total{result=\"failure\"}"), 1);
  metrics->ConfigLoaded("def", true);
  text = Fetch(*server, "/metrics").body;
  EXPECT_EQ(ValueOf(text, "apim_failover_config_info{hash=\"def\"}"), 1);
  EXPECT_EQ(ValueOf(text, "apim_failover_config_last_reload_successful"), 1);
}

TEST(ProcessMetricsTest, CertificatesAndLogLinesAreExported) {
  const auto server = Started({});
  const auto metrics = ProcessMetrics::Create("x");
  server->AddMetrics(metrics->collectable());
  metrics->SetCertificateExpiry("ca", 2'000'000'000);
  metrics->SetCertificateExpiry("server", 1'900'000'000);
  const auto lines = static_cast<double>(LogCounts()[2]);
  LogWarning("counted");
  const std::string text = Fetch(*server, "/metrics").body;
  EXPECT_EQ(ValueOf(text, "apim_failover_certificate_expiry_timestamp_seconds{purpose=\"ca\"}"),
            2e9);
  EXPECT_EQ(ValueOf(text, "apim_failover_certificate_expiry_timestamp_seconds{purpose=\"server\"}"),
            1.9e9);
  EXPECT_EQ(ValueOf(text, "apim_failover_log_messages_total{level=\"warn\"}"), lines + 1);
}

}  // namespace
}  // namespace failover
