// The blob endpoint of the emulator's own storage, path-style (azure.md §8).
#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/digest.h"
#include "pugixml.hpp"
#include "tests/azure_emulator/arm.h"

namespace failover::emulator {
namespace {

constexpr absl::Duration kLargestSkew = absl::Minutes(15);
constexpr int kLargestList = 5000;
constexpr absl::string_view kMetadata = "x-ms-meta-";

std::string ToText(const pugi::xml_document& document) {
  struct Writer : pugi::xml_writer {
    void write(const void* data, size_t size) override {
      text.append(static_cast<const char*>(data), size);
    }
    std::string text;
  } writer;
  document.save(writer, "", pugi::format_raw, pugi::encoding_utf8);
  return writer.text;
}

pugi::xml_document NewDocument() {
  pugi::xml_document document;
  pugi::xml_node declaration = document.append_child(pugi::node_declaration);
  declaration.append_attribute("version") = "1.0";
  declaration.append_attribute("encoding") = "utf-8";
  return document;
}

void AddText(pugi::xml_node parent, const char* name, const std::string& text) {
  parent.append_child(name).text().set(text.c_str());
}

Answer BlobError(int status, const std::string& code, const std::string& message) {
  pugi::xml_document document = NewDocument();
  pugi::xml_node error = document.append_child("Error");
  AddText(error, "Code", code);
  AddText(error, "Message", message);
  return {
      status, {{"Content-Type", "application/xml"}, {"x-ms-error-code", code}}, ToText(document)};
}

Answer BlobMissing() {
  return BlobError(404, "BlobNotFound", "The specified blob does not exist.");
}

Answer ConditionNotMet() {
  return BlobError(412, "ConditionNotMet",
                   "The condition specified using HTTP conditional header(s) is not met.");
}

bool ValidContainerName(const std::string& name) {
  if (name.size() < 3 || name.size() > 63 || absl::StrContains(name, "--")) return false;
  if (name.front() == '-' || name.back() == '-') return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-';
  });
}

std::optional<Answer> CheckSharedKey(const World& world, const Request& request,
                                     const StorageAccount& account, absl::Time now) {
  const auto failed = [](const std::string& detail) {
    return BlobError(403, "AuthenticationFailed",
                     absl::StrCat("Server failed to authenticate the request. ", detail));
  };
  const absl::string_view header = request.Header("authorization");
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(header.substr(10), absl::MaxSplits(':', 1));
  if (parts.first != account.name) return failed("The account does not match the address.");
  if (!account.shared_key_access) {
    return BlobError(403, "KeyBasedAuthenticationNotPermitted",
                     "Key based authentication is not permitted on this storage account.");
  }
  absl::string_view date = request.Header("x-ms-date");
  if (date.empty()) date = request.Header("date");
  const std::optional<absl::Time> time = ParseHttpDate(date);
  if (!time) return failed("The date header is missing or malformed.");
  // Callers date their requests by the real clock, whatever the emulated one says.
  const absl::Duration skew = world.clock.RealAt(now) - *time;
  if (world.clock.rate > 0 && (skew > kLargestSkew || skew < -kLargestSkew)) {
    return failed("The date header is more than 15 minutes away.");
  }
  const std::optional<std::string> key = FromBase64(account.key);
  const std::string expected =
      Base64(HmacSha256(key.value_or(""), SharedKeyStringToSign(request, account.name)));
  if (expected != parts.second) return failed("The MAC signature does not match.");
  return std::nullopt;
}

std::optional<Answer> CheckBlobCaller(const World& world, const Request& request,
                                      const StorageAccount& account, LogEntry& entry,
                                      absl::Time now) {
  const absl::string_view header = request.Header("authorization");
  if (header.empty()) {
    return BlobError(401, "NoAuthenticationInformation",
                     "Server failed to authenticate the request: no credentials were sent.");
  }
  if (absl::StartsWith(header, "SharedKey ")) return CheckSharedKey(world, request, account, now);
  Caller caller;
  if (auto refused = Authenticate(world, request, "https://storage.azure.com", now, caller)) {
    Answer answer =
        BlobError(401, "InvalidAuthenticationInfo", "Server failed to authenticate the request.");
    answer.Set("WWW-Authenticate", refused->Header("www-authenticate"));
    return answer;
  }
  entry.client_id = caller.client->client_id;
  if (account.contributors.contains(entry.client_id)) return std::nullopt;
  return BlobError(403, "AuthorizationPermissionMismatch",
                   "This request is not authorized to perform this operation.");
}

