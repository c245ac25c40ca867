package consumertest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// asRig makes the test's own program a process that starts Redis, says its id, and dies without any cleanup.
const asRig = "CONSUMERTEST_DIES"

func TestMain(m *testing.M) {
	if os.Getenv(asRig) == "" {
		goleak.VerifyTestMain(m)
	}
	testing.Main(func(_, _ string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: "Dies", F: func(t *testing.T) {
		s := Redis(t)
		_, _ = os.Stdout.WriteString("redis " + strconv.Itoa(s.process.Pid) + "\n")
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}}}, nil, nil)
}

func TestRedisDoesNotOutliveATestProcessThatDies(t *testing.T) {
	t.Parallel()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), asRig+"=1", "TMPDIR="+t.TempDir())
	output, err := command.Output()
	var died *exec.ExitError
	if !errors.As(err, &died) {
		t.Fatalf("the process ended with %v, want a kill; it said %q", err, output)
	}
	_, digits, _ := strings.Cut(strings.TrimSpace(string(output)), "redis ")
	pid, err := strconv.Atoi(digits)
	if err != nil {
		t.Fatalf("the process said %q, want the id of its Redis", output)
	}
	gone := func(context.Context) bool {
		status, err := os.ReadFile("/proc/" + digits + "/stat")
		return err != nil || strings.Contains(string(status), ") Z ") // ended, perhaps not yet waited for
	}
	if !Eventually(t, gone) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		t.Error("Redis outlived the process that started it")
	}
}
