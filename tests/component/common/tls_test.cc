#include "common/tls.h"

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "grpcpp/impl/codegen/client_unary_call.h"
#include "grpcpp/impl/rpc_method.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_ca.h"
#include "tests/support/wait_until.h"

namespace failover {
namespace {

constexpr char kAgent[] = "spiffe://test/agent/westeurope/a1";
constexpr char kController[] = "spiffe://test/controller/c1";
constexpr char kMethod[] = "/test.Who/Am";

// Answers every unary call with the caller's identity, or with why it has none.
class WhoAmI final : public grpc::CallbackGenericService {
 public:
  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext* context) override {
    class Reactor final : public grpc::ServerGenericBidiReactor {
     public:
      explicit Reactor(absl::StatusOr<SpiffeId> id, absl::Time expires) : id_(std::move(id)) {
        if (!id_.ok()) {
          Finish(grpc::Status(grpc::StatusCode::PERMISSION_DENIED,
                              std::string(id_.status().message())));
          return;
        }
        grpc::Slice slice(absl::StrCat(id_->ToString(), " ", absl::ToUnixSeconds(expires)));
        answer_ = grpc::ByteBuffer(&slice, 1);
        StartWriteAndFinish(&answer_, grpc::WriteOptions(), grpc::Status::OK);
      }
      void OnDone() override { delete this; }

     private:
      const absl::StatusOr<SpiffeId> id_;
      grpc::ByteBuffer answer_;
    };
    absl::Time expires = absl::InfinitePast();
    auto id = PeerIdentity(*context->auth_context(), &expires);
    return new Reactor(std::move(id), expires);
  }
};

class Server {
 public:
  explicit Server(std::shared_ptr<grpc::ServerCredentials> credentials) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", std::move(credentials), &port_);
    builder.RegisterCallbackGenericService(&service_);
    server_ = builder.BuildAndStart();
  }
  ~Server() { server_->Shutdown(std::chrono::system_clock::now()); }
  std::string address() const { return absl::StrCat("127.0.0.1:", port_); }

