#include "common/log.h"

#include <grpc/support/log.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "common/mutex.h"
#include "common/utf8.h"

namespace failover {
namespace {

constexpr size_t kMaxValueBytes = 2048;
constexpr std::array<absl::string_view, 4> kLevelNames = {"debug", "info", "warn", "error"};

struct LogState {
  std::atomic<LogFormat> format{LogFormat::kJson};
  std::atomic<LogLevel> lowest{LogLevel::kInfo};
  std::array<std::atomic<uint64_t>, 4> counts{};
  Mutex write_mutex;  // a line longer than the pipe's atomic size must not be cut by another one
  std::string component;  // set before threads, constant afterwards
};

LogState& State() {
  static LogState* const state = new LogState;  // never destroyed: threads log until the very end
  return *state;
}

// `text` as a JSON string, quotes included.
void AppendJsonString(std::string& out, absl::string_view text) {
  out += '"';
  while (!text.empty()) {
    const size_t length = Utf8SequenceLength(text);
    const unsigned char c = static_cast<unsigned char>(text[0]);
    if (length == 0) {
      out += "\xef\xbf\xbd";
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += text[0];
    } else if (c == '\n') {
      out += "\\n";
    } else if (c < 0x20 || c == 0x7f) {
      absl::StrAppendFormat(&out, "\\u%04x", c);
    } else {
      out.append(text.data(), length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  out += '"';
}

std::string Shown(const LogValue& value) { return CutText(Redacted(value.text()), kMaxValueBytes); }

std::string JsonLine(absl::string_view time, LogLevel level, absl::string_view msg,
                     std::initializer_list<LogField> fields) {
  std::string line = absl::StrCat("{\"time\":\"", time, "\",\"level\":\"",
                                  kLevelNames[static_cast<size_t>(level)], "\",\"msg\":");
  AppendJsonString(line, CutText(msg, kMaxValueBytes));
  if (!State().component.empty()) {
    line += ",\"component\":";
    AppendJsonString(line, State().component);
  }
  for (const LogField& field : fields) {
    line += ',';
    AppendJsonString(line, field.name);
    line += ':';
    if (field.value.quoted()) {
      AppendJsonString(line, Shown(field.value));
    } else {
      line += field.value.text();
    }
  }
  line += "}\n";
  return line;
}

bool NeedsQuotes(absl::string_view text) {
  for (const char c : text) {
    const unsigned char u = static_cast<unsigned char>(c);
    if (u <= ' ' || u == '"' || u == '=' || u == '\\' || u >= 0x7f) return true;
  }
  return text.empty();
}

std::string TextLine(absl::string_view time, LogLevel level, absl::string_view msg,
                     std::initializer_list<LogField> fields) {
  std::string line = absl::StrFormat(
      "%s %-5s ", time, absl::AsciiStrToUpper(kLevelNames[static_cast<size_t>(level)]));
  for (const char c : ToValidUtf8(CutText(msg, kMaxValueBytes))) {
    line += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  for (const LogField& field : fields) {
    absl::StrAppend(&line, " ", field.name, "=");
    const std::string shown = Shown(field.value);
    if (field.value.quoted() && NeedsQuotes(shown)) {
      AppendJsonString(line, shown);
    } else {
      line += shown;
    }
  }
  line += '\n';
  return line;
}

void WriteLine(absl::string_view line) {
  MutexLock lock(State().write_mutex);
  while (!line.empty()) {
    const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;  // nobody to tell
    line.remove_prefix(static_cast<size_t>(written));
  }
}

// gRPC knows debug, info and error; most of its errors are a peer's doing and heal themselves.
void LogOfGrpc(gpr_log_func_args* args) {
  const LogLevel level = args->severity == GPR_LOG_SEVERITY_ERROR  ? LogLevel::kWarning
                         : args->severity == GPR_LOG_SEVERITY_INFO ? LogLevel::kInfo
                                                                   : LogLevel::kDebug;
  if (level < LogLevel::kWarning) return;
  // Said on every handshake of a server with one certificate; host names play no part with us.
  if (absl::StartsWith(args->message, "No match found for server name")) return;
  absl::string_view file = args->file;
  if (const size_t slash = file.rfind('/'); slash != file.npos) file.remove_prefix(slash + 1);
  Log(level, "gRPC", {{"text", args->message}, {"source", absl::StrCat(file, ":", args->line)}});
}

}  // namespace

LogValue::LogValue(double value)
    : text_(std::isfinite(value) ? absl::StrCat(value)
            : std::isnan(value)  ? "nan"
            : value > 0          ? "inf"
                                 : "-inf"),
      quoted_(!std::isfinite(value)) {}

LogValue::LogValue(absl::Duration value) : LogValue(absl::ToDoubleSeconds(value)) {}

LogValue::LogValue(absl::Time value)
    : text_(absl::FormatTime("%Y-%m-%d%ET%H:%M:%E3SZ", value, absl::UTCTimeZone())),
      quoted_(true) {}

void Log(LogLevel level, absl::string_view msg, std::initializer_list<LogField> fields) {
  LogState& state = State();
  if (level < state.lowest.load(std::memory_order_relaxed)) return;
  const std::string time = LogValue(absl::Now()).text();
  WriteLine(state.format == LogFormat::kJson ? JsonLine(time, level, msg, fields)
                                             : TextLine(time, level, msg, fields));
  state.counts[static_cast<size_t>(level)].fetch_add(1, std::memory_order_relaxed);
}

void InitLog(absl::string_view component, LogFormat format, LogLevel lowest) {
  LogState& state = State();
  state.component = std::string(component);
  state.format = format;
  state.lowest = lowest;
  gpr_set_log_function(LogOfGrpc);
  gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR);
}

std::array<uint64_t, 4> LogCounts() {
  std::array<uint64_t, 4> counts;
  for (size_t i = 0; i < counts.size(); ++i) counts[i] = State().counts[i].load();
  return counts;
}

}  // namespace failover
