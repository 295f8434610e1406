// failoverctl against a real operator service whose handlers are scripted.
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <mutex>
#include <thread>

#include "absl/strings/str_cat.h"
#include "controller/cli/orders.h"
#include "controller/cli/render.h"
#include "controller/cli/run.h"
#include "controller/cli/watch.h"
#include "controller/operators/operators.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_ca.h"
#include "tests/support/wait_until.h"

namespace failover {
namespace {

using cli::Io;
using ::testing::HasSubstr;
using ::testing::Not;

class FailoverctlTest : public ::testing::Test {
 protected:
  FailoverctlTest() {
    status_.set_controller("spiffe://contoso/controller/ctl-1");
    status_.set_leader(true);
    status_.set_store_ok(true);
    status_.set_version("0.1.0");
    status_.set_at_ms(1'800'000'000'000);
    AddGroup("orders");
    io_.out = [this](absl::string_view text) { absl::StrAppend(&out_, text); };
    io_.err = [this](absl::string_view text) { absl::StrAppend(&err_, text); };
    io_.read_line = [this](std::string* line) {
      *line = typed_;
      return !typed_.empty();
    };
    io_.size = [] { return Io::Size{100, 60}; };
    Start("127.0.0.1:0");
  }

  void AddGroup(const std::string& name) {
    v1::GroupStatus* group = status_.add_groups();
    group->set_name(name);
    group->set_state("healthy");
    group->set_mode("manual");
    group->set_epoch(7);
    group->set_active("apim-weu");
    group->set_best_standby("apim-neu");
    for (const char* service : {"apim-weu", "apim-neu"}) {
      v1::ServiceStatus* status = group->add_services();
      status->set_name(service);
      status->set_role(group->services_size() == 1 ? v1::ROLE_ACTIVE : v1::ROLE_STANDBY);
      status->set_verdict("up");
      status->set_ready(true);
      status->set_serving(group->services_size() == 1 ? "enabled" : "disabled");
    }
  }

