#include "controller/intake/stream.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace failover::intake {
namespace {

constexpr absl::Duration kReplayTimeout = absl::Seconds(60);

// (term, generation)
std::pair<uint64_t, uint64_t> VersionOf(const v1::ControllerMessage& message) {
  return {message.assignment().term(), message.assignment().generation()};
}

// Reads on when it is destroyed.
class Hold {
 public:
  explicit Hold(std::weak_ptr<Stream> stream) : stream_(std::move(stream)) {}
  ~Hold() {
    if (const std::shared_ptr<Stream> alive = stream_.lock()) alive->ReadOn();
  }
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;

 private:
  const std::weak_ptr<Stream> stream_;
};

}  // namespace

Stream::Stream(std::shared_ptr<Hub> hub, grpc::CallbackServerContext* context)
    : hub_(std::move(hub)), context_(context), budget_(hub_->clock().Steady()) {}

Stream* Stream::Begin(std::shared_ptr<Hub> hub, grpc::CallbackServerContext* context) {
  const std::shared_ptr<Stream> stream(new Stream(std::move(hub), context));
  {
    MutexLock lock(stream->mutex_);
    stream->self_ = stream;
  }
  grpc::Status status = stream->Identify(*context);
  if (!status.ok()) {
    stream->Refuse(status.error_code(), "refused_identity", status.error_message());
    return stream.get();
  }
  status = stream->hub_->Enter(stream->peer_);
  if (!status.ok()) {
    stream->Close(status);
    return stream.get();
  }
  stream->entered_ = true;
  stream->After(kHelloTimeout, [](Stream& s) {
    bool silent;
    {
      MutexLock lock(s.mutex_);
      silent = !s.admitted_;
    }
    if (silent) s.Close({grpc::StatusCode::DEADLINE_EXCEEDED, "no hello within 10s"});
  });
  if (stream->peer_.authenticated) stream->WatchCertificate();
  stream->ReadOn();
  return stream.get();
}

grpc::Status Stream::Identify(const grpc::CallbackServerContext& context) {
  peer_.address = context.peer();
  if (hub_->tls() == nullptr) return grpc::Status::OK;
  const absl::StatusOr<SpiffeId> id =
      PeerIdentity(*context.auth_context(), &peer_.certificate_expiry);
  if (!id.ok()) {
    return {grpc::StatusCode::UNAUTHENTICATED, std::string(id.status().message())};
  }
  const std::string trust_domain = hub_->tls()->Self().trust_domain;
  if (id->kind != "agent" || id->trust_domain != trust_domain) {
    return {grpc::StatusCode::PERMISSION_DENIED,
            absl::StrCat("certificate of ", id->ToString(), "; allowed: spiffe://", trust_domain,
                         "/agent/<probe region>/<name>")};
  }
  peer_.authenticated = true;
  peer_.region = id->region;
  peer_.name = id->name;
  return grpc::Status::OK;
}

// gRPC checks a certificate at the handshake only; a stream may outlive it. Looked at again and
// again, since the wall clock may be set.
void Stream::WatchCertificate() {
  const absl::Duration left = peer_.certificate_expiry - hub_->clock().Wall();
  if (left <= absl::ZeroDuration()) {
    Refuse(grpc::StatusCode::UNAUTHENTICATED, "refused_certificate_expired",
           absl::StrCat(
               "the agent's certificate has ended at ",
               absl::FormatTime(absl::RFC3339_sec, peer_.certificate_expiry, absl::UTCTimeZone())));
    return;
  }
  After(std::min(left, kCertificateCheck), [](Stream& s) { s.WatchCertificate(); });
}

void Stream::After(absl::Duration delay, void (*then)(Stream&)) {
  hub_->timers().After(delay, [weak = weak_from_this(), then] {
    const std::shared_ptr<Stream> alive = weak.lock();
    if (alive == nullptr) return;
    {
      MutexLock lock(alive->mutex_);
      if (alive->finished_) return;
    }
    then(*alive);
  });
}

std::shared_ptr<void> Stream::MakeHold() { return std::make_shared<Hold>(weak_from_this()); }

void Stream::Refuse(grpc::StatusCode code, const char* kind, std::string why) {
  hub_->CountRefusal(peer_, agent_.instance, kind, why);
  Close({code, std::move(why)});
}

