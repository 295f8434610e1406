// ParseYaml of config_file.h: a YAML tree → a message, by protobuf reflection.
#include <algorithm>
#include <cmath>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/config_file.h"
#include "common/utf8.h"
#include "common/yaml_tree.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/duration.pb.h"

namespace failover {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using Kind = YamlNode::Kind;

// Messages that may also be written as one word, which leaves them present and empty.
struct ScalarForm {
  absl::string_view message, word;
};
constexpr ScalarForm kScalarForms[] = {{"apim_failover.v1.ServedBySpec", "address"}};

absl::string_view ScalarFormOf(const Descriptor& type) {
  for (const ScalarForm& form : kScalarForms) {
    if (form.message == type.full_name()) return form.word;
  }
  return "";
}

bool IsDuration(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
         field.message_type()->full_name() == "google.protobuf.Duration";
}

// MODE_AUTOMATIC of enum Mode → automatic; ON_DRIFT_PROCEED of OnDrift → proceed.
std::string YamlName(const EnumValueDescriptor& value) {
  std::string prefix;  // ON_DRIFT_
  for (const char c : value.type()->name()) {
    if (absl::ascii_isupper(static_cast<unsigned char>(c)) && !prefix.empty()) prefix += '_';
    prefix += absl::ascii_toupper(static_cast<unsigned char>(c));
  }
  prefix += '_';
  absl::string_view name = value.name();
  if (absl::StartsWith(name, prefix)) name.remove_prefix(prefix.size());
  std::string camel;
  bool upper = false;
  for (const char c : name) {
    if (c == '_') {
      upper = true;
      continue;
    }
    const auto u = static_cast<unsigned char>(c);
    camel += upper ? absl::ascii_toupper(u) : absl::ascii_tolower(u);
    upper = false;
  }
  return camel;
}

std::vector<std::string> EnumNames(const EnumDescriptor& type) {
  std::vector<std::string> names;
  for (int i = 0; i < type.value_count(); ++i) {
    if (type.value(i)->number() != 0) names.push_back(YamlName(*type.value(i)));
  }
  return names;
}

std::vector<std::string> KeyNames(const Descriptor& type) {
  std::vector<std::string> names;
  for (int i = 0; i < type.field_count(); ++i) names.push_back(type.field(i)->json_name());
  return names;
}

// Lower case without separators, so that min_down_duration is near minDownDuration.
std::string Plain(absl::string_view name) {
  std::string plain;
  for (const char c : name.substr(0, 64)) {
    if (c != '_' && c != '-') plain += absl::ascii_tolower(static_cast<unsigned char>(c));
  }
  return plain;
}

size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j < row.size(); ++j) row[j] = j;
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

// ` (did you mean "mode"?)` when one name is near enough, else nothing.
std::string Suggestion(absl::string_view found, const std::vector<std::string>& names) {
  const std::string plain = Plain(found);
  const std::string* nearest = nullptr;
  size_t smallest = std::max<size_t>(1, plain.size() / 3) + 1;
  for (const std::string& name : names) {
    const size_t distance = EditDistance(plain, Plain(name));
    if (distance < smallest) {
      smallest = distance;
      nearest = &name;
    }
  }
  return nearest == nullptr ? "" : absl::StrCat(" (did you mean \"", *nearest, "\"?)");
}

// What one value of the field may be, for messages to people.
std::string AllowedValue(const FieldDescriptor& field) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
    case FieldDescriptor::CPPTYPE_INT64:
      return "a whole number";
    case FieldDescriptor::CPPTYPE_UINT32:
    case FieldDescriptor::CPPTYPE_UINT64:
      return "a whole number, 0 or more";
    case FieldDescriptor::CPPTYPE_DOUBLE:
    case FieldDescriptor::CPPTYPE_FLOAT:
      return "a number";
    case FieldDescriptor::CPPTYPE_BOOL:
      return "true or false";
    case FieldDescriptor::CPPTYPE_ENUM:
      return absl::StrJoin(EnumNames(*field.enum_type()), ", ");
    case FieldDescriptor::CPPTYPE_STRING:
      return "text";
    case FieldDescriptor::CPPTYPE_MESSAGE:
      break;
  }
  if (IsDuration(field)) return "a duration such as 500ms, 30s, 1h30m or 30d";
  const Descriptor& type = *field.message_type();
  const absl::string_view word = ScalarFormOf(type);
  return absl::StrCat(word, word.empty() ? "" : ", or ", "a section with the keys ",
                      absl::StrJoin(KeyNames(type), ", "));
}

std::string Allowed(const FieldDescriptor& field) {
  if (field.is_map()) return "a section of names and values";
  if (field.is_repeated()) return absl::StrCat("a list, each ", AllowedValue(field));
  return AllowedValue(field);
}

bool LooksLikeNumber(absl::string_view text) {
  double number;
  if (absl::StartsWithIgnoreCase(text, "0x")) return true;
  return absl::SimpleAtod(text, &number) && text.find_first_of("0123456789") != text.npos;
}

