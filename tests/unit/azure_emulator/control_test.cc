#include "tests/azure_emulator/gateway_front.h"
#include "tests/azure_emulator/http_message.h"
#include "tests/unit/azure_emulator/emulated.h"

namespace failover::emulator {
namespace {

class ControlTest : public Emulated {
 protected:
  std::string Problem(const Answer& answer) {
    const Json body = Body(answer);
    return body.contains("problems") && !body["problems"].empty() ? body["problems"][0] : "";
  }
};

TEST_F(ControlTest, TheStatusShowsEveryService) {
  const Json status = Body(Control("GET", "/_emulator/status"));
  ASSERT_EQ(status["services"].size(), 2u);
  EXPECT_EQ(status["services"][1]["name"], "apim-weu");
  EXPECT_EQ(status["services"][1]["configurationVersion"], Version("apim-weu"));
}

TEST_F(ControlTest, MistakesAreNamedAndChangeNothing) {
  const Switches before = world.switches;
  const Answer answer = Control("PATCH", "/_emulator/switches",
                                R"({"storageErrors":"never","busyState":7,"nope":1})");
  EXPECT_EQ(answer.status, 400);
  EXPECT_EQ(Body(answer)["problems"].size(), 3u) << answer.body;
  EXPECT_EQ(Problem(answer), "storageErrors: found \"never\"; allowed: early, late");
  EXPECT_EQ(world.switches.storage_errors, before.storage_errors);
  EXPECT_EQ(Control("PATCH", "/_emulator/switches", "{").status, 400);
  EXPECT_EQ(Control("GET", "/_emulator/nope").status, 404);
  EXPECT_EQ(Control("GET", "/elsewhere").status, 404);
  EXPECT_EQ(Control("POST", "/_emulator/switches").status, 405);
  EXPECT_EQ(Control("GET", "/_emulator/services/nope").status, 404);
  EXPECT_EQ(Control("PATCH", "/_emulator/gateways/nope", "{}").status, 404);
  EXPECT_EQ(Control("GET", "/_emulator/operations/nope").status, 404);
  EXPECT_EQ(Control("GET", "/_emulator/requests?since=3").status, 400);
}

TEST_F(ControlTest, EverySwitchIsShownByTheNameItIsSetBy) {
  const Json shown = Body(Control("GET", "/_emulator/switches"));
  EXPECT_EQ(Control("PATCH", "/_emulator/switches", Dump(shown)).status, 200);
  EXPECT_EQ(Body(Control("GET", "/_emulator/switches")), shown);
  const Json timing = Body(Control("GET", "/_emulator/timing"));
  EXPECT_EQ(Control("PATCH", "/_emulator/timing", Dump(timing)).status, 200);
  EXPECT_EQ(Control("PATCH", "/_emulator/timing", R"({"backup":{"min":"9s","max":"1s"}})").status,
            400);
}

TEST_F(ControlTest, TheClockIsMovedAndStretched) {
  const Answer answer = Control("PATCH", "/_emulator/clock", R"({"advance":"5h","rate":60})");
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(world.clock.At(now), now + absl::Hours(5));
  EXPECT_EQ(world.clock.At(now + absl::Seconds(1)), now + absl::Hours(5) + absl::Seconds(60));
  EXPECT_EQ(Control("PATCH", "/_emulator/clock", R"({"now":"2001-01-01T00:00:00Z"})").status, 400);
  EXPECT_EQ(Control("PATCH", "/_emulator/clock", R"({"advance":"-5h"})").status, 400);
}

TEST_F(ControlTest, MovingTheClockEndsWhatIsDue) {
  const Answer accepted = Start("backup", "apim-weu");
  Control("PATCH", "/_emulator/clock", R"({"advance":"10m"})");
  EXPECT_TRUE(FindService(world, "apim-weu")->operation.empty());
}

TEST_F(ControlTest, RequestsAreCountedFromWhereOneLeftOff) {
  Start("backup", "apim-weu");
  const Json first = Body(Control("GET", "/_emulator/requests"));
  EXPECT_EQ(first["requests"].size(), 1u) << "reads and tokens are no effects";
  const Json next =
      Body(Control("GET", absl::StrCat("/_emulator/requests?after=", first["next"].get<int>())));
  EXPECT_TRUE(next["requests"].empty());
  EXPECT_GE(Body(Control("GET", "/_emulator/requests?all=true"))["requests"].size(), 2u);
  Control("DELETE", "/_emulator/requests");
  EXPECT_TRUE(Body(Control("GET", "/_emulator/requests?all=true"))["requests"].empty());
}

TEST_F(ControlTest, AWorldFileIsReadStrictlyWithAllProblemsAtOnce) {
  const absl::StatusOr<World> read = ReadWorld(
      R"({"subscription":"s","resourceGroup":"g","colour":1,
          "services":[{"name":"a","region":"r","sku":"Gold","gateway":{"address":"10.0.0.1"}},
                      {"name":"A","region":"r"}]})",
      now);
  ASSERT_FALSE(read.ok());
  const std::string text(read.status().message());
  EXPECT_NE(text.find("colour: unknown key"), std::string::npos) << text;
  EXPECT_NE(text.find("services[0].sku: found \"Gold\""), std::string::npos) << text;
  EXPECT_NE(text.find("services[0].gateway.address"), std::string::npos) << text;
  EXPECT_NE(text.find("services[1].name"), std::string::npos) << text;
  EXPECT_FALSE(ReadWorldFile("/nonexistent", now).ok());
}

