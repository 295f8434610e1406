#include "tests/azure_emulator/dns_view.h"
#include "tests/unit/azure_emulator/emulated.h"

namespace failover::emulator {
namespace {

class TrafficTest : public Emulated {
 protected:
  static constexpr char kTraffic[] = "?api-version=2022-04-01";
  Answer Patch(const std::string& endpoint, const std::string& properties) {
    return Arm("PATCH", absl::StrCat(Profile("/externalEndpoints/"), endpoint, kTraffic),
               absl::StrCat(R"({"properties":)", properties, "}"));
  }
  Json Endpoint(const std::string& name) {
    return Body(
        Arm("GET", absl::StrCat(Profile("/ExternalEndpoints/"), name, kTraffic)))["properties"];
  }
  std::string Address(const std::string& name = "api.contoso.test") {
    Advance(world, now);
    return ResolveName(world, name).address;
  }
};

TEST_F(TrafficTest, AProfileIsReadWithItsEndpoints) {
  const Answer answer = Arm("GET", absl::StrCat(Profile(), kTraffic));
  ASSERT_EQ(answer.status, 200);
  const Json p = Body(answer)["properties"];
  EXPECT_EQ(p["trafficRoutingMethod"], "Priority");
  EXPECT_EQ(p["dnsConfig"]["ttl"], 2);
  EXPECT_EQ(p["endpoints"].size(), 2u);
  EXPECT_EQ(p["endpoints"][0]["properties"]["endpointStatus"], "Enabled");
  EXPECT_EQ(p["endpoints"][1]["properties"]["endpointMonitorStatus"], "Disabled");
  EXPECT_EQ(p["monitorConfig"]["profileMonitorStatus"], "Online");
}

TEST_F(TrafficTest, EnablingIsSynchronousAndTheMonitorLags) {
  const Answer answer = Patch("neu", R"({"endpointStatus":"Enabled"})");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(Body(answer)["properties"]["endpointStatus"], "Enabled");
  EXPECT_EQ(Endpoint("neu")["endpointMonitorStatus"], "CheckingEndpoint");
  now += absl::Seconds(5);
  EXPECT_EQ(Endpoint("neu")["endpointMonitorStatus"], "Online");
}

TEST_F(TrafficTest, DnsFollowsAfterThePropagation) {
  EXPECT_EQ(Address(), "127.0.1.1");
  Patch("neu", R"({"endpointStatus":"Enabled"})");
  Patch("weu", R"({"endpointStatus":"Disabled"})");
  EXPECT_EQ(Address(), "127.0.1.1");
  now += absl::Seconds(1);
  EXPECT_EQ(Address(), "127.0.1.2");
}

TEST_F(TrafficTest, DnsGivesTheChainWithItsTtls) {
  const DnsView view = ResolveName(world, "API.contoso.test.");
  ASSERT_EQ(view.chain.size(), 3u);
  EXPECT_EQ(view.chain[0].value, "contoso-api.trafficmanager.net");
  EXPECT_EQ(view.chain[1].value, "apim-weu.azure-api.net");
  EXPECT_EQ(view.chain[1].ttl, 2);
  EXPECT_FALSE(view.chain[2].alias);
  EXPECT_EQ(ResolveName(world, "neutral.test").address, "127.0.1.9");
  EXPECT_EQ(ResolveName(world, "unknown.test").rcode, 3);
}

TEST_F(TrafficTest, APriorityIsUniqueAndInRange) {
  EXPECT_EQ(Patch("neu", R"({"priority":1})").status, 400);
  EXPECT_EQ(Patch("neu", R"({"priority":0})").status, 400);
  EXPECT_EQ(Patch("neu", R"({"endpointStatus":"enabled"})").status, 400);
  EXPECT_EQ(Patch("neu", R"({"priority":7})").status, 200);
  EXPECT_EQ(Endpoint("neu")["priority"], 7);
}

TEST_F(TrafficTest, ADeadGatewayIsDegradedAndTrafficManagerAvoidsIt) {
  Patch("neu", R"({"endpointStatus":"Enabled"})");
  Control("PATCH", "/_emulator/gateways/apim-weu", R"({"mode":"cut"})");
  EXPECT_EQ(Endpoint("weu")["endpointMonitorStatus"], "Online");
  now += absl::Seconds(6);
  EXPECT_EQ(Endpoint("weu")["endpointMonitorStatus"], "Degraded");
  EXPECT_EQ(Address(), "127.0.1.2");
}

TEST_F(TrafficTest, WhenAllAreDegradedTheFirstIsServed) {
  Control("PATCH", "/_emulator/gateways/apim-weu", R"({"mode":"hang"})");
  Get(Path("apim-weu"));
  now += absl::Seconds(6);
  EXPECT_EQ(Endpoint("weu")["endpointMonitorStatus"], "Degraded");
  EXPECT_EQ(Address(), "127.0.1.1");
}

TEST_F(TrafficTest, NothingEnabledMeansNoSuchName) {
  Patch("weu", R"({"endpointStatus":"Disabled"})");
  now += absl::Seconds(2);
  EXPECT_EQ(Address(), "");
  EXPECT_EQ(ResolveName(world, "api.contoso.test").rcode, 3);
}

TEST_F(TrafficTest, AnIgnoredWriteAnswersWellAndChangesNothing) {
  Fault(R"({"operation":"trafficWrite","action":"trafficIgnored","times":1})");
  EXPECT_EQ(Patch("neu", R"({"endpointStatus":"Enabled"})").status, 200);
  EXPECT_EQ(Endpoint("neu")["endpointStatus"], "Disabled");
}

TEST_F(TrafficTest, ReadsMayShowTheOldStateForAWhile) {
  Fault(R"({"operation":"trafficWrite","action":"trafficOldRead","delay":"10s","times":1})");
  EXPECT_EQ(Patch("neu", R"({"endpointStatus":"Enabled"})").status, 200);
  EXPECT_EQ(Endpoint("neu")["endpointStatus"], "Disabled");
  now += absl::Seconds(10);
  EXPECT_EQ(Endpoint("neu")["endpointStatus"], "Enabled");
}

TEST_F(TrafficTest, TheLogTellsWhatAWriteSetsFromOneThatSetsNoStatus) {
  Patch("neu", R"({"endpointStatus":"Enabled"})");
  Patch("neu", R"({"priority":2})");
  const Json requests = Body(Control("GET", "/_emulator/requests", ""))["requests"];
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_EQ(requests[0]["endpointStatus"], "Enabled");
  EXPECT_EQ(requests[1]["endpointStatus"], "");
}

TEST_F(TrafficTest, AForeignChangeComesThroughTheControlApi) {
  const Answer answer =
      Control("PATCH", "/_emulator/trafficManagerProfiles/contoso-api",
              R"({"endpoints":{"neu":{"enabled":true},"weu":{"enabled":false}}})");
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(Endpoint("neu")["endpointStatus"], "Enabled");
  EXPECT_EQ(Endpoint("weu")["endpointStatus"], "Disabled");
  EXPECT_EQ(Control("PATCH", "/_emulator/trafficManagerProfiles/contoso-api",
                    R"({"endpoints":{"nope":{"enabled":true}}})")
                .status,
            400);
}

TEST_F(TrafficTest, UnknownEndpointsAndProfilesAreNotFound) {
  EXPECT_EQ(Patch("nope", R"({"endpointStatus":"Enabled"})").status, 404);
  EXPECT_EQ(Arm("GET", absl::StrCat(Profile("x"), kTraffic)).status, 404);
}

std::string Query(const std::string& name, int type) {
  std::string packet("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", 12);
  for (const absl::string_view label : absl::StrSplit(name, '.')) {
    packet.push_back(static_cast<char>(label.size()));
    absl::StrAppend(&packet, label);
  }
  packet.push_back('\0');
  packet += std::string("\0", 1) + static_cast<char>(type) + std::string("\0\x01", 2);
  return packet;
}

TEST_F(TrafficTest, PacketsAreAnsweredWithTheChainAndItsAddress) {
  const auto lookup = [&](const std::string& name) { return ResolveName(world, name); };
  const std::string answer = AnswerDnsPacket(Query("api.contoso.test", 1), lookup);
  ASSERT_GT(answer.size(), 12u);
  EXPECT_EQ(answer.substr(0, 2), "\x12\x34");
  EXPECT_EQ(answer[3] & 0x0f, 0);
  EXPECT_EQ(answer[7], 3) << "two CNAMEs and an A";
  EXPECT_EQ(answer.substr(answer.size() - 4), std::string("\x7f\x00\x01\x01", 4));
  const std::string v6 = AnswerDnsPacket(Query("apim-weu.azure-api.net", 28), lookup);
  EXPECT_EQ(v6[3] & 0x0f, 0);
  EXPECT_EQ(v6[7], 0);
  EXPECT_EQ(AnswerDnsPacket(Query("nope.test", 1), lookup)[3] & 0x0f, 3);
}

TEST_F(TrafficTest, BrokenPacketsDoNoHarm) {
  const auto lookup = [&](const std::string& name) { return ResolveName(world, name); };
  const std::string whole = Query("api.contoso.test", 1);
  for (size_t n = 0; n < whole.size(); ++n) {
    const std::string answer = AnswerDnsPacket(whole.substr(0, n), lookup);
    if (n < 12) {
      EXPECT_EQ(answer, "");
    } else {
      EXPECT_EQ(answer[3] & 0x0f, 1) << n;
    }
  }
  std::string response = whole;
  response[2] = static_cast<char>(0x81);
  EXPECT_EQ(AnswerDnsPacket(response, lookup), "") << "answers are not answered";
}

}  // namespace
}  // namespace failover::emulator
