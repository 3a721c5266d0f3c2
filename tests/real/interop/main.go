// A candidate that elects with client-go, for tests/real/test_interop.py.
//
// Commands come as lines on standard input: "campaign" begins to campaign, "release" ends the work and gives the Lease
// back. The end of the input and SIGTERM do the latter and end the process. What happens is told as lines of JSON on
// standard output, with the machine's monotonic and wall clock in nanoseconds.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

type line struct {
	Event  string `json:"event"`
	Holder string `json:"holder,omitempty"`
	Mono   int64  `json:"mono"`
	Wall   int64  `json:"wall"`
}

type candidate struct {
	config leaderelection.LeaderElectionConfig

	mu      sync.Mutex
	leading bool

	cancel context.CancelFunc
	done   chan struct{}
}

func (c *candidate) tell(event, holder string) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		fail(err)
	}
	text, err := json.Marshal(line{Event: event, Holder: holder, Mono: now.Nano(), Wall: time.Now().UnixNano()})
	if err != nil {
		fail(err)
	}
	fmt.Println(string(text))
}

// work tells when this process begins to lead, and when it leads no more: once each, whatever ended it.
func (c *candidate) work(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if on == c.leading {
		return
	}
	c.leading = on
	if on {
		c.tell("started", "")
	} else {
		c.tell("stopped", "")
	}
}

func (c *candidate) campaign() {
	if c.done != nil {
		fail(fmt.Errorf("it campaigns already"))
	}
	config := c.config
	config.Callbacks = leaderelection.LeaderCallbacks{
		OnStartedLeading: func(context.Context) { c.work(true) },
		OnStoppedLeading: func() { c.work(false) }, // leadership was lost: on a release the work has ended before
		OnNewLeader:      func(identity string) { c.tell("observed", identity) },
	}
	elector, err := leaderelection.NewLeaderElector(config)
	if err != nil {
		fail(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	c.cancel, c.done = cancel, done
	go func() {
		defer close(done)
		elector.Run(ctx)
	}()
}

// release ends the work first: client-go gives the Lease back before it calls OnStoppedLeading, so work that ends
// there goes on for a moment while another candidate may lead.
func (c *candidate) release() {
	if c.done == nil {
		return
	}
	c.work(false)
	c.cancel()
	<-c.done
	c.done = nil
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func main() {
	kubeconfig := flag.String("kubeconfig", "", "")
	namespace := flag.String("namespace", "default", "")
	name := flag.String("name", "", "")
	identity := flag.String("identity", "", "")
	lease := flag.Duration("lease-duration", 15*time.Second, "")
	renew := flag.Duration("renew-deadline", 10*time.Second, "")
	retry := flag.Duration("retry-period", 2*time.Second, "")
	flag.Parse()

	rest, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		fail(err)
	}
	client, err := coordinationv1.NewForConfig(rest)
	if err != nil {
		fail(err)
	}
	c := &candidate{config: leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: *namespace, Name: *name},
			Client:     client,
			LockConfig: resourcelock.ResourceLockConfig{Identity: *identity},
		},
		LeaseDuration:   *lease,
		RenewDeadline:   *renew,
		RetryPeriod:     *retry,
		ReleaseOnCancel: true,
	}}

	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	commands := make(chan string)
	go func() {
		defer close(commands)
		for input := bufio.NewScanner(os.Stdin); input.Scan(); {
			commands <- input.Text()
		}
	}()
	c.tell("ready", "")
	for {
		select {
		case <-terminated:
			c.release()
			return
		case command, open := <-commands:
			switch {
			case !open:
				c.release()
				return
			case command == "campaign":
				c.campaign()
			case command == "release":
				c.release()
			default:
				fail(fmt.Errorf("no such command: %q", command))
			}
		}
	}
}
