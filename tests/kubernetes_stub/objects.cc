// What the stub does with its objects, as an API server does.
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "tests/kubernetes_stub/state.h"

namespace failover::stub {

std::optional<Place> PlaceOf(absl::string_view path) {
  path = path.substr(0, path.find('?'));
  for (const absl::string_view root :
       {"/api/v1", "/apis/coordination.k8s.io/v1", "/apis/events.k8s.io/v1"}) {
    absl::string_view rest = path;
    if (!absl::ConsumePrefix(&rest, absl::StrCat(root, "/namespaces/"))) continue;
    const std::vector<std::string> parts = absl::StrSplit(rest, '/');
    if (parts.size() < 2 || parts.size() > 3) return std::nullopt;
    if (parts[1] != "leases" && parts[1] != "configmaps" && parts[1] != "events")
      return std::nullopt;
    return Place{absl::StrCat(root, "/namespaces/", parts[0], "/", parts[1]), parts[0], parts[1],
                 parts.size() == 3 ? parts[2] : ""};
  }
  return std::nullopt;
}

Answer Refuse(int status, const std::string& reason, const std::string& message) {
  const Json body = {{"kind", "Status"},   {"apiVersion", "v1"}, {"status", "Failure"},
                     {"message", message}, {"reason", reason},   {"code", status}};
  return {status, body.dump(), {}};
}

std::string Parameter(absl::string_view path, absl::string_view name) {
  const size_t query = path.find('?');
  if (query == path.npos) return "";
  for (const absl::string_view part : absl::StrSplit(path.substr(query + 1), '&')) {
    absl::string_view value = part;
    if (!absl::ConsumePrefix(&value, absl::StrCat(name, "="))) continue;
    std::string text;
    for (size_t i = 0; i < value.size(); ++i) {
      if (value[i] == '%') {
        text += absl::HexStringToBytes(value.substr(i + 1, 2));
        i += 2;
      } else {
        text += value[i];
      }
    }
    return text;
  }
  return "";
}

bool IsSelected(const Json& object, const KubernetesStub::Seen& request) {
  const std::vector<std::string> selector =
      absl::StrSplit(Parameter(request.path, "labelSelector"), '=');
  if (selector.size() != 2) return true;
  const Json labels = object["metadata"].value("labels", Json::object());
  return labels.value(selector[0], "") == selector[1];
}

namespace {

// 2026-11-25T09:00:00.000000Z
bool IsMicroTime(const std::string& text) {
  static const std::string form = "0000-00-00T00:00:00.000000Z";
  if (text.size() != form.size()) return false;
  for (size_t i = 0; i < form.size(); ++i) {
    if (form[i] == '0' ? !absl::ascii_isdigit(text[i]) : text[i] != form[i]) return false;
  }
  return true;
}

// What the API server refuses in a new Event (kubernetes.md §2.9).
std::string ProblemOfEvent(const Place& place, const Json& event) {
  const auto text = [&event](const char* pointer) {
    return event.value(Json::json_pointer(pointer), std::string());
  };
  if (!IsMicroTime(text("/eventTime"))) return "eventTime: no MicroTime";
  if (text("/type") != "Normal" && text("/type") != "Warning") return "type: Normal or Warning";
  for (const char* field : {"/action", "/reason", "/reportingInstance"}) {
    const size_t size = text(field).size();
    if (size == 0 || size > 128) return absl::StrCat(field + 1, ": 1 to 128 characters");
  }
  if (text("/reportingController").empty()) return "reportingController: must be given";
  if (text("/note").size() > 1024) return "note: at most 1024 characters";
  if (text("/regarding/namespace") != place.name_space)
    return "regarding.namespace: must be that of the event";
  for (const char* field : {"deprecatedFirstTimestamp", "deprecatedLastTimestamp",
                            "deprecatedCount", "deprecatedSource"}) {
    if (event.contains(field)) return absl::StrCat(field, ": must not be set");
  }
  return "";
}

// What is wrong with an object; empty = nothing.
std::string Problem(const Place& place, const Json& object, bool fresh) {
  if (place.resource == "events" && fresh) return ProblemOfEvent(place, object);
  if (place.resource != "leases") return "";
  const Json spec = object.value("spec", Json::object());
  if (spec.contains("leaseDurationSeconds") && spec["leaseDurationSeconds"].get<int64_t>() <= 0) {
    return "spec.leaseDurationSeconds: must be greater than 0";
  }
  if (spec.contains("leaseTransitions") && spec["leaseTransitions"].get<int64_t>() < 0) {
    return "spec.leaseTransitions: must be greater than or equal to 0";
  }
  for (const char* field : {"acquireTime", "renewTime"}) {
    if (spec.contains(field) && !IsMicroTime(spec[field].get<std::string>()))
      return absl::StrCat("spec.", field, ": no MicroTime");
  }
  return "";
}

}  // namespace
}  // namespace failover::stub

