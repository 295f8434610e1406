#include "common/grpc_server_metrics.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <prometheus/collectable.h>

#include <map>
#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "apim_failover/v1/agent.grpc.pb.h"
#include "apim_failover/v1/operator.grpc.pb.h"
#include "common/proto.h"
#include "tests/support/catalogue.h"
#include "tests/support/wait_until.h"

namespace failover {
namespace {

// Answers one message with one, then ends the stream as the agent's region asks.
class Echo final : public grpc::ServerBidiReactor<v1::AgentMessage, v1::ControllerMessage> {
 public:
  Echo() { StartRead(&in_); }
  void OnReadDone(bool ok) override {
    if (!ok) return Finish({grpc::StatusCode::ABORTED, "gone"});
    StartWrite(&out_);
  }
  void OnWriteDone(bool) override {
    if (in_.hello().probe_region().empty()) {
      StartRead(&in_);
    } else {
      Finish({grpc::StatusCode::PERMISSION_DENIED, "not you"});
    }
  }
  void OnCancel() override {}
  void OnDone() override { delete this; }

 private:
  v1::AgentMessage in_;
  v1::ControllerMessage out_;
};

class Agents final : public v1::AgentService::CallbackService {
 public:
  grpc::ServerBidiReactor<v1::AgentMessage, v1::ControllerMessage>* Connect(
      grpc::CallbackServerContext*) override {
    return new Echo;
  }
};

class Operators final : public v1::OperatorService::CallbackService {
 public:
  grpc::ServerUnaryReactor* GetStatus(grpc::CallbackServerContext* context,
                                      const v1::GetStatusRequest* request,
                                      v1::GetStatusResponse*) override {
    auto* reactor = context->DefaultReactor();
    reactor->Finish(request->group().empty()
                        ? grpc::Status::OK
                        : grpc::Status(grpc::StatusCode::NOT_FOUND, "no such group"));
    return reactor;
  }
};

class GrpcServerMetricsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&agents_);
    builder.RegisterService(&operators_);
    std::vector<GrpcMethod> methods =
        MethodsOf(*v1::AgentMessage::descriptor()->file()->FindServiceByName("AgentService"));
    for (GrpcMethod& method :
         MethodsOf(*v1::OrderRequest::descriptor()->file()->FindServiceByName("OperatorService")))
      methods.push_back(std::move(method));
    metrics_->Watch(builder, methods);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
    channel_ =
        grpc::CreateChannel(absl::StrCat("127.0.0.1:", port), grpc::InsecureChannelCredentials());
  }
  Families Collect() { return metrics_->collectable()->Collect(); }
  double Value(const std::string& name, const std::string& method, const std::string& code = "") {
    for (const prometheus::MetricFamily& family : Collect()) {
      if (family.name != name) continue;
      for (const prometheus::ClientMetric& metric : family.metric) {
        std::map<std::string, std::string> labels;
        for (const auto& label : metric.label) labels[label.name] = label.value;
        if (labels["grpc_method"] != method || labels["grpc_code"] != code) continue;
        return family.type == prometheus::MetricType::Histogram
                   ? static_cast<double>(metric.histogram.sample_count)
                   : metric.counter.value;
      }
    }
    ADD_FAILURE() << "no " << name << " of " << method << " " << code;
    return -1;
  }
  bool Becomes(const std::string& name, const std::string& method, const std::string& code,
               double value) {
    return WaitUntil([&] { return Value(name, method, code) == value; }, absl::Seconds(20));
  }
  void Ask(const std::string& group) {
    grpc::ClientContext context;
    v1::GetStatusRequest request;
    request.set_group(group);
    v1::GetStatusResponse response;
    (void)v1::OperatorService::NewStub(channel_)->GetStatus(&context, request, &response);
  }

  std::shared_ptr<GrpcServerMetrics> metrics_ = GrpcServerMetrics::Create();
  Agents agents_;
  Operators operators_;
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

