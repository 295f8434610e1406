#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <thread>
#include <utility>

#include "absl/time/clock.h"
#include "tests/e2e/system.h"

namespace failover::e2e {
namespace {

// The child of a fork, until exec.
[[noreturn]] void Become(const std::vector<std::string>& command, int out, int err,
                         const std::map<std::string, std::string>& environment) {
  dup2(open("/dev/null", O_RDONLY), 0);
  dup2(out, 1);
  dup2(err, 2);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const auto& [name, value] : environment) setenv(name.c_str(), value.c_str(), 1);
  std::vector<char*> argv;
  for (const std::string& argument : command) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  execvp(argv[0], argv.data());
  _exit(127);
}

std::string ReadAll(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

}  // namespace

std::string Binary(const std::string& name) { return std::string(FAILOVER_BIN) + "/" + name; }

bool Eventually(absl::Duration timeout, const std::function<bool()>& condition) {
  const absl::Time deadline = absl::Now() + timeout;
  while (!condition()) {
    if (absl::Now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return true;
}

Process::Process(std::vector<std::string> command, const std::string& log_file,
                 const std::map<std::string, std::string>& environment) {
  const int log = open(log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  pid_ = fork();
  if (pid_ == 0) Become(command, log, log, environment);
  close(log);
}

Process::~Process() { Kill(); }

Process::Process(Process&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), status_(other.status_) {}

Process& Process::operator=(Process&& other) noexcept {
  if (this == &other) return *this;
  Kill();
  pid_ = std::exchange(other.pid_, -1);
  status_ = other.status_;
  return *this;
}

bool Process::Running() {
  if (pid_ < 0) return false;
  const pid_t ended = waitpid(pid_, &status_, WNOHANG);
  if (ended == pid_) pid_ = -1;
  return pid_ >= 0;
}

void Process::Signal(int signal) const {
  if (pid_ > 0) kill(pid_, signal);
}

int Process::Wait(absl::Duration timeout) {
  if (!Eventually(timeout, [this] { return !Running(); })) Kill();
  return status_;
}

bool Process::DiesBySigkill(absl::Duration timeout) {
  return Eventually(timeout, [this] { return !Running(); }) && WIFSIGNALED(status_) &&
         WTERMSIG(status_) == SIGKILL;
}

void Process::Kill() {
  if (pid_ < 0) return;
  kill(pid_, SIGKILL);
  while (waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
}

CommandResult RunCommand(const std::vector<std::string>& command,
                         const std::map<std::string, std::string>& environment) {
  const TempDir dir;
  const int out = open(dir.File("out").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  const int err = open(dir.File("err").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  const pid_t pid = fork();
  if (pid == 0) Become(command, out, err, environment);
  close(out);
  close(err);
  int status = 0;
  const bool ended =
      Eventually(absl::Seconds(30), [&] { return waitpid(pid, &status, WNOHANG) == pid; });
  if (!ended) {
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
  }
  CommandResult run;
  run.exit_code = ended && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  run.out = ReadAll(dir.File("out"));
  run.err = ReadAll(dir.File("err"));
  return run;
}

}  // namespace failover::e2e
