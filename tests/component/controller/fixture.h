#ifndef TESTS_COMPONENT_CONTROLLER_FIXTURE_H_
#define TESTS_COMPONENT_CONTROLLER_FIXTURE_H_

#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "controller/config.h"
#include "controller/runtime/control_loop.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/azure_emulator/emulator.h"
#include "tests/azure_emulator/world.h"
#include "tests/component/controller/harness.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait_until.h"

namespace failover::runtime {

inline constexpr char kScope[] =
    "/subscriptions/00000000-0000-4000-8000-00000000abcd/resourceGroups/contoso-apis/providers";
inline constexpr char kKey[] =
    "bm90IGEgcmVhbCBrZXk6IG1hZGUgZm9yIHRoZSBlbXVsYXRvciwgNjQgYnl0ZXMsIHdvcnRoIG5vdGhpbmcgLi4=";
// Of one condition, under a sanitizer on a busy machine.
inline constexpr absl::Duration kPatience = absl::Seconds(30);

// Group "orders" of the emulated world: everything that it needs to switch.
inline constexpr char kOrders[] = R"(
- name: orders
  mode: manual
  services:
  - name: apim-weu
    region: westeurope
    resourceId: $scope/Microsoft.ApiManagement/service/apim-weu
    gatewayUrl: "https://apim-weu.azure-api.net"
  - name: apim-neu
    region: northeurope
    resourceId: $scope/Microsoft.ApiManagement/service/apim-neu
    gatewayUrl: "https://apim-neu.azure-api.net"
  probes:
  - {name: status, http: {path: /status}, interval: 1s, timeout: 1s, failureThreshold: 1, successThreshold: 1}
  probeRegions: [westeurope, northeurope, uksouth]
  traffic:
    trafficManager:
      profileResourceId: $scope/Microsoft.Network/trafficmanagerprofiles/contoso-api
      endpoints: {apim-weu: weu, apim-neu: neu}
)";
// Put behind it: the first run is due at once.
inline constexpr char kAndSync[] = R"(
  sync:
    interval: 6h
    storage: {account: contosodr, container: apim-backups, access: accessKey, accessKeyFile: storage-key}
)";
// Group "billing": its services exist nowhere; only agents can tell something of it.
inline constexpr char kBilling[] = R"(
- name: billing
  mode: observe
  services:
  - name: bill-weu
    region: westeurope
    resourceId: $scope/Microsoft.ApiManagement/service/bill-weu
    gatewayUrl: "https://bill-weu.azure-api.net"
  - name: bill-neu
    region: northeurope
    resourceId: $scope/Microsoft.ApiManagement/service/bill-neu
    gatewayUrl: "https://bill-neu.azure-api.net"
  probes:
  - {name: status, http: {path: /status}, interval: 1s, timeout: 1s, failureThreshold: 1, successThreshold: 1}
  probeRegions: [westeurope, northeurope, uksouth]
)";

