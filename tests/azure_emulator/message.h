#ifndef TESTS_AZURE_EMULATOR_MESSAGE_H_
#define TESTS_AZURE_EMULATOR_MESSAGE_H_

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace failover::emulator {

using Headers = std::vector<std::pair<std::string, std::string>>;

// First header of that name (case-insensitive); empty when absent.
absl::string_view FindHeader(const Headers& headers, absl::string_view name);

// Which listener received a request: ARM shares its port with Entra.
enum class Front { kArm, kBlob, kControl, kGateway, kImds };

// One HTTP request as it stood on the wire.
struct Request {
  Front front = Front::kArm;
  std::string method;
  std::string path;   // still percent-encoded, without the query
  std::string query;  // still percent-encoded, without '?'
  Headers headers;
  std::string body;
  std::string remote;  // source address, no port

  absl::string_view Header(absl::string_view name) const { return FindHeader(headers, name); }
  // Decoded; names in lower case (ARM compares them so). The last one wins.
  std::map<std::string, std::string> Query() const;
  // Decoded, without empty segments.
  std::vector<std::string> Segments() const;
};

// What happens to the answer on its way out.
enum class Wire {
  kNormal,
  kReset,      // the connection is reset, no byte of the answer leaves
  kTruncated,  // Content-Length promises the whole body, half of it is sent, then the end
  kSilence,    // nothing is sent until the client gives up
};

struct Answer {
  int status = 200;
  Headers headers;
  std::string body;
  Wire wire = Wire::kNormal;
  absl::Duration delay = absl::ZeroDuration();  // before the first byte, in real time
  bool slow_body = false;                       // one byte a second after the headers

  absl::string_view Header(absl::string_view name) const { return FindHeader(headers, name); }
  void Set(absl::string_view name, absl::string_view value);  // replaces
  void Remove(absl::string_view name);
};

std::string PercentDecode(absl::string_view text, bool plus_is_space);
std::string PercentEncode(absl::string_view text);  // everything but unreserved characters and '/'
// application/x-www-form-urlencoded; names as they are.
std::map<std::string, std::string> ParseForm(absl::string_view text);

// "Mon, 23 Nov 2026 21:00:00 GMT"
std::string HttpDate(absl::Time time);
std::optional<absl::Time> ParseHttpDate(absl::string_view text);
// "2026-11-23T21:00:00.0000000Z", always UTC.
std::string IsoTime(absl::Time time);

}  // namespace failover::emulator

#endif  // TESTS_AZURE_EMULATOR_MESSAGE_H_
