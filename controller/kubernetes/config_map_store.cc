#include "controller/kubernetes/config_map_store.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/crash_point.h"
#include "common/log.h"
#include "common/status_macros.h"
#include "controller/kubernetes/json.h"
#include "controller/store/file_format.h"
#include "nlohmann/json.hpp"

namespace failover::kubernetes {
namespace {

constexpr char kKey[] = "record";
constexpr char kLabel[] = "apim-failover/state-of";
constexpr char kMetadataOnly[] = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
constexpr int kPage = 100, kMaxPages = 100;
constexpr size_t kMaxUnconfirmed = 16;

struct Stored {
  std::string version;  // resourceVersion
  std::string text;     // under kKey; empty = there is none
};

absl::StatusOr<Stored> ReadObject(absl::string_view body) {
  ASSIGN_OR_RETURN(const Json object, ParseObject(body));
  Stored stored{FindText(object, {"metadata", "resourceVersion"}),
                FindText(object, {"data", kKey})};
  if (stored.version.empty())
    return absl::InvalidArgumentError("the ConfigMap has no resourceVersion");
  return stored;
}

// Every byte as %XX: right in any place of a query.
std::string QueryEscaped(absl::string_view text) {
  std::string escaped;
  for (const char c : text)
    absl::StrAppend(&escaped, "%", absl::BytesToHexString(absl::string_view(&c, 1)));
  return escaped;
}

class ConfigMapStore final : public store::Store {
 public:
  explicit ConfigMapStore(ConfigMapStoreOptions options)
      : options_(std::move(options)),
        clock_(*options_.clock),
        client_(options_.server, clock_, options_.stop, options_.make_http, options_.observe) {}

  absl::StatusOr<store::Versioned> Load(const std::string& group) override;
  absl::StatusOr<std::string> Save(v1::GroupRecord& record, const std::string& expected) override;
  absl::StatusOr<std::map<std::string, std::string>> List() override;
  absl::Status Healthy() override {
    return options_.may_write ? options_.may_write() : absl::OkStatus();
  }

 private:
  // Writes that perhaps were done: the next one from the same base may replace each of them, since
  // nobody else can have written it.
  struct Unconfirmed {
    std::string base;
    std::vector<std::string> texts;  // versions of file_format.h
  };
  struct Known {
    std::string version;
    uint64_t write = 0;
  };

  // Empty: no record can be named so.
  std::string NameOf(absl::string_view group) const;
  std::string GroupOf(absl::string_view name) const;
  std::string Described(const std::string& group) const {
    return absl::StrCat("configmap/", NameOf(group), " of namespace ", options_.server.name_space);
  }
  ApiAnswer Call(const ApiRequest& request);
  // NotFound: there is none. Unavailable: everything else.
  absl::StatusOr<Stored> Get(const std::string& group);
  absl::StatusOr<std::string> Fit(const v1::GroupRecord& record, uint64_t write,
                                  std::string& version);
  absl::StatusOr<Known> Base(const std::string& group, const std::string& expected);
  ApiAnswer Write(const std::string& group, const std::string& text, const std::string& expected);
  absl::StatusOr<std::string> SaveFrom(const v1::GroupRecord& record, const std::string& expected,
                                       const Known& base);
  absl::StatusOr<Stored> AfterConflict(const std::string& group, const std::string& expected,
                                       const absl::Status& conflict);