namespace failover {

using stub::Answer;
using stub::Json;
using stub::Place;
using stub::Refuse;

void KubernetesStub::State::Store(const Place& place, const std::string& path, Json object) {
  const auto old = objects.find(path);
  Json& metadata = object["metadata"];
  metadata["uid"] =
      old != objects.end() ? old->second["metadata"]["uid"] : Json(absl::StrCat("uid-", ++uids));
  metadata["resourceVersion"] = absl::StrCat(++version);
  metadata["namespace"] = place.name_space;
  metadata["name"] = path.substr(path.rfind('/') + 1);
  object["kind"] = place.resource == "leases"       ? "Lease"
                   : place.resource == "configmaps" ? "ConfigMap"
                                                    : "Event";
  changes.push_back(
      {version, old != objects.end() ? "MODIFIED" : "ADDED", place.collection, object});
  objects[path] = std::move(object);
  changed.notify_all();
}

void KubernetesStub::State::Erase(const std::string& path) {
  const auto found = objects.find(path);
  if (found == objects.end()) return;
  found->second["metadata"]["resourceVersion"] = absl::StrCat(++version);
  changes.push_back(
      {version, "DELETED", stub::PlaceOf(path)->collection, std::move(found->second)});
  objects.erase(found);
  changed.notify_all();
}

Answer KubernetesStub::State::List(const Place& place, const Seen& request) const {
  const std::string begin = stub::Parameter(request.path, "continue");
  size_t limit = page;
  if (limit == 0 && !absl::SimpleAtoi(stub::Parameter(request.path, "limit"), &limit))
    limit = objects.size() + 1;
  const bool metadata_only = absl::StrContains(request.accept, "PartialObjectMetadataList");
  Json list = {{"kind", metadata_only ? "PartialObjectMetadataList" : "List"},
               {"metadata", {{"resourceVersion", absl::StrCat(version)}}},
               {"items", Json::array()}};
  for (auto it = objects.upper_bound(begin.empty() ? place.collection : begin); it != objects.end();
       ++it) {
    const auto& [path, object] = *it;
    if (!absl::StartsWith(path, absl::StrCat(place.collection, "/"))) continue;
    if (!stub::IsSelected(object, request)) continue;
    list["items"].push_back(metadata_only ? Json{{"metadata", object["metadata"]}} : object);
    if (list["items"].size() < limit) continue;
    if (std::next(it) != objects.end()) list["metadata"]["continue"] = path;
    break;
  }
  return {200, list.dump(), {}};
}

Answer KubernetesStub::State::Alter(const Place& place, const std::string& path,
                                    const Seen& request, Json body) {
  const auto found = objects.find(path);
  const bool lease = place.resource == "leases";
  const std::string given = body.value("/metadata/resourceVersion"_json_pointer, std::string());
  if (found == objects.end()) {
    if (request.method == "PATCH" || !lease)
      return Refuse(404, "NotFound", absl::StrCat(path, " not found"));
    // Whoever sends the UID of the deleted one, as everybody does who sends what he has read.
    if (body.contains("/metadata/uid"_json_pointer))
      return Refuse(409, "Conflict", "Precondition failed: UID in precondition");
    Store(place, path, std::move(body));
    return {201, objects[path].dump(), {}};
  }
  if (given.empty() && lease && request.method == "PUT") {
    return Refuse(422, "Invalid", "metadata.resourceVersion: must be specified for an update");
  }
  if (!given.empty() && given != found->second["metadata"]["resourceVersion"]) {
    return Refuse(409, "Conflict",
                  "the object has been modified; please apply your changes to the latest version");
  }
  if (request.method == "PATCH") {
    Json merged = found->second;
    merged.merge_patch(body);
    body = std::move(merged);
  } else if (body.value("/metadata/uid"_json_pointer, std::string()) !=
             found->second["metadata"]["uid"]) {
    return Refuse(409, "Conflict", "Precondition failed: UID in precondition");
  }
  Store(place, path, std::move(body));
  return {200, objects[path].dump(), {}};
}

Answer KubernetesStub::State::Carry(const Seen& request) {
  const std::optional<Place> place = stub::PlaceOf(request.path);
  if (!place.has_value()) return {404, "404 page not found", {}};
  const std::string path =
      place->name.empty() ? "" : absl::StrCat(place->collection, "/", place->name);
  if (request.method == "GET" && path.empty()) return List(*place, request);
  if (request.method == "GET") {
    const auto found = objects.find(path);
    return found == objects.end() ? Refuse(404, "NotFound", absl::StrCat(path, " not found"))
                                  : Answer{200, found->second.dump(), {}};
  }
  const Json body = Json::parse(request.body, nullptr, false);
  if (!body.is_object()) return Refuse(400, "BadRequest", "the body is no object");
  const bool patch = request.method == "PATCH";
  if (request.content_type != (patch ? "application/merge-patch+json" : "application/json")) {
    return Refuse(415, "UnsupportedMediaType", request.content_type);
  }
  if (const std::string problem = stub::Problem(*place, body, request.method == "POST");
      !problem.empty())
    return Refuse(422, "Invalid", problem);
  if (request.method == "POST" && path.empty()) {
    if (!namespaces.contains(place->name_space)) {
      return Refuse(404, "NotFound",
                    absl::StrCat("namespaces \"", place->name_space, "\" not found"));
    }
    const std::string made = absl::StrCat(place->collection, "/",
                                          body.value("/metadata/name"_json_pointer, std::string()));
    if (objects.contains(made))
      return Refuse(409, "AlreadyExists", absl::StrCat(made, " already exists"));
    Store(*place, made, body);
    return {201, objects[made].dump(), {}};
  }
  if ((request.method == "PUT" || patch) && !path.empty())
    return Alter(*place, path, request, body);
  return Refuse(405, "MethodNotAllowed", request.method);
}

}  // namespace failover
