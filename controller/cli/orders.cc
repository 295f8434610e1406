#include "controller/cli/orders.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/config_file.h"
#include "common/status_macros.h"
#include "controller/cli/output.h"
#include "controller/cli/render.h"
#include "controller/cli/words.h"

namespace failover::cli {
namespace {

absl::StatusOr<std::string> ChosenStandby(const Args& args, const v1::GroupStatus& group) {
  if (args.Has("--to")) return args.Value("--to");
  if (!group.best_standby().empty()) return group.best_standby();
  std::vector<std::string> standbys;
  for (const v1::ServiceStatus& service : group.services()) {
    if (service.role() == v1::ROLE_STANDBY) standbys.push_back(service.name());
  }
  if (standbys.size() == 1) return standbys[0];
  return absl::InvalidArgumentError(absl::StrCat(
      "failover: found no --to, and no standby is ready that the rules would choose; allowed: ",
      standbys.empty() ? "none (no standby)" : absl::StrJoin(standbys, ", ")));
}

// The conversation about an order goes to stderr when stdout carries JSON or YAML.
void Say(const Io& io, Format format, absl::string_view text) {
  if (format == Format::kTable) {
    io.out(text);
  } else {
    io.err(text);
  }
}

int PrintAnswer(const v1::OrderResponse& answer, Format format, const View& view, const Io& io) {
  if (format != Format::kTable) {
    io.out(format == Format::kJson ? ToJson(answer) : ToYaml(answer));
  } else {
    const std::string text = absl::StrCat(answer.ok() ? "" : "refused: ", Clean(answer.text()));
    for (const std::string& line : Wrap(text, view.width))
      io.out(absl::StrCat(Paint(view, answer.ok() ? Tone::kGood : Tone::kBad, line), "\n"));
  }
  return answer.ok() ? kGood : kDegraded;
}

int Fail(const absl::Status& status, const v1::OrderRequest& order, const Io& io) {
  std::string text(status.message());
  const bool unclear =
      absl::IsDeadlineExceeded(status) || absl::IsCancelled(status) || absl::IsUnavailable(status);
  if (unclear && !order.dry_run())
    absl::StrAppend(&text, "; the order may have been carried out: failoverctl history ",
                    Clean(order.group()));
  io.err(absl::StrCat("failoverctl: ", text, "\n"));
  return ExitOf(status, true);
}

bool Confirmed(const v1::OrderRequest& order, Format format, const Io& io) {
  Say(io, format,
      absl::StrCat("\nType the name of the group (", Clean(order.group()), ") to go ahead: "));
  std::string line;
  return io.read_line(&line) && absl::StripAsciiWhitespace(line) == order.group();
}

// Shows what the order would do. The dry run's refusal ends it.
absl::StatusOr<v1::OrderResponse> Preview(Client& client, const v1::GroupStatus& group,
                                          v1::OrderRequest order, Format format, const View& view,
                                          const Io& io) {
  order.set_dry_run(true);
  ASSIGN_OR_RETURN(v1::OrderResponse answer, client.Call(order));
  std::string text = Topology(group, view);
  if (answer.ok()) absl::StrAppend(&text, TopologyAfter(group, order, view));
  Say(io, format, absl::StrCat(text, "\n"));
  return answer;
}

}  // namespace

absl::StatusOr<Target> ResolveGroup(const Args& args, const v1::GetStatusResponse& status) {
  std::vector<std::string> names;
  size_t needed = 0;
  for (const v1::GroupStatus& group : status.groups()) names.push_back(Clean(group.name()));
  for (const Word& word : args.verb->words) needed += word.optional ? 0 : 1;
  const std::string all = names.empty() ? "none is configured" : absl::StrJoin(names, ", ");
  for (const v1::GroupStatus& group : status.groups()) {
    if (args.words.empty() || group.name() != args.words[0]) continue;
    Target target{group, {args.words.begin() + 1, args.words.end()}};
    if (target.words.size() >= needed) return target;
    break;  // the one word is what the verb needs, although a group is called so
  }
  const bool left_out = args.words.size() < args.verb->words.size();
  if (left_out && args.words.size() >= needed && status.groups_size() == 1)
    return Target{status.groups(0), args.words};
  if (args.words.empty() || args.words.size() == needed) {
    return absl::InvalidArgumentError(absl::StrCat("GROUP: found nothing; allowed: ", all));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("GROUP: found \"", args.words[0], "\"; allowed: ", all));
}

absl::StatusOr<v1::OrderRequest> BuildOrder(const Args& args, const Target& target) {
  v1::OrderRequest order;
  order.set_group(target.group.name());
  order.set_reason(args.Value("--reason"));
  order.set_dry_run(args.Has("--dry-run"));
  switch (args.verb->id) {
    case VerbId::kSyncRun:
      order.mutable_sync_run()->set_adopt(args.Value("--adopt"));
      break;
    case VerbId::kSyncFreeze:
      order.mutable_sync_freeze();
      break;
    case VerbId::kSyncThaw:
      order.mutable_sync_thaw();
      break;
    case VerbId::kStandbyDiscard:
      order.mutable_standby_discard()->set_standby(target.words.at(0));
      break;
    case VerbId::kOperationsAbandon:
      order.mutable_operations_abandon()->set_id(target.words.at(0));
      break;
    case VerbId::kFailover: {
      ASSIGN_OR_RETURN(*order.mutable_failover()->mutable_to(), ChosenStandby(args, target.group));
      for (const std::string& blocker : args.Values("--force"))
        order.mutable_failover()->add_force(blocker);
      break;
    }
    case VerbId::kApprove:
      order.mutable_approve()->set_id(target.words.at(0));
      break;
    case VerbId::kDeny:
      order.mutable_deny()->set_id(target.words.at(0));
      break;
    case VerbId::kAck:
      order.mutable_ack();
      break;
    case VerbId::kAdopt:
      order.mutable_adopt()->set_service(args.Value("--active"));
      break;
    case VerbId::kPause:
      order.mutable_pause();
      if (args.Has("--for")) {
        ASSIGN_OR_RETURN(const absl::Duration length, ParseDuration(args.Value("--for")));
        order.mutable_pause()->set_for_ms(absl::ToInt64Milliseconds(length));
      }
      break;
    case VerbId::kResume:
      order.mutable_resume();
      break;
    default:
      return absl::InternalError(absl::StrCat(args.verb->name, " is no order"));
  }
  if (IsDestructive(order)) order.set_expected_epoch(target.group.epoch());
  return order;
}

bool IsDestructive(const v1::OrderRequest& order) {
  switch (order.order_case()) {
    case v1::OrderRequest::kFailover:
    case v1::OrderRequest::kAdopt:
    case v1::OrderRequest::kStandbyDiscard:
    case v1::OrderRequest::kOperationsAbandon:
      return true;
    case v1::OrderRequest::kSyncRun:
      return !order.sync_run().adopt().empty();
    default:
      return false;
  }
}

int ExitOf(const absl::Status& status, bool order) {
  if (!order) return kCannotTell;
  switch (status.code()) {
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kNotFound:
      return kDegraded;
    default:
      return kCannotTell;
  }
}

int RunOrder(const Args& args, Client& client, Format format, bool color, const Io& io) {
  absl::StatusOr<v1::GetStatusResponse> status = client.Call(v1::GetStatusRequest());
  v1::OrderRequest order;
  order.set_dry_run(true);  // for Fail: nothing has been ordered yet
  if (!status.ok()) return Fail(status.status(), order, io);
  const absl::StatusOr<Target> target = ResolveGroup(args, *status);
  if (!target.ok()) return Fail(target.status(), order, io);
  absl::StatusOr<v1::OrderRequest> built = BuildOrder(args, *target);
  if (!built.ok()) return Fail(built.status(), order, io);
  order = *std::move(built);
  const View view{status->at_ms(), io.size().columns, color};
  if (IsDestructive(order)) {
    const bool asks = !args.Has("--yes") && !order.dry_run();
    if (asks && !io.in_is_terminal) {
      io.err(absl::StrCat("failoverctl: ", args.verb->name,
                          " asks before it acts, and the input is no terminal; say --yes to go "
                          "ahead, --dry-run to look\n"));
      return kDegraded;
    }
    const absl::StatusOr<v1::OrderResponse> preview =
        Preview(client, target->group, order, format, view, io);
    v1::OrderRequest dry = order;
    dry.set_dry_run(true);
    if (!preview.ok()) return Fail(preview.status(), dry, io);
    if (!preview->ok() || order.dry_run()) return PrintAnswer(*preview, format, view, io);
    Say(io, format, absl::StrCat(Clean(preview->text()), "\n"));
    if (asks && !Confirmed(order, format, io)) {
      io.err("failoverctl: the name was not typed; nothing was changed\n");
      return kDegraded;
    }
  }
  const absl::StatusOr<v1::OrderResponse> answer = client.Call(order);
  if (!answer.ok()) return Fail(answer.status(), order, io);
  const int exit = PrintAnswer(*answer, format, view, io);
  const bool follows = order.has_failover() || order.has_approve() || order.has_sync_run() ||
                       order.has_standby_discard();
  if (exit == kGood && follows && !order.dry_run())
    Say(io, format,
        absl::StrCat("follow it with: failoverctl status ", Clean(order.group()), " -w\n"));
  return exit;
}

}  // namespace failover::cli
