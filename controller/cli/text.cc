#include "controller/cli/text.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "common/utf8.h"

namespace failover::cli {
namespace {

constexpr int kLabelColumns = 12;
constexpr int kGap = 2;  // between the columns of a table

bool Continues(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

// The first `columns` characters.
absl::string_view Head(absl::string_view text, int columns) {
  size_t end = 0;
  for (; end < text.size(); ++end) {
    if (!Continues(text[end]) && columns-- == 0) break;
  }
  return text.substr(0, end);
}

std::string Fit(absl::string_view text, int width) {
  if (Columns(text) <= width) return std::string(text);
  return absl::StrCat(Head(text, std::max(0, width - 1)), "…");
}

}  // namespace

std::string Paint(const View& view, Tone tone, absl::string_view text) {
  static constexpr const char* kCodes[] = {"", "1", "2", "32", "33", "31;1"};
  if (!view.color || tone == Tone::kPlain || text.empty()) return std::string(text);
  return absl::StrCat("\x1b[", kCodes[static_cast<int>(tone)], "m", text, "\x1b[0m");
}

std::string Clean(absl::string_view text) {
  std::string clean = ToValidUtf8(text);
  std::string result;
  for (size_t i = 0; i < clean.size(); ++i) {
    const unsigned char c = clean[i];
    const unsigned char next = i + 1 < clean.size() ? clean[i + 1] : 0;
    if (c < 0x20 || c == 0x7f) {
      result += c == '\n' || c == '\t' ? ' ' : '?';
    } else if (c == 0xC2 && next < 0xA0) {  // the C1 controls U+0080…U+009F
      result += '?';
      ++i;
    } else {
      result += static_cast<char>(c);
    }
  }
  return result;
}

int Columns(absl::string_view text) {
  return static_cast<int>(
      std::count_if(text.begin(), text.end(), [](char c) { return !Continues(c); }));
}

std::string Span(int64_t ms) {
  ms = std::max<int64_t>(ms, 0);
  if (ms < 9950) return absl::StrFormat("%.1fs", static_cast<double>(ms) / 1000);
  const int64_t s = (ms + 500) / 1000;
  if (s < 60) return absl::StrCat(s, "s");
  if (s < 3600)
    return s % 60 == 0 ? absl::StrCat(s / 60, "m") : absl::StrFormat("%dm%02ds", s / 60, s % 60);
  if (s < 86400)
    return s / 60 % 60 == 0 ? absl::StrCat(s / 3600, "h")
                            : absl::StrFormat("%dh%02dm", s / 3600, s / 60 % 60);
  return s / 3600 % 24 == 0 ? absl::StrCat(s / 86400, "d")
                            : absl::StrCat(s / 86400, "d", s / 3600 % 24, "h");
}

std::string Ago(const View& view, int64_t at_ms) {
  if (at_ms == 0) return "never";
  if (at_ms > view.now_ms + 1000) return In(view, at_ms);
  const int64_t s = std::max<int64_t>(view.now_ms - at_ms, 0) / 1000;
  return s == 0 ? "now" : s < 10 ? absl::StrCat(s, "s ago") : absl::StrCat(Span(s * 1000), " ago");
}

std::string In(const View& view, int64_t at_ms) {
  if (at_ms == 0) return "never";
  const int64_t s = (at_ms - view.now_ms + 999) / 1000;
  return s <= 0   ? "now"
         : s < 10 ? absl::StrCat("in ", s, "s")
                  : absl::StrCat("in ", Span(s * 1000));
}

std::string Moment(int64_t at_ms) {
  if (at_ms == 0) return "-";
  return absl::FormatTime("%Y-%m-%d %H:%M:%S", absl::FromUnixMillis(at_ms), absl::UTCTimeZone());
}

std::string Size(int64_t bytes) {
  if (bytes < 1024) return absl::StrCat(bytes, " B");
  static constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes) / 1024;
  int unit = 0;
  for (; value >= 1024 && unit < 3; ++unit) value /= 1024;
  return absl::StrFormat("%.1f %s", value, kUnits[unit]);
}

std::string Bar(double part, int cells) {
  part = std::isfinite(part) ? std::clamp(part, 0.0, 1.0) : 0.0;
  const int full = static_cast<int>(part * cells + 0.5);
  return absl::StrFormat("[%s%s] %3d%%", std::string(full, '#'), std::string(cells - full, '.'),
                         static_cast<int>(part * 100 + 0.5));
}

std::vector<std::string> Wrap(absl::string_view text, int width) {
  width = std::max(width, 10);
  std::vector<std::string> lines;
  std::string line;
  for (absl::string_view word : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    while (Columns(word) > width) {  // a blob or a URL
      if (!line.empty()) lines.push_back(std::move(line));
      line.clear();
      const absl::string_view head = Head(word, width);
      lines.emplace_back(head);
      word.remove_prefix(head.size());
    }
    if (!line.empty() && Columns(line) + 1 + Columns(word) > width) {
      lines.push_back(std::move(line));
      line.clear();
    }
    absl::StrAppend(&line, line.empty() ? "" : " ", word);
  }
  if (!line.empty() || lines.empty()) lines.push_back(std::move(line));
  return lines;
}

std::string Field(const View& view, absl::string_view label, absl::string_view text, Tone tone) {
  const std::string indent(2 + kLabelColumns, ' ');
  std::string result;
  for (const std::string& line : Wrap(text, view.width - static_cast<int>(indent.size()))) {
    if (result.empty()) {
      const std::string padding(std::max(1, kLabelColumns - Columns(label)), ' ');
      result = absl::StrCat("  ", Paint(view, Tone::kDim, label), padding, Paint(view, tone, line),
                            "\n");
    } else {
      absl::StrAppend(&result, indent, Paint(view, tone, line), "\n");
    }
  }
  return result;
}

std::vector<int> Table::Widths() const {
  std::vector<int> widths;
  for (const Column& column : columns_) widths.push_back(Columns(column.title));
  for (const Line& row : rows_) {
    for (size_t i = 0; i < row.cells.size() && i < widths.size(); ++i) {
      widths[i] = std::max(widths[i], Columns(row.cells[i].text));
    }
  }
  return widths;
}

std::vector<bool> Table::Shown(const std::vector<int>& widths, int room) const {
  std::vector<bool> shown(columns_.size(), true);
  int total = -kGap;
  for (const int width : widths) total += width + kGap;
  while (total > room) {
    size_t victim = columns_.size();
    for (size_t i = 0; i < columns_.size(); ++i) {
      if (shown[i] && columns_[i].drop > 0 &&
          (victim == columns_.size() || columns_[i].drop > columns_[victim].drop))
        victim = i;
    }
    if (victim == columns_.size()) break;
    shown[victim] = false;
    total -= widths[victim] + kGap;
  }
  return shown;
}

std::string Table::Draw(const View& view, int indent) const {
  const std::vector<int> widths = Widths();
  const std::vector<bool> shown = Shown(widths, view.width - indent);
  const auto draw_line = [&](const std::vector<Cell>& cells) {
    std::string line(indent, ' ');
    int column = indent, gap = 0;
    for (size_t i = 0; i < cells.size() && i < columns_.size(); ++i) {
      if (!shown[i]) continue;
      const std::string text = Fit(cells[i].text, std::max(1, view.width - column - gap));
      const std::string padding(std::max(0, widths[i] - Columns(text)), ' ');
      line += std::string(gap, ' ');
      if (columns_[i].right) line += padding;
      line += Paint(view, cells[i].tone, text);
      if (!columns_[i].right) line += padding;
      column += gap + widths[i];
      gap = kGap;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    return line + "\n";
  };
  std::vector<Cell> titles;
  for (const Column& column : columns_) titles.emplace_back(column.title, Tone::kDim);
  std::string result = draw_line(titles);
  for (const Line& row : rows_) absl::StrAppend(&result, draw_line(row.cells), row.below);
  return result;
}

}  // namespace failover::cli
