#include "controller/cli/watch.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/clock.h"
#include "controller/cli/output.h"
#include "controller/cli/render.h"

namespace failover::cli {
namespace {

constexpr absl::Duration kRefresh = absl::Seconds(1);
constexpr const char* kEnter = "\x1b[?1049h\x1b[?25l";  // alternate screen, cursor off
constexpr const char* kLeave = "\x1b[?25h\x1b[?1049l";

std::string Print(const Watched& watched, const absl::StatusOr<v1::GetStatusResponse>& answer,
                  Format format, const Io& io) {
  if (format == Format::kTable)
    return absl::StrCat(watched.Draw(io.size().columns, false, RealClock().Steady()), "\n");
  if (!answer.ok()) return "";
  return format == Format::kJson ? ToJson(*answer, true) : absl::StrCat("---\n", ToYaml(*answer));
}

}  // namespace

void Watched::OnAnswer(absl::StatusOr<v1::GetStatusResponse> answer, SteadyTime now) {
  if (answer.ok()) {
    last_ = *std::move(answer);
    last_at_ = now;
    lost_ = absl::OkStatus();
    return;
  }
  if (lost_.ok()) lost_at_ = now;
  lost_ = answer.status();
}

std::string Watched::Draw(int width, bool color, SteadyTime now) const {
  View view{0, width, color};
  std::string text;
  if (!lost_.ok()) {
    const SteadyTime since = last_.has_value() ? last_at_ : lost_at_;
    const std::string words =
        absl::StrCat(last_.has_value() ? "LOST CONTACT since " : "no contact for ",
                     Span(absl::ToInt64Milliseconds(now - since)), ": ", lost_.message(),
                     last_.has_value() ? "; below is what was known then" : "");
    for (const std::string& line : Wrap(words, width))
      absl::StrAppend(&text, Paint(view, Tone::kBad, line), "\n");
    absl::StrAppend(&text, "\n");
  }
  if (last_.has_value()) {
    // Ages by the controller's clock: the operator's own may be wrong.
    view.now_ms = last_->at_ms() + absl::ToInt64Milliseconds(now - last_at_);
    absl::StrAppend(&text, StatusScreen(*last_, view));
  } else if (lost_.ok()) {
    text = "asking the controller\n";
  }
  return text;
}

std::string Frame(const std::string& screen, int rows) {
  std::vector<std::string> lines = absl::StrSplit(screen, '\n');
  if (!lines.empty() && lines.back().empty()) lines.pop_back();
  const int room = std::max(rows - 1, 1);
  const int hidden = static_cast<int>(lines.size()) - room;
  if (hidden > 0) {
    lines.resize(room);
    lines.back() =
        absl::StrCat("… ", hidden + 1, " more lines: enlarge the terminal or name one group");
  }
  std::string frame = "\x1b[H";
  for (const std::string& line : lines) absl::StrAppend(&frame, line, "\x1b[K\r\n");
  return absl::StrCat(frame, "\x1b[J");
}

int WatchStatus(Client& client, const v1::GetStatusRequest& request, Format format, bool color,
                const Io& io, SignalStop& stop) {
  const bool in_place = io.out_is_terminal && format == Format::kTable;
  Watched watched;
  client.StopOn(stop.token());
  if (in_place)
    io.out(absl::StrCat(kEnter, Frame(watched.Draw(io.size().columns, color, RealClock().Steady()),
                                      io.size().rows)));
  while (true) {
    absl::StatusOr<v1::GetStatusResponse> answer = client.Call(request);
    if (stop.token().stop_requested()) break;
    watched.OnAnswer(answer, RealClock().Steady());
    if (!answer.ok() && !watched.last().has_value() &&
        (absl::IsNotFound(answer.status()) || absl::IsPermissionDenied(answer.status()) ||
         absl::IsUnauthenticated(answer.status()))) {
      if (in_place) io.out(kLeave);  // waiting does not cure these
      io.err(absl::StrCat("failoverctl: ", answer.status().message(), "\n"));
      return kCannotTell;
    }
    io.out(in_place
               ? Frame(watched.Draw(io.size().columns, color, RealClock().Steady()), io.size().rows)
               : Print(watched, answer, format, io));
    stop.Wait(kRefresh);
    if (stop.token().stop_requested()) break;
  }
  if (in_place)
    io.out(absl::StrCat(kLeave, watched.Draw(io.size().columns, color, RealClock().Steady())));
  return watched.last().has_value() ? kGood : kCannotTell;
}

}  // namespace failover::cli
