#include "controller/intake/stream.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace failover::intake {
namespace {

constexpr absl::Duration kHelloTimeout = absl::Seconds(10);
constexpr absl::Duration kReplayTimeout = absl::Seconds(60);
constexpr absl::Duration kCertificateCheck = absl::Minutes(1);
constexpr absl::Duration kFinishTimeout = absl::Seconds(2);
constexpr size_t kMaxBurstTargets = 4096;
// R7 of reliability.md; an agent sends a batch every 200 ms and one more at a change.
constexpr double kMessagesPerSecond = 20, kMessageBurst = 200;
// Of one agent, as multiples of its regular probes: bursts come on top, and a replay of five
// minutes must fit.
constexpr double kRateFactor = 4, kLeastRate = 50;
constexpr double kReplaySeconds = 600, kLeastReplay = 2000, kMostReplay = 20'000;

double ReplayLimit(double results_per_second) {
  return std::clamp(results_per_second * kReplaySeconds, kLeastReplay, kMostReplay);
}

const TargetEntry* Find(const Table& table, const std::string& target) {
  const auto entry = table.assignments.targets.find(target);
  return entry == table.assignments.targets.end() ? nullptr : &entry->second;
}

void NoteRefused(const char* kind, const std::string& target, MessageNote& note) {
  ++note.refused[kind];
  note.refused_why =
      absl::StrCat(kind, ": result of target ", absl::CHexEscape(target.substr(0, 120)));
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
    : hub_(std::move(hub)),
      context_(context),
      results_(kLeastRate, kLeastReplay, hub_->clock().Steady()),
      messages_(kMessagesPerSecond, kMessageBurst, hub_->clock().Steady()) {}

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
  const SteadyTime now = hub_->clock().Steady();
  const absl::Duration wait = std::max(results_.Wait(now), messages_.Wait(now));
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
}

void Stream::HandleResults(const v1::ResultBatch& batch) {
  if (batch.results_size() > kMaxResults) {
    Refuse(grpc::StatusCode::RESOURCE_EXHAUSTED, "refused_message_results",
           absl::StrCat("a message of ", batch.results_size(), " results; allowed: ", kMaxResults));
    return;
  }
  const std::shared_ptr<const Table> table = hub_->table();
  MessageNote note;
  SamplesByGroup groups;
  const bool replay = batch.replay() || batch.replay_end();
  if (replay) {
    KeepReplay(batch, *table, note);
    if (batch.replay_end()) EndReplay(*table, note, groups);
  } else {
    JudgeLive(batch, *table, note, groups);
  }
  const auto region = table->regions.find(agent_.probe_region);
  const double rate = region == table->regions.end() ? 0 : region->second.results_per_second;
  note.slowed = Charge(rate, batch.results_size());
  hub_->Note(agent_, note);
  if (groups.empty()) {
    ReadOn();
    return;
  }
  // Kept here too until the answer of the sink is known: a refused input must not read on.
  const std::shared_ptr<void> hold = MakeHold();
  if (!hub_->Deliver(
          {ToEvents(agent_, std::move(groups), replay), hold, table->assignments.generation})) {
    Refuse(grpc::StatusCode::RESOURCE_EXHAUSTED, "refused_mailbox_full",
           "the controller is behind; connect again later and replay");
  }
}

void Stream::JudgeLive(const v1::ResultBatch& batch, const Table& table, MessageNote& note,
                       SamplesByGroup& groups) {
  const SteadyTime receipt = hub_->clock().Steady();
  for (const v1::ProbeResult& result : batch.results()) {
    const TargetEntry* entry = Find(table, result.target());
    if (const char* why = WhyRefused(result, entry)) {
      NoteRefused(why, result.target(), note);
      continue;
    }
    const core::ProbeSample sample = ToSample(result, receipt);
    note.report_delay =
        std::min(note.report_delay.value_or(absl::InfiniteDuration()), receipt - sample.completed);
    ++note.accepted;
    AddSample(*entry, sample, groups);
  }
}

void Stream::KeepReplay(const v1::ResultBatch& batch, const Table& table, MessageNote& note) {
  const SteadyTime receipt = hub_->clock().Steady();
  bool begins;
  {
    MutexLock lock(mutex_);
    begins = replay_since_ == SteadyTime::InfiniteFuture();
    if (begins) replay_since_ = receipt;
  }
  if (begins && !batch.replay_end()) {
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
  const auto region = table.regions.find(agent_.probe_region);
  const double limit =
      ReplayLimit(region == table.regions.end() ? 0 : region->second.results_per_second);
  for (const v1::ProbeResult& result : batch.results()) {
    const char* why = WhyRefused(result, Find(table, result.target()));
    if (why == nullptr && static_cast<double>(replay_.size()) >= limit)
      why = "refused_replay_length";
    if (why != nullptr) {
      NoteRefused(why, result.target(), note);
      continue;
    }
    replay_.push_back({result.target(), result.definition(), ToSample(result, receipt)});
  }
}

void Stream::EndReplay(const Table& table, MessageNote& note, SamplesByGroup& groups) {
  std::vector<Kept> replay;
  replay.swap(replay_);
  {
    MutexLock lock(mutex_);
    replay_since_ = SteadyTime::InfiniteFuture();
  }
  for (const Kept& kept : replay) {
    // The assignments may be others than those of the replay's beginning.
    const TargetEntry* entry = Find(table, kept.target);
    if (entry == nullptr || entry->definition != kept.definition) {
      NoteRefused(entry == nullptr ? "refused_unknown_target" : "refused_other_definition",
                  kept.target, note);
      continue;
    }
    ++note.replayed;
    AddSample(*entry, kept.sample, groups);
  }
}

bool Stream::Charge(double results_per_second, int results) {
  MutexLock lock(mutex_);
  const SteadyTime now = hub_->clock().Steady();
  results_.SetLimits(std::max(kLeastRate, kRateFactor * results_per_second),
                     ReplayLimit(results_per_second), now);
  results_.Charge(std::max(1, results), now);
  messages_.Charge(1, now);
  return std::max(results_.Wait(now), messages_.Wait(now)) > absl::ZeroDuration();
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
  writing_assignment_ = unsent_ != nullptr;
  if (writing_assignment_) {
    sent_ = std::move(unsent_);
    unsent_.reset();
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
