// Commands and events in words, and the answers of calls that failed.
#include "absl/strings/str_cat.h"
#include "tests/sim/simulation.h"

namespace failover::sim {
namespace {

struct CommandName {
  std::string operator()(const core::StartBackup& c) {
    return absl::StrCat("StartBackup ", c.service, " ", c.operation_id);
  }
  std::string operator()(const core::StartRestore& c) {
    return absl::StrCat("StartRestore ", c.service, " ", c.operation_id);
  }
  std::string operator()(const core::PollOperation& c) {
    return absl::StrCat("PollOperation ", c.operation_id);
  }
  std::string operator()(const core::InspectOperation& c) {
    return absl::StrCat("InspectOperation ", c.operation.id());
  }
  std::string operator()(const core::RunPreflight& c) {
    return absl::StrCat("RunPreflight ", c.run_id);
  }
  std::string operator()(const core::CheckBlob& c) { return absl::StrCat("CheckBlob ", c.blob); }
  std::string operator()(const core::WriteManifest& c) {
    return absl::StrCat("WriteManifest ", c.backup.blob());
  }
  std::string operator()(const core::ReadManifest& c) {
    return absl::StrCat("ReadManifest ", c.blob);
  }
  std::string operator()(const core::ReadFingerprint& c) {
    return absl::StrCat("ReadFingerprint ", c.service);
  }
  std::string operator()(const core::WriteFence& c) {
    return absl::StrCat("WriteFence ", c.fence.epoch, " ", c.fence.operation_id);
  }
  std::string operator()(const core::ReadFence&) { return "ReadFence"; }
  std::string operator()(const core::ReadTraffic&) { return "ReadTraffic"; }
  std::string operator()(const core::SetEndpoint& c) {
    return absl::StrCat("SetEndpoint ", c.service, c.enabled ? " on" : " off");
  }
  std::string operator()(const core::CheckSwitchPath&) { return "CheckSwitchPath"; }
  std::string operator()(const core::RequestBurst& c) {
    return absl::StrCat("RequestBurst ", c.service);
  }
  std::string operator()(const core::Reply& c) {
    return absl::StrCat("Reply ", c.order_id, c.ok ? " ok: " : " refused: ", c.text);
  }
  std::string operator()(const core::Note& c) { return absl::StrCat("Note: ", c.text); }
};

const char* Word(core::CallStatus status) {
  static constexpr const char* kWords[] = {"ok", "failed", "unclear", "not sent"};
  return kWords[static_cast<int>(status)];
}

struct EventName {
  std::string operator()(const core::Tick&) { return "Tick"; }
  std::string operator()(const core::ProbeResults& e) {
    std::string text = absl::StrCat("ProbeResults ", e.agent.probe_region, "/", e.agent.name,
                                    e.replay ? " replay " : " ");
    for (size_t i = 0; i < e.samples.size() && i < 8; ++i)
      absl::StrAppend(&text, e.samples[i].success ? "+" : "-");
    return text;
  }
  std::string operator()(const core::AgentStream& e) {
    return absl::StrCat("AgentStream ", e.agent.name, e.open ? " open" : " closed");
  }
  std::string operator()(const core::OperationStarted& e) {
    return absl::StrCat("OperationStarted ", e.operation_id, " ", Word(e.result.status));
  }
  std::string operator()(const core::OperationPolled& e) {
    return absl::StrCat("OperationPolled ", e.operation_id, " ", static_cast<int>(e.state));
  }
  std::string operator()(const core::FingerprintRead& e) {
    return absl::StrCat("FingerprintRead ", e.service, " ", Word(e.result.status));
  }
  std::string operator()(const core::OperationInspected& e) {
    return absl::StrCat("OperationInspected ", e.operation_id, " ", Word(e.result.status),
                        e.service_idle ? " idle" : " busy", e.blob_exists ? " blob" : " no blob");
  }
  std::string operator()(const core::PreflightDone& e) {
    return absl::StrCat("PreflightDone ", Word(e.result.status));
  }
  std::string operator()(const core::BlobChecked& e) {
    return absl::StrCat("BlobChecked ", Word(e.result.status));
  }
  std::string operator()(const core::ManifestWritten& e) {
    return absl::StrCat("ManifestWritten ", Word(e.result.status));
  }
  std::string operator()(const core::ManifestRead& e) {
    return absl::StrCat("ManifestRead ", Word(e.result.status));
  }
  std::string operator()(const core::FenceDone& e) {
    return absl::StrCat("FenceDone ", Word(e.result.status));
  }
  std::string operator()(const core::TrafficRead& e) {
    std::string text = absl::StrCat("TrafficRead ", Word(e.result.status));
    for (const auto& [service, on] : e.enabled)
      absl::StrAppend(&text, " ", service, on ? "+" : "-");
    return text;
  }
  std::string operator()(const core::EndpointSet& e) {
    return absl::StrCat("EndpointSet ", e.service, e.enabled ? " on " : " off ",
                        Word(e.result.status));
  }
  std::string operator()(const core::SwitchPathChecked& e) {
    return absl::StrCat("SwitchPathChecked ", Word(e.result.status));
  }
  std::string operator()(const core::Order& e) {
    return absl::StrCat("Order ", e.order_id, " kind ", e.body.index(), e.dry_run ? " dry" : "");
  }
  std::string operator()(const core::LeadershipGained&) { return "LeadershipGained"; }
  std::string operator()(const core::LeadershipLost&) { return "LeadershipLost"; }
  std::string operator()(const core::ConfigChanged&) { return "ConfigChanged"; }
  std::string operator()(const core::Persisted& e) { return absl::StrCat("Persisted ", e.version); }
  std::string operator()(const core::StoreFailed&) { return "StoreFailed"; }
  std::string operator()(const core::ClockGap&) { return "ClockGap"; }
};

struct Failed {
  core::CallResult result;

