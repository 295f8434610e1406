#include "controller/cli/run.h"

#include <algorithm>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "apim_failover/v1/operator.pb.h"
#include "common/proto.h"
#include "controller/cli/client.h"
#include "controller/cli/orders.h"
#include "controller/cli/output.h"
#include "controller/cli/render.h"
#include "controller/cli/watch.h"

namespace failover::cli {
namespace {

int Fail(const Io& io, const absl::Status& status) {
  io.err(absl::StrCat("failoverctl: ", status.message(), "\n"));
  return ExitOf(status, false);
}

// One command with its surroundings.
struct Command {
  const Args& args;
  const Settings& settings;
  const Io& io;
  bool color;

  template <typename Response, typename Render>
  void Print(const Response& response, int64_t now_ms, Render render) const {
    if (settings.format == Format::kJson) return io.out(ToJson(response));
    if (settings.format == Format::kYaml) return io.out(ToYaml(response));
    io.out(render(response, View{now_ms, io.size().columns, color}));
  }
};

int ShowStatus(const Command& c, Client& client) {
  v1::GetStatusRequest request;
  if (!c.args.words.empty()) request.set_group(c.args.words[0]);
  const absl::StatusOr<v1::GetStatusResponse> status = client.Call(request);
  if (!status.ok()) return Fail(c.io, status.status());
  if (c.args.verb->id == VerbId::kCheck) {
    c.Print(*status, status->at_ms(), CheckSheet);
    return CheckExit(*status);
  }
  c.Print(*status, status->at_ms(), StatusScreen);
  return StatusExit(*status);
}

int ShowAgents(const Command& c, Client& client) {
  v1::ListAgentsRequest request;
  if (!c.args.words.empty()) request.set_group(c.args.words[0]);
  // The status has the controller's clock, by which ages are told.
  v1::GetStatusRequest clock;
  clock.set_group(request.group());
  const absl::StatusOr<v1::GetStatusResponse> status = client.Call(clock);
  if (!status.ok()) return Fail(c.io, status.status());
  const absl::StatusOr<v1::ListAgentsResponse> agents = client.Call(request);
  if (!agents.ok()) return Fail(c.io, agents.status());
  c.Print(*agents, status->at_ms(), AgentList);
  return AgentExit(*agents);
}

// The verbs that read something of one group.
template <typename Request, typename Render, typename Exit>
int ShowOfGroup(const Command& c, Client& client, int64_t now_ms, Request request, Render render,
                Exit exit) {
  const auto response = client.Call(request);
  if (!response.ok()) return Fail(c.io, response.status());
  c.Print(*response, now_ms, render);
  return exit(*response);
}

int ShowOneGroup(const Command& c, Client& client) {
  const absl::StatusOr<v1::GetStatusResponse> status = client.Call(v1::GetStatusRequest());
  if (!status.ok()) return Fail(c.io, status.status());
  const absl::StatusOr<Target> target = ResolveGroup(c.args, *status);
  if (!target.ok()) return Fail(c.io, target.status());
  const std::string& group = target->group.name();
  const auto good = [](const auto&) { return static_cast<int>(kGood); };
  switch (c.args.verb->id) {
    case VerbId::kHistory: {
      v1::GetHistoryRequest request;
      request.set_group(group);
      request.set_decisions(c.args.Has("--decisions"));
      int limit = 0;
      if (absl::SimpleAtoi(c.args.Value("--limit"), &limit)) request.set_limit(limit);
      return ShowOfGroup(
          c, client, status->at_ms(), request, HistoryList,
          [](const v1::GetHistoryResponse& r) { return r.chain_intact() ? kGood : kDegraded; });
    }
    case VerbId::kOperations: {
      v1::ListOperationsRequest request;
      request.set_group(group);
      request.set_all(c.args.Has("--all"));
      return ShowOfGroup(c, client, status->at_ms(), request, OperationList, good);
    }
    case VerbId::kBackups: {
      v1::ListBackupsRequest request;
      request.set_group(group);
      return ShowOfGroup(c, client, status->at_ms(), request, BackupList, good);
    }
    default: {
      v1::SyncDiffRequest request;
      request.set_group(group);
      if (!target->words.empty()) request.set_standby(target->words[0]);
      return ShowOfGroup(
          c, client, status->at_ms(), request, DiffList, [](const v1::SyncDiffResponse& r) {
            return r.changed() + r.only_on_active() + r.only_on_standby() == 0 ? kGood : kDegraded;
          });
    }
  }
}

int ShowVersion(const Settings& settings, const Io& io) {
  io.out(absl::StrCat("failoverctl ", FAILOVER_VERSION, "\n"));
  if (settings.controller.empty()) return kGood;
  const absl::StatusOr<std::unique_ptr<Client>> client = Client::Connect(settings);
  if (!client.ok()) return Fail(io, client.status());
  const absl::StatusOr<v1::GetStatusResponse> status = (*client)->Call(v1::GetStatusRequest());
  if (!status.ok()) return Fail(io, status.status());
  io.out(absl::StrCat("controller ", Clean(status->version()), " (", Clean(status->controller()),
                      ")\n"));
  return kGood;
}

int ShowHelp(const Args& args, const Io& io) {
  if (args.words.empty()) {
    io.out(HelpText());
    return kGood;
  }
  const absl::StatusOr<std::string> text = HelpText(absl::StrJoin(args.words, " "));
  if (!text.ok()) return Fail(io, text.status());
  io.out(*text);
  return kGood;
}

int RunWithController(const Args& args, Settings settings, bool color, const Io& io) {
  const bool watch = args.Has("--watch");
  if (watch && !args.Has("--timeout"))
    settings.timeout = absl::Seconds(2);  // the screen must not stand still
  std::optional<SignalStop> stop;
  if (watch) stop.emplace();  // before gRPC starts its threads
  absl::StatusOr<std::unique_ptr<Client>> client = Client::Connect(settings);
  if (!client.ok()) return Fail(io, client.status());
  const Command command{args, settings, io, color};
  switch (args.verb->id) {
    case VerbId::kStatus:
      if (watch) {
        v1::GetStatusRequest request;
        if (!args.words.empty()) request.set_group(args.words[0]);
        return WatchStatus(**client, request, settings.format, color, io, *stop);
      }
      return ShowStatus(command, **client);
    case VerbId::kCheck:
      return ShowStatus(command, **client);
    case VerbId::kAgents:
      return ShowAgents(command, **client);
    case VerbId::kHistory:
    case VerbId::kOperations:
    case VerbId::kBackups:
    case VerbId::kSyncDiff:
      return ShowOneGroup(command, **client);
    default:
      return RunOrder(args, **client, settings.format, color, io);
  }
}

}  // namespace

int Run(const std::vector<std::string>& arguments, const Environment& environment, const Io& io) {
  const absl::StatusOr<Args> args = ParseArgs(arguments);
  if (!args.ok()) return Fail(io, args.status());
  if (args->help || args->verb->id == VerbId::kHelp) return ShowHelp(*args, io);
  const absl::StatusOr<Settings> settings = ResolveSettings(*args, environment);
  if (!settings.ok()) return Fail(io, settings.status());
  if (args->verb->id == VerbId::kVersion) return ShowVersion(*settings, io);
  const char* no_color = environment("NO_COLOR");
  const char* term = environment("TERM");
  const bool color = io.out_is_terminal && !args->Has("--no-color") &&
                     (no_color == nullptr || *no_color == 0) &&
                     (term == nullptr || absl::string_view(term) != "dumb");
  return RunWithController(*args, *settings, color, io);
}

}  // namespace failover::cli
