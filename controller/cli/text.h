#ifndef CONTROLLER_CLI_TEXT_H_
#define CONTROLLER_CLI_TEXT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

// Text for a terminal: paint, tables that fold, ages. Pure.
namespace failover::cli {

// What a screen is drawn for.
struct View {
  int64_t now_ms = 0;  // the controller's wall clock
  int width = 100;     // columns
  bool color = false;
};

enum class Tone { kPlain, kBold, kDim, kGood, kWarn, kBad };

std::string Paint(const View& view, Tone tone, absl::string_view text);

// Text of others for a terminal: control characters and bytes that are not UTF-8 become '?', so
// that no name, reason or error can steer the terminal.
std::string Clean(absl::string_view text);

// Columns that UTF-8 text without escapes takes (one a character).
int Columns(absl::string_view text);

// "0.4s", "12s", "4m12s", "3h05m", "2d4h": never more than two units. Tenths below 10 s.
std::string Span(int64_t ms);
// Of a moment: "12s ago", "in 4m10s", "now"; "never" for 0.
std::string Ago(const View& view, int64_t at_ms);
std::string In(const View& view, int64_t at_ms);
// "2026-11-25 08:30:12" in UTC.
std::string Moment(int64_t at_ms);
// "1.4 MiB".
std::string Size(int64_t bytes);
// "[######......]  52%"; `part` is cut to 0…1.
std::string Bar(double part, int cells);

// Lines of at most `width` columns, broken at spaces where possible.
std::vector<std::string> Wrap(absl::string_view text, int width);

// "  label       text", wrapped with the text's indent kept. The label column is 12 wide after the
// indent.
std::string Field(const View& view, absl::string_view label, absl::string_view text,
                  Tone tone = Tone::kPlain);

// A table whose columns are as wide as their widest cell. When it does not fit, the columns with
// the highest `drop` number disappear first (0 = never), then the last column is cut.
class Table {
 public:
  struct Column {
    std::string title;
    int drop = 0;
    bool right = false;
  };
  struct Cell {
    // Not explicit: a row is written as its texts.
    // NOLINTNEXTLINE(google-explicit-constructor)
    Cell(std::string text_in, Tone tone_in = Tone::kPlain)
        : text(std::move(text_in)), tone(tone_in) {}
    Cell(const char* text_in) : text(text_in) {}  // NOLINT(google-explicit-constructor)
    std::string text;
    Tone tone = Tone::kPlain;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  void Row(std::vector<Cell> cells) { rows_.push_back({std::move(cells), ""}); }
  // Lines of their own below the last row, already drawn.
  void Below(const std::string& lines) { rows_.back().below += lines; }
  bool empty() const { return rows_.empty(); }
  std::string Draw(const View& view, int indent) const;

 private:
  struct Line {
    std::vector<Cell> cells;
    std::string below;
  };
  std::vector<int> Widths() const;
  std::vector<bool> Shown(const std::vector<int>& widths, int room) const;

  std::vector<Column> columns_;
  std::vector<Line> rows_;
};

}  // namespace failover::cli

#endif  // CONTROLLER_CLI_TEXT_H_
