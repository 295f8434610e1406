#include "tests/kubernetes_stub/api_server.h"

#include <cstdlib>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "tests/kubernetes_stub/state.h"

namespace failover {

using stub::Answer;
using stub::Json;
using stub::Refuse;

namespace {

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

}  // namespace

Answer KubernetesStub::State::Forward(const Seen& request) {
  RealServerClient::Request sent;
  sent.method = request.method;
  sent.path = request.path;
  if (page != 0) absl::StrReplaceAll({{"&limit=100", absl::StrCat("&limit=", page)}}, &sent.path);
  sent.body = request.body;
  sent.content_type = request.content_type;
  sent.accept = request.accept;
  HttpResponse answer = upstream->Send(sent);
  Answer passed{answer.status, std::move(answer.body), {}};
  if (const absl::string_view after = answer.Header("retry-after"); !after.empty())
    passed.headers.emplace_back("Retry-After", std::string(after));
  return passed;
}

Json KubernetesStub::State::OfReal(const std::string& method, const std::string& path,
                                   const std::string& body) const {
  RealServerClient::Request sent;
  sent.method = method;
  sent.path = path;
  sent.body = body;
  if (!body.empty())
    sent.content_type = method == "PATCH" ? "application/merge-patch+json" : "application/json";
  sent.as_admin = true;
  const HttpResponse answer = upstream->Send(sent);
  if (answer.status == 404) return nullptr;
  EXPECT_LT(answer.status, 300) << method << " " << path << ": " << answer.body;
  return Json::parse(answer.body, nullptr, false);
}

Json KubernetesStub::State::Object(const std::string& path) const {
  if (real != nullptr) return OfReal("GET", path);
  const auto found = objects.find(path);
  return found == objects.end() ? Json() : found->second;
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

bool KubernetesStub::State::ServeOne(TcpPeer::Connection& connection, const Seen& request) {
  Answer answer;
  bool watch = false;
  {
    MutexLock lock(mutex);
    seen.push_back(request);
    const std::optional<Fault> fault = TakeFault(request);
    const Fault::What what = fault.has_value() ? fault->what : Fault::kAnswer;
    if (fault.has_value() && what == Fault::kDropBefore) return false;
    if (what == Fault::kHoldBefore) Hold();
    if (closing) return false;
    if (fault.has_value() && what == Fault::kAnswer) {
      answer = Refuse(fault->status, fault->reason,
                      absl::StrCat("ordered by the test: ", fault->status));
      answer.headers = fault->headers;
      if (!fault->body.empty()) answer.body = fault->body;
    } else if (!tokens.empty() && !tokens.contains(request.token)) {
      answer = Refuse(401, "Unauthorized", "Unauthorized");
    } else if (request.method == "GET" && !stub::Parameter(request.path, "watch").empty()) {
      watch = true;
    } else {
      answer = real != nullptr ? Forward(request) : Carry(request);
    }
    if (fault.has_value() && what == Fault::kDropAfter) return false;
    if (what == Fault::kHoldAfter) Hold();
    if (closing) return false;
  }
  if (watch)
    return real != nullptr ? ForwardWatch(connection, request) : Watch(connection, request);
  std::string head = absl::StrCat(
      "HTTP/1.1 ", answer.status,
      " X\r\nContent-Type: application/json\r\nContent-Length: ", answer.body.size(), "\r\n");
  for (const auto& [name, value] : answer.headers)
    absl::StrAppend(&head, name, ": ", value, "\r\n");
  connection.Write(absl::StrCat(head, "\r\n", answer.body));
  return true;
}

KubernetesStub::KubernetesStub(const RealServer* real, std::set<std::string> namespaces)
    : state_(std::make_unique<State>()) {
  state_->namespaces = std::move(namespaces);
  state_->real = real;
  if (real != nullptr) {
    state_->upstream = std::make_unique<RealServerClient>(*real);
    state_->upstream->Clear("dr");
  }
  state_->peer =
      std::make_unique<TcpPeer>([state = state_.get()](TcpPeer::Connection& connection, int) {
        for (std::string text = connection.ReadRequest(); !text.empty();
             text = connection.ReadRequest()) {
          if (!state->ServeOne(connection, ParseRequest(text))) return;
        }
      });
}

KubernetesStub::~KubernetesStub() {
  {
    MutexLock lock(state_->mutex);
    state_->closing = true;
    state_->stop.request_stop();
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
  if (state_->real != nullptr) {
    if (!state_->OfReal("PATCH", path, std::string(json)).is_null()) return;
    Json object = Json::parse(json);
    object["metadata"]["name"] = path.substr(path.rfind('/') + 1);
    state_->OfReal("POST", stub::PlaceOf(path)->collection, object.dump());
    return;
  }
  Json object = state_->objects.contains(path) ? state_->objects[path] : Json::object();
  object.merge_patch(Json::parse(json));
  state_->Store(*stub::PlaceOf(path), path, std::move(object));
}

void KubernetesStub::Delete(const std::string& path) {
  MutexLock lock(state_->mutex);
  if (state_->real != nullptr)
    state_->OfReal("DELETE", path);
  else
    state_->Erase(path);
}

bool KubernetesStub::Has(const std::string& path) const {
  MutexLock lock(state_->mutex);
  return !state_->Object(path).is_null();
}

std::string KubernetesStub::Field(const std::string& path, const std::string& pointer) const {
  MutexLock lock(state_->mutex);
  const Json object = state_->Object(path);
  const Json::json_pointer at(pointer);
  if (!object.is_object() || !object.contains(at)) return "";
  const Json& value = object[at];
  return value.is_string() ? value.get<std::string>() : value.dump();
}

int KubernetesStub::watches() const {
  MutexLock lock(state_->mutex);
  return state_->watches;
}

void KubernetesStub::EndWatches(bool in_order) {
  MutexLock lock(state_->mutex);
  ++(in_order ? state_->watches_ended : state_->watches_cut);
  std::exchange(state_->stop, std::stop_source()).request_stop();  // those of a real server
  state_->changed.notify_all();
}

void KubernetesStub::Bookmark() {
  MutexLock lock(state_->mutex);
  const Json line = {{"type", "BOOKMARK"},
                     {"object",
                      {{"kind", "PartialObjectMetadata"},
                       {"metadata", {{"resourceVersion", absl::StrCat(++state_->version)}}}}}};
  state_->told.push_back(line.dump());
  state_->changed.notify_all();
}

void KubernetesStub::Tell(absl::string_view line) {
  MutexLock lock(state_->mutex);
  state_->told.emplace_back(line);
  state_->changed.notify_all();
}

void KubernetesStub::Forget() {
  MutexLock lock(state_->mutex);
  state_->forgotten = ++state_->version;
  state_->changes.clear();
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
