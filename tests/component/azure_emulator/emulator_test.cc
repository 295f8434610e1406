// The emulated Azure through its sockets.
#include "tests/azure_emulator/emulator.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/http_client.h"
#include "gtest/gtest.h"
#include "tests/azure_emulator/world.h"

namespace failover::emulator {
namespace {

constexpr char kStatus[] = "/status-0123456789abcdef";
constexpr char kGroup[] =
    "/subscriptions/00000000-0000-4000-8000-00000000abcd/resourceGroups/contoso-apis/providers/";
constexpr char kBackup[] =
    R"({"storageAccount":"contosodr","containerName":"apim-backups","backupName":"g/b",)"
    R"("accessType":"SystemAssignedManagedIdentity"})";

struct Got {
  CURLcode code = CURLE_OK;
  long status = 0;
  std::string body;
};

size_t Append(char* data, size_t size, size_t count, void* out) {
  static_cast<std::string*>(out)->append(data, size * count);
  return size * count;
}

// One probe on a fresh connection, from `source` if given.
Got Probe(const std::string& url, const std::string& ca_file, const std::string& source = "",
          long timeout_ms = 5000) {
  Got got;
  CURL* curl = curl_easy_init();
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_CAINFO, ca_file.c_str());
  curl_easy_setopt(curl, CURLOPT_PROXY, "");
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, timeout_ms);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, Append);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &got.body);
  if (!source.empty()) curl_easy_setopt(curl, CURLOPT_INTERFACE, source.c_str());
  got.code = curl_easy_perform(curl);
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &got.status);
  curl_easy_cleanup(curl);
  return got;
}

// The rcode and the last four bytes (an address, if one was given) of a UDP answer.
std::pair<int, std::string> Resolve(const std::string& server, const std::string& name) {
  std::string packet("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", 12);
  for (const absl::string_view label : absl::StrSplit(name, '.')) {
    packet.push_back(static_cast<char>(label.size()));
    absl::StrAppend(&packet, label);
  }
  packet += std::string("\0\0\x01\0\x01", 5);
  const std::vector<std::string> parts = absl::StrSplit(server, ':');
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(std::stoi(parts[1])));
  inet_pton(AF_INET, parts[0].c_str(), &address.sin_addr);
  const int fd = socket(AF_INET, SOCK_DGRAM, 0);
  sendto(fd, packet.data(), packet.size(), 0, reinterpret_cast<sockaddr*>(&address),
         sizeof(address));
  pollfd waiting{fd, POLLIN, 0};
  char buffer[512];
  const ssize_t n = poll(&waiting, 1, 5000) == 1 ? recv(fd, buffer, sizeof(buffer), 0) : -1;
  close(fd);
  if (n < 12) return {-1, ""};
  char text[INET_ADDRSTRLEN] = "";
  inet_ntop(AF_INET, buffer + n - 4, text, sizeof(text));
  return {buffer[3] & 0x0f, text};
}

class EmulatorTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = MakeDirectory();
    EmulatorOptions options;
    options.directory = directory_;
    emulator_ = Start(options);
    ASSERT_NE(emulator_, nullptr);
    client_ = NewCurlHttpClient({.ca_file = At().ca_file, .user_agent = "", .stop = {}});
  }
  void TearDown() override {
    emulator_.reset();
    for (const std::string& directory : directories_) std::filesystem::remove_all(directory);
  }

  std::string MakeDirectory() {
    std::string name = absl::StrCat(testing::TempDir(), "emulator-XXXXXX");
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    directories_.push_back(name);
    return name;
  }
  static std::string WorldFile() {
    return absl::StrCat(FAILOVER_TESTDATA, "/worlds/two-services.json");
  }
  static std::unique_ptr<Emulator> Start(EmulatorOptions options) {
    absl::StatusOr<std::unique_ptr<Emulator>> started =
        Emulator::StartFile(WorldFile(), std::move(options));
    EXPECT_TRUE(started.ok()) << started.status();
    return started.ok() ? *std::move(started) : nullptr;
  }
  const Endpoints& At() { return emulator_->endpoints(); }
  std::string GatewayUrl(const std::string& service, const std::string& path = kStatus) {
    return absl::StrCat("https://", At().gateways.at(service).address, ":", At().gateway_port,
                        path);
  }
  Got ProbeGateway(const std::string& service, const std::string& source = "",
                   long timeout_ms = 5000) {
    return Probe(GatewayUrl(service), At().ca_file, source, timeout_ms);
  }
  void Order(const std::string& path, const std::string& body) {
    const Emulator::Result result = emulator_->Control("PATCH", "/_emulator/" + path, body);
    ASSERT_EQ(result.status, 200) << result.body;
  }
  void Fault(const std::string& rule) {
    const Emulator::Result result = emulator_->Control("POST", "/_emulator/faults", rule);
    ASSERT_EQ(result.status, 200) << result.body;
  }

  static std::string Token(HttpClient& client, const Endpoints& at) {
    HttpRequest request;
    request.method = "POST";
    request.url = at.authority + "/00000000-0000-4000-8000-0000000000aa/oauth2/v2.0/token";
    request.headers = {{"Content-Type", "application/x-www-form-urlencoded"}};
    request.body =
        "grant_type=client_credentials&client_id=00000000-0000-4000-8000-0000000000c1&"
        "client_secret=not-a-secret-only-for-the-emulator&"
        "scope=https%3A%2F%2Fmanagement.azure.com%2F.default";
    const HttpResult result = client.Send(request);
    EXPECT_TRUE(result.response.has_value()) << result.error;
    Json json;
    if (!result.response || !ParseJson(result.response->body, json).ok()) return "";
    return json.value("access_token", "");
  }
  HttpResult Arm(const std::string& method, const std::string& url, const std::string& body = "",
                 absl::Duration timeout = absl::Seconds(10)) {
    if (token_.empty()) token_ = Token(*client_, At());
    HttpRequest request;
    request.method = method;
    request.url = absl::StartsWith(url, "https://")
                      ? url
                      : absl::StrCat(At().arm, kGroup, url, "?api-version=2022-08-01");
    request.headers = {{"Authorization", "Bearer " + token_}, {"Content-Type", "application/json"}};
    request.body = body;
    request.timeout = timeout;
    return client_->Send(request);
  }
  static std::string Service(const std::string& name, const std::string& below = "") {
    return absl::StrCat("Microsoft.ApiManagement/service/", name, below);
  }

  std::string directory_, token_;
  std::vector<std::string> directories_;
  std::unique_ptr<Emulator> emulator_;
  std::unique_ptr<HttpClient> client_;
};

TEST_F(EmulatorTest, ArmIsReachedOverHttpsWithItsOwnCaOnly) {
  const HttpResult result = Arm("GET", Service("apim-weu"));
  ASSERT_TRUE(result.response.has_value()) << result.error;
  EXPECT_EQ(result.response->status, 200);
  EXPECT_TRUE(absl::StrContains(result.response->body, "\"West Europe\""));
  auto stranger = NewCurlHttpClient({.ca_file = "", .user_agent = "", .stop = {}});
  HttpRequest request;
  request.url = At().arm;
  EXPECT_FALSE(stranger->Send(request).response.has_value());
}

