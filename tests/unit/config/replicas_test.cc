// store.kubernetes, leaderElection, kubernetes and replicasAddress.
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "controller/config.h"
#include "gtest/gtest.h"

namespace failover {
namespace {

namespace fs = std::filesystem;

class ReplicasConfigTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::path(testing::TempDir()) / "replicas-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    for (const char* file : {"tls.crt", "tls.key", "ca.crt", "azure-identity-token"})
      std::ofstream(directory_ + "/" + file) << "PEM\n";
    std::ifstream stream(std::string(FAILOVER_TESTDATA) + "/config/kubernetes.yaml");
    std::ostringstream text;
    text << stream.rdbuf();
    good_ = text.str();
  }
  void TearDown() override { fs::remove_all(directory_); }

  absl::StatusOr<ControllerSettings> Load(const std::string& text) {
    std::ofstream(directory_ + "/controller.yaml") << text;
    return LoadControllerConfig(directory_ + "/controller.yaml", 1, false);
  }
  std::string Edited(const std::string& from, const std::string& to) {
    EXPECT_TRUE(absl::StrContains(good_, from)) << from;
    return absl::StrReplaceAll(good_, {{from, to}});
  }
  // The problems of the file with one edit.
  std::string Problems(const std::string& from, const std::string& to) {
    return std::string(Load(Edited(from, to)).status().message());
  }

  std::string directory_, good_;
};

TEST_F(ReplicasConfigTest, TheReferenceFileForKubernetesIsConverted) {
  const absl::StatusOr<ControllerSettings> settings = Load(good_);
  ASSERT_TRUE(settings.ok()) << settings.status();
  ASSERT_TRUE(settings->kubernetes.has_value());
  EXPECT_EQ(settings->store_directory, "");
  EXPECT_EQ(settings->kubernetes->server.url, "https://10.0.0.1:443");
  EXPECT_EQ(settings->kubernetes->server.name_space, "apim-failover");
  EXPECT_EQ(settings->kubernetes->server.token_file, directory_ + "/token");
  EXPECT_EQ(settings->kubernetes->server.ca_file, directory_ + "/kube-ca.crt");
  EXPECT_EQ(settings->kubernetes->prefix, "apim-failover");
  EXPECT_EQ(settings->kubernetes->lease_name, "apim-failover");
  EXPECT_EQ(settings->kubernetes->times.duration, absl::Seconds(15));
  EXPECT_EQ(settings->kubernetes->times.renew_deadline, absl::Seconds(10));
  EXPECT_EQ(settings->kubernetes->times.retry_period, absl::Seconds(2));
  EXPECT_EQ(settings->replicas_address, "apim-failover-replicas.apim-failover.svc:7443");
}

TEST_F(ReplicasConfigTest, WhatAPodFindsIsLeftOpen) {
  const absl::StatusOr<ControllerSettings> settings = Load(absl::StrCat(
      good_.substr(0, good_.find("store:")), "store: {kubernetes: {}}\nleaderElection: {}\n"));
  ASSERT_TRUE(settings.ok()) << settings.status();
  EXPECT_EQ(settings->kubernetes->server, kubernetes::ApiServer());
  EXPECT_EQ(settings->kubernetes->times, kubernetes::LeaseTimes());
  EXPECT_EQ(settings->kubernetes->lease_name, "apim-failover");
}

struct ReplicasRow {
  const char *from, *to, *message;
};
// After "FILE:LINE: ".
const ReplicasRow kReplicasRows[] = {
    {"  kubernetes:                 #", "  directory: state\n  kubernetes:  #",
     R"(store: found "directory and kubernetes"; allowed: one of the two)"},
    {"    prefix: apim-failover", "    prefix: Apim",
     R"(store.kubernetes.prefix: found "Apim"; allowed: 1 to 63 of a-z, 0-9 and '-', neither first nor last a '-')"},
    {"leaseName: apim-failover", "leaseName: a/b",
     R"(leaderElection.leaseName: found "a/b"; allowed: a name of a Kubernetes object: labels of a-z, 0-9 and '-' with dots between)"},
    {"leaseDuration: 15s", "leaseDuration: 11s",
     "leaderElection.renewDeadline: found 10s; allowed: "
     "less than leaseDuration by at least 2s"},
    {"requestTimeout: 5s", "requestTimeout: 8s",
     "leaderElection.requestTimeout: found 8s; allowed: renewDeadline less retryPeriod"},
    {"retryPeriod: 2s", "retryPeriod: 0s", "leaderElection.retryPeriod: found "},
    {"apiServer: https://10.0.0.1:443", "apiServer: http://10.0.0.1:443",
     R"(kubernetes.apiServer: found "http://10.0.0.1:443"; allowed: https://HOST:PORT, or http on loopback)"},
    {"namespace: apim-failover ", "namespace: a_b ",
     R"(kubernetes.namespace: found "a_b"; allowed:)"},
    {"namespace: apim-failover ", "namespace: ", "kubernetes.namespace: found nothing; allowed:"},
    {"replicasAddress: apim-failover-replicas.apim-failover.svc:7443", "replicasAddress: replicas",
     R"(replicasAddress: found "replicas"; allowed: HOST:PORT or [IPV6]:PORT)"},
};

TEST_F(ReplicasConfigTest, EveryImpossibleValueIsRefused) {
  for (const ReplicasRow& row : kReplicasRows) {
    const std::string problems = Problems(row.from, row.to);
    EXPECT_TRUE(absl::StrContains(problems, absl::StrCat(": ", row.message))) << row.to << ":\n"
                                                                              << problems;
  }
}

TEST_F(ReplicasConfigTest, AnElectionGoesWithTheStoreOfKubernetesAndOnlyWithIt) {
  const std::string files = absl::StrReplaceAll(
      good_,
      {{"  kubernetes:                 #", "  directory: state\n  #"}, {"    prefix:", "  #"}});
  const std::string problems(Load(files).status().message());
  EXPECT_TRUE(absl::StrContains(problems,
                                "leaderElection: found \"it\"; allowed: only with "
                                "store.kubernetes"))
      << problems;
  EXPECT_TRUE(absl::StrContains(problems, "kubernetes: found \"it\"; allowed: only with"))
      << problems;
  const size_t begin = good_.find("leaderElection:\n"), end = good_.find("\n# The API server");
  good_.erase(begin, end - begin);
  EXPECT_TRUE(absl::StrContains(Load(good_).status().message(), "leaderElection: found nothing"))
      << Load(good_).status();
}

}  // namespace
}  // namespace failover
