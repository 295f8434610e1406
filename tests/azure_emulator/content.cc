#include "tests/azure_emulator/content.h"

#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace failover::emulator {
namespace {

constexpr std::array<absl::string_view, 16> kDomains = {
    "orders",  "customers", "payments", "catalogue", "stock",  "shipping", "returns",  "invoices",
    "pricing", "loyalty",   "reviews",  "search",    "stores", "staff",    "identity", "documents"};
constexpr std::array<absl::string_view, 5> kVerbs = {"GET", "POST", "PUT", "DELETE", "PATCH"};
constexpr std::array<absl::string_view, 5> kVerbNames = {"read", "create", "replace", "remove",
                                                         "change"};

// Draws independent of the world's own generator: equal on every service.
class Draw {
 public:
  explicit Draw(uint64_t seed) : random_(seed) {}
  int Below(int n) { return static_cast<int>(random_() % static_cast<uint64_t>(n)); }
  std::string Key() { return absl::StrFormat("%016x%016x", random_(), random_()); }

 private:
  std::mt19937_64 random_;
};

std::string Policy(absl::string_view inbound) {
  return absl::StrCat("<policies>\r\n  <inbound>\r\n    <base />\r\n", inbound,
                      "  </inbound>\r\n  <backend>\r\n    <base />\r\n  </backend>\r\n",
                      "  <outbound>\r\n    <base />\r\n  </outbound>\r\n",
                      "  <on-error>\r\n    <base />\r\n  </on-error>\r\n</policies>");
}

Json PolicyProperties(const std::string& xml) { return {{"format", "xml"}, {"value", xml}}; }

// A filler bound to one service, so that a line of content is a line of code.
class Filler {
 public:
  Filler(World& world, Service& service, absl::Time now)
      : world_(world), service_(service), now_(now) {}
  void operator()(const std::string& path, Json properties) {
    PutEntity(world_, service_, path, std::move(properties), now_);
  }
  std::string Scope(absl::string_view path) const { return absl::StrCat("/", path); }