  void Start(const std::string& address) {
    operators::OperatorServerOptions options;
    options.address = address;
    options.tls = tls_.get();
    options.handlers.get_status = [this](const v1::GetStatusRequest&,
                                         operators::Done<v1::GetStatusResponse> done) {
      done(status_);
    };
    options.handlers.get_history = [](const v1::GetHistoryRequest&,
                                      operators::Done<v1::GetHistoryResponse> done) {
      v1::GetHistoryResponse history;
      history.add_entries()->set_text("it began");
      done(history);
    };
    options.handlers.sync_diff = [this](const v1::SyncDiffRequest& request,
                                        operators::Done<v1::SyncDiffResponse> done) {
      diffed_ = request.standby();
      v1::SyncDiffResponse diff;
      diff.set_changed(1);
      done(diff);
    };
    options.handlers.give_order = [this](const v1::OrderRequest& order, const std::string&,
                                         operators::Done<v1::OrderResponse> done) {
      orders_.push_back(order);
      if (!order_error_.ok()) return done(order_error_);
      v1::OrderResponse answer;
      answer.set_ok(!refuse_);
      answer.set_text(refuse_           ? "roles are unconfirmed"
                      : order.dry_run() ? "it would be done"
                                        : "it is done");
      done(answer);
    };
    auto server = operators::OperatorServer::Start(std::move(options));
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  std::string Address() const { return absl::StrCat("127.0.0.1:", server_->port()); }

  int Run(std::vector<std::string> arguments, std::map<std::string, std::string> environment = {}) {
    out_.clear();
    err_.clear();
    if (environment.empty()) {
      arguments.push_back("--insecure");
      arguments.push_back("--controller=" + Address());
    }
    return cli::Run(
        arguments,
        [environment](const char* name) -> const char* {
          const auto it = environment.find(name);
          return it == environment.end() ? nullptr : it->second.c_str();
        },
        io_);
  }

  TempDir directory_;
  std::unique_ptr<TlsIdentity> tls_;
  std::unique_ptr<TlsIdentity> client_tls_;
  v1::GetStatusResponse status_;
  std::vector<v1::OrderRequest> orders_;
  std::string diffed_;
  bool refuse_ = false;
  absl::Status order_error_;
  std::string out_, err_, typed_;
  Io io_;
  std::unique_ptr<operators::OperatorServer> server_;
};

TEST_F(FailoverctlTest, TheExitCodeOfStatusIsTheWorstGroup) {
  EXPECT_EQ(Run({"status"}), 0);
  EXPECT_THAT(out_, HasSubstr("HEALTHY"));
  status_.mutable_groups(0)->set_state("degraded");
  EXPECT_EQ(Run({"status"}), 1);
  AddGroup("billing");
  status_.mutable_groups(1)->set_state("unknown");
  EXPECT_EQ(Run({"status"}), 2);
}

TEST_F(FailoverctlTest, JsonAndYamlCarryTheWholeAnswer) {
  EXPECT_EQ(Run({"status", "-o", "json"}), 0);
  EXPECT_THAT(out_, HasSubstr("\"bestStandby\": \"apim-neu\""));
  EXPECT_EQ(Run({"status", "-o", "yaml"}), 0);
  EXPECT_THAT(out_, HasSubstr("bestStandby: \"apim-neu\""));
}

TEST_F(FailoverctlTest, AControllerThatIsNotThereIsCannotTell) {
  const std::string address = Address();
  server_.reset();
  out_.clear();
  EXPECT_EQ(cli::Run(
                {"status", "--insecure", "--controller", address},
                [](const char*) { return nullptr; }, io_),
            2);
  EXPECT_THAT(err_, HasSubstr("cannot reach the controller at " + address));
}

TEST_F(FailoverctlTest, WithoutAControllerItSaysHowToNameOne) {
  EXPECT_EQ(cli::Run(
                {"status"}, [](const char*) { return nullptr; }, io_),
            2);
  EXPECT_THAT(err_, HasSubstr("FAILOVERCTL_CONTROLLER"));
}

TEST_F(FailoverctlTest, CertificatesComeFromTheEnvironmentAndFromAFile) {
  const TestCa ca;
  server_.reset();
  tls_ = *TlsIdentity::Load(
      WriteTlsFiles(directory_, "controller", ca, ca.Issue("spiffe://contoso/controller/ctl-1")));
  Start("127.0.0.1:0");
  const TlsFiles files =
      WriteTlsFiles(directory_, "alice", ca, ca.Issue("spiffe://contoso/operator/alice"));
  EXPECT_EQ(Run({"status"}, {{"FAILOVERCTL_CONTROLLER", Address()},
                             {"FAILOVERCTL_TLS_CERT", files.certificate_file},
                             {"FAILOVERCTL_TLS_KEY", files.key_file},
                             {"FAILOVERCTL_TLS_CA", files.ca_file}}),
            0)
      << err_;
  const std::string config = directory_.Write(
      "ctl.yaml",
      absl::StrCat("controller: ", Address(), "\ntls:\n  certificateFile: ", files.certificate_file,
                   "\n  keyFile: ", files.key_file, "\n  caFile: ", files.ca_file, "\n"));
  EXPECT_EQ(Run({"status"}, {{"FAILOVERCTL_CONFIG", config}}), 0) << err_;
  const auto name = [](const std::string& file) { return file.substr(file.rfind('/') + 1); };
  const std::string beside = directory_.Write(
      "beside.yaml", absl::StrCat("controller: ", Address(),
                                  "\ntls:\n  certificateFile: ", name(files.certificate_file),
                                  "\n  keyFile: ", name(files.key_file),
                                  "\n  caFile: ", name(files.ca_file), "\n"));
  EXPECT_EQ(Run({"status"}, {{"FAILOVERCTL_CONFIG", beside}}), 0) << err_;
  const std::string wrong =
      directory_.Write("wrong.yaml", absl::StrCat("controler: ", Address(), "\n"));
  EXPECT_EQ(Run({"status"}, {{"FAILOVERCTL_CONFIG", wrong}}), 2);
  EXPECT_THAT(err_, HasSubstr("wrong.yaml:1"));
}

TEST_F(FailoverctlTest, AControllerOfAnotherIdentityIsNotBelieved) {
  const TestCa ca;
  server_.reset();
  tls_ = *TlsIdentity::Load(WriteTlsFiles(directory_, "controller", ca,
                                          ca.Issue("spiffe://contoso/agent/westeurope/a1")));
  Start("127.0.0.1:0");
  const TlsFiles files =
      WriteTlsFiles(directory_, "alice", ca, ca.Issue("spiffe://contoso/operator/alice"));
  EXPECT_EQ(Run({"status", "--tls-cert", files.certificate_file, "--tls-key", files.key_file,
                 "--tls-ca", files.ca_file},
                {{"FAILOVERCTL_CONTROLLER", Address()}}),
            2);
}

TEST_F(FailoverctlTest, AnOrderIsGivenWithItsReason) {
  EXPECT_EQ(Run({"pause", "orders", "--for", "2h", "--reason", "maintenance"}), 0) << err_;
  ASSERT_EQ(orders_.size(), 1u);
  EXPECT_EQ(orders_[0].reason(), "maintenance");
  EXPECT_EQ(orders_[0].pause().for_ms(), 7'200'000);
  EXPECT_THAT(out_, HasSubstr("it is done"));
}

TEST_F(FailoverctlTest, ARefusedOrderIsOneAndSaysWhy) {
  refuse_ = true;
  EXPECT_EQ(Run({"ack"}), 1);
  EXPECT_THAT(out_, HasSubstr("refused: roles are unconfirmed"));
  order_error_ = absl::FailedPreconditionError("epoch 8, not 7");
  EXPECT_EQ(Run({"ack"}), 1);
  EXPECT_THAT(err_, HasSubstr("epoch 8, not 7"));
}

TEST_F(FailoverctlTest, AnOrderWithoutAnAnswerSaysThatItMayHaveBeenCarriedOut) {
  order_error_ = absl::DeadlineExceededError("no answer");
  EXPECT_EQ(Run({"ack"}), 2);
  EXPECT_THAT(err_, HasSubstr("may have been carried out: failoverctl history orders"));
}

TEST_F(FailoverctlTest, AFailoverShowsBothTopologiesAndAsks) {
  io_.in_is_terminal = true;
  typed_ = "orders";
  EXPECT_EQ(Run({"failover", "--reason", "exercise"}), 0) << err_;
  EXPECT_THAT(out_, HasSubstr("Now (epoch 7)"));
  EXPECT_THAT(out_, HasSubstr("After"));
  EXPECT_THAT(out_, HasSubstr("it would be done"));
  EXPECT_THAT(out_, HasSubstr("it is done"));
  ASSERT_EQ(orders_.size(), 2u);
  EXPECT_TRUE(orders_[0].dry_run());
  EXPECT_FALSE(orders_[1].dry_run());
  EXPECT_EQ(orders_[1].expected_epoch(), 7u);
  EXPECT_EQ(orders_[1].failover().to(), "apim-neu");
}

TEST_F(FailoverctlTest, AWrongNameChangesNothing) {
  io_.in_is_terminal = true;
  for (const char* typed : {"order", "yes", ""}) {
    typed_ = typed;
    orders_.clear();
    EXPECT_EQ(Run({"adopt", "--active", "apim-weu"}), 1);
    EXPECT_THAT(err_, HasSubstr("nothing was changed"));
    ASSERT_EQ(orders_.size(), 1u);
    EXPECT_TRUE(orders_[0].dry_run());
  }
}

TEST_F(FailoverctlTest, WithoutATerminalADestructiveVerbNeedsYes) {
  const std::vector<std::vector<std::string>> verbs = {
      {"failover", "--reason", "r"},
      {"adopt", "--active", "apim-weu"},
      {"standby", "discard", "apim-neu"},
      {"operations", "abandon", "0011223344556677"},
      {"sync", "run", "--adopt", "apim-neu"}};
  for (const std::vector<std::string>& verb : verbs) {
    orders_.clear();
    EXPECT_EQ(Run(verb), 1);
    EXPECT_THAT(err_, HasSubstr("--yes"));
    EXPECT_TRUE(orders_.empty());
    std::vector<std::string> sure = verb;
    sure.emplace_back("--yes");
    EXPECT_EQ(Run(sure), 0) << err_;
    ASSERT_EQ(orders_.size(), 2u);
    EXPECT_EQ(orders_[1].expected_epoch(), 7u);
  }
}

TEST_F(FailoverctlTest, ADryRunThatIsRefusedAsksNothing) {
  io_.in_is_terminal = true;
  typed_ = "orders";
  refuse_ = true;
  EXPECT_EQ(Run({"failover", "--reason", "r"}), 1);
  EXPECT_THAT(out_, HasSubstr("refused: roles are unconfirmed"));
  EXPECT_THAT(out_, Not(HasSubstr("Type the name")));
  EXPECT_EQ(orders_.size(), 1u);
}

TEST_F(FailoverctlTest, DryRunChangesNothing) {
  EXPECT_EQ(Run({"failover", "--reason", "r", "--dry-run"}), 0);
  EXPECT_THAT(out_, HasSubstr("it would be done"));
  EXPECT_EQ(Run({"ack", "--dry-run"}), 0);
  for (const v1::OrderRequest& order : orders_) EXPECT_TRUE(order.dry_run());
}

TEST_F(FailoverctlTest, WithJsonTheConversationStaysOffTheOutput) {
  EXPECT_EQ(Run({"failover", "--reason", "r", "--yes", "-o", "json"}), 0);
  EXPECT_EQ(out_.substr(0, 1), "{");
  EXPECT_THAT(err_, HasSubstr("Now (epoch 7)"));
}

TEST_F(FailoverctlTest, TheGroupMayBeLeftOutOnlyWhenThereIsOne) {
  EXPECT_EQ(Run({"sync", "diff", "apim-neu"}), 1);  // one difference
  EXPECT_EQ(diffed_, "apim-neu");
  EXPECT_EQ(Run({"sync", "diff", "orders"}), 1);
  EXPECT_EQ(diffed_, "");
  AddGroup("billing");
  EXPECT_EQ(Run({"ack"}), 2);
  EXPECT_THAT(err_, HasSubstr("GROUP: found nothing; allowed: orders, billing"));
  EXPECT_EQ(Run({"ack", "order"}), 2);
  EXPECT_THAT(err_, HasSubstr("GROUP: found \"order\"; allowed: orders, billing"));
  EXPECT_EQ(Run({"ack", "billing"}), 0);
}

TEST_F(FailoverctlTest, ABrokenHistoryChainIsOne) {
  EXPECT_EQ(Run({"history"}), 1);
  EXPECT_THAT(out_, HasSubstr("hash chain is BROKEN"));
}

TEST_F(FailoverctlTest, VersionWorksWithoutAController) {
  EXPECT_EQ(cli::Run(
                {"version"}, [](const char*) { return nullptr; }, io_),
            0);
  EXPECT_THAT(out_, HasSubstr("failoverctl "));
  EXPECT_EQ(Run({"version"}), 0);
  EXPECT_THAT(out_, HasSubstr("controller 0.1.0"));
}

TEST_F(FailoverctlTest, WatchShowsLostContactAndGoesOnWhenTheControllerIsBack) {
  const std::string address = Address();
  cli::Settings settings;
  settings.controller = address;
  settings.insecure = true;
  settings.timeout = absl::Seconds(2);
  const auto client = *cli::Client::Connect(settings);
  cli::SignalStop stop;
  int phase = 0, redraws = 0;
  io_.out = [&](absl::string_view text) {
    const bool lost = text.find("LOST CONTACT since") != absl::string_view::npos;
    const bool healthy = text.find("HEALTHY") != absl::string_view::npos;
    if (phase == 0 && healthy && !lost) {
      phase = 1;
      server_.reset();
    } else if (phase == 1 && lost) {
      EXPECT_TRUE(healthy) << "the last answer stays";
      if (++redraws < 5) return;  // connecting has failed again and again
      phase = 2;
      Start(address);
    } else if (phase == 2 && healthy && !lost) {
      phase = 3;
      stop.RequestStop();
    }
  };
  EXPECT_EQ(
      cli::WatchStatus(*client, v1::GetStatusRequest(), cli::Format::kTable, false, io_, stop), 0);
  EXPECT_EQ(phase, 3);
}

TEST_F(FailoverctlTest, WatchEndsAtOnceWhenWaitingCannotHelp) {
  server_.reset();
  operators::OperatorServerOptions options;
  options.address = "127.0.0.1:0";
  options.handlers.get_status = [](const v1::GetStatusRequest&,
                                   operators::Done<v1::GetStatusResponse> done) {
    done(absl::NotFoundError("found group \"x\"; allowed: orders"));
  };
  server_ = *operators::OperatorServer::Start(std::move(options));
  EXPECT_EQ(Run({"status", "x", "-w"}), 2);
  EXPECT_THAT(err_, HasSubstr("allowed: orders"));
}

// The program itself on a terminal of its own.
class Terminal {
 public:
  explicit Terminal(const std::vector<std::string>& arguments) {
    winsize size{};
    size.ws_row = 40;
    size.ws_col = 80;
    std::string program = std::string(FAILOVER_BIN) + "/failoverctl";
    std::vector<char*> argv = {program.data()};
    std::vector<std::string> copies = arguments;
    for (std::string& argument : copies) argv.push_back(argument.data());
    argv.push_back(nullptr);
    pid_ = forkpty(&fd_, nullptr, nullptr, &size);
    if (pid_ == 0) {
      execv(argv[0], argv.data());
      _exit(127);
    }
  }
  ~Terminal() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    close(fd_);
  }
  bool WaitFor(const std::string& text) {
    return WaitUntil(
        [&] {
          Read();
          return seen_.find(text) != std::string::npos;
        },
        absl::Seconds(30));
  }
  void Signal(int signal) { kill(pid_, signal); }
  void Type(const std::string& text) {
    EXPECT_EQ(write(fd_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  // The exit code, once all output is read; -1 when it does not end.
  int Exit() {
    int status = 0;
    const bool ended = WaitUntil(
        [&] {
          Read();
          return waitpid(pid_, &status, WNOHANG) == pid_;
        },
        absl::Seconds(30));
    Read();
    return ended && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  const std::string& seen() const { return seen_; }

 private:
  void Read() {
    pollfd ready{fd_, POLLIN, 0};
    char buffer[4096];
    while (poll(&ready, 1, 0) == 1 && (ready.revents & POLLIN) != 0) {
      const ssize_t n = read(fd_, buffer, sizeof buffer);
      if (n <= 0) return;
      seen_.append(buffer, static_cast<size_t>(n));
    }
  }
  int fd_ = -1;
  pid_t pid_ = -1;
  std::string seen_;
};

TEST_F(FailoverctlTest, OnATerminalWatchRestoresTheScreenAtASignal) {
  for (const int signal : {SIGINT, SIGTERM}) {
    Terminal terminal({"status", "-w", "--insecure", "--controller", Address()});
    ASSERT_TRUE(terminal.WaitFor("HEALTHY")) << terminal.seen();
    EXPECT_EQ(terminal.seen().rfind("\x1b[?1049h", 0), 0u);
    terminal.Signal(signal);
    EXPECT_EQ(terminal.Exit(), 0);
    EXPECT_THAT(terminal.seen(), HasSubstr("\x1b[?25h\x1b[?1049l"));
  }
}

TEST_F(FailoverctlTest, OnATerminalTheNameIsTyped) {
  Terminal terminal({"failover", "--reason", "exercise", "--insecure", "--controller", Address()});
  ASSERT_TRUE(terminal.WaitFor("Type the name of the group (orders) to go ahead: "))
      << terminal.seen();
  terminal.Type("orders\n");
  EXPECT_EQ(terminal.Exit(), 0) << terminal.seen();
  ASSERT_EQ(orders_.size(), 2u);
  EXPECT_FALSE(orders_[1].dry_run());
}

}  // namespace
}  // namespace failover