 private:
  WhoAmI service_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

struct Reply {
  grpc::Status status;
  std::string text;
};

// One call over a connection of its own.
Reply Ask(const Server& server, std::shared_ptr<grpc::ChannelCredentials> credentials) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  const auto channel =
      grpc::CreateCustomChannel(server.address(), std::move(credentials), arguments);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  const grpc::Slice nothing;
  const grpc::ByteBuffer request(&nothing, 1);
  grpc::ByteBuffer answer;
  const grpc::internal::RpcMethod method(kMethod, grpc::internal::RpcMethod::NORMAL_RPC);
  Reply reply;
  reply.status = grpc::internal::BlockingUnaryCall<grpc::ByteBuffer, grpc::ByteBuffer>(
      channel.get(), method, &context, request, &answer);
  grpc::Slice slice;
  if (reply.status.ok() && answer.DumpToSingleSlice(&slice).ok()) {
    reply.text.assign(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return reply;
}

std::unique_ptr<TlsIdentity> Loaded(const TlsFiles& files) {
  auto identity = TlsIdentity::Load(files);
  EXPECT_TRUE(identity.ok()) << identity.status();
  return *std::move(identity);
}

std::shared_ptr<grpc::ChannelCredentials> PlainTls(const TestCa& ca, const PemPair* pair) {
  grpc::experimental::TlsChannelCredentialsOptions options;
  std::vector<grpc::experimental::IdentityKeyCertPair> pairs;
  if (pair != nullptr) pairs.push_back({pair->key, pair->certificate});
  options.set_certificate_provider(
      std::make_shared<grpc::experimental::StaticDataCertificateProvider>(ca.certificate(), pairs));
  options.watch_root_certs();
  if (pair != nullptr) options.watch_identity_key_cert_pairs();
  options.set_check_call_host(false);
  options.set_certificate_verifier(std::make_shared<grpc::experimental::NoOpCertificateVerifier>());
  return grpc::experimental::TlsCredentials(options);
}

class TlsTest : public testing::Test {
 protected:
  const TempDir directory_;
  const TestCa ca_;
  const PemPair agent_ = ca_.Issue(kAgent);
  const PemPair controller_ = ca_.Issue(kController);
  const TlsFiles agent_files_ = WriteTlsFiles(directory_, "agent", ca_, agent_);
  const TlsFiles controller_files_ = WriteTlsFiles(directory_, "controller", ca_, controller_);
};

TEST_F(TlsTest, BothSidesKnowEachOther) {
  const auto controller = Loaded(controller_files_);
  const auto agent = Loaded(agent_files_);
  EXPECT_EQ(agent->Self().ToString(), kAgent);
  const Server server(controller->ServerCredentials());
  for (const char* expected : {kController, "spiffe://test/controller/*", "*"}) {
    const Reply reply = Ask(server, agent->ChannelCredentials(expected));
    EXPECT_TRUE(reply.status.ok()) << reply.status.error_message();
    EXPECT_EQ(reply.text,
              absl::StrCat(kAgent, " ", absl::ToUnixSeconds(agent->CertificateExpiry())));
  }
}

TEST_F(TlsTest, AServerWithAnotherIdentityIsRefused) {
  const auto controller = Loaded(controller_files_);
  const auto agent = Loaded(agent_files_);
  const Server server(controller->ServerCredentials());
  for (const char* expected : {"spiffe://test/controller/c2", "spiffe://other/controller/*",
                               "spiffe://test/controller/c", ""}) {
    EXPECT_EQ(Ask(server, agent->ChannelCredentials(expected)).status.error_code(),
              grpc::StatusCode::UNAVAILABLE)
        << expected;
  }
  const Server impostor(agent->ServerCredentials());
  EXPECT_FALSE(Ask(impostor, agent->ChannelCredentials("spiffe://test/controller/*")).status.ok());
}

TEST_F(TlsTest, APeerOfAnotherAuthorityIsRefused) {
  const TestCa other("test CA");  // the same name, another key
  const auto controller = Loaded(controller_files_);
  const Server server(controller->ServerCredentials());
  const PemPair forged = other.Issue(kAgent);
  EXPECT_FALSE(Ask(server, PlainTls(ca_, &forged)).status.ok());
  const auto stranger = Loaded(WriteTlsFiles(directory_, "stranger", other, forged));
  EXPECT_FALSE(Ask(server, stranger->ChannelCredentials("*")).status.ok())
      << "the client must refuse this server";
}

TEST_F(TlsTest, AClientWithoutCertificateOrTlsIsRefused) {
  const auto controller = Loaded(controller_files_);
  const Server server(controller->ServerCredentials());
  EXPECT_FALSE(Ask(server, PlainTls(ca_, nullptr)).status.ok());
  EXPECT_FALSE(Ask(server, grpc::InsecureChannelCredentials()).status.ok());
}

TEST_F(TlsTest, AnExpiredClientIsRefused) {
  const auto controller = Loaded(controller_files_);
  const Server server(controller->ServerCredentials());
  LeafSpec spec;
  spec.uris = {kAgent};
  spec.not_after = absl::Now() - absl::Minutes(1);
  const PemPair expired = ca_.Issue(spec);
  EXPECT_FALSE(Ask(server, PlainTls(ca_, &expired)).status.ok());
}

TEST_F(TlsTest, ACertificateWithoutExactlyOneIdentityGivesNone) {
  const auto controller = Loaded(controller_files_);
  const Server server(controller->ServerCredentials());
  const auto message = [&](const LeafSpec& spec) {
    const PemPair pair = ca_.Issue(spec);
    const Reply reply = Ask(server, PlainTls(ca_, &pair));
    EXPECT_EQ(reply.status.error_code(), grpc::StatusCode::PERMISSION_DENIED)
        << reply.status.error_message();
    return reply.status.error_message();
  };
  LeafSpec spec;
  spec.dns = {"agent.example"};
  EXPECT_TRUE(absl::StrContains(message(spec), "found 0 URI names"));
  spec.uris = {kAgent, "spiffe://test/operator/jane"};
  EXPECT_TRUE(absl::StrContains(message(spec), "found 2 URI names"));
  spec.uris = {"https://test/agent"};
  EXPECT_TRUE(absl::StrContains(message(spec), "found identity \"https://test/agent\""));
  spec.uris = {kAgent};
  spec.ca = true;
  EXPECT_TRUE(absl::StrContains(message(spec), "may sign others"));
  spec.ca = false;
  spec.key_cert_sign = true;
  EXPECT_TRUE(absl::StrContains(message(spec), "may sign others"));
}

TEST_F(TlsTest, AnUnauthenticatedPeerHasNoIdentity) {
  const Server server(grpc::InsecureServerCredentials());
  const Reply reply = Ask(server, grpc::InsecureChannelCredentials());
  EXPECT_EQ(reply.status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(reply.status.error_message(), "the peer showed no client certificate");
}

TEST_F(TlsTest, ANewPairIsUsedWithoutRestart) {
  const auto controller = Loaded(controller_files_);
  const auto agent = Loaded(agent_files_);
  const Server server(controller->ServerCredentials());
  const absl::Time before = agent->CertificateExpiry();
  LeafSpec spec;
  spec.uris = {kAgent};
  spec.not_after = absl::FromUnixSeconds(absl::ToUnixSeconds(absl::Now() + absl::Hours(36)));
  WriteTlsFiles(directory_, "agent", ca_, ca_.Issue(spec));
  ASSERT_TRUE(WaitUntil([&] { return agent->CertificateExpiry() == spec.not_after; }));
  EXPECT_GT(agent->CertificateExpiry(), before);
  const std::string expected = absl::StrCat(kAgent, " ", absl::ToUnixSeconds(spec.not_after));
  EXPECT_TRUE(
      WaitUntil([&] { return Ask(server, agent->ChannelCredentials("*")).text == expected; }));
}

TEST_F(TlsTest, ABadNewPairLeavesTheGoodOneInForceAndIsLogged) {
  const auto controller = Loaded(controller_files_);
  const auto agent = Loaded(agent_files_);
  const Server server(controller->ServerCredentials());
  const absl::Time expiry = agent->CertificateExpiry();
  const auto refused = [&](const char* what, auto write) {
    const uint64_t errors = LogCounts()[3];
    testing::internal::CaptureStderr();
    write();
    EXPECT_TRUE(WaitUntil([&] { return LogCounts()[3] > errors; })) << what;
    const std::string log = testing::internal::GetCapturedStderr();
    EXPECT_TRUE(absl::StrContains(log, "the previous ones stay in force")) << what << log;
    EXPECT_TRUE(absl::StrContains(log, what)) << log;
    EXPECT_EQ(agent->CertificateExpiry(), expiry);
    EXPECT_TRUE(Ask(server, agent->ChannelCredentials("*")).status.ok()) << what;
  };
  refused("agent.key", [&] { directory_.Write("agent.key", controller_.key); });
  refused("agent.crt: found a malformed certificate",
          [&] { directory_.Write("agent.crt", agent_.certificate.substr(0, 200)); });
  refused("allowed: spiffe://test/agent/westeurope/a1 until a restart", [&] {
    const PemPair other = ca_.Issue("spiffe://test/agent/uksouth/a1");
    directory_.Write("agent.key", other.key);
    directory_.Write("agent.crt", other.certificate);
  });
}

TEST_F(TlsTest, ThePrivateCopiesAreOursAloneAndGoWithTheIdentity) {
  const TempDir parent;
  setenv("TMPDIR", parent.path().c_str(), 1);
  const auto entries = [&] {
    std::vector<std::filesystem::path> paths;
    for (const auto& entry : std::filesystem::directory_iterator(parent.path()))
      paths.push_back(entry.path());
    return paths;
  };
  {
    const auto agent = Loaded(agent_files_);
    ASSERT_EQ(entries().size(), 1u);
    using std::filesystem::perms;
    EXPECT_EQ(std::filesystem::status(entries()[0]).permissions(), perms::owner_all);
    EXPECT_EQ(std::filesystem::status(entries()[0] / "current/tls.key").permissions(),
              perms::owner_read | perms::owner_write);
  }
  EXPECT_TRUE(entries().empty());
  setenv("TMPDIR", "/nonexistent", 1);
  const absl::Status status = TlsIdentity::Load(agent_files_).status();
  unsetenv("TMPDIR");
  EXPECT_TRUE(absl::StrContains(status.message(), "/nonexistent: cannot make a directory"))
      << status;
}

TEST_F(TlsTest, CheckTlsFilesNamesTheFileAndTheFault) {
  const absl::Time now = absl::Now();
  EXPECT_TRUE(CheckTlsFiles(agent_files_, now).ok());
  const auto fault = [&](const TlsFiles& files, absl::Time at) {
    return std::string(CheckTlsFiles(files, at).message());
  };
  const auto with = [&](const LeafSpec& spec) {
    return fault(WriteTlsFiles(directory_, "x", ca_, ca_.Issue(spec)), now);
  };
  EXPECT_TRUE(absl::StrContains(
      fault({directory_.File("absent"), agent_files_.key_file, agent_files_.ca_file}, now),
      "absent: cannot open"));
  const std::string junk = directory_.Write("junk", "junk");
  EXPECT_TRUE(absl::StrContains(fault({junk, agent_files_.key_file, agent_files_.ca_file}, now),
                                "junk: found no certificate"));
  EXPECT_TRUE(
      absl::StrContains(fault({agent_files_.certificate_file, junk, agent_files_.ca_file}, now),
                        "junk: found no readable private key"));
  EXPECT_TRUE(
      absl::StrContains(fault({agent_files_.certificate_file, agent_files_.key_file, junk}, now),
                        "junk: found no certificate"));
  EXPECT_TRUE(absl::StrContains(
      fault({agent_files_.certificate_file, controller_files_.key_file, agent_files_.ca_file}, now),
      "controller.key: the key is not that of the certificate"));
  EXPECT_TRUE(absl::StrContains(fault(agent_files_, now + absl::Hours(30)),
                                "found a certificate valid from"));
  EXPECT_TRUE(absl::StrContains(fault(agent_files_, now - absl::Hours(30)),
                                "found a certificate valid from"));
  const TestCa other("other");
  const TlsFiles foreign = {agent_files_.certificate_file, agent_files_.key_file,
                            directory_.Write("other.crt", other.certificate())};
  EXPECT_TRUE(absl::StrContains(fault(foreign, now), "does not verify against"))
      << fault(foreign, now);
  EXPECT_TRUE(absl::StrContains(with({}), "found 0 URI names"));
  EXPECT_TRUE(absl::StrContains(with({.uris = {kAgent, kController}, .dns = {}, .ips = {}}),
                                "found 2 URI names"));
  LeafSpec signer;
  signer.uris = {kAgent};
  signer.ca = true;
  EXPECT_TRUE(absl::StrContains(with(signer), "may sign others"));
}

TEST_F(TlsTest, AnExpiredAuthorityIsFound) {
  const TestCa old("old CA", absl::Now() - absl::Hours(3), absl::Now() - absl::Hours(2));
  const auto files = WriteTlsFiles(directory_, "old", old, old.Issue(kAgent));
  const absl::Status status = CheckTlsFiles(files, absl::Now());
  EXPECT_TRUE(absl::StrContains(status.message(), "certificate has expired")) << status;
  EXPECT_FALSE(TlsIdentity::Load(files).ok());
}

TEST_F(TlsTest, ABundleOfAuthoritiesServesARotation) {
  const TestCa next("next CA");
  TlsFiles files = agent_files_;
  files.ca_file = directory_.Write("bundle.crt", next.certificate() + ca_.certificate());
  const auto agent = Loaded(files);
  const auto controller = Loaded(controller_files_);
  EXPECT_TRUE(
      Ask(Server(controller->ServerCredentials()), agent->ChannelCredentials("*")).status.ok());
}

}  // namespace
}  // namespace failover