  const ConfigMapStoreOptions options_;
  Clock& clock_;
  ApiClient client_;
  SteadyTime not_before_ = SteadyTime::InfinitePast();
  std::map<std::string, Known> known_;              // by group
  std::map<std::string, Unconfirmed> unconfirmed_;  // by group
  bool told_shortened_ = false;
};

std::string ConfigMapStore::NameOf(absl::string_view group) const {
  const bool own = absl::ConsumePrefix(&group, "@");
  return IsLabel(group) ? absl::StrCat(options_.prefix, own ? "." : "-", group) : "";
}

std::string ConfigMapStore::GroupOf(absl::string_view name) const {
  if (!absl::ConsumePrefix(&name, options_.prefix) || name.empty()) return "";
  const std::string group = absl::StrCat(name[0] == '.' ? "@" : "", name.substr(1));
  return NameOf(group) == absl::StrCat(options_.prefix, name) ? group : "";
}

ApiAnswer ConfigMapStore::Call(const ApiRequest& request) {
  ApiAnswer answer;
  if (clock_.Steady() < not_before_) {
    answer.status = absl::UnavailableError("the API server asked us to wait");
    return answer;
  }
  answer = client_.Call(request);
  if (answer.retry_after > absl::ZeroDuration()) not_before_ = clock_.Steady() + answer.retry_after;
  return answer;
}

absl::StatusOr<Stored> ConfigMapStore::Get(const std::string& group) {
  ApiRequest request;
  request.path = ConfigMapPath(options_.server.name_space, NameOf(group));
  const ApiAnswer answer = Call(request);
  if (absl::IsNotFound(answer.status) && answer.reason == "NotFound") {
    return absl::NotFoundError(absl::StrCat("there is no ", Described(group)));
  }
  if (!answer.status.ok()) {
    return absl::UnavailableError(
        absl::StrCat("cannot read ", Described(group), ": ", answer.status.message()));
  }
  absl::StatusOr<Stored> stored = ReadObject(answer.body);
  if (!stored.ok()) {
    return absl::UnavailableError(
        absl::StrCat("cannot read ", Described(group), ": ", stored.status().message()));
  }
  return stored;
}

absl::StatusOr<store::Versioned> ConfigMapStore::Load(const std::string& group) {
  if (NameOf(group).empty()) {
    return absl::NotFoundError(
        absl::StrCat("no record can be named \"", absl::CHexEscape(group), "\""));
  }
  known_.erase(group);
  unconfirmed_.erase(group);
  ASSIGN_OR_RETURN(const Stored stored, Get(group));
  ASSIGN_OR_RETURN(store::Versioned result,
                   store::DecodeFile(stored.text, group, Described(group)));
  ASSIGN_OR_RETURN(const store::FileHeader header,
                   store::ParseHeader(stored.text, Described(group)));
  result.version = stored.version;
  known_[group] = {stored.version, header.write};
  return result;
}

// The number of the write that `expected` stands for.
absl::StatusOr<ConfigMapStore::Known> ConfigMapStore::Base(const std::string& group,
                                                           const std::string& expected) {
  if (expected.empty()) return Known{};
  if (const auto known = known_.find(group);
      known != known_.end() && known->second.version == expected)
    return known->second;
  const absl::StatusOr<Stored> stored = Get(group);
  if (!stored.ok() && !absl::IsNotFound(stored.status())) return stored.status();
  const std::string found = stored.ok() ? stored->version : "none";
  if (found != expected) {
    return absl::AbortedError(absl::StrCat(Described(group),
                                           " was written by somebody else: found version ", found,
                                           ", expected ", expected));
  }
  ASSIGN_OR_RETURN(const store::FileHeader header,
                   store::ParseHeader(stored->text, Described(group)));
  return Known{stored->version, header.write};
}

absl::StatusOr<std::string> ConfigMapStore::Fit(const v1::GroupRecord& record, uint64_t write,
                                                std::string& version) {
  store::FileHeader header;
  ASSIGN_OR_RETURN(std::string text, store::EncodeFile(record, write, header));
  if (text.size() > kMaxRecordBytes) {
    v1::GroupRecord shorter = record;
    while (text.size() > kMaxRecordBytes && shorter.history_size() > 1) {
      shorter.mutable_history()->DeleteSubrange(0, std::max(1, shorter.history_size() / 16));
      ASSIGN_OR_RETURN(text, store::EncodeFile(shorter, write, header));
    }
    if (text.size() > kMaxRecordBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat("the record of ", record.name(), " takes ", text.size(),
                       " bytes without its history; at most ", kMaxRecordBytes, " are kept"));
    }
    if (!std::exchange(told_shortened_, true)) {
      LogWarning("a group's history is stored without its oldest entries",
                 {{"failover_group", record.name()},
                  {"entries", record.history_size()},
                  {"stored", shorter.history_size()}});
    }
  }
  version = header.Version();
  return text;
}

ApiAnswer ConfigMapStore::Write(const std::string& group, const std::string& text,
                                const std::string& expected) {
  ApiRequest request;
  Json object = {{"data", {{kKey, text}}}};
  if (expected.empty()) {
    request.method = "POST";
    request.path = ConfigMapPath(options_.server.name_space);
    object["apiVersion"] = "v1";
    object["kind"] = "ConfigMap";
    object["metadata"] = {
        {"name", NameOf(group)},
        {"namespace", options_.server.name_space},
        {"labels", {{"app.kubernetes.io/managed-by", "apim-failover"}, {kLabel, options_.prefix}}}};
  } else {
    // With its version: refused if another has written. What else is in the object stays.
    request.method = "PATCH";
    request.path = ConfigMapPath(options_.server.name_space, NameOf(group));
    request.content_type = "application/merge-patch+json";
    object["metadata"] = {{"resourceVersion", expected}};
  }
  request.body = Print(object);
  CrashPoint("store.before_send");
  ApiAnswer answer = Call(request);
  CrashPoint("store.after_send");
  return answer;
}

absl::StatusOr<std::string> ConfigMapStore::SaveFrom(const v1::GroupRecord& record,
                                                     const std::string& expected,
                                                     const Known& base) {
  const std::string& group = record.name();
  std::string version;
  ASSIGN_OR_RETURN(const std::string text, Fit(record, base.write + 1, version));
  RETURN_IF_ERROR(Healthy());  // what came before may have taken long
  const ApiAnswer answer = Write(group, text, base.version);
  absl::Status failed = answer.status;
  if (failed.ok()) {
    const absl::StatusOr<Stored> stored = ReadObject(answer.body);
    if (stored.ok() && stored->text == text) {
      unconfirmed_.erase(group);
      known_[group] = {stored->version, base.write + 1};
      return stored->version;
    }
    failed = absl::UnavailableError(stored.ok() ? "the answer holds another record"
                                                : stored.status().message());
  } else if (absl::IsAborted(failed) || absl::IsAlreadyExists(failed)) {
    return absl::AbortedError(failed.message());
  } else if (absl::IsNotFound(failed) && answer.reason == "NotFound" && !base.version.empty()) {
    return absl::AbortedError(absl::StrCat("it was deleted: ", failed.message()));
  }
  if (answer.status.ok() || answer.maybe_done) {
    Unconfirmed& open = unconfirmed_[group];
    if (open.base != expected) open = {expected, {}};
    if (open.texts.size() >= kMaxUnconfirmed) open.texts.erase(open.texts.begin());
    open.texts.push_back(version);
  }
  return absl::UnavailableError(
      absl::StrCat("cannot write ", Described(group), ": ", failed.message()));
}

// What stands there if it is a write of our own that had no answer; else Aborted.
absl::StatusOr<Stored> ConfigMapStore::AfterConflict(const std::string& group,
                                                     const std::string& expected,
                                                     const absl::Status& conflict) {
  const absl::Status foreign = absl::AbortedError(
      absl::StrCat(Described(group), " was written by somebody else: expected version ",
                   expected.empty() ? "none" : expected, "; ", conflict.message()));
  const auto open = unconfirmed_.find(group);
  if (open == unconfirmed_.end() || open->second.base != expected) return foreign;
  absl::StatusOr<Stored> stored = Get(group);
  if (!stored.ok()) return absl::IsNotFound(stored.status()) ? foreign : stored.status();
  const absl::StatusOr<store::FileHeader> header =
      store::ParseHeader(stored->text, Described(group));
  const std::vector<std::string>& texts = open->second.texts;
  if (!header.ok() || std::find(texts.begin(), texts.end(), header->Version()) == texts.end())
    return foreign;
  return stored;
}

absl::StatusOr<std::string> ConfigMapStore::Save(v1::GroupRecord& record,
                                                 const std::string& expected) {
  const std::string& group = record.name();
  if (NameOf(group).empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a record cannot be named \"", absl::CHexEscape(group), "\""));
  }
  if (record.schema_version() != store::kSchemaVersion) {
    return absl::InvalidArgumentError(
        absl::StrCat("the record of ", group, " has schema version ", record.schema_version(),
                     "; this version writes ", store::kSchemaVersion));
  }
  RETURN_IF_ERROR(Healthy());
  store::SealHistory(record);
  const absl::StatusOr<Known> base = Base(group, expected);
  absl::StatusOr<std::string> saved =
      base.ok() ? SaveFrom(record, expected, *base) : absl::StatusOr<std::string>(base.status());
  if (!absl::IsAborted(saved.status())) return saved;
  ASSIGN_OR_RETURN(const Stored ours, AfterConflict(group, expected, saved.status()));
  ASSIGN_OR_RETURN(const store::FileHeader header, store::ParseHeader(ours.text, Described(group)));
  return SaveFrom(record, expected, {ours.version, header.write});
}