TEST_F(EmulatorTest, BackupAndRestoreRunOverTheWireWithTheRawLocation) {
  for (const auto& [service, verb] : {std::pair("apim-weu", "backup"), {"apim-neu", "restore"}}) {
    const HttpResult accepted = Arm("POST", Service(service, absl::StrCat("/", verb)), kBackup);
    ASSERT_TRUE(accepted.response.has_value()) << accepted.error;
    ASSERT_EQ(accepted.response->status, 202) << accepted.response->body;
    const std::string location(accepted.response->Header("location"));
    EXPECT_TRUE(absl::StrContains(location, "=?api-version")) << location;
    EXPECT_EQ(Arm("GET", location).response->status, 202);
    Order("clock", R"({"advance":"1m"})");
    EXPECT_EQ(Arm("GET", location).response->status, 200);
  }
  emulator_->With([](World& world, absl::Time) {
    EXPECT_EQ(FindService(world, "apim-weu")->ConfigurationVersion(),
              FindService(world, "apim-neu")->ConfigurationVersion());
  });
}

TEST_F(EmulatorTest, SpoiltAnswersAreErrorsOfTheTransport) {
  // Hit every time: libcurl may send a GET again when a reused connection dies.
  for (const char* action : {"reset", "truncate"}) {
    emulator_->Control("DELETE", "/_emulator/faults");
    Fault(absl::StrCat(R"({"operation":"getService","action":")", action, R"("})"));
    const HttpResult result = Arm("GET", Service("apim-weu"));
    EXPECT_FALSE(result.response.has_value()) << action;
    EXPECT_TRUE(result.maybe_sent);
  }
  emulator_->Control("DELETE", "/_emulator/faults");
  Fault(R"({"operation":"getService","times":1,"action":"silence"})");
  EXPECT_FALSE(Arm("GET", Service("apim-weu"), "", absl::Milliseconds(300)).response.has_value());
  Fault(R"({"operation":"getService","times":1,"action":"slow","delay":"200ms"})");
  const absl::Time start = absl::Now();
  EXPECT_EQ(Arm("GET", Service("apim-weu")).response->status, 200);
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(200));
}

TEST_F(EmulatorTest, ALostAnswerToABackupIsSeenByTheClientAndTheOperationRunsOnce) {
  Arm("GET", Service("apim-weu"));  // opens the connection
  Fault(R"({"operation":"backup","action":"reset","after":true,"times":1})");
  const HttpResult result = Arm("POST", Service("apim-weu", "/backup"), kBackup);
  const Emulator::Result log = emulator_->Control("GET", "/_emulator/requests");
  Json json;
  ASSERT_TRUE(ParseJson(log.body, json).ok());
  EXPECT_FALSE(result.response.has_value());
  ASSERT_EQ(json["requests"].size(), 1u) << "sent again behind the caller's back: " << log.body;
  EXPECT_EQ(json["requests"][0]["applied"], true);
  EXPECT_EQ(json["requests"][0]["answerLost"], true);
}

TEST_F(EmulatorTest, AGatewayShowsEveryModeToItsProbes) {
  EXPECT_EQ(ProbeGateway("apim-weu").body, "Service Operational");
  Order("gateways/apim-weu", R"({"mode":"cut"})");
  EXPECT_EQ(ProbeGateway("apim-weu").code, CURLE_COULDNT_CONNECT);
  Order("gateways/apim-weu", R"({"mode":"reset"})");
  EXPECT_NE(ProbeGateway("apim-weu").code, CURLE_OK);
  for (const char* mode : {"hang", "tlsHang", "slowBody"}) {
    Order("gateways/apim-weu", absl::StrCat(R"({"mode":")", mode, R"("})"));
    EXPECT_EQ(ProbeGateway("apim-weu", "", 300).code, CURLE_OPERATION_TIMEDOUT) << mode;
  }
  Order("gateways/apim-weu", R"({"mode":"status","status":502})");
  EXPECT_EQ(ProbeGateway("apim-weu").status, 502);
  Order("gateways/apim-weu", R"({"mode":"wrongBody"})");
  EXPECT_TRUE(absl::StrContains(ProbeGateway("apim-weu").body, "Parked"));
  Order("gateways/apim-weu", R"({"mode":"slow","delay":"150ms"})");
  const absl::Time start = absl::Now();
  EXPECT_EQ(ProbeGateway("apim-weu").status, 200);
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(150));
  Order("gateways/apim-weu", R"({"mode":"ok"})");
  EXPECT_EQ(ProbeGateway("apim-weu").status, 200);
}

