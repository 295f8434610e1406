// The elector of Kubernetes itself, as a process beside ours: it competes for a Lease and says, one JSON object a line on
// standard output, when it leads. "at" is nanoseconds of CLOCK_BOOTTIME, as ours has it (tests/e2e/lease/elector.cc).
package main

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// How often a leader acts: an effect that nobody else may have at the same time.
const pace = 10 * time.Millisecond

type line struct {
	At     int64  `json:"at"`
	Event  string `json:"event"`
	Leader string `json:"leader,omitempty"`
}

var printing sync.Mutex

func say(event, leader string) {
	printing.Lock()
	defer printing.Unlock()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		panic(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(line{now.Nano(), event, leader}); err != nil {
		os.Exit(1)
	}
}

func act(ctx context.Context) {
	say("started", "")
	for ctx.Err() == nil {
		say("act", "")
		select {
		case <-ctx.Done():
		case <-time.After(pace):
		}
	}
	say("ended", "")
}

func main() {
	server := flag.String("server", "", "URL of the API server")
	tokenFile := flag.String("token-file", "", "the token that is sent")
	namespace := flag.String("namespace", "", "of the Lease")
	lease := flag.String("lease", "", "its name")
	identity := flag.String("identity", "", "of this elector")
	duration := flag.Duration("lease-duration", 15*time.Second, "")
	deadline := flag.Duration("renew-deadline", 10*time.Second, "")
	period := flag.Duration("retry-period", 2*time.Second, "")
	timeout := flag.Duration("request-timeout", 5*time.Second, "")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	config := &rest.Config{Host: *server, BearerTokenFile: *tokenFile, Timeout: *timeout}
	config.ContentType = "application/json"
	lock := &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Name: *lease, Namespace: *namespace},
		Client:     kubernetes.NewForConfigOrDie(config).CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: *identity},
	}
	for ctx.Err() == nil { // an elector that has lost its Lease is at its end; the next one follows
		leaderelection.RunOrDie(ctx, leaderelection.LeaderElectionConfig{
			Lock: lock, LeaseDuration: *duration, RenewDeadline: *deadline, RetryPeriod: *period, ReleaseOnCancel: true,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: act,
				OnStoppedLeading: func() {}, // also called without having led; act says when a term is over
				OnNewLeader:      func(leader string) { say("leader", leader) },
			},
		})
	}
}