absl::StatusOr<std::map<std::string, std::string>> ConfigMapStore::List() {
  std::map<std::string, std::string> result;
  std::string next;
  bool begun_again = false;
  for (int page = 0; page < kMaxPages; ++page) {
    ApiRequest request;
    request.path =
        absl::StrCat(ConfigMapsOfStore(options_.server.name_space, options_.prefix),
                     "&limit=", kPage, next.empty() ? "" : "&continue=", QueryEscaped(next));
    request.accept = kMetadataOnly;
    const ApiAnswer answer = Call(request);
    // The list has changed too much since its first page.
    if (absl::IsOutOfRange(answer.status) && !begun_again) {
      begun_again = true;
      next.clear();
      result.clear();
      continue;
    }
    if (!answer.status.ok()) {
      return absl::UnavailableError(absl::StrCat("cannot list the ConfigMaps of namespace ",
                                                 options_.server.name_space, ": ",
                                                 answer.status.message()));
    }
    const absl::StatusOr<Json> list = ParseObject(answer.body);
    if (!list.ok()) return absl::UnavailableError(list.status().message());
    for (const Json& item : Find(*list, {"items"})) {
      const std::string group = GroupOf(FindText(item, {"metadata", "name"}));
      if (!group.empty()) result[group] = FindText(item, {"metadata", "resourceVersion"});
    }
    next = FindText(*list, {"metadata", "continue"});
    if (next.empty()) return result;
  }
  return absl::UnavailableError(
      absl::StrCat("there are more than ", kPage * kMaxPages, " records"));
}

}  // namespace

std::string ConfigMapsOfStore(const std::string& name_space, const std::string& prefix) {
  return absl::StrCat(ConfigMapPath(name_space), "?labelSelector=", QueryEscaped(kLabel), "%3D",
                      prefix);
}

absl::StatusOr<std::unique_ptr<store::Store>> OpenConfigMapStore(ConfigMapStoreOptions options) {
  RETURN_IF_ERROR(CheckServer(options.server));
  if (!IsLabel(options.prefix)) {
    return absl::InvalidArgumentError(absl::StrCat("store.kubernetes.prefix: found \"",
                                                   options.prefix,
                                                   "\"; allowed: 1 to 63 of a-z, 0-9 and '-'"));
  }
  return std::make_unique<ConfigMapStore>(std::move(options));
}

}  // namespace failover::kubernetes