TEST_F(EmulatorTest, AModeMayHoldForOneProbeRegionOnly) {
  Order("gateways/apim-weu", R"({"mode":"cut","region":"uksouth"})");
  EXPECT_NE(ProbeGateway("apim-weu", "127.0.2.3").code, CURLE_OK);
  EXPECT_EQ(ProbeGateway("apim-weu", "127.0.2.1").status, 200);
  EXPECT_EQ(ProbeGateway("apim-weu").status, 200);
}

TEST_F(EmulatorTest, AHungGatewayDelaysNoOther) {
  Order("gateways/apim-weu", R"({"mode":"hang"})");
  std::vector<std::thread> stuck;
  for (int i = 0; i < 20; ++i) {
    stuck.emplace_back([this] { (void)ProbeGateway("apim-weu", "", 1500); });
  }
  EXPECT_EQ(ProbeGateway("apim-neu", "", 1000).status, 200);
  EXPECT_EQ(Arm("GET", Service("apim-weu"), "", absl::Seconds(1)).response->status, 200);
  for (std::thread& thread : stuck) thread.join();
}

TEST_F(EmulatorTest, CertificatesCanBeWrongInThreeWays) {
  for (const char* mode : {"wrongName", "expired", "selfSigned"}) {
    Order("gateways/apim-weu", absl::StrCat(R"({"certificate":")", mode, R"("})"));
    EXPECT_EQ(ProbeGateway("apim-weu").code, CURLE_PEER_FAILED_VERIFICATION) << mode;
  }
  Order("gateways/apim-weu", R"({"certificate":"good"})");
  EXPECT_EQ(ProbeGateway("apim-weu").status, 200);
}

TEST_F(EmulatorTest, ThePublicNameFollowsTrafficManager) {
  EXPECT_EQ(Resolve(At().dns, "api.contoso.test"), std::pair(0, std::string("127.0.1.1")));
  EXPECT_EQ(Resolve(At().dns, "nope.test").first, 3);
  const HttpResult patched =
      Arm("PATCH", "Microsoft.Network/trafficManagerProfiles/contoso-api/externalEndpoints/neu",
          R"({"properties":{"endpointStatus":"Enabled"}})");
  ASSERT_TRUE(patched.response.has_value()) << patched.error;
  ASSERT_EQ(patched.response->status, 200) << patched.response->body;
  Order("gateways/apim-weu", R"({"mode":"cut"})");
  Order("trafficManagerProfiles/contoso-api", R"({"endpoints":{"weu":{"enabled":false}}})");
  const absl::Time deadline = absl::Now() + absl::Seconds(10);
  while (Resolve(At().dns, "api.contoso.test").second != "127.0.1.2") {
    ASSERT_LT(absl::Now(), deadline) << "the change did not reach the name server";
    poll(nullptr, 0, 20);
  }
}

TEST_F(EmulatorTest, BackupsMayLiveInAnotherBlobService) {
  EmulatorOptions options;
  options.directory = MakeDirectory();
  options.external_blobs = At().blob;
  options.external_blobs_ca = At().ca_file;
  std::unique_ptr<Emulator> other = Start(options);
  ASSERT_NE(other, nullptr);
  client_ =
      NewCurlHttpClient({.ca_file = other->endpoints().ca_file, .user_agent = "", .stop = {}});
  std::swap(emulator_, other);  // from here on `other` is the blob service
  for (const auto& [service, verb] : {std::pair("apim-weu", "backup"), {"apim-neu", "restore"}}) {
    const HttpResult accepted = Arm("POST", Service(service, absl::StrCat("/", verb)), kBackup);
    ASSERT_TRUE(accepted.response.has_value()) << accepted.error;
    ASSERT_EQ(accepted.response->status, 202) << accepted.response->body;
    Order("clock", R"({"advance":"1m"})");
    const std::string location(accepted.response->Header("location"));
    const HttpResult done = Arm("GET", location);
    EXPECT_EQ(done.response->status, 200) << done.response->body;
  }
  other->With([](World& world, absl::Time) {
    EXPECT_NE(world.memory.Find("contosodr", "apim-backups", "g/b"), nullptr);
  });
  emulator_->With([](World& world, absl::Time) {
    EXPECT_EQ(world.memory.Find("contosodr", "apim-backups", "g/b"), nullptr);
    EXPECT_EQ(FindService(world, "apim-weu")->ConfigurationVersion(),
              FindService(world, "apim-neu")->ConfigurationVersion());
  });
}