TEST_F(ControlTest, TheWorldFilesOfTheRepositoryAreGood) {
  for (const char* name : {"two-services", "three-services"}) {
    const absl::StatusOr<World> read =
        ReadWorldFile(absl::StrCat(FAILOVER_TESTDATA, "/worlds/", name, ".json"), now);
    EXPECT_TRUE(read.ok()) << read.status();
  }
}

TEST_F(ControlTest, AnotherWorldReplacesThisOneAtTheSameAddresses) {
  std::string text = R"({"subscription":"s","resourceGroup":"g","services":[
      {"name":"apim-weu","region":"westeurope","gateway":{"address":"ADDRESS"}}],
      "neutral":{"host":"neutral.test","address":"127.0.1.9"}})";
  const std::string wrong = absl::StrReplaceAll(text, {{"ADDRESS", "127.0.1.7"}});
  EXPECT_EQ(Control("PUT", "/_emulator/world", wrong).status, 400);
  EXPECT_EQ(world.services.size(), 2u);
  const std::string right = absl::StrReplaceAll(text, {{"ADDRESS", "127.0.1.1"}});
  EXPECT_EQ(Control("PUT", "/_emulator/world", right).status, 200);
  EXPECT_EQ(world.services.size(), 1u);
}

TEST_F(ControlTest, AGatewayModeMayHoldForOneProbeRegion) {
  Control("PATCH", "/_emulator/gateways/apim-weu", R"({"mode":"hang","region":"uksouth"})");
  GatewayView view = ViewOfService(world, *FindService(world, "apim-weu"));
  EXPECT_EQ(BehaviorFor(view, "127.0.2.3").mode, "hang");
  EXPECT_EQ(BehaviorFor(view, "127.0.2.1").mode, "ok");
  EXPECT_EQ(BehaviorFor(view, "127.0.0.1").mode, "ok");
  Control("PATCH", "/_emulator/gateways/apim-weu", R"({"mode":"status"})");
  view = ViewOfService(world, *FindService(world, "apim-weu"));
  EXPECT_EQ(BehaviorFor(view, "127.0.2.3").mode, "status");
}

