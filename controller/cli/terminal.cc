#include "controller/cli/terminal.h"

#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <iostream>

namespace failover::cli {
namespace {

std::atomic<bool> output_gone = false;  // nobody reads it any more (`failoverctl status -w | head`)

void WriteAll(int fd, absl::string_view text) {
  while (!text.empty()) {
    const ssize_t n = write(fd, text.data(), text.size());
    if (n < 0 && errno == EPIPE && fd == STDOUT_FILENO) output_gone = true;
    if (n < 0 && errno != EINTR) return;
    if (n > 0) text.remove_prefix(static_cast<size_t>(n));
  }
}

Io::Size TerminalSize() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return {};
  return {std::clamp<int>(size.ws_col, 40, 200), std::max<int>(size.ws_row, 5)};
}

sigset_t Signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGWINCH}) sigaddset(&set, signal);
  return set;
}

}  // namespace

Io RealIo() {
  Io io;
  io.out = [](absl::string_view text) { WriteAll(STDOUT_FILENO, text); };
  io.err = [](absl::string_view text) { WriteAll(STDERR_FILENO, text); };
  io.read_line = [](std::string* line) { return static_cast<bool>(std::getline(std::cin, *line)); };
  io.in_is_terminal = isatty(STDIN_FILENO) == 1;
  io.out_is_terminal = isatty(STDOUT_FILENO) == 1;
  io.size = TerminalSize;
  return io;
}

SignalStop::SignalStop() {
  const sigset_t set = Signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  thread_ = std::jthread([this, set](std::stop_token done) {
    while (!done.stop_requested()) {
      const timespec tick{0, 100'000'000};
      const int signal = sigtimedwait(&set, nullptr, &tick);
      if (output_gone) RequestStop();
      if (signal < 0) continue;
      if (signal != SIGWINCH) {
        RequestStop();
        continue;
      }
      const std::lock_guard lock(mutex_);
      resized_ = true;
      changed_.notify_all();
    }
  });
}

SignalStop::~SignalStop() {
  thread_.request_stop();
  thread_.join();
  const sigset_t set = Signals();
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

void SignalStop::RequestStop() {
  source_.request_stop();
  const std::lock_guard lock(mutex_);
  changed_.notify_all();
}

void SignalStop::Wait(absl::Duration length) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, absl::ToChronoNanoseconds(length),
                    [this] { return resized_ || source_.stop_requested(); });
  resized_ = false;
}

}  // namespace failover::cli
