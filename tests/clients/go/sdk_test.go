// SPDX-License-Identifier: Apache-2.0

// The Go SDK of Firecracker, as it comes from its module, drives mote. tests/clients/build makes a static program of
// this file; tests/integration/test_go_sdk.py runs it, gives paths in the environment, and says where each test can
// run. What is built is a Go test program, so that a step that fails names itself.
package clients

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	firecracker "github.com/firecracker-microvm/firecracker-go-sdk"
	"github.com/firecracker-microvm/firecracker-go-sdk/client/models"
	"github.com/firecracker-microvm/firecracker-go-sdk/client/operations"
	"github.com/sirupsen/logrus"
)

// console collects what the guest writes.
type console struct {
	lock sync.Mutex
	text bytes.Buffer
}

func (c *console) Write(p []byte) (int, error) {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.text.Write(p)
}

func (c *console) String() string {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.text.String()
}

// rig is one machine and what its test waits on.
type rig struct {
	*testing.T
	ctx     context.Context
	cancel  context.CancelFunc
	machine *firecracker.Machine
	console *console
	folder  string
	limit   time.Duration
}

func need(t *testing.T, name string) string {
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("$%s is not set", name)
	}
	return value
}

// newRig makes a machine of the configuration, with socket, program and console filled in.
func newRig(t *testing.T, cfg firecracker.Config) *rig {
	seconds, err := strconv.Atoi(need(t, "MOTE_TIMEOUT_S"))
	if err != nil {
		t.Fatal(err)
	}
	folder, err := os.MkdirTemp("", "sdk.")
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{T: t, console: &console{}, folder: folder, limit: time.Duration(seconds) * time.Second}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	t.Cleanup(func() {
		r.cancel()
		os.RemoveAll(folder)
		if t.Failed() {
			t.Logf("console:\n%s", r.console)
		}
	})
	cfg.SocketPath = filepath.Join(folder, "api.sock")
	cfg.ForwardSignals = []os.Signal{}
	command := firecracker.VMCommandBuilder{}.
		WithBin(need(t, "MOTE")).
		WithSocketPath(cfg.SocketPath).
		AddArgs("--id", "go-sdk").
		WithStdout(r.console).
		WithStderr(os.Stderr).
		Build(r.ctx)
	logger := logrus.New()
	logger.SetLevel(logrus.WarnLevel)
	r.machine, err = firecracker.NewMachine(r.ctx, cfg,
		firecracker.WithProcessRunner(command), firecracker.WithLogger(logrus.NewEntry(logger)))
	r.must("NewMachine", err)
	return r
}

func (r *rig) must(what string, err error) {
	r.Helper()
	if err != nil {
		r.Fatalf("%s: %v", what, err)
	}
}

// refused: an error of the API with its sentence in it, not one of transport or decoding.
func (r *rig) refused(what string, err error, sentence string) {
	r.Helper()
	if err == nil {
		r.Fatalf("%s was not refused", what)
	}
	if !strings.Contains(err.Error(), "400") && !strings.Contains(err.Error(), "default") || !strings.Contains(err.Error(), sentence) {
		r.Fatalf("%s was refused with other words: %v", what, err)
	}
}

// sees waits until the console has the text behind its first n bytes; any text will do if it is "".
func (r *rig) sees(n int, text string) {
	r.Helper()
	for end := time.Now().Add(r.limit); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if said := r.console.String(); len(said) > n && strings.Contains(said[n:], text) {
			return
		}
	}
	r.Fatalf("the guest did not say %q", text)
}

func (r *rig) state(want string) {
	r.Helper()
	info, err := r.machine.DescribeInstanceInfo(r.ctx)
	r.must("DescribeInstanceInfo", err)
	if *info.State != want || *info.ID != "go-sdk" {
		r.Fatalf("the instance is %s %s, not go-sdk %s", *info.ID, *info.State, want)
	}
}

// wait waits for the end of the process and returns the SDK's verdict.
func (r *rig) wait() error {
	r.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), r.limit)
	defer cancel()
	err := r.machine.Wait(ctx)
	if ctx.Err() != nil {
		r.Fatal("the machine did not end")
	}
	return err
}

func oneVcpu(mib int64) models.MachineConfiguration {
	return models.MachineConfiguration{VcpuCount: firecracker.Int64(1), MemSizeMib: firecracker.Int64(mib), Smt: firecracker.Bool(false)}
}

func tinyConfig(t *testing.T) firecracker.Config {
	// The SDK wants a root drive; the guest does not look at it.
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(disk, make([]byte, 65536), 0o600); err != nil {
		t.Fatal(err)
	}
	return firecracker.Config{
		KernelImagePath: need(t, "KERNEL"),
		Drives:          firecracker.NewDrivesBuilder(disk).Build(),
		MachineCfg:      oneVcpu(64),
	}
}

func (r *rig) pauseAndResume() {
	r.Helper()
	r.must("PauseVM", r.machine.PauseVM(r.ctx))
	r.state("Paused")
	time.Sleep(300 * time.Millisecond)
	n := len(r.console.String())
	time.Sleep(500 * time.Millisecond)
	if len(r.console.String()) != n {
		r.Fatal("the guest goes on while it is paused")
	}
	r.must("PauseVM once more", r.machine.PauseVM(r.ctx))
	r.must("ResumeVM", r.machine.ResumeVM(r.ctx))
	r.state("Running")
	r.sees(n, "") // anything new
}

