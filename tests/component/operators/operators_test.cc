// The operator service with real gRPC and real certificates.
#include "controller/operators/operators.h"

#include <future>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "apim_failover/v1/operator.grpc.pb.h"
#include "gmock/gmock.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/byte_buffer.h"
#include "gtest/gtest.h"
#include "prometheus/collectable.h"
#include "prometheus/metric_family.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_ca.h"
#include "tests/support/wait_until.h"

namespace failover::operators {
namespace {

using ::testing::HasSubstr;

v1::GetStatusResponse SomeStatus() {
  v1::GetStatusResponse status;
  status.set_controller("ctl-1");
  return status;
}

class OperatorServerTest : public ::testing::Test {
 protected:
  OperatorServerTest() {
    options_.address = "127.0.0.1:0";
    options_.handlers.get_status = [](const v1::GetStatusRequest&,
                                      Done<v1::GetStatusResponse> done) { done(SomeStatus()); };
    options_.handlers.give_order = [this](const v1::OrderRequest&, const std::string& who,
                                          Done<v1::OrderResponse> done) {
      {
        std::lock_guard lock(mutex_);
        who_ = who;
      }
      v1::OrderResponse answer;
      answer.set_ok(true);
      done(answer);
    };
  }

  void Start() {
    auto server = OperatorServer::Start(options_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  void StartWithTls() {
    auto tls = TlsIdentity::Load(WriteTlsFiles(directory_, "controller", ca_,
                                               ca_.Issue("spiffe://contoso/controller/ctl-1")));
    ASSERT_TRUE(tls.ok()) << tls.status();
    tls_ = *std::move(tls);
    options_.tls = tls_.get();
    Start();
  }

  std::string Address() const { return absl::StrCat("127.0.0.1:", server_->port()); }

  std::unique_ptr<v1::OperatorService::Stub> Stub() {
    return v1::OperatorService::NewStub(
        grpc::CreateChannel(Address(), grpc::InsecureChannelCredentials()));
  }

  // A stub with this certificate; the name of the server is not looked at.
  std::unique_ptr<v1::OperatorService::Stub> StubOf(const PemPair& pair) {
    const std::string name = absl::StrCat("client", clients_.size());
    auto tls = TlsIdentity::Load(WriteTlsFiles(directory_, name, ca_, pair));
    EXPECT_TRUE(tls.ok()) << tls.status();
    if (!tls.ok()) return nullptr;
    clients_.push_back(*std::move(tls));
    return v1::OperatorService::NewStub(grpc::CreateChannel(
        Address(), clients_.back()->ChannelCredentials("spiffe://contoso/controller/*")));
  }

  static grpc::Status GetStatus(v1::OperatorService::Stub& stub, v1::GetStatusResponse* response,
                                absl::Duration timeout = absl::Seconds(20)) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
    return stub.GetStatus(&context, v1::GetStatusRequest(), response);
  }

  static grpc::Status Order(v1::OperatorService::Stub& stub, const v1::OrderRequest& order) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(20)));
    v1::OrderResponse response;
    return stub.GiveOrder(&context, order, &response);
  }

  std::string Who() {
    std::lock_guard lock(mutex_);
    return who_;
  }

  TempDir directory_;
  TestCa ca_;
  std::mutex mutex_;
  std::string who_;
  OperatorServerOptions options_;
  std::unique_ptr<TlsIdentity> tls_;
  std::vector<std::unique_ptr<TlsIdentity>> clients_;
  std::unique_ptr<OperatorServer> server_;
};

v1::OrderRequest Ack() {
  v1::OrderRequest order;
  order.set_group("orders");
  order.mutable_ack();
  return order;
}

v1::OrderRequest Adopt(bool dry_run = false) {
  v1::OrderRequest order;
  order.set_group("orders");
  order.set_dry_run(dry_run);
  order.mutable_adopt()->set_service("apim-weu");
  return order;
}

TEST_F(OperatorServerTest, AnswersACall) {
  Start();
  v1::GetStatusResponse response;
  const grpc::Status status = GetStatus(*Stub(), &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.controller(), "ctl-1");
}

TEST_F(OperatorServerTest, AnOperatorIsKnownByItsCertificate) {
  StartWithTls();
  const auto stub = StubOf(ca_.Issue("spiffe://contoso/operator/alice"));
  const grpc::Status status = Order(*stub, Ack());
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(Who(), "spiffe://contoso/operator/alice");
}

