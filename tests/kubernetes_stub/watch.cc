// Watches of a collection: the changes since a version, then each as it comes, one JSON object a
// line.
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "tests/kubernetes_stub/state.h"

namespace failover {
namespace {

using stub::Json;

constexpr char kHead[] =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";

std::string Chunk(absl::string_view bytes) {
  return bytes.empty() ? "" : absl::StrCat(absl::Hex(bytes.size()), "\r\n", bytes, "\r\n");
}

std::string LineOf(const std::string& type, const Json& object) {
  return absl::StrCat(Json{{"type", type}, {"object", object}}.dump(), "\n");
}

}  // namespace

bool KubernetesStub::State::Watch(TcpPeer::Connection& connection, const Seen& request) {
  const std::optional<stub::Place> place = stub::PlaceOf(request.path);
  int64_t from = 0, seconds = 60;
  (void)absl::SimpleAtoi(stub::Parameter(request.path, "resourceVersion"), &from);
  (void)absl::SimpleAtoi(stub::Parameter(request.path, "timeoutSeconds"), &seconds);
  const bool metadata_only = absl::StrContains(request.accept, "PartialObjectMetadata");
  const SteadyTime until = RealClock().Steady() + absl::Seconds(seconds);
  connection.Write(kHead);
  MutexLock lock(mutex);
  if (from < forgotten) {
    const Json gone = Json::parse(stub::Refuse(410, "Expired", "too old resource version").body);
    connection.Write(absl::StrCat(Chunk(LineOf("ERROR", gone)), "0\r\n\r\n"));
    return true;
  }
  ++watches;
  const uint64_t ended = watches_ended, cut = watches_cut;
  size_t told_to = told.size();
  bool open = true;
  while (open && !closing && watches_ended == ended && watches_cut == cut) {
    std::string lines;
    for (const Change& change : changes) {
      if (change.version <= from || !place.has_value() || change.collection != place->collection ||
          !stub::IsSelected(change.object, request))
        continue;
      from = change.version;
      lines += LineOf(change.type, metadata_only ? Json{{"kind", "PartialObjectMetadata"},
                                                        {"metadata", change.object["metadata"]}}
                                                 : change.object);
    }
    for (; told_to < told.size(); ++told_to) absl::StrAppend(&lines, told[told_to], "\n");
    open = connection.Write(Chunk(lines));
    const absl::Duration left = until - RealClock().Steady();
    if (!open || left <= absl::ZeroDuration()) break;
    if (lines.empty()) changed.wait_for(mutex, absl::ToChronoMilliseconds(left));
  }
  --watches;
  if (!open || closing || watches_cut != cut) return false;
  connection.Write("0\r\n\r\n");
  return true;
}

bool KubernetesStub::State::ForwardWatch(TcpPeer::Connection& connection, const Seen& request) {
  std::stop_token token;
  {
    MutexLock lock(mutex);
    token = stop.get_token();
    ++watches;
  }
  RealServerClient client(*real, token);
  RealServerClient::Request sent;
  sent.path = request.path;
  sent.accept = request.accept;
  bool begun = false;
  sent.on_body = [&](absl::string_view part) {
    const std::string head = begun ? "" : kHead;
    begun = true;
    return connection.Write(absl::StrCat(head, Chunk(part)));
  };
  const HttpResponse answer = client.Send(sent);
  {
    MutexLock lock(mutex);
    --watches;
  }
  if (begun || answer.status < 300) {
    connection.Write(absl::StrCat(begun ? "" : kHead, "0\r\n\r\n"));
    return answer.status < 300;
  }
  connection.Write(absl::StrCat("HTTP/1.1 ", answer.status, " X\r\nContent-Length: ",
                                answer.body.size(), "\r\n\r\n", answer.body));
  return true;
}

}  // namespace failover