void Stream::Close(grpc::Status status) {
  MutexLock lock(mutex_);
  if (finished_) return;
  finished_ = true;
  unsent_.reset();
  forwarded_.reset();
  burst_.clear();
  // A peer that does not read keeps the status from being sent; then the call is cut.
  if (writing_) {
    hub_->timers().After(kFinishTimeout, [weak = weak_from_this()] {
      const std::shared_ptr<Stream> alive = weak.lock();
      if (alive == nullptr) return;
      MutexLock inner(alive->mutex_);
      if (alive->context_ != nullptr) alive->context_->TryCancel();
    });
  }
  Finish(std::move(status));
}

void Stream::ReadOn() {
  MutexLock lock(mutex_);
  if (finished_ || reading_ || read_planned_) return;
  const absl::Duration wait = budget_.Wait(hub_->clock().Steady());
  if (wait <= absl::ZeroDuration()) {
    reading_ = true;
    StartRead(&in_);
    return;
  }
  read_planned_ = true;
  hub_->timers().After(wait, [weak = weak_from_this()] {
    const std::shared_ptr<Stream> alive = weak.lock();
    if (alive == nullptr) return;
    {
      MutexLock inner(alive->mutex_);
      alive->read_planned_ = false;
    }
    alive->ReadOn();
  });
}

void Stream::OnReadDone(bool ok) {
  bool admitted;
  {
    MutexLock lock(mutex_);
    reading_ = false;
    if (finished_) return;
    admitted = admitted_;
  }
  if (!ok) {
    // gRPC tells neither case from the other.
    Close(
        {grpc::StatusCode::ABORTED, "the agent ended the stream, or sent what is no AgentMessage"});
    return;
  }
  const size_t bytes = in_.ByteSizeLong();
  if (bytes > kMaxMessageBytes) {
    Refuse(grpc::StatusCode::RESOURCE_EXHAUSTED, "refused_message_size",
           absl::StrCat("a message of ", bytes, " bytes; allowed: ", kMaxMessageBytes));
  } else if (!admitted && in_.has_hello()) {
    HandleHello(in_.hello());
  } else if (admitted && in_.has_results()) {
    HandleResults(in_.results());
  } else {
    Refuse(grpc::StatusCode::INVALID_ARGUMENT, "refused_message_kind",
           admitted ? "a message that is no result batch; allowed after the hello: results"
                    : "the first message is no hello");
  }
}

void Stream::HandleHello(const v1::Hello& hello) {
  agent_ = {hello.probe_region(), peer_.authenticated ? peer_.name : hello.instance_id(),
            hello.instance_id()};
  std::shared_ptr<Stream> replaced;
  grpc::Status status = hub_->Admit(peer_, hello, agent_, shared_from_this(), MakeHold(), replaced);
  if (!status.ok()) {
    Close(std::move(status));
    return;
  }
  if (!peer_.authenticated) {
    peer_.region = agent_.probe_region;
    peer_.name = agent_.name;
  }
  {
    MutexLock lock(mutex_);
    admitted_ = true;
    known_ = {hello.term(), hello.generation()};
  }
  if (replaced != nullptr) {
    replaced->Close(
        {grpc::StatusCode::ABORTED, "superseded by a newer stream of the same agent instance"});
  }
  const std::shared_ptr<const Table> table = hub_->table();
  const auto region = table->regions.find(agent_.probe_region);
  if (region == table->regions.end()) {
    Close(
        {grpc::StatusCode::PERMISSION_DENIED, "the probe region is in no failover group any more"});
    return;
  }
  Charge(region->second.results_per_second, 1);
  Offer(table->serial, region->second.message);
  OfferForwarded(hub_->Forwarded(agent_.probe_region));
}

void Stream::HandleResults(const v1::ResultBatch& batch) {
  if (batch.results_size() > kMaxResults) {
    Refuse(grpc::StatusCode::RESOURCE_EXHAUSTED, "refused_message_results",
           absl::StrCat("a message of ", batch.results_size(), " results; allowed: ", kMaxResults));
    return;
  }
  hub_->relay_log().Results(agent_, batch);
  const std::shared_ptr<const Table> table = hub_->table();
  MessageNote note;
  SamplesByGroup groups;
  const auto [receipt, wall] = hub_->clock().Read();
  note.clock_skew = SkewOf(batch, wall);
  judge_.Take(batch, *table, agent_.probe_region, receipt, receipt, note, groups);
  WatchReplay();
  note.slowed = Charge(table->RateOf(agent_.probe_region), batch.results_size());
  hub_->Note(agent_, note);
  if (groups.empty()) {
    ReadOn();
    return;
  }
  // Kept here too until the answer of the sink is known: a refused input must not read on.
  const std::shared_ptr<void> hold = MakeHold();
  if (!hub_->Deliver({ToEvents(agent_, std::move(groups), IsReplay(batch)), hold,
                      table->assignments.generation})) {
    Refuse(grpc::StatusCode::RESOURCE_EXHAUSTED, "refused_mailbox_full",
           "the controller is behind; connect again later and replay");
  }
}