TEST_F(OperatorServerTest, AnAgentMayNotCallAndLearnsWhy) {
  StartWithTls();
  const auto stub = StubOf(ca_.Issue("spiffe://contoso/agent/westeurope/a1"));
  v1::GetStatusResponse response;
  const grpc::Status status = GetStatus(*stub, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(status.error_message(), HasSubstr("spiffe://contoso/agent/westeurope/a1"));
  EXPECT_THAT(status.error_message(), HasSubstr("allowed: identities of kind operator"));
  EXPECT_EQ(Order(*stub, Ack()).error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(Who(), "");
}

TEST_F(OperatorServerTest, AnOperatorOfAnotherTrustDomainMayNotCall) {
  StartWithTls();
  // Its own side trusts nobody outside its domain unless told to, which StubOf does.
  const auto stub = StubOf(ca_.Issue("spiffe://fabrikam/operator/mallory"));
  v1::GetStatusResponse response;
  const grpc::Status status = GetStatus(*stub, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(status.error_message(), HasSubstr("allowed: identities of trust domain contoso"));
}

TEST_F(OperatorServerTest, ACallerWithoutACertificateIsTurnedAway) {
  StartWithTls();
  grpc::SslCredentialsOptions ssl;
  ssl.pem_root_certs = ca_.certificate();
  const auto stub =
      v1::OperatorService::NewStub(grpc::CreateChannel(Address(), grpc::SslCredentials(ssl)));
  v1::GetStatusResponse response;
  EXPECT_EQ(GetStatus(*stub, &response).error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(OperatorServerTest, AHandlerThatNeverAnswersIsEndedAndItsLateAnswerDropped) {
  std::promise<Done<v1::GetStatusResponse>> kept;
  options_.call_limit = absl::Milliseconds(100);
  options_.handlers.get_status = [&kept](const v1::GetStatusRequest&,
                                         Done<v1::GetStatusResponse> done) {
    kept.set_value(std::move(done));
  };
  Start();
  v1::GetStatusResponse response;
  const grpc::Status status = GetStatus(*Stub(), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_THAT(status.error_message(), HasSubstr("has not answered GetStatus within 100ms"));
  const Done<v1::GetStatusResponse> late = kept.get_future().get();
  late(SomeStatus());
  late(absl::InternalError("twice"));
  server_.reset();
  late(SomeStatus());  // also after the server
}

TEST_F(OperatorServerTest, AnAnswerAfterTheCallerHasGoneIsDropped) {
  std::promise<Done<v1::GetStatusResponse>> kept;
  options_.handlers.get_status = [&kept](const v1::GetStatusRequest&,
                                         Done<v1::GetStatusResponse> done) {
    kept.set_value(std::move(done));
  };
  Start();
  const auto stub = Stub();
  v1::GetStatusResponse response;
  EXPECT_EQ(GetStatus(*stub, &response, absl::Milliseconds(200)).error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
  kept.get_future().get()(SomeStatus());
}

TEST_F(OperatorServerTest, ClosingTheServerEndsOpenCalls) {
  std::promise<void> called;
  options_.handlers.get_status = [&called](const v1::GetStatusRequest&,
                                           Done<v1::GetStatusResponse>) { called.set_value(); };
  Start();
  const auto stub = Stub();
  grpc::Status status;
  std::thread caller([&] {
    v1::GetStatusResponse response;
    status = GetStatus(*stub, &response);
  });
  called.get_future().wait();
  server_.reset();
  caller.join();
  EXPECT_FALSE(status.ok());
}

TEST_F(OperatorServerTest, CallsBeyondTheLimitAreRefusedAndTheNextOneIsServedAgain) {
  std::promise<Done<v1::GetStatusResponse>> kept;
  std::atomic<int> calls = 0;
  options_.max_calls = 1;
  options_.handlers.get_status = [&](const v1::GetStatusRequest&,
                                     Done<v1::GetStatusResponse> done) {
    if (calls.fetch_add(1) == 0) return kept.set_value(std::move(done));
    done(SomeStatus());
  };
  Start();
  const auto stub = Stub();
  std::thread first([&] {
    v1::GetStatusResponse response;
    EXPECT_TRUE(GetStatus(*stub, &response).ok());
  });
  const Done<v1::GetStatusResponse> done = kept.get_future().get();
  v1::GetStatusResponse response;
  const grpc::Status refused = GetStatus(*stub, &response);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(refused.error_message(), HasSubstr("more than 1 operator calls at once"));
  done(SomeStatus());
  first.join();
  EXPECT_TRUE(WaitUntil([&] { return GetStatus(*stub, &response).ok(); }));
}

TEST_F(OperatorServerTest, AMessageAboveOneMebibyteIsRefused) {
  Start();
  v1::OrderRequest order = Ack();
  order.set_reason(std::string((1 << 20) + 1, 'x'));
  EXPECT_EQ(Order(*Stub(), order).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(Who(), "");
}

TEST_F(OperatorServerTest, LongTextAndControlCharactersAreRefusedByTheNameOfTheField) {
  Start();
  const auto stub = Stub();
  v1::OrderRequest order = Ack();
  order.set_reason(std::string(1025, 'x'));
  EXPECT_THAT(Order(*stub, order).error_message(),
              HasSubstr("reason: found 1025 bytes; allowed: at most 1024"));
  order.set_reason("two\nlines");
  EXPECT_THAT(Order(*stub, order).error_message(), HasSubstr("reason: found a control character"));
  order = Ack();
  for (int i = 0; i < 65; ++i) order.mutable_failover()->add_force("drift");
  EXPECT_THAT(Order(*stub, order).error_message(),
              HasSubstr("force: found 65 entries; allowed: at most 64"));
  EXPECT_EQ(Who(), "");
}

TEST_F(OperatorServerTest, AnOrderNamesAGroupAndOneOrder) {
  Start();
  const auto stub = Stub();
  v1::OrderRequest order;
  order.mutable_ack();
  EXPECT_THAT(Order(*stub, order).error_message(), HasSubstr("group: found nothing"));
  order.clear_ack();
  order.set_group("orders");
  EXPECT_THAT(Order(*stub, order).error_message(), HasSubstr("order: found nothing"));
  EXPECT_EQ(Who(), "");
}

TEST_F(OperatorServerTest, DangerousOrdersAreLimitedPerMinuteAndDryRunsAreNot) {
  options_.max_dangerous_orders_a_minute = 2;
  Start();
  const auto stub = Stub();
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(Order(*stub, Adopt(true)).ok());
  EXPECT_TRUE(Order(*stub, Adopt()).ok());
  EXPECT_TRUE(Order(*stub, Adopt()).ok());
  const grpc::Status status = Order(*stub, Adopt());
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(), HasSubstr("nothing was changed"));
  EXPECT_TRUE(Order(*stub, Ack()).ok());
}

TEST_F(OperatorServerTest, AHandlersErrorReachesTheCallerWithoutSecrets) {
  options_.handlers.get_status = [](const v1::GetStatusRequest&, Done<v1::GetStatusResponse> done) {
    done(absl::NotFoundError(
        "no group \"x\"; allowed: orders; https://a.example/b?sig=c2VjcmV0c2VjcmV0"));
  };
  Start();
  v1::GetStatusResponse response;
  const grpc::Status status = GetStatus(*Stub(), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_THAT(status.error_message(), HasSubstr("allowed: orders"));
  EXPECT_THAT(status.error_message(), ::testing::Not(HasSubstr("c2VjcmV0")));
}

TEST_F(OperatorServerTest, AMethodWithoutAHandlerSaysSo) {
  Start();
  grpc::ClientContext context;
  v1::ListBackupsResponse response;
  const grpc::Status status = Stub()->ListBackups(&context, v1::ListBackupsRequest(), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
}

// One unary call of a service that has no stub here, with an empty request.
grpc::Status CallByName(const std::string& address, const std::string& method) {
  grpc::GenericStub stub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(20)));
  grpc::CompletionQueue queue;
  grpc::Slice empty;
  const grpc::ByteBuffer request(&empty, 1);
  const auto call = stub.PrepareUnaryCall(&context, method, request, &queue);
  grpc::ByteBuffer response;
  grpc::Status status;
  call->StartCall();
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  return status;
}

TEST_F(OperatorServerTest, HealthAndReflectionAreServed) {
  const std::shared_ptr<GrpcServerMetrics> metrics = GrpcServerMetrics::Create();
  options_.grpc_metrics = metrics.get();
  Start();
  const auto started = [&metrics](const std::string& method) {
    double count = -1;
    for (const prometheus::MetricFamily& family : metrics->collectable()->Collect()) {
      if (family.name != "grpc_server_started_total") continue;
      for (const prometheus::ClientMetric& metric : family.metric) {
        for (const auto& label : metric.label) {
          if (label.name == "grpc_method" && label.value == method) count = metric.counter.value;
        }
      }
    }
    return count;
  };
  EXPECT_EQ(started("Check"), 0);
  EXPECT_EQ(started("ServerReflectionInfo"), 0);
  EXPECT_TRUE(CallByName(Address(), "/grpc.health.v1.Health/Check").ok());
  // Reflection is a stream: closed at once it ends without an answer, but it is there.
  EXPECT_NE(CallByName(Address(), "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
                .error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(CallByName(Address(), "/nobody.knows/This").error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(started("Check"), 1);
  EXPECT_EQ(started("ServerReflectionInfo"), 1);
  EXPECT_EQ(started("This"), -1) << "a name that a caller made up is no series";
}

TEST_F(OperatorServerTest, WithoutTlsOnlyLoopbackIsBound) {
  options_.address = "0.0.0.0:0";
  const auto server = OperatorServer::Start(options_);
  EXPECT_THAT(
      std::string(server.status().message()),
      HasSubstr("found \"0.0.0.0:0\" without TLS; allowed with --insecure: a loopback address"));
}

TEST_F(OperatorServerTest, AnAddressWithoutAPortIsRefused) {
  for (const char* address :
       {"", "localhost", ":7444", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536"}) {
    options_.address = address;
    EXPECT_THAT(std::string(OperatorServer::Start(options_).status().message()),
                HasSubstr("allowed: HOST:PORT"))
        << address;
  }
}

TEST_F(OperatorServerTest, APortInUseIsAnErrorThatNamesIt) {
  Start();
  options_.address = Address();
  const auto second = OperatorServer::Start(options_);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(Address()));
}

}  // namespace
}  // namespace failover::operators