std::string Found(const YamlNode& node) {
  switch (node.kind) {
    case Kind::kNull:
      return "found nothing";
    case Kind::kList:
      return "found a list";
    case Kind::kMap:
      return "found a section";
    case Kind::kScalar:
      break;
  }
  return absl::StrCat("found \"", CutText(node.text, 200), "\"");
}

class Mapper {
 public:
  Mapper(ConfigPlaces& places, ConfigProblems& problems) : places_(places), problems_(problems) {}

  void FillMessage(const YamlNode& node, const std::string& path, Message& message) {
    const Descriptor& type = *message.GetDescriptor();
    std::map<std::string, int> lines;  // of the keys seen
    for (const auto& [key, value] : node.entries) {
      const std::string key_path = absl::StrCat(path, path.empty() ? "" : ".", key.text);
      if (!CheckKey(key, path, key_path, lines)) continue;
      const FieldDescriptor* const field = FieldNamed(type, key.text);
      if (field == nullptr) {
        const std::vector<std::string> names = KeyNames(type);
        problems_.AddAt(
            key.place, key_path,
            absl::StrCat("found unknown key \"", CutText(key.text, 200), "\"",
                         Suggestion(key.text, names), "; allowed: ", absl::StrJoin(names, ", ")));
        continue;
      }
      places_[key_path] = value.kind == Kind::kScalar ? value.place : key.place;
      if (field->is_map()) {
        FillMap(value, key, key_path, message, *field);
      } else if (field->is_repeated()) {
        FillList(value, key, key_path, message, *field);
      } else if (Present(value, key, key_path, Allowed(*field))) {
        FillValue(value, key_path, message, *field, false);
      }
    }
  }

 private:
  static const FieldDescriptor* FieldNamed(const Descriptor& type, const std::string& key) {
    for (int i = 0; i < type.field_count(); ++i) {
      if (type.field(i)->json_name() == key) return type.field(i);
    }
    return nullptr;
  }

  // A key must be text and stand once. Keys of a place that does not exist yet keep their line in
  // `lines`.
  bool CheckKey(const YamlNode& key, const std::string& path, const std::string& key_path,
                std::map<std::string, int>& lines) {
    if (key.kind != Kind::kScalar) {
      problems_.AddAt(key.place, path, absl::StrCat(Found(key), " as a key; allowed: text"));
      return false;
    }
    const auto [seen, fresh] = lines.emplace(key.text, key.place.line);
    if (!fresh) {
      problems_.AddAt(key.place, key_path,
                      absl::StrCat("found duplicate key \"", CutText(key.text, 200),
                                   "\", first on line ", seen->second, "; allowed: each key once"));
    }
    return fresh;
  }

  bool Present(const YamlNode& value, const YamlNode& key, const std::string& path,
               absl::string_view allowed) {
    if (value.kind != Kind::kNull) return true;
    problems_.AddAt(key.place, path, absl::StrCat("found nothing; allowed: ", allowed));
    return false;
  }

  void Wrong(const YamlNode& node, const std::string& path, absl::string_view allowed) {
    const ConfigPlace place = node.kind == Kind::kScalar ? node.place : places_[path];
    problems_.AddAt(place, path, absl::StrCat(Found(node), "; allowed: ", allowed));
  }

  void FillList(const YamlNode& value, const YamlNode& key, const std::string& path,
                Message& message, const FieldDescriptor& field) {
    if (!Present(value, key, path, Allowed(field))) return;
    if (value.kind != Kind::kList) return Wrong(value, path, Allowed(field));
    for (size_t i = 0; i < value.items.size(); ++i) {
      const YamlNode& item = value.items[i];
      const std::string item_path = absl::StrCat(path, "[", i, "]");
      places_[item_path] = item.place;
      if (Present(item, item, item_path, AllowedValue(field)))
        FillValue(item, item_path, message, field, true);
    }
  }

  void FillMap(const YamlNode& value, const YamlNode& key, const std::string& path,
               Message& message, const FieldDescriptor& field) {
    if (!Present(value, key, path, Allowed(field))) return;
    if (value.kind != Kind::kMap) return Wrong(value, path, Allowed(field));
    const FieldDescriptor& key_field = *field.message_type()->map_key();
    const FieldDescriptor& value_field = *field.message_type()->map_value();
    std::map<std::string, int> lines;
    for (const auto& [entry_key, entry_value] : value.entries) {
      const std::string entry_path = absl::StrCat(path, ".", entry_key.text);
      if (!CheckKey(entry_key, path, entry_path, lines)) continue;
      places_[entry_path] = entry_value.kind == Kind::kScalar ? entry_value.place : entry_key.place;
      if (!Present(entry_value, entry_key, entry_path, AllowedValue(value_field))) continue;
      Message& entry = *message.GetReflection()->AddMessage(&message, &field);
      entry.GetReflection()->SetString(&entry, &key_field, entry_key.text);
      FillValue(entry_value, entry_path, entry, value_field, false);
    }
  }