// metadataRefused: what mote does not have is refused in words that the SDK hands on.
func (r *rig) metadataRefused() {
	r.Helper()
	var got map[string]string
	r.refused("SetMetadata", r.machine.SetMetadata(r.ctx, map[string]string{"a": "b"}), "not supported")
	r.refused("UpdateMetadata", r.machine.UpdateMetadata(r.ctx, map[string]string{"a": "b"}), "not supported")
	r.refused("GetMetadata", r.machine.GetMetadata(r.ctx, &got), "not supported")
	r.refused("CreateBalloon", r.machine.CreateBalloon(r.ctx, 16, true, 1), "not supported")
}

// TestStop: start, describe, pause, resume, what is refused, and an end by the SDK. Any guest that ticks will do.
func TestStop(t *testing.T) {
	r := newRig(t, tinyConfig(t))
	r.must("Start", r.machine.Start(r.ctx))
	r.state("Running")
	version, err := r.machine.GetFirecrackerVersion(r.ctx)
	r.must("GetFirecrackerVersion", err)
	if strings.Count(version, ".") != 2 {
		t.Fatalf("version %q", version)
	}
	r.sees(0, "tick")
	r.pauseAndResume()
	r.metadataRefused()
	r.must("StopVMM", r.machine.StopVMM())
	if err := r.wait(); err == nil || !strings.Contains(err.Error(), "signal: terminated") {
		t.Fatalf("after StopVMM: %v", err)
	}
	if err := r.machine.Start(r.ctx); err != firecracker.ErrAlreadyStarted {
		t.Fatalf("second Start: %v", err)
	}
}

// TestStartRefused: a configuration that mote refuses ends Start with mote's sentence.
func TestStartRefused(t *testing.T) {
	cfg := tinyConfig(t)
	cfg.MachineCfg.VcpuCount = firecracker.Int64(3)
	cfg.MachineCfg.Smt = firecracker.Bool(true)
	r := newRig(t, cfg)
	r.refused("Start", r.machine.Start(r.ctx), "vCPU")
	r.must("StopVMM", r.machine.StopVMM())
	r.wait()
}

// TestLifeCycle: the whole life of a Linux guest with two drives and an interface.
func TestLifeCycle(t *testing.T) {
	second := need(t, "DISK2")
	cfg := firecracker.Config{
		LogPath:         os.Getenv("LOG_PATH"),
		LogLevel:        "Info",
		MetricsPath:     os.Getenv("METRICS_PATH"),
		KernelImagePath: need(t, "KERNEL"),
		InitrdPath:      need(t, "INITRD"),
		KernelArgs:      need(t, "KERNEL_ARGS"),
		Drives: firecracker.NewDrivesBuilder(need(t, "ROOT")).
			AddDrive(need(t, "DISK1"), true, firecracker.WithDriveID("data")).Build(),
		MachineCfg: oneVcpu(256),
		NetNS:      filepath.Join("/run/netns", need(t, "NETNS")),
		NetworkInterfaces: firecracker.NetworkInterfaces{{
			StaticConfiguration: &firecracker.StaticNetworkConfiguration{MacAddress: "06:00:00:00:00:01", HostDevName: need(t, "TAP")},
		}},
	}
	r := newRig(t, cfg)
	r.must("Start", r.machine.Start(r.ctx))
	r.state("Running")
	r.sees(0, "tick")
	r.sees(0, "data=one")
	r.pauseAndResume()
	r.metadataRefused()

	// Another file behind the drive, seen by the guest; then a limit on it; then on the interface.
	n := len(r.console.String())
	r.must("UpdateGuestDrive", r.machine.UpdateGuestDrive(r.ctx, "data", second))
	r.sees(n, "data=two")
	mib := func(count int64) models.TokenBucket {
		return firecracker.TokenBucketBuilder{}.WithBucketSize(count << 20).WithRefillDuration(time.Second).Build()
	}
	limiter := firecracker.NewRateLimiter(mib(1), mib(1))
	r.must("UpdateGuestDrive with a limiter", r.machine.UpdateGuestDrive(r.ctx, "data", second,
		func(p *operations.PatchGuestDriveByIDParams) { p.Body.RateLimiter = limiter }))
	r.must("UpdateGuestNetworkInterfaceRateLimit", r.machine.UpdateGuestNetworkInterfaceRateLimit(r.ctx, "1",
		firecracker.RateLimiterSet{InRateLimiter: limiter, OutRateLimiter: limiter}))
	r.refused("UpdateGuestDrive of a missing file", r.machine.UpdateGuestDrive(r.ctx, "data", "/does/not/exist"), "No such file")
	n = len(r.console.String())
	r.sees(n, "data=two")

	// Ctrl-Alt-Del: the guest's kernel restarts, which ends the machine with 0.
	r.must("Shutdown", r.machine.Shutdown(r.ctx))
	r.must("Wait", r.wait())
	if _, err := os.Stat(r.machine.Cfg.SocketPath); !os.IsNotExist(err) {
		t.Fatalf("the socket is still there: %v", err)
	}
}