TEST_F(EmulatorTest, TheControlApiListensOnPlainHttp) {
  const Got got = Probe(At().control + "/_emulator/status", "");
  EXPECT_EQ(got.status, 200);
  EXPECT_TRUE(absl::StrContains(got.body, "apim-neu"));
}

TEST_F(EmulatorTest, EndpointsAreWrittenForOtherPrograms) {
  std::ifstream file(directory_ + "/endpoints.json");
  const Json json = Json::parse(file);
  EXPECT_EQ(json["arm"], At().arm);
  EXPECT_EQ(json["authority"], At().arm);
  EXPECT_EQ(json["blob"], At().blob);
  EXPECT_EQ(json["control"], At().control);
  EXPECT_EQ(json["dns"], At().dns);
  EXPECT_EQ(json["gatewayPort"], At().gateway_port);
  EXPECT_EQ(json["publicName"], "api.contoso.test");
  EXPECT_EQ(json["gateways"]["apim-weu"]["address"], "127.0.1.1");
  EXPECT_EQ(json["caFile"], directory_ + "/ca.pem");
}

TEST_F(EmulatorTest, AStartThatCannotWorkSaysWhy) {
  EmulatorOptions options;
  options.directory = MakeDirectory();
  options.arm = At().arm.substr(8);  // taken
  EXPECT_TRUE(
      absl::StrContains(Emulator::StartFile(WorldFile(), options).status().message(), options.arm));
  options.arm = "nonsense";
  EXPECT_TRUE(absl::StrContains(Emulator::StartFile(WorldFile(), options).status().message(),
                                "'nonsense'"));
  options.arm = "127.0.0.1:0";
  options.external_blobs = "http://127.0.0.1:1";
  EXPECT_FALSE(Emulator::StartFile(WorldFile(), options).ok());
  EXPECT_FALSE(Emulator::StartFile("/nonexistent.json", options).ok());
}

TEST(EmulatorProgram, PrintsReadyAndEndsOnSigterm) {
  std::string directory = absl::StrCat(testing::TempDir(), "program-XXXXXX");
  ASSERT_NE(mkdtemp(directory.data()), nullptr);
  const std::string program = absl::StrCat(FAILOVER_BIN, "/azure-emulator");
  const std::string world = absl::StrCat(FAILOVER_TESTDATA, "/worlds/three-services.json");
  int out[2];
  ASSERT_EQ(pipe(out), 0);
  const pid_t child = fork();
  if (child == 0) {
    dup2(out[1], STDOUT_FILENO);
    execl(program.c_str(), program.c_str(), "--world", world.c_str(), "--directory",
          directory.c_str(), nullptr);
    _exit(127);
  }
  close(out[1]);
  std::string text;
  char c = 0;
  while (text.find('\n') == std::string::npos && read(out[0], &c, 1) == 1) text.push_back(c);
  EXPECT_EQ(text, "ready\n");
  EXPECT_TRUE(std::filesystem::exists(directory + "/endpoints.json"));
  kill(child, SIGTERM);
  int status = 0;
  waitpid(child, &status, 0);
  close(out[0]);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace failover::emulator