void Stream::WatchReplay() {
  {
    MutexLock lock(mutex_);
    const bool begins = replay_since_ == SteadyTime::InfiniteFuture();
    replay_since_ = judge_.replay_since();
    if (!begins || replay_since_ == SteadyTime::InfiniteFuture()) return;
  }
  After(kReplayTimeout, [](Stream& s) {
    bool late;
    {
      MutexLock lock(s.mutex_);
      late = s.hub_->clock().Steady() - s.replay_since_ >= kReplayTimeout;
    }
    if (late)
      s.Close({grpc::StatusCode::DEADLINE_EXCEEDED, "a replay without its end mark for 60s"});
  });
}

bool Stream::Charge(double results_per_second, int results) {
  MutexLock lock(mutex_);
  const SteadyTime now = hub_->clock().Steady();
  budget_.Charge(results_per_second, results, now);
  return budget_.Wait(now) > absl::ZeroDuration();
}

void Stream::Offer(uint64_t serial, std::shared_ptr<const v1::ControllerMessage> assignment) {
  MutexLock lock(mutex_);
  if (finished_ || serial < serial_) return;
  serial_ = serial;
  if (assignment == nullptr || assignment == sent_) {
    unsent_.reset();
    if (assignment == nullptr) burst_.clear();
    return;
  }
  unsent_ = std::move(assignment);
  WriteLocked();
}

void Stream::OfferForwarded(std::shared_ptr<const v1::ControllerMessage> assignment) {
  MutexLock lock(mutex_);
  if (finished_ || assignment == nullptr || VersionOf(*assignment) <= known_) return;
  if (forwarded_ != nullptr && VersionOf(*assignment) <= VersionOf(*forwarded_)) return;
  forwarded_ = std::move(assignment);
  WriteLocked();
}

void Stream::AskBurst(const std::vector<std::string>& targets) {
  MutexLock lock(mutex_);
  if (finished_) return;
  for (const std::string& target : targets) {
    if (burst_.size() >= kMaxBurstTargets) break;
    burst_.insert(target);
  }
  WriteLocked();
}

void Stream::WriteLocked() {
  if (finished_ || writing_) return;
  // Our own first: then a forwarded one may be known to be older.
  if (forwarded_ != nullptr && unsent_ == nullptr && VersionOf(*forwarded_) <= known_)
    forwarded_.reset();
  writing_assignment_ = unsent_ != nullptr || forwarded_ != nullptr;
  if (writing_assignment_) {
    sent_ = std::exchange(unsent_ != nullptr ? unsent_ : forwarded_, nullptr);
    known_ = std::max(known_, VersionOf(*sent_));
    writing_ = true;
    StartWrite(sent_.get());
  } else if (!burst_.empty()) {
    burst_message_.mutable_burst()->clear_targets();
    for (const std::string& target : burst_) burst_message_.mutable_burst()->add_targets(target);
    burst_.clear();
    writing_ = true;
    StartWrite(&burst_message_);
  }
}

void Stream::OnWriteDone(bool ok) {
  bool assignment;
  uint64_t generation = 0;
  {
    MutexLock lock(mutex_);
    writing_ = false;
    assignment = ok && writing_assignment_;
    if (assignment) generation = sent_->assignment().generation();
    if (ok) WriteLocked();
  }
  if (assignment) hub_->AssignmentSent(agent_, generation);
  if (!ok) Close({grpc::StatusCode::CANCELLED, "the agent has gone"});
}

void Stream::OnCancel() { Close({grpc::StatusCode::CANCELLED, "the agent has gone"}); }

void Stream::OnDone() {
  std::shared_ptr<Stream> self;
  {
    MutexLock lock(mutex_);
    self = std::move(self_);
    context_ = nullptr;
    finished_ = true;
  }
  if (entered_) hub_->Leave(peer_, agent_, this);
}

}  // namespace failover::intake
