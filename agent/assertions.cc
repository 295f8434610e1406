#include "agent/assertions.h"

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "re2/re2.h"

namespace failover::agent {
namespace {

constexpr size_t kMaxRanges = 32;
constexpr size_t kMaxRegexBytes = 1024;

bool ParseCode(absl::string_view text, int& code) {
  return text.size() == 3 && absl::ascii_isdigit(static_cast<unsigned char>(text[0])) &&
         absl::SimpleAtoi(text, &code) && code >= 100 && code <= 599;
}

}  // namespace

absl::StatusOr<Assertions> Assertions::Parse(const std::vector<std::string>& status,
                                             const std::string& body_regex) {
  Assertions assertions;
  if (status.size() > kMaxRanges) {
    return absl::InvalidArgumentError(
        absl::StrCat("found ", status.size(), " expected statuses; allowed: at most ", kMaxRanges));
  }
  for (const std::string& text : status) {
    int low = 0, high = 0;
    const size_t dash = text.find('-');
    const bool good = dash == std::string::npos ? ParseCode(text, low) && ParseCode(text, high)
                                                : ParseCode(text.substr(0, dash), low) &&
                                                      ParseCode(text.substr(dash + 1), high);
    if (!good || low > high) {
      return absl::InvalidArgumentError(
          absl::StrCat("found expected status \"", text.substr(0, 40),
                       "\"; allowed: 200 or 200-299, from 100 to 599"));
    }
    assertions.ranges_.emplace_back(low, high);
  }
  if (assertions.ranges_.empty()) assertions.ranges_.emplace_back(200, 200);
  assertions.ranges_text_ = status.empty() ? "200" : absl::StrJoin(status, ", ");
  if (body_regex.empty()) return assertions;
  if (body_regex.size() > kMaxRegexBytes) {
    return absl::InvalidArgumentError(absl::StrCat("found a body expression of ", body_regex.size(),
                                                   " bytes; allowed: at most ", kMaxRegexBytes));
  }
  re2::RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(1 << 20);
  auto regex = std::make_shared<const re2::RE2>(body_regex, options);
  if (!regex->ok()) {
    return absl::InvalidArgumentError(absl::StrCat("found body expression \"",
                                                   body_regex.substr(0, 80), "\": ", regex->error(),
                                                   "; allowed: RE2 syntax"));
  }
  assertions.regex_ = std::move(regex);
  return assertions;
}

absl::Status Assertions::Check(int http_status, absl::string_view body) const {
  bool expected = false;
  for (const auto& [low, high] : ranges_) expected |= http_status >= low && http_status <= high;
  if (!expected) {
    return absl::FailedPreconditionError(
        absl::StrCat("status ", http_status, ", expected ", ranges_text_));
  }
  if (regex_ == nullptr) return absl::OkStatus();
  const re2::StringPiece text(body.data(), std::min(body.size(), kMaxBodyBytes));
  if (re2::RE2::PartialMatch(text, *regex_)) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("the body's first ", text.size(),
                                                    " bytes do not match /",
                                                    regex_->pattern().substr(0, 80), "/"));
}

}  // namespace failover::agent
