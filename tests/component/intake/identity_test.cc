#include "tests/component/intake/harness.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_ca.h"

namespace failover::intake {
namespace {

constexpr char kController[] = "spiffe://test/controller/c1";
constexpr char kAgent[] = "spiffe://test/agent/weu/one";

class IntakeMtlsTest : public IntakeTest {
 protected:
  ~IntakeMtlsTest() override { intake_.reset(); }  // before the identity it uses

  void SetUp() override {
    tls_ = Identity(ca_, "controller", ca_.Issue(kController));
    StartIntake(clock_, tls_.get());
    intake_->SetAssignments(TwoGroups());
  }
  std::unique_ptr<TlsIdentity> Identity(const TestCa& ca, const std::string& name,
                                        const PemPair& pair) {
    absl::StatusOr<std::unique_ptr<TlsIdentity>> identity =
        TlsIdentity::Load(WriteTlsFiles(directory_, name, ca, pair));
    EXPECT_TRUE(identity.ok()) << identity.status();
    return identity.ok() ? *std::move(identity) : nullptr;
  }
  // An agent whose certificate names `uri`; credentials are kept, since they outlive the channels.
  std::unique_ptr<TestAgent> AgentOf(const std::string& uri, const std::string& region,
                                     int instance) {
    auto& identity = identities_[uri];
    if (identity == nullptr) {
      identity = Identity(ca_, absl::StrCat("agent", identities_.size()), ca_.Issue(uri));
    }
    return std::make_unique<TestAgent>(intake_->port(), region, InstanceId(instance),
                                       identity->ChannelCredentials(kController));
  }
  std::unique_ptr<TestAgent> ConnectedOf(const std::string& uri, const std::string& region,
                                         int instance) {
    auto agent = AgentOf(uri, region, instance);
    v1::ControllerMessage message;
    EXPECT_TRUE(agent->SayHello());
    EXPECT_TRUE(agent->Read(message)) << agent->Finish().error_message();
    return agent;
  }