 private:
  World& world_;
  Service& service_;
  absl::Time now_;
};

void PutPristine(Filler& put) {
  put("policies/policy",
      PolicyProperties("<policies>\r\n  <inbound />\r\n  <backend>\r\n    <forward-request />\r\n"
                       "  </backend>\r\n  <outbound />\r\n</policies>"));
  for (const absl::string_view group : {"administrators", "developers", "guests"}) {
    put(absl::StrCat("groups/", group), {{"displayName", std::string(group)},
                                         {"description", "Built-in group."},
                                         {"builtIn", true},
                                         {"type", "system"}});
  }
  put("users/1",
      {{"firstName", "Administrator"},
       {"lastName", ""},
       {"email", "admin@contoso.com"},
       {"state", "active"},
       {"identities", Json::array({{{"provider", "Azure"}, {"id", "admin@contoso.com"}}})}});
  put("groups/administrators/users/1", Json::object());
  put("groups/developers/users/1", Json::object());
  put("apis/echo-api", {{"displayName", "Echo API"},
                        {"apiRevision", "1"},
                        {"description", nullptr},
                        {"serviceUrl", "http://echoapi.cloudapp.net/api"},
                        {"path", "echo"},
                        {"protocols", {"https"}},
                        {"isCurrent", true}});
  for (const absl::string_view name :
       {"create-resource", "modify-resource", "remove-resource", "retrieve-header-only",
        "retrieve-resource", "retrieve-resource-cached"}) {
    put(absl::StrCat("apis/echo-api/operations/", name),
        {{"displayName", std::string(name)}, {"method", "GET"}, {"urlTemplate", "/resource"}});
  }
  for (const bool starter : {true, false}) {
    const std::string name = starter ? "starter" : "unlimited";
    put(absl::StrCat("products/", name), {{"displayName", starter ? "Starter" : "Unlimited"},
                                          {"description", "Comes with the service."},
                                          {"subscriptionRequired", true},
                                          {"approvalRequired", !starter},
                                          {"subscriptionsLimit", 1},
                                          {"state", "published"}});
    put(absl::StrCat("products/", name, "/apis/echo-api"), Json::object());
    for (const absl::string_view group : {"administrators", "developers", "guests"}) {
      put(absl::StrCat("products/", name, "/groups/", group), Json::object());
    }
  }
  put("products/starter/policies/policy",
      PolicyProperties(Policy("    <rate-limit calls=\"5\" renewal-period=\"60\" />\r\n")));
}

void PutPristineSubscriptions(Filler& put, Draw& draw) {
  put("subscriptions/master", {{"scope", "/"},
                               {"displayName", "Built-in all-access subscription"},
                               {"state", "active"},
                               {"primaryKey", draw.Key()},
                               {"secondaryKey", draw.Key()},
                               {"allowTracing", true}});
  for (const absl::string_view product : {"starter", "unlimited"}) {
    put(absl::StrCat("subscriptions/", product, "-admin"),
        {{"scope", absl::StrCat("/products/", product)},
         {"ownerId", "/users/1"},
         {"displayName", nullptr},
         {"state", "active"},
         {"primaryKey", draw.Key()},
         {"secondaryKey", draw.Key()}});
  }
}

void PutApi(Filler& put, Draw& draw, int number) {
  const absl::string_view domain = kDomains[number % kDomains.size()];
  const int version = number / static_cast<int>(kDomains.size()) + 1;
  const std::string id = version == 1 ? std::string(domain) : absl::StrCat(domain, "-v", version);
  const std::string api = absl::StrCat("apis/", id);
  put(api, {{"displayName", absl::StrCat("Contoso ", domain, " v", version)},
            {"apiRevision", "1"},
            {"description", absl::StrCat("The ", domain, " of Contoso, version ", version, ".")},
            {"serviceUrl", absl::StrCat("https://", domain, ".backend.contoso.test/v", version)},
            {"path", absl::StrCat(domain, "/v", version)},
            {"protocols", {"https"}},
            {"subscriptionRequired", true},
            {"isCurrent", true}});
  put(absl::StrCat(api, "/policies/policy"),
      PolicyProperties(
          Policy(absl::StrFormat("    <rate-limit-by-key calls=\"%d\" renewal-period=\"60\" "
                                 "counter-key=\"@(context.Subscription.Id)\" />\r\n"
                                 "    <set-backend-service backend-id=\"%s\" />\r\n",
                                 60 + 60 * draw.Below(10), domain))));
  const int operations = 3 + draw.Below(5);
  for (int i = 0; i < operations; ++i) {
    const size_t verb = static_cast<size_t>(i) % kVerbs.size();
    const std::string operation =
        absl::StrCat(api, "/operations/", kVerbNames[verb], i < 5 ? "" : "-all");
    put(operation, {{"displayName", absl::StrCat(kVerbNames[verb], " ", domain)},
                    {"method", std::string(kVerbs[verb])},
                    {"urlTemplate", i < 5 && verb != 1 ? "/{id}" : "/"},
                    {"templateParameters",
                     Json::array({{{"name", "id"}, {"type", "string"}, {"required", true}}})},
                    {"responses", Json::array({{{"statusCode", verb == 1 ? 201 : 200}}})}});
    if (draw.Below(4) == 0) {
      put(absl::StrCat(operation, "/policies/policy"),
          PolicyProperties(Policy("    <cache-lookup vary-by-developer=\"false\" "
                                  "vary-by-developer-groups=\"false\" />\r\n")));
    }
  }
  put(absl::StrCat(api, "/schemas/main"),
      {{"contentType", "application/vnd.oai.openapi.components+json"},
       {"document",
        {{"components", {{"schemas", {{std::string(domain), {{"type", "object"}}}}}}}}}});
}

void PutProducts(Filler& put, Draw& draw, int apis) {
  for (const absl::string_view product : {"gold", "silver", "partners", "internal"}) {
    const std::string path = absl::StrCat("products/", product);
    put(path, {{"displayName", absl::StrCat("Contoso ", product)},
               {"description", absl::StrCat("Contract ", product, ".")},
               {"subscriptionRequired", true},
               {"approvalRequired", product == "partners"},
               {"state", "published"}});
    put(absl::StrCat(path, "/policies/policy"),
        PolicyProperties(
            Policy(absl::StrFormat("    <quota calls=\"%d\" renewal-period=\"86400\" />\r\n",
                                   10000 * (1 + draw.Below(50))))));
    put(absl::StrCat(path, "/groups/developers"), Json::object());
    for (int i = 0; i < apis && i < static_cast<int>(kDomains.size()); ++i) {
      if (draw.Below(3) != 0) put(absl::StrCat(path, "/apis/", kDomains[i]), Json::object());
    }
  }
}

void PutSettings(Filler& put, Draw& draw) {
  for (const absl::string_view domain : kDomains) {
    put(absl::StrCat("backends/", domain),
        {{"url", absl::StrCat("https://", domain, ".backend.contoso.test")},
         {"protocol", "http"},
         {"description", absl::StrCat("Backend of ", domain, ".")},
         {"tls", {{"validateCertificateChain", true}, {"validateCertificateName", true}}}});
    put(absl::StrCat("namedValues/", domain, "-url"),
        {{"displayName", absl::StrCat(domain, "-url")},
         {"value", absl::StrCat("https://", domain, ".backend.contoso.test")},
         {"secret", false},
         {"tags", {"urls"}}});
    put(absl::StrCat("namedValues/", domain, "-key"),
        {{"displayName", absl::StrCat(domain, "-key")}, {"value", draw.Key()}, {"secret", true}});
  }
  put("loggers/insights", {{"loggerType", "applicationInsights"},
                           {"description", "Traces of the gateway."},
                           {"credentials", {{"instrumentationKey", draw.Key()}}},
                           {"isBuffered", true}});
  put("diagnostics/applicationinsights",
      {{"alwaysLog", "allErrors"},
       {"loggerId", "/loggers/insights"},
       {"sampling", {{"samplingType", "fixed"}, {"percentage", 10.0}}}});
  put("certificates/backend-client", {{"subject", "CN=apim.contoso.test"},
                                      {"thumbprint", draw.Key()},
                                      {"expirationDate", "2030-01-01T00:00:00Z"},
                                      {"data", draw.Key()},
                                      {"password", draw.Key()}});
  put("tags/public", {{"displayName", "public"}});
  put("policyFragments/trace-headers",
      {{"description", "Passes trace headers on."},
       {"format", "xml"},
       {"value",
        "<fragment>\r\n  <set-header name=\"traceparent\" exists-action=\"skip\" />\r\n"
        "</fragment>"}});
}

void PutPeople(Filler& put, Draw& draw) {
  put("groups/partners", {{"displayName", "Partners"},
                          {"description", "Companies with a contract."},
                          {"builtIn", false},
                          {"type", "custom"}});
  for (int i = 1; i <= 12; ++i) {
    const std::string user = absl::StrCat("dev-", i);
    put(absl::StrCat("users/", user), {{"firstName", absl::StrCat("Developer ", i)},
                                       {"lastName", "Example"},
                                       {"email", absl::StrCat(user, "@partner.contoso.test")},
                                       {"state", "active"}});
    put(absl::StrCat("groups/developers/users/", user), Json::object());
    if (i % 3 == 0) put(absl::StrCat("groups/partners/users/", user), Json::object());
    put(absl::StrCat("subscriptions/sub-", i),
        {{"scope", i % 2 == 0 ? "/products/gold" : "/products/silver"},
         {"ownerId", absl::StrCat("/users/", user)},
         {"displayName", absl::StrCat("Subscription of ", user)},
         {"state", "active"},
         {"primaryKey", draw.Key()},
         {"secondaryKey", draw.Key()}});
  }
}

}  // namespace

void FillPristine(World& world, Service& service, absl::Time now) {
  ClearEntities(service, now);
  Filler put(world, service, now);
  PutPristine(put);
  // Keys differ from service to service.
  Draw draw(std::hash<std::string>{}(service.name) ^ world.seed);
  PutPristineSubscriptions(put, draw);
}

void FillRealistic(World& world, Service& service, uint64_t seed, int apis, absl::Time now) {
  ClearEntities(service, now);
  Filler put(world, service, now);
  Draw draw(seed);
  PutPristine(put);
  PutPristineSubscriptions(put, draw);
  for (int i = 0; i < apis; ++i) PutApi(put, draw, i);
  PutProducts(put, draw, apis);
  PutSettings(put, draw);
  PutPeople(put, draw);
}

absl::Status Fill(World& world, Service& service, const std::string& kind, uint64_t seed, int apis,
                  absl::Time now) {
  if (kind == "pristine") {
    FillPristine(world, service, now);
  } else if (kind == "empty") {
    ClearEntities(service, now);
  } else if (kind == "realistic") {
    FillRealistic(world, service, seed, apis, now);
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat("found kind '", kind, "'; allowed: realistic, pristine, empty"));
  }
  return absl::OkStatus();
}

}  // namespace failover::emulator