void AddContainerHeaders(const Container& container, Answer& answer) {
  answer.Set("ETag", container.etag);
  answer.Set("Last-Modified", HttpDate(container.modified));
}

void AddBlobHeaders(const Blob& blob, Answer& answer) {
  answer.Set("ETag", blob.etag);
  answer.Set("Last-Modified", HttpDate(blob.modified));
  answer.Set("x-ms-creation-time", HttpDate(blob.created));
  answer.Set("x-ms-blob-type", "BlockBlob");
  answer.Set("x-ms-lease-status", "unlocked");
  answer.Set("x-ms-lease-state", "available");
  answer.Set("Content-Type", blob.content_type);
  answer.Set("Accept-Ranges", "bytes");
  for (const auto& [name, value] : blob.metadata) answer.Set(absl::StrCat(kMetadata, name), value);
}

void AddListed(const std::string& name, const Blob& blob, bool metadata, pugi::xml_node list) {
  pugi::xml_node item = list.append_child("Blob");
  AddText(item, "Name", name);
  pugi::xml_node properties = item.append_child("Properties");
  AddText(properties, "Creation-Time", HttpDate(blob.created));
  AddText(properties, "Last-Modified", HttpDate(blob.modified));
  AddText(properties, "Etag", blob.etag.substr(1, blob.etag.size() - 2));
  AddText(properties, "Content-Length", absl::StrCat(blob.content.size()));
  AddText(properties, "Content-Type", blob.content_type);
  AddText(properties, "BlobType", "BlockBlob");
  AddText(properties, "LeaseStatus", "unlocked");
  AddText(properties, "LeaseState", "available");
  if (!metadata) return;
  pugi::xml_node all = item.append_child("Metadata");
  for (const auto& [key, value] : blob.metadata) AddText(all, key.c_str(), value);
}

Answer ListBlobs(const Request& request, const std::string& account, const std::string& name,
                 const Container& container) {
  std::map<std::string, std::string> query = request.Query();
  int limit = kLargestList;
  if (query.contains("maxresults") &&
      (!absl::SimpleAtoi(query["maxresults"], &limit) || limit < 1)) {
    return BlobError(400, "OutOfRangeQueryParameterValue",
                     "The value of maxresults is out of range.");
  }
  limit = std::min(limit, kLargestList);
  const std::string prefix = query["prefix"];
  pugi::xml_document document = NewDocument();
  pugi::xml_node root = document.append_child("EnumerationResults");
  root.append_attribute("ServiceEndpoint") =
      absl::StrCat("https://", request.Header("host"), "/", account, "/").c_str();
  root.append_attribute("ContainerName") = name.c_str();
  if (!prefix.empty()) AddText(root, "Prefix", prefix);
  pugi::xml_node list = root.append_child("Blobs");
  std::string next;
  int listed = 0;
  for (auto it = container.blobs.lower_bound(std::max(prefix, query["marker"]));
       it != container.blobs.end() && absl::StartsWith(it->first, prefix); ++it) {
    if (listed++ == limit) {
      next = it->first;
      break;
    }
    AddListed(it->first, it->second, absl::StrContains(query["include"], "metadata"), list);
  }
  AddText(root, "NextMarker", next);
  return {200, {{"Content-Type", "application/xml"}}, ToText(document)};
}

