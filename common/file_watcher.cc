// FileWatcher of config_file.h.
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>

#include "absl/strings/string_view.h"
#include "common/clock.h"
#include "common/config_file.h"
#include "common/digest.h"
#include "common/log.h"

namespace failover {
namespace {

constexpr absl::Duration kQuiet = absl::Milliseconds(100);
constexpr absl::Duration kLongestDebounce = absl::Seconds(1);
constexpr uint32_t kEvents = IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE;

class OwnedFd {
 public:
  explicit OwnedFd(int fd) : fd_(fd) {}
  ~OwnedFd() {
    if (fd_ >= 0) close(fd_);
  }
  OwnedFd(const OwnedFd&) = delete;
  OwnedFd& operator=(const OwnedFd&) = delete;
  int get() const { return fd_; }

 private:
  const int fd_;
};

std::pair<std::string, std::string> SplitPath(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {".", path};
  return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

// The state of the files as one text: their digests, or why they cannot be read.
std::string Fingerprint(const std::vector<std::string>& files) {
  std::string all;
  for (const std::string& file : files) {
    const absl::StatusOr<std::string> text = ReadSmallFile(file);
    all += text.ok() ? Sha256Hex(*text) : text.status().ToString();
    all += '\n';
  }
  return all;
}

class Watch {
 public:
  Watch(std::vector<std::string> files, std::function<void()> on_change, absl::Duration recheck)
      : files_(std::move(files)),
        on_change_(std::move(on_change)),
        recheck_(recheck),
        inotify_(inotify_init1(IN_NONBLOCK | IN_CLOEXEC)),
        wake_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    if (inotify_.get() < 0) {
      LogWarning("cannot watch files, re-reading them instead",
                 {{"error", std::strerror(errno)}, {"every", recheck_}});
    }
    AddWatches();
    seen_ = Fingerprint(files_);
  }

  void Run(std::stop_token stop) {
    const std::stop_callback wake(stop, [this] {
      const uint64_t one = 1;
      [[maybe_unused]] const ssize_t written = write(wake_.get(), &one, sizeof(one));
    });
    while (!stop.stop_requested()) {
      if (Wait(recheck_)) {
        const SteadyTime until = RealClock().Steady() + kLongestDebounce;
        while (!stop.stop_requested() && RealClock().Steady() < until && Wait(kQuiet)) {
        }
      }
      if (stop.stop_requested()) return;
      AddWatches();  // a directory may have been made anew
      std::string now = Fingerprint(files_);
      if (now == seen_) continue;
      seen_ = std::move(now);
      on_change_();
    }
  }

 private:
  void AddWatches() {
    if (inotify_.get() < 0) return;
    for (const std::string& file : files_) {
      inotify_add_watch(inotify_.get(), SplitPath(file).first.c_str(), kEvents);
    }
  }

  // True when an event about one of the files came within `timeout`; false then or when woken to
  // stop.
  bool Wait(absl::Duration timeout) {
    const SteadyTime until = RealClock().Steady() + timeout;
    for (absl::Duration left = timeout; left > absl::ZeroDuration();
         left = until - RealClock().Steady()) {
      std::array<pollfd, 2> fds = {{{wake_.get(), POLLIN, 0}, {inotify_.get(), POLLIN, 0}}};
      const int n =
          poll(fds.data(), fds.size(), static_cast<int>(absl::ToInt64Milliseconds(left)) + 1);
      if (n < 0 && errno != EINTR) return false;
      if (fds[0].revents != 0) return false;
      if (n > 0 && fds[1].revents != 0 && ReadEvents()) return true;
    }
    return false;
  }

  bool ReadEvents() {
    alignas(inotify_event) std::array<char, 16 * (sizeof(inotify_event) + NAME_MAX + 1)> buffer;
    bool relevant = false;
    ssize_t size;
    while ((size = read(inotify_.get(), buffer.data(), buffer.size())) > 0) {
      for (ssize_t at = 0; at < size;) {
        const auto* const event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
        relevant |= event->len == 0 || IsOurs(event->name);
        at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
      }
    }
    return relevant;
  }

  bool IsOurs(absl::string_view name) const {
    return name == "..data" ||
           std::any_of(files_.begin(), files_.end(),
                       [name](const std::string& file) { return SplitPath(file).second == name; });
  }

  const std::vector<std::string> files_;
  const std::function<void()> on_change_;
  const absl::Duration recheck_;
  const OwnedFd inotify_;
  const OwnedFd wake_;
  std::string seen_;
};

}  // namespace

// What is compared against is read before the constructor returns: no change after it is missed.
FileWatcher::FileWatcher(std::vector<std::string> files, std::function<void()> on_change,
                         absl::Duration recheck) {
  auto watch = std::make_unique<Watch>(std::move(files), std::move(on_change), recheck);
  thread_ = std::jthread([watch = std::move(watch)](std::stop_token stop) { watch->Run(stop); });
}

FileWatcher::~FileWatcher() = default;

}  // namespace failover