  TempDir directory_;
  TestCa ca_;
  std::unique_ptr<TlsIdentity> tls_;
  std::map<std::string, std::unique_ptr<TlsIdentity>> identities_;
};

TEST_F(IntakeMtlsTest, RegionAndNameComeFromTheCertificate) {
  auto agent = ConnectedOf(kAgent, "weu", 1);
  ASSERT_TRUE(agent->Send(Batch("a/s/p", 1, 1)));
  ASSERT_TRUE(WaitUntil([&] { return sink_.Results("a").size() == 1; }));
  EXPECT_EQ(sink_.Results("a")[0].agent.probe_region, "weu");
  EXPECT_EQ(sink_.Results("a")[0].agent.name, "one");
  EXPECT_EQ(sink_.Results("a")[0].agent.instance, InstanceId(1));
  const v1::AgentInfo info = intake_->Agents().at(0);
  EXPECT_EQ(info.name(), "one");
  EXPECT_NEAR(static_cast<double>(info.certificate_expiry_ms()),
              static_cast<double>(absl::ToUnixMillis(absl::Now() + absl::Hours(24))), 60'000);
}

TEST_F(IntakeMtlsTest, HelloOfAnotherRegionThanTheCertificatesIsRefusedAndShown) {
  auto agent = AgentOf(kAgent, "neu", 1);
  agent->SayHello();
  const grpc::Status status = agent->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_NE(status.error_message().find("\"neu\""), std::string::npos) << status.error_message();
  EXPECT_NE(status.error_message().find("\"weu\""), std::string::npos) << status.error_message();
  EXPECT_EQ(Count("refused_identity_mismatch"), 1u);
  ASSERT_EQ(intake_->Agents().size(), 1u);
  EXPECT_FALSE(intake_->Agents()[0].connected());
  EXPECT_EQ(intake_->Agents()[0].probe_region(), "weu");
  EXPECT_EQ(intake_->Agents()[0].refused_why(), status.error_message());
}

TEST_F(IntakeMtlsTest, CertificateOfAnUnconfiguredRegionIsRefusedWithTheConfiguredOnes) {
  auto agent = AgentOf("spiffe://test/agent/mars/one", "mars", 1);
  agent->SayHello();
  const grpc::Status status = agent->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_NE(status.error_message().find("configured: neu, weu"), std::string::npos)
      << status.error_message();
}

TEST_F(IntakeMtlsTest, OtherKindsAndOtherTrustDomainsAreNoAgents) {
  for (const std::string uri : {"spiffe://test/operator/weu", "spiffe://other/agent/weu/one"}) {
    auto agent = AgentOf(uri, "weu", 1);
    agent->SayHello();
    const grpc::Status status = agent->Finish();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED) << uri;
    EXPECT_NE(status.error_message().find(uri), std::string::npos) << status.error_message();
    EXPECT_NE(status.error_message().find("spiffe://test/agent/"), std::string::npos)
        << status.error_message();
  }
  EXPECT_EQ(Count("refused_identity"), 2u);
}

TEST_F(IntakeMtlsTest, CertificateOfAnotherAuthorityDoesNotConnect) {
  const TestCa stranger("stranger");
  // Trusts our controller, so that only the controller's refusal can end the call.
  const auto identity = Identity(stranger, "stranger", stranger.Issue(kAgent));
  grpc::SslCredentialsOptions options;
  const PemPair pair = stranger.Issue(kAgent);
  options.pem_root_certs = ca_.certificate();
  options.pem_cert_chain = pair.certificate;
  options.pem_private_key = pair.key;
  TestAgent agent(intake_->port(), "weu", InstanceId(1), grpc::SslCredentials(options));
  agent.SayHello();
  EXPECT_EQ(agent.Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_TRUE(intake_->Agents().empty());
}

TEST_F(IntakeMtlsTest, PlaintextDoesNotConnect) {
  TestAgent agent(intake_->port(), "weu", InstanceId(1));
  agent.SayHello();
  EXPECT_EQ(agent.Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_TRUE(intake_->Agents().empty());
}

TEST_F(IntakeMtlsTest, FifthInstanceOfAnIdentityIsRefusedUntilOneLeaves) {
  std::vector<std::unique_ptr<TestAgent>> agents;
  for (int i = 1; i <= 4; ++i) agents.push_back(ConnectedOf(kAgent, "weu", i));
  auto fifth = AgentOf(kAgent, "weu", 5);
  fifth->SayHello();
  const grpc::Status status = fifth->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_NE(status.error_message().find("weu/one"), std::string::npos) << status.error_message();
  EXPECT_EQ(Count("refused_instances"), 1u);
  auto other =
      ConnectedOf("spiffe://test/agent/weu/two", "weu", 6);  // another identity has its own four
  auto again = ConnectedOf(kAgent, "weu", 2);                // a reconnect of one of the four
  EXPECT_EQ(agents[1]->Finish().error_code(), grpc::StatusCode::ABORTED);
  agents[0]->Cancel();
  ASSERT_TRUE(WaitUntil([&] { return ConnectedAgents() == 4; }));
  ConnectedOf(kAgent, "weu", 5);
}

TEST_F(IntakeMtlsTest, EndOfTheCertificateClosesTheOpenStream) {
  auto agent = ConnectedOf(kAgent, "weu", 1);
  ASSERT_TRUE(WaitUntil([&] { return sink_.Streams("a").size() == 1; }));
  clock_.Advance(absl::Hours(23));
  ASSERT_TRUE(agent->Send(Batch("a/s/p", 1, 1)));
  ASSERT_TRUE(WaitUntil([&] { return sink_.Results("a").size() == 1; })) << "it is still good";
  clock_.Advance(absl::Hours(2));
  const grpc::Status status = agent->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_NE(status.error_message().find("certificate"), std::string::npos)
      << status.error_message();
  EXPECT_EQ(Count("refused_certificate_expired"), 1u);
}

TEST_F(IntakeMtlsTest, IdentityThatOpensStreamsTooFastIsRefusedForAWhile) {
  int refused = 0;
  for (int i = 0; i < 20; ++i) {
    auto agent = AgentOf(kAgent, "weu", 1);
    agent->SayHello();
    agent->WritesDone();
    if (agent->Finish().error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED) ++refused;
  }
  EXPECT_EQ(refused, 4) << "16 at once, then one a second; the clock stands still";
  EXPECT_EQ(Count("refused_connect_rate"), 4u);
  clock_.Advance(absl::Seconds(2));
  ConnectedOf(kAgent, "weu", 1);
}

}  // namespace
}  // namespace failover::intake
