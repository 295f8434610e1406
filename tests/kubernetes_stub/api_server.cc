#include "tests/kubernetes_stub/api_server.h"

#include <condition_variable>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/mutex.h"
#include "nlohmann/json.hpp"
#include "tests/support/tcp_peer.h"

namespace failover {
namespace {

using Json = nlohmann::json;

struct Answer {
  int status = 200;
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
};

// Where a path leads: the collection's path, and the object's name or "".
struct Place {
  std::string collection, name_space, resource, name;
};

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

std::string HeaderOf(absl::string_view head, absl::string_view name) {
  for (const absl::string_view line : absl::StrSplit(head, "\r\n")) {
    const size_t colon = line.find(':');
    if (colon != line.npos && absl::EqualsIgnoreCase(line.substr(0, colon), name)) {
      return std::string(absl::StripAsciiWhitespace(line.substr(colon + 1)));
    }
  }
  return "";
}

KubernetesStub::Seen ParseRequest(const std::string& text) {
  const size_t end = text.find("\r\n\r\n");
  const absl::string_view head = absl::string_view(text).substr(0, end);
  const std::vector<std::string> first = absl::StrSplit(head.substr(0, head.find("\r\n")), ' ');
  KubernetesStub::Seen seen;
  if (end == std::string::npos || first.size() != 3) return seen;
  seen.method = first[0];
  seen.path = first[1];
  seen.body = text.substr(end + 4);
  seen.token = std::string(absl::StripPrefix(HeaderOf(head, "authorization"), "Bearer "));
  seen.content_type = HeaderOf(head, "content-type");
  seen.accept = HeaderOf(head, "accept");
  return seen;
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

}  // namespace

struct KubernetesStub::State {
  mutable Mutex mutex;
  std::condition_variable_any changed;
  std::set<std::string> namespaces, tokens;
  std::map<std::string, Json> objects;  // by path
  std::vector<Fault> faults;
  std::vector<Seen> seen;
  int64_t version = 1000;
  int uids = 0;
  size_t page = 1000;
  int held = 0;
  uint64_t releases = 0;
  bool closing = false;
  std::unique_ptr<TcpPeer> peer;

  void Store(const Place& place, const std::string& path, Json object) {
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
    objects[path] = std::move(object);
  }

