#include "tests/kubernetes_stub/real_server.h"

#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/config_file.h"
#include "common/tls.h"
#include "nlohmann/json.hpp"

namespace failover {

const char kNoRealServer[] =
    "no real API server: KUBEBUILDER_ASSETS is not set (tests/kubernetes_stub/real_server.py)";

const RealServer* RealServerOfTests() {
  static const RealServer* const server = []() -> const RealServer* {
    const char* const file = std::getenv("FAILOVER_TEST_API_SERVER");
    if (file == nullptr) return nullptr;
    const absl::StatusOr<std::string> text = ReadSmallFile(file);
    if (!text.ok()) return nullptr;
    const nlohmann::json json = nlohmann::json::parse(*text);
    auto* const found = new RealServer;
    json.at("url").get_to(found->url);
    json.at("caFile").get_to(found->ca_file);
    json.at("tokenFile").get_to(found->token_file);
    json.at("adminToken").get_to(found->admin_token);
    found->token = ReadSecretFile(found->token_file).value();
    return found;
  }();
  return server;
}

RealServerClient::RealServerClient(const RealServer& server, std::stop_token stop)
    : server_(server), http_(NewCurlHttpClient({server.ca_file, "", std::move(stop)})) {}

HttpResponse RealServerClient::Send(const Request& request) {
  HttpRequest sent;
  sent.method = request.method;
  sent.url = absl::StrCat(server_.url, request.path);
  sent.headers = {{"Authorization", absl::StrCat("Bearer ", request.as_admin ? server_.admin_token
                                                                             : server_.token)}};
  if (!request.accept.empty()) sent.headers.emplace_back("Accept", request.accept);
  if (!request.content_type.empty())
    sent.headers.emplace_back("Content-Type", request.content_type);
  sent.body = request.body;
  sent.on_body = request.on_body;
  if (sent.on_body) sent.timeout = absl::Hours(1);  // a watch; the server ends it
  HttpResult result = http_->Send(sent);
  if (result.response.has_value()) return *std::move(result.response);
  HttpResponse none;
  none.status = 503;
  none.body = result.error.ToString();
  return none;
}

void RealServerClient::Clear(const std::string& name_space) {
  for (const char* collection :
       {"/apis/coordination.k8s.io/v1/namespaces/$/leases", "/api/v1/namespaces/$/configmaps",
        "/api/v1/namespaces/$/events"}) {
    std::string path = collection;
    path.replace(path.find('$'), 1, name_space);
    const HttpResponse answer = Send({"DELETE", path, "", "", "", true, nullptr});
    EXPECT_EQ(answer.status, 200) << path << ": " << answer.body;
  }
}

std::string NameOf(const testing::TestParamInfo<ServerKind>& kind) {
  return kind.param == ServerKind::kReal ? "RealServer" : "Stub";
}

}  // namespace failover
