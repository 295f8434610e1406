#include "common/yaml_tree.h"

#include <algorithm>
#include <deque>
#include <exception>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/utf8.h"
#include "yaml-cpp/eventhandler.h"
#include "yaml-cpp/exceptions.h"
#include "yaml-cpp/mark.h"
#include "yaml-cpp/parser.h"

namespace failover {
namespace {

constexpr size_t kMaxBytes = 1 << 20;
constexpr size_t kMaxDepth = 32;

// Thrown through yaml-cpp's parser to stop it; caught below.
struct Refused {
  ConfigPlace place;
  std::string what;
};

ConfigPlace PlaceOf(const YAML::Mark& mark) { return {mark.line + 1, mark.column + 1}; }

// Builds the tree from the parser's events. yaml-cpp's own loader would silently take anchors,
// aliases (also of themselves), merge keys and second documents.
class TreeBuilder final : public YAML::EventHandler {
 public:
  TreeBuilder(absl::string_view text, YamlNode& root)
      : lines_(absl::StrSplit(text, '\n')), root_(root) {}

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) Refuse(mark, "found a second document; allowed: one document");
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    RefuseAnchor(mark, anchor);
    Leaf(mark, YamlNode::Kind::kNull).place = PlaceBefore(mark);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    Refuse(mark, "found an alias (*); allowed: values written out");
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    RefuseAnchor(mark, anchor);
    if (tag != "?" && tag != "!" && !tag.empty()) RefuseTag(mark, tag);
    if (tag != "!" && value == "<<") {
      Refuse(mark, "found a merge key (<<); allowed: values written out");
    }
    YamlNode& node = Leaf(mark, YamlNode::Kind::kScalar);
    node.text = value;
    node.quoted = tag == "!";
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open(mark, tag, anchor, YamlNode::Kind::kList);
  }
  void OnSequenceEnd() override { Close(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Open(mark, tag, anchor, YamlNode::Kind::kMap);
  }
  void OnMapEnd() override { Close(); }

 private:
  struct Level {
    YamlNode node;
    YamlNode key;
    bool has_key = false;
  };

  [[noreturn]] static void Refuse(const YAML::Mark& mark, std::string what) {
    throw Refused{PlaceOf(mark), std::move(what)};
  }
  static void RefuseAnchor(const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (anchor != 0) Refuse(mark, "found an anchor (&); allowed: values written out");
  }
  static void RefuseTag(const YAML::Mark& mark, const std::string& tag) {
    Refuse(mark, absl::StrCat("found the tag \"", tag, "\"; allowed: no tags"));
  }

  void Open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
            YamlNode::Kind kind) {
    RefuseAnchor(mark, anchor);
    if (tag != "?" && !tag.empty()) RefuseTag(mark, tag);
    if (open_.size() >= kMaxDepth) {
      Refuse(mark,
             absl::StrCat("found more than ", kMaxDepth, " levels; allowed: at most ", kMaxDepth));
    }
    open_.emplace_back();
    open_.back().node.kind = kind;
    open_.back().node.place = PlaceOf(mark);
  }

  void Close() {
    YamlNode node = std::move(open_.back().node);
    open_.pop_back();
    Put(std::move(node));
  }

  YamlNode& Leaf(const YAML::Mark& mark, YamlNode::Kind kind) {
    YamlNode node;
    node.kind = kind;
    node.place = PlaceOf(mark);
    return Put(std::move(node));
  }

  // Moves a finished node to where it belongs.
  YamlNode& Put(YamlNode node) {
    if (open_.empty()) return root_ = std::move(node);
    Level& level = open_.back();
    if (level.node.kind == YamlNode::Kind::kList) {
      return level.node.items.emplace_back(std::move(node));
    }
    level.has_key = !level.has_key;
    if (level.has_key) return level.key = std::move(node);
    return level.node.entries.emplace_back(std::move(level.key), std::move(node)).second;
  }

  // The parser notices that nothing was written only at what follows: the last place before `mark`
  // that is neither blank nor a comment of its own line.
  ConfigPlace PlaceBefore(const YAML::Mark& mark) const {
    for (int line = std::min(mark.line, static_cast<int>(lines_.size()) - 1); line >= 0; --line) {
      absl::string_view text = lines_[static_cast<size_t>(line)];
      if (line == mark.line) text = text.substr(0, static_cast<size_t>(mark.column));
      const size_t last = text.find_last_not_of(" \t\r");
      if (last != text.npos && text[text.find_first_not_of(" \t")] != '#') {
        return {line + 1, static_cast<int>(last) + 1};
      }
    }
    return PlaceOf(mark);
  }

  const std::vector<absl::string_view> lines_;
  YamlNode& root_;
  std::deque<Level> open_;
  int documents_ = 0;
};

// Place and description of the first byte that no text file may contain; empty when there is none.
std::string FindBadByte(absl::string_view text, ConfigPlace& place) {
  place = {1, 1};
  while (!text.empty()) {
    const size_t length = Utf8SequenceLength(text);
    const unsigned char c = static_cast<unsigned char>(text[0]);
    if (length == 0) return "found a byte that is not UTF-8; allowed: UTF-8 text";
    if (c < 0x20 && c != '\n' && c != '\r' && c != '\t') {
      return absl::StrCat("found the control character ", static_cast<int>(c),
                          "; allowed: UTF-8 text");
    }
    if (c == '\n') {
      place = {place.line + 1, 1};
    } else {
      ++place.column;
    }
    text.remove_prefix(length);
  }
  return "";
}

}  // namespace

bool ReadYaml(absl::string_view text, YamlNode& root, ConfigProblems& problems) {
  if (text.size() > kMaxBytes) {
    problems.AddAt({1, 1}, "", "found more than 1 MiB; allowed: at most 1 MiB");
    return false;
  }
  ConfigPlace place;
  if (const std::string bad = FindBadByte(text, place); !bad.empty()) {
    problems.AddAt(place, "", bad);
    return false;
  }
  root.place = {1, 1};
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    TreeBuilder builder(text, root);
    while (parser.HandleNextDocument(builder)) {
    }
    return true;
  } catch (const Refused& refused) {
    problems.AddAt(refused.place, "", refused.what);
  } catch (const YAML::Exception& error) {
    problems.AddAt(PlaceOf(error.mark), "", absl::StrCat("not readable as YAML: ", error.msg));
  } catch (const std::exception& error) {
    problems.AddAt({1, 1}, "", absl::StrCat("not readable as YAML: ", error.what()));
  }
  return false;
}

}  // namespace failover