  // One value; into a new element when `add`.
  void FillValue(const YamlNode& node, const std::string& path, Message& message,
                 const FieldDescriptor& field, bool add) {
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      const Reflection& reflection = *message.GetReflection();
      Message& child = add ? *reflection.AddMessage(&message, &field)
                           : *reflection.MutableMessage(&message, &field);
      if (IsDuration(field)) return FillDuration(node, path, child, field);
      if (node.kind == Kind::kMap) return FillMessage(node, path, child);
      const absl::string_view word = ScalarFormOf(*child.GetDescriptor());
      if (node.kind == Kind::kScalar && !word.empty() && node.text == word) return;
      return Wrong(node, path, AllowedValue(field));
    }
    if (node.kind != Kind::kScalar || !SetScalar(node, message, field, add)) {
      Wrong(node, path, AllowedWithHint(node, field));
    }
  }

  // The usual slips have their own advice.
  static std::string AllowedWithHint(const YamlNode& node, const FieldDescriptor& field) {
    std::string allowed = AllowedValue(field);
    if (node.kind != Kind::kScalar) return allowed;
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
      return absl::StrCat("text; write \"", CutText(node.text, 200), "\" in quotes");
    }
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM) {
      return absl::StrCat(allowed, Suggestion(node.text, EnumNames(*field.enum_type())));
    }
    if (node.quoted) absl::StrAppend(&allowed, ", without quotes");
    return allowed;
  }

  void FillDuration(const YamlNode& node, const std::string& path, Message& message,
                    const FieldDescriptor& field) {
    absl::StatusOr<absl::Duration> duration = absl::ZeroDuration();
    if (node.kind != Kind::kScalar) return Wrong(node, path, AllowedValue(field));
    if (node.text != "0s") duration = ParseDuration(node.text);
    if (!duration.ok()) return Wrong(node, path, AllowedValue(field));
    auto& proto = dynamic_cast<google::protobuf::Duration&>(message);
    absl::Duration rest;
    proto.set_seconds(absl::IDivDuration(*duration, absl::Seconds(1), &rest));
    proto.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
  }

  // False when the text is not of the field's type.
  bool SetScalar(const YamlNode& node, Message& message, const FieldDescriptor& field, bool add) {
    const Reflection& reflection = *message.GetReflection();
    const auto set = [&](auto setter, auto adder, const auto& value) {
      (reflection.*(add ? adder : setter))(&message, &field, value);
      return true;
    };
    const auto set_number = [&](auto setter, auto adder, auto number) {
      return !node.quoted && absl::SimpleAtoi(node.text, &number) && set(setter, adder, number);
    };
    double real = 0;
    const bool is_real = !node.quoted && absl::SimpleAtod(node.text, &real) && std::isfinite(real);
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
        return set_number(&Reflection::SetInt32, &Reflection::AddInt32, int32_t{});
      case FieldDescriptor::CPPTYPE_INT64:
        return set_number(&Reflection::SetInt64, &Reflection::AddInt64, int64_t{});
      case FieldDescriptor::CPPTYPE_UINT32:
        return set_number(&Reflection::SetUInt32, &Reflection::AddUInt32, uint32_t{});
      case FieldDescriptor::CPPTYPE_UINT64:
        return set_number(&Reflection::SetUInt64, &Reflection::AddUInt64, uint64_t{});
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return is_real && set(&Reflection::SetDouble, &Reflection::AddDouble, real);
      case FieldDescriptor::CPPTYPE_FLOAT:
        return is_real &&
               set(&Reflection::SetFloat, &Reflection::AddFloat, static_cast<float>(real));
      case FieldDescriptor::CPPTYPE_BOOL:
        return !node.quoted && (node.text == "true" || node.text == "false") &&
               set(&Reflection::SetBool, &Reflection::AddBool, node.text == "true");
      case FieldDescriptor::CPPTYPE_ENUM:
        for (int i = 0; i < field.enum_type()->value_count(); ++i) {
          const EnumValueDescriptor* const value = field.enum_type()->value(i);
          if (value->number() == 0 || YamlName(*value) != node.text) continue;
          return set(&Reflection::SetEnum, &Reflection::AddEnum, value);
        }
        return false;
      case FieldDescriptor::CPPTYPE_STRING:
        if (!node.quoted &&
            (node.text == "true" || node.text == "false" || LooksLikeNumber(node.text))) {
          return false;
        }
        return set(&Reflection::SetString, &Reflection::AddString, node.text);
      case FieldDescriptor::CPPTYPE_MESSAGE:
        break;
    }
    return false;
  }

  ConfigPlaces& places_;
  ConfigProblems& problems_;
};

}  // namespace

void ParseYaml(absl::string_view text, Message& message, ConfigPlaces& places,
               ConfigProblems& problems) {
  YamlNode root;
  if (!ReadYaml(text, root, problems)) return;
  places[""] = root.place;
  if (root.kind == Kind::kNull) return;  // an empty file: what is required is missing from it
  if (root.kind != Kind::kMap) {
    problems.AddAt(root.place, "",
                   absl::StrCat(Found(root), "; allowed: a section with the keys ",
                                absl::StrJoin(KeyNames(*message.GetDescriptor()), ", ")));
    return;
  }
  Mapper(places, problems).FillMessage(root, "", message);
}

}  // namespace failover
