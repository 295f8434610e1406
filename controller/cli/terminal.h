#ifndef CONTROLLER_CLI_TERMINAL_H_
#define CONTROLLER_CLI_TERMINAL_H_

#include <condition_variable>
#include <functional>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace failover::cli {

// Where a command reads and writes; tests give strings.
struct Io {
  std::function<void(absl::string_view)> out;
  std::function<void(absl::string_view)> err;
  std::function<bool(std::string*)> read_line;  // false at the end of the input
  bool in_is_terminal = false;
  bool out_is_terminal = false;
  struct Size {
    int columns = 100, rows = 40;
  };
  std::function<Size()> size;
};

// Standard input, output and error.
Io RealIo();

// Turns SIGINT, SIGTERM and SIGHUP into a stop, and SIGWINCH into an early wake-up, while it lives.
// To be made before other threads are started: they inherit the blocked signals.
class SignalStop {
 public:
  SignalStop();
  ~SignalStop();
  void RequestStop();
  std::stop_token token() const { return source_.get_token(); }
  // Returns after `length`, at a stop, or when the terminal has changed its size.
  void Wait(absl::Duration length);

 private:
  std::stop_source source_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool resized_ = false;
  std::jthread thread_;
};

}  // namespace failover::cli

#endif  // CONTROLLER_CLI_TERMINAL_H_
