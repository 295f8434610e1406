#include "common/config_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace failover {
namespace {

constexpr size_t kMaxFileBytes = 1 << 20;

// Descending; "ms" cannot be taken for "m" because letters are read as one word.
constexpr std::array<absl::string_view, 5> kUnitNames = {"d", "h", "m", "s", "ms"};
constexpr std::array<int64_t, 5> kUnitMillis = {86'400'000, 3'600'000, 60'000, 1'000, 1};

absl::Status NoDuration(absl::string_view text) {
  return absl::InvalidArgumentError(absl::StrCat(
      "found \"", text, "\"; allowed: a positive duration such as 500ms, 30s, 1h30m or 30d"));
}

// The path of the section that `path` stands in; empty for a top-level one.
absl::string_view Parent(absl::string_view path) {
  const size_t cut = path.find_last_of(".[");
  return cut == path.npos ? absl::string_view() : path.substr(0, cut);
}

absl::Status FileError(absl::string_view path, absl::string_view what, int error) {
  const std::string text = absl::StrCat(path, ": ", what, ": ", std::strerror(error));
  return error == ENOENT ? absl::NotFoundError(text) : absl::FailedPreconditionError(text);
}

// Closes on every way out.
class OpenFile {
 public:
  explicit OpenFile(const std::string& path)
      : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}  // a FIFO must not block
  ~OpenFile() {
    if (fd_ >= 0) close(fd_);
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  int fd() const { return fd_; }

 private:
  const int fd_;
};

}  // namespace

void ConfigProblems::Add(const ConfigPlaces& places, absl::string_view path,
                         absl::string_view what) {
  absl::string_view section = path;
  auto found = places.find(std::string(section));
  while (found == places.end() && !section.empty()) {
    section = Parent(section);
    found = places.find(std::string(section));
  }
  AddAt(found == places.end() ? ConfigPlace{1, 1} : found->second, path, what);
}

void ConfigProblems::AddAt(ConfigPlace place, absl::string_view path, absl::string_view what) {
  problems_.push_back({place, std::string(path), std::string(what)});
}

absl::Status ConfigProblems::ToStatus() const {
  if (problems_.empty()) return absl::OkStatus();
  std::vector<Problem> sorted = problems_;
  std::stable_sort(sorted.begin(), sorted.end(), [](const Problem& a, const Problem& b) {
    return std::pair(a.place.line, a.place.column) < std::pair(b.place.line, b.place.column);
  });
  std::string text;
  for (const Problem& problem : sorted) {
    absl::StrAppend(&text, text.empty() ? "" : "\n", file_, ":", problem.place.line, ": ",
                    problem.path, problem.path.empty() ? "" : ": ", problem.what);
  }
  return absl::InvalidArgumentError(text);
}

absl::StatusOr<std::string> ReadSmallFile(const std::string& path) {
  const OpenFile file(path);
  if (file.fd() < 0) return FileError(path, "cannot open", errno);
  struct stat info;
  if (fstat(file.fd(), &info) != 0) return FileError(path, "cannot read", errno);
  if (!S_ISREG(info.st_mode)) {
    return absl::FailedPreconditionError(absl::StrCat(path, ": not a regular file"));
  }
  std::string text;
  std::array<char, 16384> buffer;
  while (text.size() <= kMaxFileBytes) {
    const ssize_t n = read(file.fd(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FileError(path, "cannot read", errno);
    if (n == 0) return text;
    text.append(buffer.data(), static_cast<size_t>(n));
  }
  return absl::ResourceExhaustedError(
      absl::StrCat(path, ": found more than 1 MiB; allowed: at most 1 MiB"));
}

absl::StatusOr<std::string> ReadSecretFile(const std::string& path) {
  ASSIGN_OR_RETURN(std::string secret, ReadSmallFile(path));
  absl::StripTrailingAsciiWhitespace(&secret);
  if (secret.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(path, ": found nothing; allowed: a secret"));
  }
  return secret;
}

absl::StatusOr<absl::Duration> ParseDuration(absl::string_view text) {
  absl::string_view rest = text;
  size_t next_unit = 0;  // units come in descending order, each at most once
  absl::Duration sum;
  while (!rest.empty()) {
    const size_t digits = std::min(rest.find_first_not_of("0123456789"), rest.size());
    int64_t count = 0;
    if (digits == 0 || digits > 9 || !absl::SimpleAtoi(rest.substr(0, digits), &count)) {
      return NoDuration(text);
    }
    rest.remove_prefix(digits);
    const size_t letters = std::min(rest.find_first_of("0123456789"), rest.size());
    const auto unit = std::find(kUnitNames.begin() + static_cast<ptrdiff_t>(next_unit),
                                kUnitNames.end(), rest.substr(0, letters));
    if (unit == kUnitNames.end()) return NoDuration(text);
    rest.remove_prefix(letters);
    const size_t index = static_cast<size_t>(unit - kUnitNames.begin());
    sum += absl::Milliseconds(count * kUnitMillis[index]);
    next_unit = index + 1;
  }
  if (sum <= absl::ZeroDuration()) return NoDuration(text);
  return sum;
}

std::string FormatDuration(absl::Duration duration) {
  if (duration < absl::ZeroDuration())
    return absl::StrCat("-", failover::FormatDuration(-duration));
  if (duration == absl::InfiniteDuration()) return "inf";
  int64_t left = absl::ToInt64Milliseconds(duration + absl::Microseconds(500));
  std::string text;
  for (size_t i = 0; i < kUnitNames.size(); ++i) {
    const int64_t count = left / kUnitMillis[i];
    left %= kUnitMillis[i];
    if (count > 0) absl::StrAppend(&text, count, kUnitNames[i]);
  }
  return text.empty() ? "0s" : text;
}

}  // namespace failover
