#include "controller/intake/relay_session.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"

namespace failover::intake {
namespace {

constexpr size_t kMaxRelayBytes = 80 << 10;  // agent.proto: of a RelayMessage
constexpr int kMaxUnjudged = 32;
constexpr size_t kMaxAgents = 10'000;
// The other replica has measured already; a relay that catches up may be faster for a while.
constexpr double kBudgetFactor = 2;
// Of an agent that was refused: its four instances may be others by then.
constexpr absl::Duration kAskAgain = absl::Seconds(10);

class RelayHold {
 public:
  RelayHold(std::weak_ptr<RelaySession> session, int weight)
      : session_(std::move(session)), weight_(weight) {}
  ~RelayHold() {
    if (const std::shared_ptr<RelaySession> alive = session_.lock()) alive->Judged(weight_);
  }
  RelayHold(const RelayHold&) = delete;
  RelayHold& operator=(const RelayHold&) = delete;

 private:
  const std::weak_ptr<RelaySession> session_;
  const int weight_;
};

}  // namespace

RelaySession::Agent::Agent(SteadyTime now) : budget(now, kBudgetFactor), asked_last(now) {}

RelaySession::RelaySession(std::shared_ptr<Hub> hub, grpc::CallbackServerContext* context)
    : hub_(std::move(hub)), context_(context) {}

RelaySession* RelaySession::Begin(std::shared_ptr<Hub> hub, grpc::CallbackServerContext* context) {
  const std::shared_ptr<RelaySession> session(new RelaySession(std::move(hub), context));
  {
    MutexLock lock(session->mutex_);
    session->self_ = session;
  }
  grpc::Status status = session->Identify(*context);
  if (!status.ok()) {
    session->Refuse(status.error_code(), "refused_identity", status.error_message());
    return session.get();
  }
  status = session->hub_->EnterRelay();
  if (!status.ok()) {
    session->Close(status);
    return session.get();
  }
  session->entered_ = true;
  session->After(kHelloTimeout, [](RelaySession& s) {
    bool silent;
    {
      MutexLock lock(s.mutex_);
      silent = !s.greeted_;
    }
    if (silent) s.Close({grpc::StatusCode::DEADLINE_EXCEEDED, "no hello within 10s"});
  });
  if (session->certificate_expiry_ != absl::InfiniteFuture()) session->WatchCertificate();
  MutexLock lock(session->mutex_);
  session->ReadOnLocked();
  return session.get();
}

grpc::Status RelaySession::Identify(const grpc::CallbackServerContext& context) {
  address_ = context.peer();
  if (hub_->tls() == nullptr) return grpc::Status::OK;
  const absl::StatusOr<SpiffeId> id = PeerIdentity(*context.auth_context(), &certificate_expiry_);
  if (!id.ok()) {
    return {grpc::StatusCode::UNAUTHENTICATED, std::string(id.status().message())};
  }
  const std::string trust_domain = hub_->tls()->Self().trust_domain;
  if (id->kind != "controller" || id->trust_domain != trust_domain) {
    return {grpc::StatusCode::PERMISSION_DENIED,
            absl::StrCat("certificate of ", id->ToString(), "; allowed to relay: spiffe://",
                         trust_domain, "/controller/<name>")};
  }
  return grpc::Status::OK;
}

// gRPC checks a certificate at the handshake only; a relay may outlive it.
void RelaySession::WatchCertificate() {
  const absl::Duration left = certificate_expiry_ - hub_->clock().Wall();
  if (left <= absl::ZeroDuration()) {
    Refuse(grpc::StatusCode::UNAUTHENTICATED, "refused_certificate_expired",
           absl::StrCat(
               "the replica's certificate has ended at ",
               absl::FormatTime(absl::RFC3339_sec, certificate_expiry_, absl::UTCTimeZone())));
    return;
  }
  After(std::min(left, kCertificateCheck), [](RelaySession& s) { s.WatchCertificate(); });
}

void RelaySession::After(absl::Duration delay, void (*then)(RelaySession&)) {
  hub_->timers().After(delay, [weak = weak_from_this(), then] {
    const std::shared_ptr<RelaySession> alive = weak.lock();
    if (alive == nullptr) return;
    {
      MutexLock lock(alive->mutex_);
      if (alive->finished_) return;
    }
    then(*alive);
  });
}

std::shared_ptr<void> RelaySession::MakeHold(int weight) {
  {
    MutexLock lock(mutex_);
    unjudged_ += weight;
  }
  return std::make_shared<RelayHold>(weak_from_this(), weight);
}

void RelaySession::Judged(int weight) {
  MutexLock lock(mutex_);
  unjudged_ -= weight;
  ReadOnLocked();
}

void RelaySession::ReadOnLocked() {
  if (finished_ || reading_ || unjudged_ >= kMaxUnjudged) return;
  reading_ = true;
  StartRead(&in_);
}

void RelaySession::Refuse(grpc::StatusCode code, const char* kind, std::string why) {
  Peer peer;
  peer.address = address_;
  hub_->CountRefusal(peer, "", kind, why);
  Close({code, std::move(why)});
}

void RelaySession::CountRefused(const core::AgentId& id, const char* kind, std::string why) {
  MessageNote note;
  note.relayed = true;
  note.refused[kind] = 1;
  note.refused_why = std::move(why);
  hub_->Note(id, note);
}

void RelaySession::Close(grpc::Status status) {
  MutexLock lock(mutex_);
  if (finished_) return;
  finished_ = true;
  unsent_.clear();
  bursts_.clear();
  // A peer that does not read keeps the status from being sent; then the call is cut.
  if (writing_) {
    hub_->timers().After(kFinishTimeout, [weak = weak_from_this()] {
      const std::shared_ptr<RelaySession> alive = weak.lock();
      if (alive == nullptr) return;
      MutexLock inner(alive->mutex_);
      if (alive->context_ != nullptr) alive->context_->TryCancel();
    });
  }
  Finish(std::move(status));
}

void RelaySession::OnReadDone(bool ok) {
  {
    MutexLock lock(mutex_);
    if (finished_) return;
  }
  if (!ok) {
    Close({grpc::StatusCode::ABORTED,
           "the replica ended the relay, or sent what is no RelayMessage"});
    return;
  }
  HandleMessage();
  MutexLock lock(mutex_);
  reading_ = false;
  ReadOnLocked();
}

void RelaySession::HandleMessage() {
  const size_t bytes = in_.ByteSizeLong();
  const bool greeted = !peer_id_.empty();
  if (bytes > kMaxRelayBytes) {
    Refuse(grpc::StatusCode::RESOURCE_EXHAUSTED, "refused_message_size",
           absl::StrCat("a relayed message of ", bytes, " bytes; allowed: ", kMaxRelayBytes));
  } else if (!greeted && in_.has_hello()) {
    HandleHello(in_.hello());
  } else if (greeted && in_.has_agent()) {
    HandleAgent(in_.agent());
  } else {
    Refuse(grpc::StatusCode::INVALID_ARGUMENT, "refused_message_kind",
           greeted ? "a relayed message of no agent; allowed after the hello: agent"
                   : "the first message of the relay is no hello");
  }
}

void RelaySession::HandleHello(const v1::RelayHello& hello) {
  if (!IsInstanceId(hello.instance_id())) {
    Refuse(grpc::StatusCode::INVALID_ARGUMENT, "refused_hello",
           "instance_id of the relay's hello: not 16 hexadecimal digits");
    return;
  }
  const std::shared_ptr<const Table> table = hub_->table();
  if (table->serial == 0) {
    Close({grpc::StatusCode::UNAVAILABLE,
           "the controller is starting and has no configuration in force yet"});
    return;
  }
  peer_id_ = hello.instance_id();
  {
    MutexLock lock(mutex_);
    greeted_ = true;
    reply_hello_ = true;
    WriteLocked();
  }
  if (peer_id_ == hub_->instance_id()) return;  // the other end, which is ours, ends it
  const std::shared_ptr<RelaySession> replaced = hub_->AddRelay(peer_id_, shared_from_this());
  if (replaced != nullptr) {
    replaced->Close({grpc::StatusCode::ABORTED, "superseded by a newer relay of the same replica"});
  }
  LogInfo("relay from another replica", {{"peer", address_}, {"instance", peer_id_}});
  // Read again: one that was set before the hub knew of this relay was not offered.
  Offer(*hub_->table());
}

void RelaySession::HandleAgent(const v1::RelayedAgent& message) {
  if (peer_id_ == hub_->instance_id()) return;
  const core::AgentId id{message.probe_region(), message.name(), message.instance_id()};
  if (message.gone()) {
    agents_.erase(id);
    hub_->LeaveRelayed(id, this);
    return;
  }
  auto found = agents_.find(id);
  if (message.has_hello()) {
    // Of a bounded length, since they become keys: as certificates have them (tls.h).
    if (id.instance != message.hello().instance_id() || id.name.empty() ||
        !ParseSpiffeId(absl::StrCat("spiffe://x/agent/", id.probe_region, "/", id.name)).ok() ||
        (found == agents_.end() && agents_.size() >= kMaxAgents)) {
      CountRefused({"", "", ""}, "refused_hello", "hello of a relayed agent");
      return;
    }
    const SteadyTime now = hub_->clock().Steady();
    if (found == agents_.end()) found = agents_.emplace(id, Agent(now)).first;
    Agent& agent = found->second;
    agent.judge = Judge();  // its replay begins anew
    agent.hello = message.hello();
    agent.budget.Charge(hub_->table()->RateOf(id.probe_region), 1, now);
    Admit(id, agent);
    return;
  }
  if (found == agents_.end()) {
    CountRefused({"", "", ""}, "refused_message_kind", "results of an agent without a hello");
    return;
  }
  HandleResults(id, found->second, message);
}

void RelaySession::Admit(const core::AgentId& id, Agent& agent) {
  agent.serial = hub_->table()->serial;
  agent.asked_last = hub_->clock().Steady();
  agent.admitted = hub_->AdmitRelayed(id, agent.hello, address_, this, MakeHold(kMaxUnjudged)).ok();
  if (!agent.admitted) return;
  uint64_t generation = 0;
  {
    MutexLock lock(mutex_);
    const auto sent = sent_.find(id.probe_region);
    if (sent != sent_.end()) generation = sent->second->assignment().generation();
  }
  if (generation > 0) hub_->RelayedAssignmentSent(id.probe_region, this, generation);
}

void RelaySession::HandleResults(const core::AgentId& id, Agent& agent,
                                 const v1::RelayedAgent& message) {
  const v1::ResultBatch& batch = message.results();
  const std::shared_ptr<const Table> table = hub_->table();
  const SteadyTime now = hub_->clock().Steady();
  // Its region may be configured no more, or now.
  if (agent.serial != table->serial || (!agent.admitted && now - agent.asked_last >= kAskAgain))
    Admit(id, agent);
  if (!agent.admitted) return;
  absl::Duration held;
  const char* refused = nullptr;
  if (batch.results_size() > kMaxResults) refused = "refused_message_results";
  if (!ReadAge(message.held(), held)) refused = "refused_age";
  if (agent.budget.Wait(now) > absl::ZeroDuration()) refused = "refused_rate";
  agent.budget.Charge(table->RateOf(id.probe_region), batch.results_size(), now);
  if (refused != nullptr) {
    CountRefused(id, refused, absl::StrCat(refused, ": a relayed batch"));
    return;
  }
  MessageNote note;
  note.relayed = true;
  note.clock_skew = SkewOf(batch, hub_->clock().Wall() - held);
  SamplesByGroup groups;
  agent.judge.Take(batch, *table, id.probe_region, now - held, now, note, groups);
  hub_->Note(id, note);
  if (groups.empty()) return;
  if (!hub_->Deliver({ToEvents(id, std::move(groups), IsReplay(batch)), MakeHold(1),
                      table->assignments.generation})) {
    Refuse(grpc::StatusCode::RESOURCE_EXHAUSTED, "refused_mailbox_full",
           "the controller is behind; begin the relay again later");
  }
}

void RelaySession::Offer(const Table& table) {
  MutexLock lock(mutex_);
  if (finished_ || !greeted_ || table.serial < serial_) return;
  serial_ = table.serial;
  unsent_.clear();
  if (!table.assignments.leading) {
    sent_.clear();
    bursts_.clear();
    return;
  }
  for (const auto& [region, entry] : table.regions) {
    const auto sent = sent_.find(region);
    if (entry.message != nullptr && (sent == sent_.end() || sent->second != entry.message))
      unsent_[region] = entry.message;
  }
  WriteLocked();
}

void RelaySession::AskBurst(const std::string& probe_region,
                            const std::vector<std::string>& targets) {
  MutexLock lock(mutex_);
  if (finished_ || !greeted_) return;
  std::set<std::string>& burst = bursts_[probe_region];
  for (const std::string& target : targets) {
    if (burst.size() >= kMaxBurstTargets) break;
    burst.insert(target);
  }
  WriteLocked();
}

void RelaySession::WriteLocked() {
  if (finished_ || writing_) return;
  out_.Clear();
  if (reply_hello_) {
    reply_hello_ = false;
    out_.mutable_hello()->set_instance_id(hub_->instance_id());
    out_.mutable_hello()->set_version(FAILOVER_VERSION);
  } else if (!unsent_.empty()) {
    const auto next = unsent_.begin();
    out_.set_probe_region(next->first);
    *out_.mutable_message() = *next->second;
    sent_[next->first] = next->second;
    unsent_.erase(next);
  } else if (!bursts_.empty()) {
    const auto next = bursts_.begin();
    out_.set_probe_region(next->first);
    for (const std::string& target : next->second)
      out_.mutable_message()->mutable_burst()->add_targets(target);
    bursts_.erase(next);
  } else {
    return;
  }
  writing_ = true;
  StartWrite(&out_);
}

void RelaySession::OnWriteDone(bool ok) {
  std::string region;
  uint64_t generation = 0;
  {
    MutexLock lock(mutex_);
    writing_ = false;
    if (ok && out_.message().has_assignment()) {
      region = out_.probe_region();
      generation = out_.message().assignment().generation();
    }
    if (ok) WriteLocked();
  }
  if (generation > 0) hub_->RelayedAssignmentSent(region, this, generation);
  if (!ok) Close({grpc::StatusCode::CANCELLED, "the replica has gone"});
}

void RelaySession::OnCancel() { Close({grpc::StatusCode::CANCELLED, "the replica has gone"}); }

void RelaySession::OnDone() {
  std::shared_ptr<RelaySession> self;
  {
    MutexLock lock(mutex_);
    self = std::move(self_);
    context_ = nullptr;
    finished_ = true;
  }
  if (entered_) hub_->LeaveRelay(peer_id_, this);
}

}  // namespace failover::intake
