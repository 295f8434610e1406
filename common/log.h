#ifndef COMMON_LOG_H_
#define COMMON_LOG_H_

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace failover {

enum class LogLevel { kDebug, kInfo, kWarning, kError };
enum class LogFormat { kJson, kText };

// One value of a log line. Strings are cut at 2 KiB and redacted (see Redacted).
class LogValue {
 public:
  LogValue(absl::string_view text) : text_(text), quoted_(true) {}       // NOLINT
  LogValue(const std::string& text) : text_(text), quoted_(true) {}      // NOLINT
  LogValue(const char* text) : text_(text), quoted_(true) {}             // NOLINT
  LogValue(bool value) : text_(value ? "true" : "false") {}              // NOLINT
  LogValue(int value) : text_(std::to_string(value)) {}                  // NOLINT
  LogValue(int64_t value) : text_(std::to_string(value)) {}              // NOLINT
  LogValue(uint64_t value) : text_(std::to_string(value)) {}             // NOLINT
  LogValue(double value);                                                // NOLINT
  LogValue(absl::Duration value);                                        // NOLINT seconds
  LogValue(absl::Time value);                                            // NOLINT RFC 3339, UTC
  LogValue(const absl::Status& status) : LogValue(status.ToString()) {}  // NOLINT

  const std::string& text() const { return text_; }
  bool quoted() const { return quoted_; }

 private:
  std::string text_;
  bool quoted_ = false;
};

struct LogField {
  absl::string_view name;
  LogValue value;
};

// One line on stderr: {"time":…,"level":…,"msg":…, fields…} or text for people. `msg` is a
// constant; data goes into fields. Thread-safe; a line is written by one write().
void Log(LogLevel level, absl::string_view msg, std::initializer_list<LogField> fields = {});
inline void LogDebug(absl::string_view msg, std::initializer_list<LogField> fields = {}) {
  Log(LogLevel::kDebug, msg, fields);
}
inline void LogInfo(absl::string_view msg, std::initializer_list<LogField> fields = {}) {
  Log(LogLevel::kInfo, msg, fields);
}
inline void LogWarning(absl::string_view msg, std::initializer_list<LogField> fields = {}) {
  Log(LogLevel::kWarning, msg, fields);
}
inline void LogError(absl::string_view msg, std::initializer_list<LogField> fields = {}) {
  Log(LogLevel::kError, msg, fields);
}

// Called once in main, before threads. `component` goes into every line. Also routes gRPC's own log
// lines through Log (warning and above).
void InitLog(absl::string_view component, LogFormat format, LogLevel lowest);

// Lines written since the start, by level (apim_failover_log_messages_total).
std::array<uint64_t, 4> LogCounts();

// `text` without secrets: Bearer and SharedKey credentials, accessKey / client_secret /
// client_assertion values, SAS sig=, PEM blocks (reliability.md R14). Applied by Log to every
// field; also to be applied to any text of a foreign server before it enters state, history or a
// status.
std::string Redacted(absl::string_view text);

}  // namespace failover

#endif  // COMMON_LOG_H_