  core::Event operator()(const core::StartBackup& c) {
    return core::OperationStarted{c.call, c.operation_id, result, "", 0};
  }
  core::Event operator()(const core::StartRestore& c) {
    return core::OperationStarted{c.call, c.operation_id, result, "", 0};
  }
  core::Event operator()(const core::PollOperation& c) {
    return core::OperationPolled{
        c.call, c.operation_id, core::OperationPolled::State::kUnknown, {}, "", 0};
  }
  core::Event operator()(const core::InspectOperation& c) {
    core::OperationInspected look;
    look.call = c.call;
    look.operation_id = c.operation.id();
    look.result = result;
    return look;
  }
  core::Event operator()(const core::RunPreflight& c) {
    return core::PreflightDone{c.call, c.run_id, result, {}, {}};
  }
  core::Event operator()(const core::CheckBlob& c) {
    return core::BlobChecked{c.call, c.operation_id, result, 0};
  }
  core::Event operator()(const core::WriteManifest& c) {
    return core::ManifestWritten{c.call, result};
  }
  core::Event operator()(const core::ReadManifest& c) {
    return core::ManifestRead{c.call, result, nullptr, nullptr};
  }
  core::Event operator()(const core::ReadFingerprint& c) {
    core::FingerprintRead read;
    read.call = c.call;
    read.service = c.service;
    read.result = result;
    return read;
  }
  core::Event operator()(const core::WriteFence& c) {
    return core::FenceDone{c.call, result, std::nullopt};
  }
  core::Event operator()(const core::ReadFence& c) {
    return core::FenceDone{c.call, result, std::nullopt};
  }
  core::Event operator()(const core::ReadTraffic& c) {
    return core::TrafficRead{c.call, result, {}, "", absl::Seconds(2)};
  }
  core::Event operator()(const core::SetEndpoint& c) {
    return core::EndpointSet{c.call, c.service, c.enabled, result};
  }
  core::Event operator()(const core::CheckSwitchPath& c) {
    return core::SwitchPathChecked{c.call, result, absl::ZeroDuration(), absl::Seconds(2)};
  }
  core::Event operator()(const core::RequestBurst&) { return core::Tick{}; }
  core::Event operator()(const core::Reply&) { return core::Tick{}; }
  core::Event operator()(const core::Note&) { return core::Tick{}; }
};

}  // namespace

std::string NameOf(const core::Command& command) { return std::visit(CommandName{}, command); }
std::string NameOf(const core::Event& event) { return std::visit(EventName{}, event); }

core::Event Failure(const core::Command& command, core::CallStatus status) {
  Failed failed;
  failed.result.status = status;
  failed.result.error.set_message("simulated");
  return std::visit(failed, command);
}

}  // namespace failover::sim