Answer HandleContainer(World& world, const Request& request, const std::string& account,
                       const std::string& name, LogEntry& entry, absl::Time now) {
  if (!ValidContainerName(name)) {
    return BlobError(400, "InvalidResourceName",
                     "The specified resource name contains invalid characters.");
  }
  const std::map<std::string, std::string> query = request.Query();
  const auto type = query.find("restype");
  if (type == query.end() || type->second != "container") {
    return BlobError(400, "InvalidQueryParameterValue", "The value of restype must be container.");
  }
  Container* container = world.memory.Find(account, name);
  if (request.method == "PUT") {
    if (container != nullptr) {
      return BlobError(409, "ContainerAlreadyExists", "The specified container already exists.");
    }
    (void)world.memory.CreateContainer(account, name, now);
    entry.applied = true;
    Answer answer{201, {}, ""};
    AddContainerHeaders(*world.memory.Find(account, name), answer);
    return answer;
  }
  if (container == nullptr) {
    return BlobError(404, "ContainerNotFound", "The specified container does not exist.");
  }
  if (request.method == "DELETE") {
    world.memory.accounts[account].erase(name);
    entry.applied = true;
    return {202, {}, ""};
  }
  if (request.method != "GET" && request.method != "HEAD") {
    return BlobError(405, "UnsupportedHttpVerb", "The resource doesn't support the HTTP verb.");
  }
  if (query.contains("comp") && query.at("comp") == "list") {
    return ListBlobs(request, account, name, *container);
  }
  Answer answer{200, {}, ""};
  AddContainerHeaders(*container, answer);
  answer.Set("x-ms-lease-status", "unlocked");
  answer.Set("x-ms-lease-state", "available");
  return answer;
}

// The conditions of a write or delete; the answer refuses it.
std::optional<Answer> CheckWriteConditions(const Request& request, const Blob* blob) {
  const absl::string_view match = request.Header("if-match");
  const absl::string_view none = request.Header("if-none-match");
  if (!match.empty()) {
    if (blob == nullptr || (match != "*" && match != blob->etag)) return ConditionNotMet();
  }
  if (!none.empty() && blob != nullptr) {
    if (none == "*") {
      return BlobError(409, "BlobAlreadyExists", "The specified blob already exists.");
    }
    if (none == blob->etag) return ConditionNotMet();
  }
  return std::nullopt;
}

std::map<std::string, std::string> MetadataOf(const Request& request) {
  std::map<std::string, std::string> metadata;
  for (const auto& [name, value] : request.headers) {
    const std::string lower = absl::AsciiStrToLower(name);
    absl::string_view rest = lower;
    if (absl::ConsumePrefix(&rest, kMetadata)) metadata[std::string(rest)] = value;
  }
  return metadata;
}

Answer PutBlob(World& world, const Request& request, const std::string& account,
               const std::string& container, const std::string& name, absl::Time now) {
  Blob* blob = world.memory.Find(account, container, name);
  if (auto refused = CheckWriteConditions(request, blob)) return *refused;
  const std::map<std::string, std::string> query = request.Query();
  if (query.contains("comp")) {
    if (query.at("comp") != "metadata") {
      return BlobError(400, "InvalidQueryParameterValue",
                       absl::StrCat("The emulator knows no comp=", query.at("comp"), "."));
    }
    if (blob == nullptr) return BlobMissing();
    blob->metadata = MetadataOf(request);
    blob->modified = now;
    blob->etag = world.memory.NextEtag(now);
    Answer answer{200, {}, ""};
    answer.Set("ETag", blob->etag);
    answer.Set("Last-Modified", HttpDate(now));
    return answer;
  }
  if (request.Header("x-ms-blob-type") != "BlockBlob") {
    return BlobError(400, "MissingRequiredHeader",
                     "An HTTP header that's mandatory for this request is not specified: "
                     "x-ms-blob-type (the emulator knows BlockBlob).");
  }
  const absl::Time created = blob == nullptr ? now : blob->created;
  (void)world.memory.Put(account, container, name, request.body, now);
  Blob& stored = *world.memory.Find(account, container, name);
  stored.created = created;
  stored.metadata = MetadataOf(request);
  absl::string_view type = request.Header("x-ms-blob-content-type");
  if (type.empty()) type = request.Header("content-type");
  if (!type.empty()) stored.content_type = std::string(type);
  Answer answer{201, {}, ""};
  answer.Set("ETag", stored.etag);
  answer.Set("Last-Modified", HttpDate(now));
  answer.Set("x-ms-request-server-encrypted", "true");
  return answer;
}