TEST_F(GrpcServerMetricsTest, EveryMethodIsThereFromTheStart) {
  for (const char* method : {"Connect", "Relay", "GetStatus", "GetHistory", "ListAgents",
                             "ListOperations", "ListBackups", "SyncDiff", "GiveOrder"}) {
    EXPECT_EQ(Value("grpc_server_started_total", method), 0);
    EXPECT_EQ(Value("grpc_server_handled_total", method, "OK"), 0);
    EXPECT_EQ(Value("grpc_server_handling_seconds", method), 0);
  }
}

TEST_F(GrpcServerMetricsTest, UnaryCallsAreCountedByTheirStatus) {
  Ask("");
  Ask("");
  Ask("orders");
  EXPECT_TRUE(Becomes("grpc_server_handled_total", "GetStatus", "OK", 2));
  EXPECT_TRUE(Becomes("grpc_server_handled_total", "GetStatus", "NotFound", 1));
  EXPECT_EQ(Value("grpc_server_started_total", "GetStatus"), 3);
  EXPECT_TRUE(Becomes("grpc_server_handling_seconds", "GetStatus", "", 3));
  EXPECT_EQ(Value("grpc_server_msg_received_total", "GetStatus"), 3);
}

TEST_F(GrpcServerMetricsTest, AStreamIsCountedWhenItEndsAndItsMessagesAsTheyCome) {
  const auto stub = v1::AgentService::NewStub(channel_);
  grpc::ClientContext context;
  const auto stream = stub->Connect(&context);
  v1::ControllerMessage answer;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(stream->Write({}));
    ASSERT_TRUE(stream->Read(&answer));
  }
  EXPECT_EQ(Value("grpc_server_started_total", "Connect"), 1);
  EXPECT_EQ(Value("grpc_server_msg_received_total", "Connect"), 3);
  EXPECT_EQ(Value("grpc_server_msg_sent_total", "Connect"), 3);
  EXPECT_EQ(Value("grpc_server_handling_seconds", "Connect"), 0) << "still open";
  v1::AgentMessage last;
  last.mutable_hello()->set_probe_region("uksouth");
  ASSERT_TRUE(stream->Write(last));
  ASSERT_TRUE(stream->Read(&answer));
  EXPECT_FALSE(stream->Read(&answer));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_TRUE(Becomes("grpc_server_handled_total", "Connect", "PermissionDenied", 1));
  EXPECT_EQ(Value("grpc_server_msg_received_total", "Connect"), 4);
}

TEST_F(GrpcServerMetricsTest, AStreamThatItsClientLeavesEndsOnce) {
  const auto stub = v1::AgentService::NewStub(channel_);
  grpc::ClientContext context;
  const auto stream = stub->Connect(&context);
  ASSERT_TRUE(stream->Write({}));
  v1::ControllerMessage answer;
  ASSERT_TRUE(stream->Read(&answer));
  context.TryCancel();
  (void)stream->Finish();
  EXPECT_TRUE(Becomes("grpc_server_handling_seconds", "Connect", "", 1));
  double ended = 0;
  for (const char* code : {"OK", "Canceled", "Aborted", "Unknown"})
    ended += Value("grpc_server_handled_total", "Connect", code);
  EXPECT_EQ(ended, 1);
}

TEST_F(GrpcServerMetricsTest, EveryMetricOfTheListMoves) {
  const std::set<std::string> listed =
      ReadCatalogue(FAILOVER_TESTDATA "/metrics.txt",
                    [](const std::string& name) { return absl::StartsWith(name, "grpc_server_"); });
  const Families before = Collect();
  EXPECT_EQ(Differences(listed, CatalogueLines(before)), "");
  Ask("");
  EXPECT_TRUE(Becomes("grpc_server_handling_seconds", "GetStatus", "", 1));
  EXPECT_EQ(absl::StrJoin(Unmoved(listed, before, Collect()), " "), "");
}

}  // namespace
}  // namespace failover