  Answer Carry(const Seen& request);
  Answer List(const Place& place, const Seen& request) const;
  Answer Change(const Place& place, const std::string& path, const Seen& request, Json body);
  std::optional<Fault> TakeFault(const Seen& request);
  void Hold();
  void Serve(TcpPeer::Connection& connection);
};

Answer KubernetesStub::State::List(const Place& place, const Seen& request) const {
  const std::vector<std::string> selector =
      absl::StrSplit(Parameter(request.path, "labelSelector"), '=');
  const std::string begin = Parameter(request.path, "continue");
  const bool metadata_only = absl::StrContains(request.accept, "PartialObjectMetadataList");
  Json list = {{"kind", metadata_only ? "PartialObjectMetadataList" : "List"},
               {"metadata", {{"resourceVersion", absl::StrCat(version)}}},
               {"items", Json::array()}};
  for (auto it = objects.upper_bound(begin.empty() ? place.collection : begin); it != objects.end();
       ++it) {
    const auto& [path, object] = *it;
    if (!absl::StartsWith(path, absl::StrCat(place.collection, "/"))) continue;
    if (selector.size() == 2) {
      const Json labels = object["metadata"].value("labels", Json::object());
      if (labels.value(selector[0], "") != selector[1]) continue;
    }
    list["items"].push_back(metadata_only ? Json{{"metadata", object["metadata"]}} : object);
    if (list["items"].size() < page) continue;
    if (std::next(it) != objects.end()) list["metadata"]["continue"] = path;
    break;
  }
  return {200, list.dump(), {}};
}

Answer KubernetesStub::State::Change(const Place& place, const std::string& path,
                                     const Seen& request, Json body) {
  const auto found = objects.find(path);
  const bool lease = place.resource == "leases";
  const std::string given = body.value("/metadata/resourceVersion"_json_pointer, std::string());
  if (found == objects.end()) {
    if (request.method == "PATCH" || !lease)
      return Refuse(404, "NotFound", absl::StrCat(path, " not found"));
    if (given.empty())
      return Refuse(422, "Invalid", "metadata.resourceVersion: must be specified for an update");
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
  if (!tokens.empty() && !tokens.contains(request.token))
    return Refuse(401, "Unauthorized", "Unauthorized");
  const std::optional<Place> place = PlaceOf(request.path);
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
  if (const std::string problem = Problem(*place, body, request.method == "POST"); !problem.empty())
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
    return Change(*place, path, request, body);
  return Refuse(405, "MethodNotAllowed", request.method);
}

std::optional<KubernetesStub::Fault> KubernetesStub::State::TakeFault(const Seen& request) {
  for (auto it = faults.begin(); it != faults.end(); ++it) {
    if (!it->method.empty() && it->method != request.method) continue;
    if (!absl::StrContains(request.path, it->path_part)) continue;
    const Fault fault = *it;
    if (it->times > 0 && --it->times == 0) faults.erase(it);
    return fault;
  }
  return std::nullopt;
}

void KubernetesStub::State::Hold() {
  const uint64_t now = releases;
  ++held;
  changed.notify_all();
  changed.wait(mutex, [&] { return closing || releases != now; });
  --held;
}

void KubernetesStub::State::Serve(TcpPeer::Connection& connection) {
  for (std::string text = connection.ReadRequest(); !text.empty();
       text = connection.ReadRequest()) {
    const Seen request = ParseRequest(text);
    Answer answer;
    {
      MutexLock lock(mutex);
      seen.push_back(request);
      const std::optional<Fault> fault = TakeFault(request);
      const Fault::What what = fault.has_value() ? fault->what : Fault::kAnswer;
      if (fault.has_value() && what == Fault::kDropBefore) return;
      if (what == Fault::kHoldBefore) Hold();
      if (closing) return;
      if (fault.has_value() && what == Fault::kAnswer) {
        answer = Refuse(fault->status, fault->reason,
                        absl::StrCat("ordered by the test: ", fault->status));
        answer.headers = fault->headers;
        if (!fault->body.empty()) answer.body = fault->body;
      } else {
        answer = Carry(request);
      }
      if (fault.has_value() && what == Fault::kDropAfter) return;
      if (what == Fault::kHoldAfter) Hold();
      if (closing) return;
    }
    std::string head = absl::StrCat(
        "HTTP/1.1 ", answer.status,
        " X\r\nContent-Type: application/json\r\nContent-Length: ", answer.body.size(), "\r\n");
    for (const auto& [name, value] : answer.headers)
      absl::StrAppend(&head, name, ": ", value, "\r\n");
    connection.Write(absl::StrCat(head, "\r\n", answer.body));
  }
}

KubernetesStub::KubernetesStub(std::set<std::string> namespaces)
    : state_(std::make_unique<State>()) {
  state_->namespaces = std::move(namespaces);
  state_->peer = std::make_unique<TcpPeer>(
      [state = state_.get()](TcpPeer::Connection& connection, int) { state->Serve(connection); });
}

KubernetesStub::~KubernetesStub() {
  {
    MutexLock lock(state_->mutex);
    state_->closing = true;
  }
  state_->changed.notify_all();
  state_->peer.reset();
}

std::string KubernetesStub::url() const { return state_->peer->Url(""); }
int KubernetesStub::connections() const { return state_->peer->connections(); }

void KubernetesStub::Add(Fault fault) {
  MutexLock lock(state_->mutex);
  state_->faults.push_back(std::move(fault));
}

void KubernetesStub::ClearFaults() {
  MutexLock lock(state_->mutex);
  state_->faults.clear();
}

bool KubernetesStub::ReleaseHeld() {
  MutexLock lock(state_->mutex);
  ++state_->releases;
  state_->changed.notify_all();
  return state_->held > 0;
}

int KubernetesStub::held() const {
  MutexLock lock(state_->mutex);
  return state_->held;
}

void KubernetesStub::AcceptTokens(std::set<std::string> tokens) {
  MutexLock lock(state_->mutex);
  state_->tokens = std::move(tokens);
}

void KubernetesStub::SetPage(size_t items) {
  MutexLock lock(state_->mutex);
  state_->page = items;
}

void KubernetesStub::Write(const std::string& path, absl::string_view json) {
  MutexLock lock(state_->mutex);
  Json object = state_->objects.contains(path) ? state_->objects[path] : Json::object();
  object.merge_patch(Json::parse(json));
  state_->Store(*PlaceOf(path), path, std::move(object));
}

void KubernetesStub::Delete(const std::string& path) {
  MutexLock lock(state_->mutex);
  state_->objects.erase(path);
}

bool KubernetesStub::Has(const std::string& path) const {
  MutexLock lock(state_->mutex);
  return state_->objects.contains(path);
}

std::string KubernetesStub::Field(const std::string& path, const std::string& pointer) const {
  MutexLock lock(state_->mutex);
  const auto found = state_->objects.find(path);
  const Json::json_pointer at(pointer);
  if (found == state_->objects.end() || !found->second.contains(at)) return "";
  const Json& value = found->second[at];
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::vector<KubernetesStub::Seen> KubernetesStub::Requests() const {
  MutexLock lock(state_->mutex);
  return state_->seen;
}

int KubernetesStub::Count(absl::string_view method, absl::string_view part) const {
  MutexLock lock(state_->mutex);
  int count = 0;
  for (const Seen& request : state_->seen)
    count += request.method == method && absl::StrContains(request.path, part);
  return count;
}

}  // namespace failover
