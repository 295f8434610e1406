#include "controller/store/file_format.h"

#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/digest.h"
#include "common/status_macros.h"
#include "google/protobuf/util/json_util.h"

namespace failover::store {
namespace {

constexpr absl::string_view kMagic = "apim-failover-state";
constexpr absl::string_view kSuffix = ".state";
constexpr size_t kMaxFileName = 200;  // NAME_MAX is 255; the temporary file's suffix fits too

std::string BareHeader(const FileHeader& header) {
  return absl::StrCat(kMagic, " schema=", header.schema, " write=", header.write,
                      " bytes=", header.bytes);
}

std::string Checksum(const FileHeader& header, absl::string_view json) {
  return Sha256Hex(absl::StrCat(BareHeader(header), "\n", json));
}

absl::Status Corrupt(const std::string& path, absl::string_view what) {
  return absl::DataLossError(
      absl::StrCat("state file ", path, " is corrupt: ", what,
                   "; it is kept untouched. Put a good copy in its place, or move it away and give "
                   "the roles by `failoverctl adopt`"));
}

absl::Status Newer(const std::string& path, absl::string_view what) {
  return absl::FailedPreconditionError(
      absl::StrCat("state file ", path, " was written by a newer version: ", what,
                   "; it is kept untouched. Start that version or a later one"));
}

template <typename Number>
bool TakeField(absl::string_view field, absl::string_view key, Number& number) {
  return absl::ConsumePrefix(&field, absl::StrCat(key, "=")) && absl::SimpleAtoi(field, &number) &&
         absl::StrCat(number) == field;
}

}  // namespace

std::string FileHeader::Version() const { return absl::StrCat(write, "-", sha256); }

absl::StatusOr<FileHeader> ParseHeader(absl::string_view text, const std::string& path) {
  if (text.empty()) return Corrupt(path, "it is empty");
  const size_t end = text.substr(0, kMaxHeaderBytes).find('\n');
  if (end == absl::string_view::npos) return Corrupt(path, "its first line has no end");
  const std::vector<absl::string_view> fields = absl::StrSplit(text.substr(0, end), ' ');
  FileHeader header;
  if (fields[0] != kMagic || fields.size() < 2 || !TakeField(fields[1], "schema", header.schema)) {
    return Corrupt(path,
                   absl::StrCat("its first line does not begin with \"", kMagic, " schema=\""));
  }
  if (header.schema > kSchemaVersion) {
    return Newer(path, absl::StrCat("schema ", header.schema, ", this one knows ", kSchemaVersion));
  }
  absl::string_view sha = fields.back();
  if (fields.size() != 5 || header.schema < 1 || !TakeField(fields[2], "write", header.write) ||
      !TakeField(fields[3], "bytes", header.bytes) || !absl::ConsumePrefix(&sha, "sha256=") ||
      sha.size() != 64) {
    return Corrupt(path, "its first line is malformed");
  }
  header.sha256 = std::string(sha);
  header.size = end + 1;
  return header;
}

absl::StatusOr<Versioned> DecodeFile(absl::string_view text, const std::string& group,
                                     const std::string& path) {
  ASSIGN_OR_RETURN(const FileHeader header, ParseHeader(text, path));
  const absl::string_view json = text.substr(header.size);
  if (json.size() < header.bytes) {
    return Corrupt(path,
                   absl::StrCat("it is truncated: ", json.size(), " of ", header.bytes, " bytes"));
  }
  if (json.size() > header.bytes) {
    return Corrupt(path, absl::StrCat(json.size() - header.bytes, " bytes follow its end"));
  }
  const std::string found = Checksum(header, json);
  if (found != header.sha256) {
    return Corrupt(path,
                   absl::StrCat("its checksum is ", found, ", its header says ", header.sha256));
  }
  Versioned result;
  result.version = header.Version();
  // The checksum is right, so this is what was written, by somebody who knows fields that we do
  // not.
  const auto parsed =
      google::protobuf::util::JsonStringToMessage(std::string(json), &result.record);
  if (!parsed.ok())
    return Newer(path, absl::string_view(parsed.message().data(), parsed.message().size()));
  if (result.record.name() != group) {
    return Corrupt(path,
                   absl::StrCat("it holds the group \"", absl::CHexEscape(result.record.name()),
                                "\", expected \"", absl::CHexEscape(group), "\""));
  }
  return result;
}

absl::StatusOr<std::string> EncodeFile(const v1::GroupRecord& record, uint64_t write,
                                       FileHeader& header) {
  std::string json;
  const auto printed = google::protobuf::util::MessageToJsonString(record, &json);
  if (!printed.ok()) {
    return absl::InternalError(
        absl::StrCat("the record of ", record.name(), " cannot be written as JSON: ",
                     absl::string_view(printed.message().data(), printed.message().size())));
  }
  json.push_back('\n');
  header = {record.schema_version(), write, json.size(), "", 0};
  header.sha256 = Checksum(header, json);
  const std::string line = absl::StrCat(BareHeader(header), " sha256=", header.sha256, "\n");
  header.size = line.size();
  return absl::StrCat(line, json);
}

std::string FileNameOf(absl::string_view group) {
  std::string name;
  for (const char c : group) {
    if (absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-') {
      name.push_back(c);
    } else {
      absl::StrAppend(&name, "%", absl::StrFormat("%02X", static_cast<unsigned char>(c)));
    }
  }
  if (name.empty() || name.size() + kSuffix.size() > kMaxFileName) return "";
  return absl::StrCat(name, kSuffix);
}

std::string GroupOf(absl::string_view file_name) {
  const absl::string_view whole = file_name;
  if (!absl::ConsumeSuffix(&file_name, kSuffix)) return "";
  std::string group;
  for (size_t i = 0; i < file_name.size(); ++i) {
    uint32_t byte = 0;
    if (file_name[i] != '%') {
      group.push_back(file_name[i]);
    } else if (absl::SimpleHexAtoi(file_name.substr(i + 1, 2), &byte)) {
      group.push_back(static_cast<char>(byte));
      i += 2;
    }
  }
  return FileNameOf(group) == whole ? group : "";
}

}  // namespace failover::store