TEST_F(ControlTest, AGatewayAnswersByHostPathAndMode) {
  Service& service = *FindService(world, "apim-weu");
  const auto ask = [&](const std::string& path, const std::string& host) {
    return AnswerGateway(ViewOfService(world, service), Make("GET", path, "", {{"Host", host}}));
  };
  const Answer good = ask("/status-0123456789abcdef", "api.contoso.test:8443");
  EXPECT_EQ(good.status, 200);
  EXPECT_EQ(good.Header("x-served-by"), "apim-weu");
  EXPECT_EQ(ask("/status-0123456789abcdef", "apim-weu.azure-api.net").status, 200);
  EXPECT_EQ(ask("/status-0123456789abcdef", "other.test").status, 404);
  EXPECT_EQ(ask("/nothing", "api.contoso.test").status, 404);
  EXPECT_EQ(ask("/config-version", "api.contoso.test").body, Version("apim-weu"));
  Control("PATCH", "/_emulator/gateways/apim-weu", R"({"mode":"status","status":502})");
  EXPECT_EQ(ask("/status-0123456789abcdef", "api.contoso.test").status, 502);
}

TEST_F(ControlTest, AStaleGatewayKeepsTheVersionItHad) {
  const std::string before = Version("apim-weu");
  Control("PATCH", "/_emulator/gateways/apim-weu", R"({"stale":true})");
  Control("PUT", "/_emulator/services/apim-weu/entities/namedValues/x", R"({"value":"1"})");
  EXPECT_EQ(ViewOfService(world, *FindService(world, "apim-weu")).version, before);
  Control("PATCH", "/_emulator/gateways/apim-weu", R"({"stale":false})");
  EXPECT_EQ(ViewOfService(world, *FindService(world, "apim-weu")).version, Version("apim-weu"));
}

TEST_F(ControlTest, AGatewayMaySufferDuringARestoreWhenSwitched) {
  Finished(Start("backup", "apim-weu"));
  Start("restore", "apim-neu");
  const Service& target = *FindService(world, "apim-neu");
  EXPECT_EQ(ViewOfService(world, target).all.mode, "ok");
  Control("PATCH", "/_emulator/switches", R"({"gatewayDuringRestore":"cut"})");
  EXPECT_EQ(ViewOfService(world, target).all.mode, "cut");
  now += absl::Hours(1);
  Advance(world, now);
  EXPECT_EQ(ViewOfService(world, target).all.mode, "ok");
}

TEST_F(ControlTest, HttpRequestsAreReadInAnyPieces) {
  const std::string text =
      "POST /a/b==?x=1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
      "3\r\nabc\r\n2;q=1\r\nde\r\n0\r\n\r\n";
  IncomingRequest incoming;
  for (size_t n = 0; n < text.size(); ++n) {
    EXPECT_EQ(ParseRequest(absl::string_view(text).substr(0, n), 100, incoming), Parsed::kNeedMore)
        << n;
  }
  ASSERT_EQ(ParseRequest(text + "GET", 100, incoming), Parsed::kDone);
  EXPECT_EQ(incoming.request.path, "/a/b==");
  EXPECT_EQ(incoming.request.query, "x=1");
  EXPECT_EQ(incoming.request.body, "abcde");
  EXPECT_EQ(incoming.consumed, text.size());
  EXPECT_TRUE(incoming.keep_alive);
}

TEST_F(ControlTest, BadHttpRequestsAreRefused) {
  IncomingRequest incoming;
  EXPECT_EQ(ParseRequest("nonsense\r\n\r\n", 100, incoming), Parsed::kBad);
  EXPECT_EQ(ParseRequest("GET / HTTP/2\r\n\r\n", 100, incoming), Parsed::kBad);
  EXPECT_EQ(ParseRequest("GET / HTTP/1.1\r\nno colon\r\n\r\n", 100, incoming), Parsed::kBad);
  EXPECT_EQ(ParseRequest("PUT / HTTP/1.1\r\nContent-Length: 101\r\n\r\n", 100, incoming),
            Parsed::kTooLarge);
  EXPECT_EQ(ParseRequest("PUT / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 100, incoming),
            Parsed::kBad);
  EXPECT_EQ(ParseRequest(std::string(70000, 'a'), 100, incoming), Parsed::kTooLarge);
}

}  // namespace
}  // namespace failover::emulator
