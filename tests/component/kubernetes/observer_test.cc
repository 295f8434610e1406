// What the metrics are told of the API server: each request, and each write of the Lease.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/mutex.h"
#include "controller/kubernetes/client.h"
#include "controller/kubernetes/lease_keeper.h"
#include "tests/kubernetes_stub/api_server.h"
#include "tests/support/tcp_peer.h"
#include "tests/support/wait_until.h"

namespace failover::kubernetes {
namespace {

class ObserverTest : public testing::Test {
 protected:
  ApiClient::Observer Observer() {
    return [this](const std::string& method, const std::string& host, const std::string& code,
                  absl::Duration took) {
      EXPECT_GE(took, absl::ZeroDuration());
      MutexLock lock(mutex_);
      calls_.push_back(absl::StrCat(method, " ", host, " ", code));
    };
  }
  std::vector<std::string> calls() {
    MutexLock lock(mutex_);
    return calls_;
  }
  std::vector<bool> writes() {
    MutexLock lock(mutex_);
    return writes_;
  }

  KubernetesStub stub_;
  Mutex mutex_;
  std::vector<std::string> calls_ ABSL_GUARDED_BY(mutex_);
  std::vector<bool> writes_ ABSL_GUARDED_BY(mutex_);
};

TEST_F(ObserverTest, EachRequestIsToldWithItsHostAndWhatCameBack) {
  ApiClient client({stub_.url(), "dr", "", ""}, RealClock(), {}, nullptr, Observer());
  ApiRequest request;
  request.path = ConfigMapPath("dr");
  client.Call(request);
  request.path = ConfigMapPath("dr", "absent");
  client.Call(request);
  const std::string host(absl::StripPrefix(stub_.url(), "http://"));
  EXPECT_EQ(calls(), (std::vector<std::string>{absl::StrCat("GET ", host, " 200"),
                                               absl::StrCat("GET ", host, " 404")}));
}

TEST_F(ObserverTest, ARequestWithoutAnAnswerIsAnErrorAsClientGoWritesIt) {
  const int port = TcpPeer([](TcpPeer::Connection&, int) {}).port();
  const std::string host = absl::StrCat("127.0.0.1:", port);
  ApiClient client({absl::StrCat("http://", host), "dr", "", ""}, RealClock(), {}, nullptr,
                   Observer());
  ApiRequest request;
  request.method = "PUT";
  request.path = "/x";
  client.Call(request);
  EXPECT_EQ(calls(), (std::vector<std::string>{absl::StrCat("PUT ", host, " <error>")}));
}

TEST_F(ObserverTest, HostsAreWrittenWithTheirPort) {
  EXPECT_EQ(HostOf({"https://10.0.0.1", "dr", "", ""}), "10.0.0.1:443");
  EXPECT_EQ(HostOf({"https://[fd00::1]:6443", "dr", "", ""}), "[fd00::1]:6443");
}

TEST_F(ObserverTest, WritesOfTheLeaseAreToldAndAReleaseIsNone) {
  LeaseKeeperOptions options;
  options.server = {stub_.url(), "dr", "", ""};
  options.lease_name = "apim-failover";
  options.identity = "a";
  options.clock = &RealClock();
  options.times.retry_period = absl::Milliseconds(20);
  options.observe = Observer();
  options.on_write = [this](absl::Duration took, bool renewed) {
    EXPECT_GT(took, absl::ZeroDuration());
    MutexLock lock(mutex_);
    writes_.push_back(renewed);
  };
  absl::StatusOr<std::unique_ptr<LeaseKeeper>> keeper = LeaseKeeper::Start(std::move(options));
  ASSERT_TRUE(keeper.ok()) << keeper.status();
  ASSERT_TRUE(WaitUntil([&] { return writes().size() >= 3; }));
  const absl::Time first = (*keeper)->State().last_renewal;
  EXPECT_NEAR(absl::ToDoubleSeconds(RealClock().Wall() - first), 0, 60);
  ASSERT_TRUE(WaitUntil([&] { return (*keeper)->State().last_renewal > first; }));
  KubernetesStub::Fault fault;
  fault.what = KubernetesStub::Fault::kAnswer;
  fault.method = "PUT";
  fault.times = 1;
  fault.status = 500;
  stub_.Add(fault);
  ASSERT_TRUE(WaitUntil([&] {
    const std::vector<bool> told = writes();
    return std::find(told.begin(), told.end(), false) != told.end();
  })) << "one that failed";
  ASSERT_TRUE(WaitUntil([&] { return writes().back(); }));
  (*keeper)->Release();
  EXPECT_EQ(stub_.Field("/apis/coordination.k8s.io/v1/namespaces/dr/leases/apim-failover",
                        "/spec/holderIdentity"),
            "");
  EXPECT_GE(stub_.Count("PUT") + stub_.Count("POST"), static_cast<int>(writes().size()) + 1)
      << "the one that gave it back";
}

}  // namespace
}  // namespace failover::kubernetes
