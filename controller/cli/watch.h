#ifndef CONTROLLER_CLI_WATCH_H_
#define CONTROLLER_CLI_WATCH_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "apim_failover/v1/operator.pb.h"
#include "common/proto.h"
#include "common/steady_time.h"
#include "controller/cli/client.h"
#include "controller/cli/terminal.h"

namespace failover::cli {

// What `status -w` knows: the last answer and since when none has come. Pure.
class Watched {
 public:
  void OnAnswer(absl::StatusOr<v1::GetStatusResponse> answer, SteadyTime now);
  // The screen for `width` columns. Without contact the last answer stays below a line that says
  // since when.
  std::string Draw(int width, bool color, SteadyTime now) const;
  const std::optional<v1::GetStatusResponse>& last() const { return last_; }

 private:
  std::optional<v1::GetStatusResponse> last_;
  SteadyTime last_at_{};  // when it came
  absl::Status lost_;     // why there is no contact; OK = there is
  SteadyTime lost_at_{};
};

// The screen at the top of a terminal, cut to its rows; every line clears what it replaces.
std::string Frame(const std::string& screen, int rows);

// Redraws every second until stopped: in place on the alternate screen of a terminal, which is
// restored at the end (the last screen stays behind); else one print after the other. Returns the
// exit code.
int WatchStatus(Client& client, const v1::GetStatusRequest& request, Format format, bool color,
                const Io& io, SignalStop& stop);

}  // namespace failover::cli

#endif  // CONTROLLER_CLI_WATCH_H_