// A control loop as the controller runs it: the file store, the Azure lanes before the emulated
// Azure, agents over gRPC.
class RuntimeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    emulator::EmulatorOptions options;
    options.directory = dir_.path();
    auto started = emulator::Emulator::StartFile(
        absl::StrCat(FAILOVER_SOURCE, "/tests/testdata/worlds/two-services.json"), options);
    ASSERT_TRUE(started.ok()) << started.status();
    emulator_ = *std::move(started);
    emulator_->With([](emulator::World& world, absl::Time) {
      world.backup_duration =
          world.restore_duration = {absl::Milliseconds(10), absl::Milliseconds(20)};
      world.retry_after = 1;
    });
    dir_.Write("secret", "not-a-secret-only-for-the-emulator\n");
    dir_.Write("storage-key", absl::StrCat(kKey, "\n"));
  }
  void TearDown() override { StopLoop(); }

  ControllerSettings Load(const std::string& groups, uint64_t generation = 1) {
    const emulator::Endpoints& azure = emulator_->endpoints();
    const std::string text = absl::StrReplaceAll(
        absl::StrCat(
            "controllerRegion: swedencentral\nagentAddress: 127.0.0.1:0\noperatorAddress: "
            "127.0.0.1:0\n",
            "metricsAddress: 127.0.0.1:0\nstore: {directory: state}\nfailoverGroups:", groups,
            "timing: {verifyReadsPerSecond: 500}\nazure:\n",
            "  tenantId: 00000000-0000-4000-8000-0000000000aa\n",
            "  clientId: 00000000-0000-4000-8000-0000000000c1\n  clientSecretFile: secret\n  "
            "armEndpoint: ",
            azure.arm, "\n  authorityEndpoint: ", azure.authority, "\n  blobEndpoint: ", azure.blob,
            "/{account}\n  caFile: ", azure.ca_file, "\n"),
        {{"$scope", kScope}});
    const absl::StatusOr<ControllerSettings> settings =
        LoadControllerConfig(dir_.Write("controller.yaml", text), generation, true);
    EXPECT_TRUE(settings.ok()) << settings.status();
    return settings.ok() ? *settings : ControllerSettings();
  }

  // As controller/app.cc does it.
  void StartLoop(const std::string& groups) {
    const ControllerSettings settings = Load(groups);
    auto files = store::OpenFileStore({settings.store_directory});
    ASSERT_TRUE(files.ok()) << files.status();
    store_ = std::make_unique<GatedStore>(*std::move(files));
    ControlLoopOptions options;
    options.settings = settings.runtime;
    options.store = store_.get();
    options.clock = &RealClock();
    options.identity = "test";
    options.election = election_;
    options.metrics = metrics_.get();
    options.make_http = [ca_file = settings.runtime.azure.ca_file](
                            std::stop_token stop, std::function<absl::Status()> may_send) {
      return NewCurlHttpClient({ca_file, "", std::move(stop), std::move(may_send)});
    };
    loop_ = ControlLoop::Create(std::move(options));
    intake::IntakeOptions intake;
    intake.address = "127.0.0.1:0";
    intake.clock = &RealClock();
    intake.sink = [this](intake::AgentInput input) { return loop_->Receive(std::move(input)); };
    auto opened = intake::Intake::Start(std::move(intake));
    ASSERT_TRUE(opened.ok()) << opened.status();
    intake_ = *std::move(opened);
    loop_->Start(intake_.get());
    handlers_ = loop_->OperatorHandlers();
    ASSERT_TRUE(WaitUntil([&] { return loop_->started(); }, kPatience));
  }
  void StopLoop() {
    if (store_ != nullptr) store_->Open();
    agents_.clear();
    if (loop_ != nullptr) loop_->Stop();
    intake_.reset();
    loop_.reset();
    store_.reset();
  }
  void StartAgents(std::chrono::milliseconds cadence = std::chrono::milliseconds(100)) {
    for (const char* region : {"westeurope", "northeurope", "uksouth"}) {
      const int number = static_cast<int>(agents_.size());
      agents_.push_back(std::make_unique<TestAgent>(intake_->port(), region, number, cadence));
    }
  }
  void StartWithRoles(const std::string& groups = kOrders) {
    StartLoop(groups);
    ASSERT_TRUE(WaitUntil([&] { return Status("orders").active() == "apim-weu"; }, kPatience));
    ASSERT_TRUE(WaitUntil([&] { return Status("orders").traffic().path_ok(); }, kPatience));
    ASSERT_TRUE(
        WaitUntil([&] { return store_->durable("orders").services(0).role() == v1::ROLE_ACTIVE; },
                  kPatience));
  }

  // ---- operators ----

  template <typename Request, typename Response>
  Response Ask(const std::function<void(const Request&, operators::Done<Response>)>& handler,
               const Request& request) {
    auto promise = std::make_shared<std::promise<absl::StatusOr<Response>>>();
    auto future = promise->get_future();
    handler(request,
            [promise](absl::StatusOr<Response> answer) { promise->set_value(std::move(answer)); });
    if (future.wait_for(absl::ToChronoSeconds(kPatience)) != std::future_status::ready) {
      ADD_FAILURE() << "no answer";
      return Response();
    }
    const absl::StatusOr<Response> answer = future.get();
    EXPECT_TRUE(answer.ok()) << answer.status();
    return answer.ok() ? *answer : Response();
  }
  v1::GroupStatus Status(const std::string& group) {
    v1::GetStatusRequest request;
    request.set_group(group);
    const v1::GetStatusResponse response = Ask(handlers_.get_status, request);
    return response.groups().empty() ? v1::GroupStatus() : response.groups(0);
  }
  static std::string WithSync() { return absl::StrCat(kOrders, kAndSync); }
  std::vector<v1::Operation> Operations() {
    v1::ListOperationsRequest request;
    request.set_group("orders");
    request.set_all(true);
    const v1::ListOperationsResponse response = Ask(handlers_.list_operations, request);
    return {response.operations().begin(), response.operations().end()};
  }
  using Answer = std::future<absl::StatusOr<v1::OrderResponse>>;
  Answer Give(const v1::OrderRequest& request) {
    auto promise = std::make_shared<std::promise<absl::StatusOr<v1::OrderResponse>>>();
    Answer answer = promise->get_future();
    handlers_.give_order(request, "operator",
                         [promise](absl::StatusOr<v1::OrderResponse> response) {
                           promise->set_value(std::move(response));
                         });
    return answer;
  }
  static bool Answered(const Answer& answer) {
    return answer.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  }
  static v1::OrderResponse Get(Answer& answer) {
    if (answer.wait_for(absl::ToChronoSeconds(kPatience)) != std::future_status::ready) {
      ADD_FAILURE() << "the order is not answered";
      return {};
    }
    const absl::StatusOr<v1::OrderResponse> response = answer.get();
    EXPECT_TRUE(response.ok()) << response.status();
    return response.ok() ? *response : v1::OrderResponse();
  }
  static v1::OrderRequest Order(const std::string& group = "orders") {
    v1::OrderRequest request;
    request.set_group(group);
    request.set_reason("a test");
    return request;
  }
  static v1::OrderRequest Pause(const std::string& group = "orders") {
    v1::OrderRequest request = Order(group);
    request.mutable_pause();
    return request;
  }
  // To the standby, with every blocker named that stands in the way now.
  v1::OrderRequest Failover() {
    v1::OrderRequest request = Order();
    request.mutable_failover()->set_to("apim-neu");
    const v1::GroupStatus status = Status("orders");
    for (const v1::ServiceStatus& service : status.services()) {
      for (const v1::Blocker& blocker : service.blockers()) {
        if (blocker.active() && blocker.stops_manual())
          request.mutable_failover()->add_force(blocker.name());
      }
    }
    return request;
  }
  absl::Status Reload(const std::string& groups) {
    auto promise = std::make_shared<std::promise<absl::Status>>();
    std::future<absl::Status> done = promise->get_future();
    loop_->Reconfigure(Load(groups, ++generation_).runtime,
                       [promise](absl::Status status) { promise->set_value(std::move(status)); });
    if (done.wait_for(absl::ToChronoSeconds(kPatience)) == std::future_status::ready)
      return done.get();
    return absl::DeadlineExceededError("no answer");
  }

  // ---- Azure ----

  void Fault(const std::string& rule) {
    const auto result = emulator_->Control("POST", "/_emulator/faults", rule);
    EXPECT_LT(result.status, 300) << result.body;
  }
  // How often the first fault rule has fired.
  int Fired() {
    int fired = 0;
    emulator_->With([&](emulator::World& world, absl::Time) {
      fired = world.faults.empty() ? 0 : world.faults.front().fired;
    });
    return fired;
  }
  int Requests(const std::string& operation) {
    int count = 0;
    emulator_->With([&](emulator::World& world, absl::Time) {
      for (const emulator::LogEntry& entry : world.log)
        count += entry.what.operation == operation ? 1 : 0;
    });
    return count;
  }
  // The endpoints that Traffic Manager has enabled, "neu weu".
  std::string Enabled() {
    std::set<std::string> names;
    emulator_->With([&](emulator::World& world, absl::Time) {
      for (const emulator::TrafficEndpoint& endpoint : world.profiles.begin()->second.endpoints) {
        if (endpoint.enabled) names.insert(endpoint.name);
      }
    });
    return absl::StrJoin(names, " ");
  }

  TempDir dir_;
  std::optional<Election> election_;  // of loops that are started from now on
  std::unique_ptr<emulator::Emulator> emulator_;
  std::unique_ptr<GatedStore> store_;
  // Told of what the loops do; outlives them.
  std::shared_ptr<metrics::Metrics> metrics_ =
      metrics::Metrics::Create([this] { return loop_->Snapshot(); });
  std::unique_ptr<ControlLoop> loop_;
  std::unique_ptr<intake::Intake> intake_;
  operators::Handlers handlers_;
  std::vector<std::unique_ptr<TestAgent>> agents_;
  uint64_t generation_ = 1;
};

}  // namespace failover::runtime

#endif  // TESTS_COMPONENT_CONTROLLER_FIXTURE_H_