Answer ReadBlob(const Request& request, const Blob* blob) {
  if (blob == nullptr) return BlobMissing();
  const absl::string_view match = request.Header("if-match");
  const absl::string_view none = request.Header("if-none-match");
  if (!match.empty() && match != "*" && match != blob->etag) return ConditionNotMet();
  Answer answer{200, {}, blob->content};
  AddBlobHeaders(*blob, answer);
  if (!none.empty() && (none == "*" || none == blob->etag)) {
    answer.status = 304;
    answer.body.clear();
  }
  return answer;
}

Answer HandleOneBlob(World& world, const Request& request, const std::vector<std::string>& s,
                     LogEntry& entry, absl::Time now) {
  const std::string name = absl::StrJoin(s.begin() + 2, s.end(), "/");
  if (world.memory.Find(s[0], s[1]) == nullptr) {
    return BlobError(404, "ContainerNotFound", "The specified container does not exist.");
  }
  if (name.size() > 1024) {
    return BlobError(400, "InvalidResourceName", "The blob's name is longer than 1024.");
  }
  Blob* blob = world.memory.Find(s[0], s[1], name);
  if (request.method == "GET" || request.method == "HEAD") return ReadBlob(request, blob);
  if (request.method == "PUT") {
    Answer answer = PutBlob(world, request, s[0], s[1], name, now);
    entry.applied = answer.status < 300;
    return answer;
  }
  if (request.method == "DELETE") {
    if (blob == nullptr) return BlobMissing();
    if (auto refused = CheckWriteConditions(request, blob)) return *refused;
    world.memory.Find(s[0], s[1])->blobs.erase(name);
    entry.applied = true;
    return {202, {{"x-ms-delete-type-permanent", "true"}}, ""};
  }
  return BlobError(405, "UnsupportedHttpVerb", "The resource doesn't support the HTTP verb.");
}

Answer DispatchBlob(World& world, const Request& request, LogEntry& entry, absl::Time now) {
  const std::vector<std::string> s = request.Segments();
  const auto account = s.empty() ? world.accounts.end() : world.accounts.find(s[0]);
  if (account == world.accounts.end()) {
    return BlobError(404, "ResourceNotFound", "The specified storage account does not exist.");
  }
  if (auto refused = CheckBlobCaller(world, request, account->second, entry, now)) return *refused;
  if (s.size() == 1) {
    return BlobError(400, "InvalidUri", "The emulator knows containers and blobs.");
  }
  if (s.size() == 2) return HandleContainer(world, request, s[0], s[1], entry, now);
  return HandleOneBlob(world, request, s, entry, now);
}

}  // namespace

std::string SharedKeyStringToSign(const Request& request, const std::string& account) {
  std::string text = request.method;
  for (const absl::string_view name :
       {"content-encoding", "content-language", "content-length", "content-md5", "content-type",
        "date", "if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range"}) {
    absl::string_view value = request.Header(name);
    if (name == "content-length" && value == "0") value = "";
    if (name == "date" && !request.Header("x-ms-date").empty()) value = "";
    absl::StrAppend(&text, "\n", value);
  }
  std::map<std::string, std::string> own;
  for (const auto& [name, value] : request.headers) {
    const std::string lower = absl::AsciiStrToLower(name);
    if (absl::StartsWith(lower, "x-ms-")) {
      own[lower] = std::string(absl::StripAsciiWhitespace(value));
    }
  }
  absl::StrAppend(&text, "\n");
  for (const auto& [name, value] : own) absl::StrAppend(&text, name, ":", value, "\n");
  absl::StrAppend(&text, "/", account, request.path);
  for (const auto& [name, value] : request.Query()) absl::StrAppend(&text, "\n", name, ":", value);
  return text;
}

Answer HandleBlob(World& world, const Request& request, LogEntry& entry, absl::Time now) {
  Answer answer = DispatchBlob(world, request, entry, now);
  entry.request_id = DrawGuid(world);
  const absl::string_view version = request.Header("x-ms-version");
  answer.Set("Server", "Windows-Azure-Blob/1.0 Microsoft-HTTPAPI/2.0");
  answer.Set("x-ms-request-id", entry.request_id);
  answer.Set("x-ms-version", version.empty() ? "2021-12-02" : version);
  const absl::string_view client = request.Header("x-ms-client-request-id");
  if (!client.empty()) answer.Set("x-ms-client-request-id", client.substr(0, 128));
  return answer;
}

}  // namespace failover::emulator
