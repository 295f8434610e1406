#ifndef AGENT_ASSERTIONS_H_
#define AGENT_ASSERTIONS_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace re2 {
class RE2;
}

namespace failover::agent {

// As much of an answer's body is read; the rest is cut off, not an error.
inline constexpr size_t kMaxBodyBytes = 64 << 10;

// What an answer must be like. Immutable, so thread-safe.
class Assertions {
 public:
  // `status`: "200", "200-299"; none = 200. `body_regex`: RE2, at most 1 KiB; empty = any body.
  static absl::StatusOr<Assertions> Parse(const std::vector<std::string>& status,
                                          const std::string& body_regex);

  bool needs_body() const { return regex_ != nullptr; }
  // OK, or FailedPrecondition saying what was found and what was expected.
  absl::Status Check(int http_status, absl::string_view body) const;

 private:
  std::vector<std::pair<int, int>> ranges_;
  std::string ranges_text_;
  std::shared_ptr<const re2::RE2> regex_;
};

}  // namespace failover::agent

#endif  // AGENT_ASSERTIONS_H_
