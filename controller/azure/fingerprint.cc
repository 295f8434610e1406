#include "controller/azure/fingerprint.h"

#include <functional>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "controller/azure/arm.h"
#include "controller/azure/url_text.h"
#include "nlohmann/json.hpp"

namespace failover::azure {
namespace {

constexpr int kTries = 4;
constexpr int kMaxPages = 5000;
constexpr size_t kMaxEntities = 200'000;
constexpr char kKeptInPath[] = ";=:@!$'()*,";  // "apis/orders;rev=2"

// One read of one service; `failure` ends it.
class Reader {
 public:
  Reader(Lane& lane, std::string resource_id) : lane_(lane), id_(std::move(resource_id)) {}

  ConfigurationRead Run() {
    ReadApis();
    ReadProducts();
    ReadGroups();
    for (const char* kind :
         {"namedValues", "backends", "subscriptions", "users", "certificates", "loggers"}) {
      List(kind, false, [&](const std::string& name, const Json& item) { Add(kind, name, item); });
    }
    // Not known to every api-version: a 404 means that there are none.
    for (const char* kind : {"apiVersionSets", "policyFragments", "tags", "diagnostics"}) {
      List(kind, true, [&](const std::string& name, const Json& item) { Add(kind, name, item); });
    }
    ReadPolicy("", "service");
    read_.pristine = read_.result.status == core::CallStatus::kOk && IsPristine(read_.entities);
    return std::move(read_);
  }

 private:
  using Visit = std::function<void(const std::string& name, const Json& item)>;

  bool failed() const { return read_.result.status != core::CallStatus::kOk; }
  void Fail(core::CallResult result) {
    if (!failed()) read_.result = std::move(result);
  }

  void Add(absl::string_view kind, absl::string_view names, const Json& item) {
    const std::string id = absl::AsciiStrToLower(names);
    read_.entities[absl::StrCat(kind, "/", id)] = Canonical(kind, item, id_);
    if (read_.entities.size() > kMaxEntities) {
      Fail(Failure(absl::StrCat("the service has more than ", kMaxEntities,
                                " entities; allowed: at most that many")));
    }
  }

  // nullopt when it cannot be read (failed) or is not there (`missing_ok`).
  std::optional<Json> Get(const std::string& url, const char* operation, bool missing_ok) {
    if (failed()) return std::nullopt;
    if (!lane_.data().verify_reads.Wait(lane_.clock(), lane_.stop())) {
      Fail(Failure("stopped"));
      return std::nullopt;
    }
    const Sent sent = lane_.Arm(ArmRequest("GET", url, ""),
                                {.api = "apim", .operation = operation, .id = "", .tries = kTries});
    if (missing_ok && sent.response.has_value() && sent.response->status == 404)
      return std::nullopt;
    if (core::CallResult result = ResultOfRead(sent); result.status != core::CallStatus::kOk) {
      Fail(std::move(result));
      return std::nullopt;
    }
    absl::StatusOr<Json> body = ParseJson(sent.response->body);
    if (!body.ok()) {
      Fail(Failure(
          absl::StrCat("GET ", url.substr(0, url.find('?')), ": ", body.status().message())));
      return std::nullopt;
    }
    return *std::move(body);
  }

  std::string Url(absl::string_view path) const {
    return ArmUrl(lane_.options().arm_endpoint, absl::StrCat(id_, "/", path),
                  lane_.options().api_version);
  }

  void Malformed(absl::string_view path, absl::string_view what) {
    Fail(Failure(absl::StrCat("the list ", path, " of ", id_, ": ", what)));
  }

  // Every item of a collection, over all its pages.
  void List(const std::string& path, bool missing_ok, const Visit& visit) {
    std::string url = Url(path);
    for (int page = 0; !url.empty(); ++page) {
      if (page >= kMaxPages)
        return Malformed(path, absl::StrCat("found more than ", kMaxPages, " pages"));
      const std::optional<Json> body = Get(url, "list_entities", missing_ok);
      if (!body.has_value()) return;
      const Json& items = At(*body, {"value"});
      if (!items.is_array()) return Malformed(path, "found no array \"value\"");
      for (const Json& item : items) {
        const std::string name = TextAt(item, {"name"});
        if (name.empty()) return Malformed(path, "found an entity without a name");
        visit(name, item);
        if (failed()) return;
      }
      const std::string next = TextAt(*body, {"nextLink"});
      if (next.empty()) return;
      absl::StatusOr<std::string> ours = OnArmHost(lane_.options().arm_endpoint, next);
      if (!ours.ok())
        return Malformed(path, absl::StrCat("the next page is refused: ", ours.status().message()));
      url = *std::move(ours);
    }
  }

  std::vector<std::string> Names(const std::string& path) {
    std::vector<std::string> names;
    List(path, true, [&](const std::string& name, const Json&) { names.push_back(name); });
    return names;
  }

  static std::string Escaped(absl::string_view name) { return PercentEncoded(name, kKeptInPath); }

  // `path` ends with '/' or is empty.
  void ReadPolicy(absl::string_view path, absl::string_view names) {
    const std::optional<Json> policy =
        Get(Url(absl::StrCat(path, "policies/policy?format=rawxml")), "get_policy", true);
    if (policy.has_value()) Add("policies", names, *policy);
  }

  void ReadApis() {
    std::vector<std::string> apis;
    List("apis", false, [&](const std::string& name, const Json& item) {
      Add("apis", name, item);
      apis.push_back(name);
    });
    for (const std::string& api : apis) {
      const std::string path = absl::StrCat("apis/", Escaped(api), "/");
      ReadPolicy(path, absl::StrCat("apis/", api));
      std::vector<std::string> operations;
      List(absl::StrCat(path, "operations"), true, [&](const std::string& name, const Json& item) {
        Add("operations", absl::StrCat(api, "/", name), item);
        operations.push_back(name);
      });
      for (const std::string& operation : operations) {
        ReadPolicy(absl::StrCat(path, "operations/", Escaped(operation), "/"),
                   absl::StrCat("apis/", api, "/operations/", operation));
      }
    }
  }

  void ReadProducts() {
    std::vector<std::string> products;
    List("products", false, [&](const std::string& name, const Json& item) {
      Add("products", name, item);
      products.push_back(name);
    });
    for (const std::string& product : products) {
      const std::string path = absl::StrCat("products/", Escaped(product), "/");
      ReadPolicy(path, absl::StrCat("products/", product));
      for (const char* linked : {"apis", "groups"}) {
        for (const std::string& name : Names(absl::StrCat(path, linked))) {
          Add("products", absl::StrCat(product, "/", linked, "/", name), Json::object());
        }
      }
    }
  }

  void ReadGroups() {
    std::vector<std::string> groups;
    List("groups", false, [&](const std::string& name, const Json& item) {
      Add("groups", name, item);
      groups.push_back(name);
    });
    for (const std::string& group : groups) {
      for (const std::string& user : Names(absl::StrCat("groups/", Escaped(group), "/users"))) {
        Add("groups", absl::StrCat(group, "/users/", user), Json::object());
      }
    }
  }

  Lane& lane_;
  const std::string id_;
  ConfigurationRead read_;
};

}  // namespace

ConfigurationRead ReadConfiguration(Lane& lane, const GroupEntry& group,
                                    const std::string& resource_id) {
  ConfigurationRead read = Reader(lane, resource_id).Run();
  std::erase_if(read.entities, [&](const auto& entry) { return group.Ignores(entry.first); });
  return read;
}

}  // namespace failover::azure
